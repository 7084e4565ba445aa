"""The environments of gymnax (Lange 2022, "gymnax: A JAX-based Reinforcement Learning Environment Library").

Its one step function is taken apart into the functions of `FuncEnv`. Observations of several dimensions,
as MinAtar's [10, 10, channels], are flattened to vectors.
"""

import difflib
from typing import Any, NamedTuple

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.experimental.functional import FuncEnv

from a3c.errors import UsageError

# What their authors, or Gymnasium for the original, call solved.
THRESHOLDS = {"CartPole-v1": 475.0, "Acrobot-v1": -100.0, "MountainCar-v0": -110.0}


class State(NamedTuple):
    """gymnax' own state, and what its step function returned with it."""

    inner: Any
    observation: jax.Array
    reward: jax.Array
    terminated: jax.Array


class Gymnax(FuncEnv):
    """One environment of gymnax with its default parameters."""

    def __init__(self, env: Any, params: Any):
        super().__init__()
        self._env, self._params = env, params
        shown = _space(env.observation_space(params))
        self.observation_space = (
            gym.spaces.flatten_space(shown) if isinstance(shown, gym.spaces.Box) else shown
        )
        self.action_space = _space(env.action_space(params))
        self.max_episode_steps = int(params.max_steps_in_episode)
        self.reward_threshold = THRESHOLDS.get(env.name)

    def initial(self, rng: Any, params: Any = None) -> State:
        """A first state."""
        observation, inner = self._env.reset_env(rng, self._params)
        inner = jax.tree.map(jnp.asarray, inner)
        return State(inner, self._flat(observation), jnp.float32(0.0), jnp.bool_(False))

    def transition(self, state: State, action: Any, rng: Any, params: Any = None) -> State:
        """The state after `action`, without gymnax' own time limit."""
        observation, inner, reward, terminated, _ = self._env.step_env(rng, state.inner, action, self._params)
        inner = jax.tree.map(lambda new, old: jnp.asarray(new).astype(old.dtype), inner, state.inner)
        reward = jnp.asarray(reward, jnp.float32).reshape(())
        return State(inner, self._flat(observation), reward, jnp.asarray(terminated, bool).reshape(()))

    def observation(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """What is seen in `state`: a vector."""
        return state.observation

    def reward(self, state: Any, action: Any, next_state: State, rng: Any, params: Any = None) -> jax.Array:
        """The reward of the step that led to `next_state`."""
        return next_state.reward

    def terminal(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """Whether the step that led to `state` ended the episode by the environment's own rules."""
        return state.terminated

    def render_init(self, params: Any = None, **_: Any) -> None:
        """Nothing is needed to draw.

        Raises:
            UsageError: for an environment that is not a grid.
        """
        if len(self._env.observation_space(self._params).shape) != 3:
            name = self._env.name
            fix = f"Gymnasium's own can: a3c play AGENT on {name}." if name in gym.registry else ""
            raise UsageError(f"gymnax/{name} to be drawn", "one of the MinAtar games, which are grids", fix)

    def render_image(self, state: State, render_state: Any, params: Any = None) -> tuple[None, np.ndarray]:
        """A grid [H, W, channels] as a picture [16 H, 16 W, 3] uint8, a colour per channel."""
        grid = np.asarray(state.observation).reshape(self._env.observation_space(self._params).shape)
        hues = np.linspace(0, 2 * np.pi, grid.shape[-1], endpoint=False)[:, None] + [0.0, 2.1, 4.2]
        colours = 155 + 100 * np.cos(hues)
        picture = np.zeros((*grid.shape[:2], 3))
        for channel, colour in enumerate(colours):
            picture[grid[..., channel] > 0] = colour
        return None, np.kron(picture, np.ones((16, 16, 1))).astype(np.uint8)

    def render_close(self, render_state: Any, params: Any = None) -> None:
        """Nothing to close."""

    def _flat(self, observation: Any) -> jax.Array:
        return jnp.asarray(observation, jnp.float32).reshape(self.observation_space.shape)


def make(name: str) -> Gymnax:
    """The environment that gymnax calls `name`.

    Raises:
        UsageError: if gymnax is not installed or has no such environment.
    """
    try:
        import gymnax  # type: ignore[import-not-found] - an extra
    except ImportError as error:
        fix = f"Install it with: pip install 'a3c[gymnax]' ({error})."
        raise UsageError(f"environment gymnax/{name}", "gymnax to be installed", fix) from error
    if name not in gymnax.registered_envs:
        close = difflib.get_close_matches(name, gymnax.registered_envs, n=3, cutoff=0.4)
        fix = f"Closest: {', '.join(f'gymnax/{c}' for c in close)}." if close else ""
        raise UsageError(f"environment gymnax/{name}", "an environment of gymnax", fix)
    return Gymnax(*gymnax.make(name))


def _space(space: Any) -> gym.spaces.Space:
    """gymnax' space as Gymnasium's; for other kinds an empty one, which `envs` refuses."""
    kind = type(space).__name__
    if kind == "Discrete":
        return gym.spaces.Discrete(int(space.n))
    if kind != "Box":
        return gym.spaces.Dict({})
    low, high = (
        np.broadcast_to(np.asarray(bound, np.float32), space.shape) for bound in (space.low, space.high)
    )
    return gym.spaces.Box(low, high, space.shape, np.float32)
