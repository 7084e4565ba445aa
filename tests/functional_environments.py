"""Functional environments that the tests train on and refer to as `functional_environments:Class`."""

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.experimental.functional import FuncEnv


class Counter(FuncEnv):
    """The observation counts the steps; the reward is the count; ends after three. Actions are 5, 6, 7."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Discrete(3, start=5)

    def initial(self, rng, params=None):
        return jnp.int32(0)

    def transition(self, state, action, rng, params=None):
        return state + jnp.where((action >= 5) & (action <= 7), 1, 1000)

    def observation(self, state, rng, params=None):
        return state.astype(jnp.float32)[None]

    def reward(self, state, action, next_state, rng, params=None):
        return next_state.astype(jnp.float32)

    def terminal(self, state, rng, params=None):
        return state >= 3


class Target(FuncEnv):
    """A number is shown; the action that has its sign earns 1. Never ends by itself."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    max_episode_steps = 30
    reward_threshold = 25.0

    def initial(self, rng, params=None):
        return {"shown": jax.random.uniform(rng, (1,), minval=-1.0, maxval=1.0)}

    def transition(self, state, action, rng, params=None):
        return {"shown": jax.random.uniform(rng, (1,), minval=-1.0, maxval=1.0)}

    def observation(self, state, rng, params=None):
        return state["shown"]

    def reward(self, state, action, next_state, rng, params=None):
        return (action == (state["shown"][0] > 0)).astype(jnp.float32)

    def terminal(self, state, rng, params=None):
        return jnp.bool_(False)


class Broken(Counter):
    """Cannot be made."""

    def __init__(self):
        raise RuntimeError("no luck")
