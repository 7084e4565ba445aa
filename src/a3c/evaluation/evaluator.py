"""Evaluating: whole episodes in environments of their own, with seeds of their own."""

import contextlib
import threading
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from a3c import backend, envs
from a3c.envs import faults
from a3c.errors import RunError
from a3c.spaces.distributions import Mode, ModeNoise
from a3c.types import Episode, Policy
from a3c.utils import seeding

LONGEST = 100_000
"""Steps after which an evaluation cuts an episode off: some policies would go on for ever."""


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns of whole episodes, summarised."""

    mode: Mode
    returns: np.ndarray
    """[episodes] float64."""
    lengths: np.ndarray
    """[episodes] int64."""
    cut_off: int = 0
    """How many of them had not ended after `LONGEST` steps; what they earned until then counts."""

    @property
    def warning(self) -> str:
        """What to tell the user if episodes were cut off; else empty."""
        if not self.cut_off:
            return ""
        return (
            f"an evaluation was broken off after {LONGEST:,} steps, {self.cut_off} of its episodes before "
            "their end; give the environment a time limit (max_episode_steps)"
        )

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """95% confidence interval of the mean, by the normal approximation (1.96 standard errors)."""
        count = len(self.returns)
        error = float(1.96 * self.returns.std(ddof=1) / count**0.5) if count > 1 else np.inf
        return self.mean - error, self.mean + error

    def as_dict(self) -> dict[str, Any]:
        """The summary in the keys of `--json`."""
        low, high = self.ci95
        interval = [round(low, 4), round(high, 4)] if np.isfinite(low) else None
        return dict(
            mode=self.mode,
            episodes=len(self.returns),
            mean=round(self.mean, 4),
            std=round(float(self.returns.std(ddof=1)), 4) if len(self.returns) > 1 else 0.0,
            min=float(self.returns.min()),
            max=float(self.returns.max()),
            ci95=interval,
            cut_off=self.cut_off,
        )


class Failed(RunError):
    """An environment failed in an evaluation."""


def _failed(env_id: str, error: Exception) -> Failed:
    """What an environment raised, with its own traceback."""
    violation = faults.of_exception(error)
    return Failed(f"{env_id} {violation.message}\n{violation.traceback.rstrip()}")


class Player(Protocol):
    """Plays episode after episode in B copies of an environment."""

    copies: int
    """B."""

    def warm_up(self, weights: Any) -> None:
        """Compile what will be needed."""
        ...

    def reset(self, weights: Any, mode: Mode, seed: int) -> None:
        """Start anew in every copy, with the policy of `weights`."""
        ...

    def advance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Some steps more: where episodes ended, their returns and lengths there; all [T, B]."""
        ...

    def rebuild(self) -> None:
        """Make the environments anew, after one of them failed."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


class VectorPlayer:
    """Plays in any Gymnasium vector environment, one step at a time.

    Args:
        environment: What to play.
        policy: Maps weights to a function from observations [B, *O] to policy parameters [B, A]; None: only
            random actions.
        copies: B.
        state_size: S; 0: the network has no memory.
        noise: How actions are drawn in each mode.
    """

    def __init__(
        self,
        environment: envs.Environment,
        policy: Policy | None,
        copies: int,
        state_size: int = 0,
        noise: ModeNoise | None = None,
    ):
        self.copies, self._environment, self._policy = copies, environment, policy
        self._state_size, self._noise = state_size, noise or ModeNoise(environment.actions)
        self._make()

    def _make(self) -> None:
        environment = self._environment
        try:
            self._env = envs.make_vector(environment.spec, self.copies, environment.vectorized)
        except Exception as error:
            raise _failed(environment.id, error) from error

    def warm_up(self, weights: Any) -> None:
        if self._policy is not None:
            seen = self._environment.observations
            self._policy(weights)(np.zeros((self.copies, *seen.shape), seen.dtype), self._empty_memory())

    def _empty_memory(self) -> np.ndarray | None:
        return np.zeros((self.copies, self._state_size), np.float32) if self._state_size else None

    def reset(self, weights: Any, mode: Mode, seed: int) -> None:
        self._mode: Mode = mode
        self._act = None if self._policy is None else self._policy(weights)
        self._generator = seeding.generator(seed, "evaluation")
        try:
            observation, _ = self._env.reset(seed=seeding.integer_seed(seed, "evaluation"))
            self._observation = self._packed(observation)
        except Exception as error:
            raise _failed(self._environment.id, error) from error
        self._returns, self._lengths = np.zeros(self.copies), np.zeros(self.copies, int)
        self._ended, self._memory = np.zeros(self.copies, bool), self._empty_memory()

    def _packed(self, observation: Any) -> np.ndarray:
        seen = self._environment.observations
        return np.asarray(seen.pack(observation), seen.dtype)

    def advance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        action = self._environment.actions.to_env(self._choose())
        try:
            observation, reward, terminated, truncated, _ = self._env.step(action)
            self._observation = self._packed(observation)
        except Exception as error:
            raise _failed(self._environment.id, error) from error
        seen = self._observation
        finite = seen.dtype != np.float32 or np.isfinite(seen).all()
        if not (finite and np.isfinite(reward).all()) and (violation := faults.of_values(seen, reward)):
            raise Failed(f"{self._environment.id} {violation.message}")
        # After an end the step only resets: its reward belongs to no episode.
        self._returns = np.where(self._ended, 0.0, self._returns + reward)
        self._lengths = np.where(self._ended, 0, self._lengths + 1)
        if self._memory is not None:  # an episode begins after a step that only reset
            self._memory[self._ended] = 0.0
        self._ended = terminated | truncated
        return self._ended[None], self._returns[None], self._lengths[None]

    def _choose(self) -> np.ndarray:
        """[B, …] actions as their distribution keeps them."""
        actions = self._environment.actions
        noise = self._noise.draw(self._mode, self._generator, (self.copies,))
        if self._mode == "random":
            return actions.choose(np.zeros((self.copies, actions.outputs), np.float32), noise)
        assert self._act is not None
        parameters, self._memory = self._act(self._observation, self._memory)
        return actions.choose(parameters, noise)

    def rebuild(self) -> None:
        self.close()
        self._make()

    def close(self) -> None:
        with contextlib.suppress(Exception):  # broken ones may fail; what was played counts
            self._env.close()


class Evaluator:
    """Plays a fixed number of episodes, keeping the player's copies between evaluations.

    Each copy plays a fixed share of the episodes, so that short episodes are not counted more often than
    long ones, as they would be if the first to finish were taken.

    Args:
        player: Who plays.
        episodes: Episodes per evaluation.
    """

    def __init__(self, player: Player, episodes: int):
        self._player, self._episodes = player, episodes
        self.abandoned = threading.Event()
        """Set by another thread to make an evaluation under way raise `Abandoned`."""
        self.beat = 0
        """Grows while an evaluation is under way and moves."""
        self.warm_up, self.rebuild, self.close = player.warm_up, player.rebuild, player.close

    def evaluate(self, weights: Any, mode: Mode, seed: int, episodes: int | None = None) -> Evaluation:
        """Play the episodes with the policy of `weights`; `greedy` takes the most probable actions.

        An episode of `LONGEST` steps ends the evaluation: those under way count as far as they came, and no
        more are begun.
        """
        player, episodes = self._player, episodes or self._episodes
        left = np.full(player.copies, episodes // player.copies)
        left[: episodes % player.copies] += 1
        finished: list[list[Episode]] = [[] for _ in left]
        player.reset(weights, mode, seed)
        cut_off = 0
        while left.any():
            if self.abandoned.is_set():
                raise Abandoned
            ended, returns, lengths = player.advance()
            self.beat += 1
            for t, copy in zip(*np.nonzero(ended & (left > 0)), strict=True):
                if left[copy]:
                    finished[copy].append(Episode(float(returns[t, copy]), int(lengths[t, copy])))
                    left[copy] -= 1
            playing = (left > 0) & ~ended[-1]
            if (lengths[-1][playing] >= LONGEST).any():
                under_way = np.flatnonzero(playing & (lengths[-1] > 0))  # others have only been reset
                for copy in under_way:
                    finished[copy].append(Episode(float(returns[-1, copy]), int(lengths[-1, copy])))
                cut_off += len(under_way)
                break
        every = [episode for of_one_copy in finished for episode in of_one_copy]
        earned, took = (np.array([getattr(e, name) for e in every]) for name in ("episode_return", "length"))
        return Evaluation(mode, earned, took, cut_off)


def make_evaluator(
    environment: envs.Environment, network: Any, episodes: int, values: bool, eager: bool = False
) -> Evaluator:
    """The evaluator of a `functional.Network` in `environment`, on the backend that Keras runs on.

    Args:
        environment: Where to play.
        network: Who plays.
        episodes: Episodes per evaluation.
        values: Whether its parameters are the values of actions, not a policy.
        eager: Run uncompiled.
    """
    framework = backend.load()
    noise, size = ModeNoise(environment.actions, values), network.state_size
    if environment.compiled and framework.FUSES and not eager:
        from a3c.envs.functional.player import CompiledPlayer

        policy = framework.policy_function(network)
        return Evaluator(CompiledPlayer(environment, policy, min(episodes, 100), size, noise), episodes)
    # Copies in one NumPy program cost next to nothing; single ones cost memory and time each.
    copies = min(episodes, 100 if environment.vectorized else 16)
    from a3c.networks.numpy_policy import make_policy

    policy = make_policy(framework, network, eager)
    return Evaluator(VectorPlayer(environment, policy, copies, size, noise), episodes)


class Abandoned(Exception):
    """Raised in an evaluation whose result nobody waits for any more."""


def random_evaluation(environment: envs.Environment, episodes: int, seed: int) -> Evaluation:
    """Episodes of uniformly random actions: the baseline that every score is shown beside."""
    copies = min(episodes, 100 if environment.vectorized else 16)
    evaluator = Evaluator(VectorPlayer(environment, None, copies), episodes)
    try:
        return evaluator.evaluate(None, "random", seed)
    finally:
        evaluator.close()
