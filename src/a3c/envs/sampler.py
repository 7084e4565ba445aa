"""Samplers act: they turn parameters into rollouts. This one steps any Gymnasium vector environment."""

from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from a3c import sampling
from a3c.types import Episode, Policy, Rollout, Transitions


class Sampler(Protocol):
    """What the worker cycle needs of a sampler."""

    def collect(self, weights: Any) -> Rollout:
        """Act for T steps with the policy of `weights`, going on where the last rollout ended."""
        ...

    def wait(self) -> None:
        """Return when all that it needs is compiled."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


class VectorSampler:
    """Steps B copies of an environment with next-step autoreset, T steps at a time.

    Args:
        env: B copies with discrete actions. It must use next-step autoreset.
        policy: Maps weights to a function from observations [B, *O] to logits [B, A].
        t_max: T.
        generator: Source of the action noise.
        seed: Seed of the environments' first reset.
    """

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        t_max: int,
        generator: np.random.Generator,
        seed: int,
    ):
        self._env, self._policy, self._generator, self._t_max = env, policy, generator, t_max
        space = env.single_action_space
        assert isinstance(space, gym.spaces.Discrete)
        self._num_actions, self._action_start = int(space.n), int(space.start)
        # Reused by every rollout: the learner is done with one before the next begins.
        self._transitions = self.blank_transitions()
        self._transitions.observations[-1], _ = env.reset(seed=seed)
        self._ended = np.zeros(env.num_envs, bool)
        self._episodes = EpisodeLog(env.num_envs)

    def blank_transitions(self) -> Transitions:
        """Transitions of zeros, in the shapes and dtypes of every rollout."""
        time, batch, shape = self._t_max, self._env.num_envs, self._env.single_observation_space.shape
        assert shape is not None
        return Transitions(
            observations=np.zeros((time + 1, batch, *shape), np.float32),
            actions=np.zeros((time, batch), np.int32),
            rewards=np.zeros((time, batch), np.float32),
            terminated=np.zeros((time, batch), bool),
            truncated=np.zeros((time, batch), bool),
            valid=np.zeros((time, batch), bool),
        )

    def collect(self, weights: Any) -> Rollout:
        """Act for T steps; see `Sampler.collect`. The arrays are overwritten by the next call."""
        observations, actions, rewards, terminated, truncated, valid = self._transitions
        step, act, start = self._env.step, self._policy(weights), self._action_start
        sample = sampling.sample
        noise = sampling.gumbel_noise(self._generator, (*actions.shape, self._num_actions))
        observations[0] = observations[-1]
        for t in range(self._t_max):
            actions[t] = action = sample(act(observations[t]), noise[t])
            sent = action + start if start else action
            observations[t + 1], rewards[t], terminated[t], truncated[t], _ = step(sent)

        ends = terminated | truncated
        valid[0], valid[1:] = ~self._ended, ~ends[:-1]  # after an end, the next step only resets
        self._ended = ends[-1].copy()
        rewards *= valid
        return Rollout(self._transitions, self._episodes.extend(rewards, ends, valid), int(valid.sum()))

    def wait(self) -> None:
        """Everything is compiled before it is made."""

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


class EpisodeLog:
    """Sums rewards and steps of B episodes under way, across rollouts."""

    def __init__(self, batch: int):
        self._returns = np.zeros(batch, np.float64)  # float32 sums would drift over long episodes
        self._lengths = np.zeros(batch, np.int64)

    def extend(self, rewards: np.ndarray, ends: np.ndarray, valid: np.ndarray) -> list[Episode]:
        """Add T steps, all arrays [T, B], and return the episodes that ended in them, in order of time."""
        returns, lengths = rewards.cumsum(axis=0, dtype=np.float64), valid.cumsum(axis=0)
        returns += self._returns
        lengths += self._lengths
        episodes = []
        began = np.zeros(self._returns.shape), np.zeros(self._lengths.shape, np.int64)  # sums where it began
        for t, b in zip(*(where.tolist() for where in ends.nonzero()), strict=True):
            total, length = returns[t, b], lengths[t, b]
            episodes.append(Episode(float(total - began[0][b]), int(length - began[1][b])))
            began[0][b], began[1][b] = total, length
        self._returns, self._lengths = returns[-1] - began[0], lengths[-1] - began[1]
        return episodes
