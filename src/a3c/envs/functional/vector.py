"""Functional environments as ordinary Gymnasium ones: B copies at once, or a single one that can be drawn.

For whatever does not run inside the worker's program: TensorFlow, `a3c play`, `gym.make_vec`.
"""

from typing import Any

import gymnasium as gym
import jax
import numpy as np
from gymnasium.experimental.functional import FuncEnv
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from a3c.envs.functional import load
from a3c.envs.functional.stepping import Copies, World, blank, draw_key, key_data, step
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
        world = World(env, max_episode_steps, self._observations, actions)
        self._blank = blank(env, world.shapes(1, num_envs))
        self._nothing = np.zeros((num_envs, *env.action_space.shape), env.action_space.dtype)
        self._copies: Copies | None = None
        self._stream: Any = None

        @jax.jit
        def stepped(copies: Copies, action: jax.Array, stream: Any):
            stream, key = draw_key(stream)
            copies, outcome = step(world, copies, action, key)
            return copies, stream, (outcome.reward, outcome.terminated, outcome.truncated)

        self._step = stepped

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        """Start every copy anew; returns observations [B, *O] and no information."""
        first = seed[0] if isinstance(seed, list) else seed
        if first is not None or self._stream is None:
            self._stream = key_data(int(np.random.default_rng().integers(2**31)) if first is None else first)
        self._copies, self._stream, _ = self._step(self._blank, self._nothing, self._stream)
        return self._observation(), {}

    def step(self, actions: Any):
        """One step of every copy; those that ended in the last one are reset instead."""
        if self._copies is None:
            raise gym.error.ResetNeeded("Call reset before step.")
        actions = np.asarray(actions, self._nothing.dtype)
        self._copies, self._stream, outcome = self._step(self._copies, actions, self._stream)
        reward, terminated, truncated = map(np.array, outcome)
        return self._observation(), reward, terminated, truncated, {}

    def state_dict(self) -> dict[str, Any]:
        """All that changes with the steps, as a plain tree."""
        return _written({"copies": self._copies, "stream": self._stream})

    def load_state_dict(self, tree: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: if it is not from as many copies of the same environment.
        """
        like = {"copies": self._blank, "stream": key_data(0)}
        read = _read(tree, like)
        self._copies, self._stream = (read["copies"], read["stream"]) if read else (None, None)

    def _observation(self) -> Any:
        """A copy of what is seen now, as its space has it."""
        assert self._copies is not None
        return self._observations.restore(np.array(self._copies.observation))


def _written(state: Any) -> dict[str, Any]:
    """The arrays of `state` as a plain tree; none before the first reset."""
    if any(part is None for part in state.values()):
        return {"leaves": []}
    leaves = [np.array(leaf) for leaf in jax.tree.leaves(state)]
    # What NumPy alone does not know, such as bfloat16, is written down as bytes.
    return {"leaves": [leaf if leaf.dtype.kind in "biufc" else _bytes(leaf) for leaf in leaves]}


def _bytes(leaf: np.ndarray) -> np.ndarray:
    return np.frombuffer(leaf.tobytes(), np.uint8)


def _read(tree: dict[str, Any], like: Any) -> Any:
    """What `_written` wrote, with the structure, shapes and dtypes of `like`; None if that was nothing."""
    leaves = tree["leaves"]
    if not leaves:
        return None
    wanted, structure = jax.tree.flatten(like)
    read = []
    for leaf, model in zip(leaves, wanted, strict=True):
        if model.dtype.kind not in "biufc":
            leaf = np.frombuffer(leaf.tobytes(), model.dtype).reshape(model.shape)
        if leaf.shape != model.shape or leaf.dtype != model.dtype:
            raise ValueError(f"an array {leaf.dtype}{leaf.shape} in the place of {model.dtype}{model.shape}")
        read.append(leaf.copy())
    return jax.tree.unflatten(structure, read)


class FunctionalEnv(gym.Env):
    """One copy, drawn by the environment's own `render_image` where it has one. Never truncates."""

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 50}  # noqa: RUF012 - Gymnasium's

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
        self._window: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start anew."""
        super().reset(seed=seed)
        self._stream = key_data(int(self.np_random.integers(2**31)))
        self._state, self._stream, observation = self._start(self._stream)
        self._show()
        return self._shown(observation), {}

    def step(self, action: Any):
        """One step, as in any Gymnasium environment."""
        self._state, self._stream, observation, reward, terminated = self._advance(
            self._state, np.asarray(action, self.action_space.dtype), self._stream
        )
        self._show()
        return self._shown(observation), float(reward), bool(terminated), False, {}

    def render(self) -> np.ndarray | None:
        """The present state as a picture [H, W, 3] uint8."""
        if self.render_mode != "rgb_array":
            return None
        return self._picture()

    def close(self) -> None:
        """Close the window."""
        if self.render_mode:
            self._env.render_close(self._drawing)
        if self._window is not None:
            self._window.close()

    def _shown(self, observation: Any) -> Any:
        """What the environment shows, in NumPy."""
        return jax.tree.map(np.asarray, observation)

    def _picture(self) -> np.ndarray:
        self._drawing, picture = self._env.render_image(self._state, self._drawing)
        return picture

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window = self._window or _Window(self.metadata["render_fps"])
            self._window.show(self._picture())

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


class _Window:
    """A window that shows pictures at a steady pace."""

    def __init__(self, fps: int):
        import pygame

        pygame.display.init()
        self._pygame, self._fps, self._clock, self._screen = pygame, fps, pygame.time.Clock(), None

    def show(self, picture: np.ndarray) -> None:
        """Show `picture` [H, W, 3] and wait until its time is over."""
        size = picture.shape[1], picture.shape[0]
        self._screen = self._screen or self._pygame.display.set_mode(size)
        surface = self._pygame.surfarray.make_surface(picture.transpose(1, 0, 2))
        self._screen.blit(surface, (0, 0))
        self._pygame.event.pump()
        self._pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close it."""
        self._pygame.display.quit()
