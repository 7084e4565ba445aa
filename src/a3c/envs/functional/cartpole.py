"""CartPole as pure functions on JAX arrays, step for step Gymnasium's.

After Barto, Sutton and Anderson (1983), "Neuronlike Adaptive Elements That Can Solve Difficult Learning
Control Problems", with the constants and the Euler integration of Gymnasium's CartPole.
"""

from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.experimental.functional import FuncEnv

GRAVITY = 9.8  # m/s²
CART_MASS = 1.0  # kg
POLE_MASS = 0.1  # kg
HALF_LENGTH = 0.5  # m
FORCE = 10.0  # N
TAU = 0.02  # s between two states
POSITION_LIMIT = 2.4  # m
ANGLE_LIMIT = 12 * 2 * np.pi / 360  # rad


class CartPole(FuncEnv):
    """A pole on a cart, to be kept upright by pushing the cart left (0) or right (1).

    The state and the observation are position, velocity, angle and angular velocity: [4] float32.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def initial(self, rng: Any, params: Any = None) -> jax.Array:
        """All four near 0."""
        return jax.random.uniform(rng, (4,), minval=-0.05, maxval=0.05)

    def transition(self, state: jax.Array, action: Any, rng: Any, params: Any = None) -> jax.Array:
        """The state 20 ms later (Euler)."""
        _, velocity, angle, spin = state
        force = jnp.where(action == 1, FORCE, -FORCE)
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        mass, moment = CART_MASS + POLE_MASS, POLE_MASS * HALF_LENGTH
        push = (force + moment * spin**2 * sine) / mass
        spin_change = (GRAVITY * sine - cosine * push) / (
            HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * cosine**2 / mass)
        )
        acceleration = push - moment * spin_change * cosine / mass
        return state + TAU * jnp.stack([velocity, acceleration, spin, spin_change])

    def observation(self, state: jax.Array, rng: Any, params: Any = None) -> jax.Array:
        """The state itself."""
        return state

    def reward(self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None) -> jax.Array:
        """1 for every step, the one that ends the episode included."""
        return jnp.float32(1.0)

    def terminal(self, state: jax.Array, rng: Any, params: Any = None) -> jax.Array:
        """Whether the cart has left the track or the pole has fallen."""
        return (jnp.abs(state[0]) > POSITION_LIMIT) | (jnp.abs(state[2]) > ANGLE_LIMIT)

    def render_init(self, params: Any = None, **_: Any) -> gym.Env:
        """Gymnasium's own CartPole, which draws."""
        env = gym.make("CartPole-v1", render_mode="rgb_array").unwrapped
        env.reset()
        return env

    def render_image(self, state: jax.Array, render_state: Any, params: Any = None) -> tuple[Any, np.ndarray]:
        """The state as a picture [400, 600, 3] uint8."""
        render_state.state = np.asarray(state, np.float64)
        return render_state, render_state.render()

    def render_close(self, render_state: Any, params: Any = None) -> None:
        """Close what draws."""
        render_state.close()
