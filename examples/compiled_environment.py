"""An environment of your own inside the compiled program: a million steps a second instead of thousands.

    cd examples
    a3c train compiled_environment:Catch
    a3c play

Write it as pure functions on JAX arrays, each for a single copy, in Gymnasium's `FuncEnv` interface;
batching, resets and time limits are not its affair. A ball falls down a grid, and a paddle must be under it.
"""

from typing import NamedTuple

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.experimental.functional import FuncEnv

ROWS, COLUMNS = 10, 5


class State(NamedTuple):
    """Where ball and paddle are."""

    row: jax.Array
    column: jax.Array
    paddle: jax.Array


class Catch(FuncEnv):
    """Move the paddle left (0), not at all (1) or right (2); the catch pays 1, a miss −1."""

    observation_space = gym.spaces.Box(0.0, 1.0, (ROWS * COLUMNS,), np.float32)
    action_space = gym.spaces.Discrete(3)
    max_episode_steps = 50  # optional: steps after which an episode is cut
    reward_threshold = 0.95  # optional: the mean return of 100 episodes that counts as solved

    def initial(self, rng, params=None) -> State:
        """The ball in the top row, somewhere; the paddle in the middle."""
        return State(jnp.int32(0), jax.random.randint(rng, (), 0, COLUMNS), jnp.int32(COLUMNS // 2))

    def transition(self, state: State, action, rng, params=None) -> State:
        """The ball falls by one row."""
        return State(state.row + 1, state.column, jnp.clip(state.paddle + action - 1, 0, COLUMNS - 1))

    def observation(self, state: State, rng, params=None) -> jax.Array:
        """The grid, row by row, with ones where ball and paddle are."""
        grid = jnp.zeros((ROWS, COLUMNS)).at[state.row, state.column].set(1.0)
        return grid.at[ROWS - 1, state.paddle].set(1.0).ravel()

    def reward(self, state: State, action, next_state: State, rng, params=None) -> jax.Array:
        """Only the last row pays."""
        caught = jnp.where(next_state.column == next_state.paddle, 1.0, -1.0)
        return jnp.where(next_state.row == ROWS - 1, caught, 0.0)

    def terminal(self, state: State, rng, params=None) -> jax.Array:
        """The ball has come down."""
        return state.row == ROWS - 1

    def render_init(self, params=None, **_) -> None:
        """Nothing is needed to draw. Both methods of drawing are optional: `a3c play` uses them."""

    def render_image(self, state: State, render_state, params=None) -> tuple[None, np.ndarray]:
        """The grid as a picture: the ball yellow, the paddle blue."""
        cells = np.full((ROWS, COLUMNS, 3), 40, np.uint8)
        cells[ROWS - 1, int(state.paddle)] = (80, 130, 240)
        cells[int(state.row), int(state.column)] = (250, 210, 60)
        return None, cells.repeat(24, axis=0).repeat(24, axis=1)

    def render_close(self, render_state, params=None) -> None:
        """Nothing to close."""
