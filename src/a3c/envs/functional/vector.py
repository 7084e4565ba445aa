"""Functional environments as ordinary Gymnasium ones: B copies at once, or a single one that can be drawn.

For all that does not run inside the worker's program: TensorFlow, `a3c play`, `gym.make_vec`.
"""

from typing import Any

import gymnasium as gym
import jax
import numpy as np
from gymnasium.experimental.functional import FuncEnv
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import HumanRendering

from a3c.envs.functional import load
from a3c.envs.functional.stepping import (
    BatchedEnvState,
    FunctionalEnvSpec,
    blank,
    draw_key,
    from_arrays,
    key_data,
    step,
    to_arrays,
)
from a3c.spaces import distributions
from a3c.spaces.observations import describe_observations


class FunctionalVectorEnv(VectorEnv):
    """B copies of a functional environment, stepped by one compiled call, with next-step autoreset.

    Args:
        num_envs: B.
        reference: Which environment; see `a3c.envs.functional.load`.
        max_episode_steps: Steps after which an episode is truncated; None: never.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012 - Gymnasium's

    def __init__(self, num_envs: int, reference: str, max_episode_steps: int | None = None):
        env = load(reference)
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        self.observation_space = batch_space(env.observation_space, num_envs)
        self.action_space = batch_space(env.action_space, num_envs)
        self._observations = describe_observations(env.observation_space, reference)
        actions = distributions.for_space(env.action_space, reference)
        spec = FunctionalEnvSpec(env, max_episode_steps, self._observations, actions)
        self._blank = blank(env, spec.shapes(1, num_envs))
        self._no_actions = np.zeros((num_envs, *env.action_space.shape), env.action_space.dtype)
        self._state: BatchedEnvState | None = None
        self._stream: Any = None

        @jax.jit
        def stepped(state: BatchedEnvState, action: jax.Array, stream: Any):
            stream, key = draw_key(stream)
            state, result = step(spec, state, action, key)
            return state, stream, (result.reward, result.terminated, result.truncated)

        self._step = stepped

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        """Start every copy anew; returns observations [B, *O] and no information."""
        first = seed[0] if isinstance(seed, list) else seed
        if first is not None or self._stream is None:
            self._stream = key_data(int(np.random.default_rng().integers(2**31)) if first is None else first)
        self._state, self._stream, _ = self._step(self._blank, self._no_actions, self._stream)
        return self._observation(), {}

    def step(self, actions: Any):
        """One step of every copy; those that ended in the last one are reset instead."""
        if self._state is None:
            raise gym.error.ResetNeeded("Call reset before step.")
        actions = np.asarray(actions, self._no_actions.dtype)
        self._state, self._stream, result = self._step(self._state, actions, self._stream)
        reward, terminated, truncated = map(np.array, result)
        return self._observation(), reward, terminated, truncated, {}

    def state_dict(self) -> dict[str, Any]:
        """All that changes with the steps, as a plain tree."""
        return {"leaves": [] if self._state is None else to_arrays((self._state, self._stream))}

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: if it is not from as many copies of the same environment.
        """
        self._state = self._stream = None
        if tree["leaves"]:
            self._state, self._stream = from_arrays(tree["leaves"], (self._blank, key_data(0)))

    def _observation(self) -> Any:
        """A copy of the last observations, in the structure of their space."""
        assert self._state is not None
        return self._observations.restore(np.array(self._state.observation))


def make_single(reference: str, render_mode: str | None = None) -> gym.Env:
    """One copy; with `human` as its render mode, in a window of Gymnasium's."""
    env = FunctionalEnv(reference, "rgb_array" if render_mode == "human" else render_mode)
    return HumanRendering(env) if render_mode == "human" and env.render_mode else env


class FunctionalEnv(gym.Env):
    """One copy, drawn by the environment's own `render_image` where it has one. Never truncates."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 - Gymnasium's

    def __init__(self, reference: str, render_mode: str | None = None):
        self._env = load(reference)
        self.observation_space, self.action_space = self._env.observation_space, self._env.action_space
        if type(self._env).render_image is FuncEnv.render_image:
            self.metadata = {"render_modes": []}
            render_mode = None
        self.render_mode = render_mode
        self._drawing = self._env.render_init() if render_mode else None
        self._start, self._advance = jax.jit(self._first), jax.jit(self._next)
        self._state: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start anew."""
        super().reset(seed=seed)
        self._stream = key_data(int(self.np_random.integers(2**31)))
        self._state, self._stream, observation = self._start(self._stream)
        return jax.tree.map(np.asarray, observation), {}

    def step(self, action: Any):
        """One step, as in any Gymnasium environment."""
        self._state, self._stream, observation, reward, terminated = self._advance(
            self._state, np.asarray(action, self.action_space.dtype), self._stream
        )
        return jax.tree.map(np.asarray, observation), float(reward), bool(terminated), False, {}

    def render(self) -> np.ndarray | None:
        """The present state as a picture [H, W, 3] uint8."""
        if not self.render_mode:
            return None
        self._drawing, picture = self._env.render_image(self._state, self._drawing)
        return picture

    def close(self) -> None:
        """Release what the environment draws with."""
        if self.render_mode:
            self._env.render_close(self._drawing)

    def _first(self, stream: Any):
        stream, key = draw_key(stream)
        starting, seeing = jax.random.split(key)
        state = self._env.initial(starting)
        return state, stream, self._env.observation(state, seeing)

    def _next(self, before: Any, action: Any, stream: Any):
        stream, key = draw_key(stream)
        moving, rewarding, ending, seeing = jax.random.split(key, 4)
        state = self._env.transition(before, action, moving)
        reward = self._env.reward(before, action, state, rewarding)
        observation = self._env.observation(state, seeing)
        return state, stream, observation, reward, self._env.terminal(state, ending)
