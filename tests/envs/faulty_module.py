"""Environments that fail, as `faulty_module:test/Name-v0`; `test_faults_env` collects from them."""

import random
import threading

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.experimental.functional import FuncEnv
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class Unlucky(Exception):
    pass


class Faulty(gym.Env):
    """Shows the steps of the episode, its number and the last two actions; ends by chance; fails as told."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gym.spaces.Discrete(3, start=2)

    def __init__(self, fails="never", at=100, opaque=False, forgets=False):
        self.fails, self.at, self.steps, self.episode = fails, at, 0, -1
        self.forgets = forgets
        self.lock = threading.Lock() if opaque else None
        if fails == "making":
            raise Unlucky("not made")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.last = 0, [0, 0, 0]
        self.episode += not self.forgets
        if (self.fails == "reset" and self.episode == 6) or self.fails == "first":
            raise Unlucky("in reset")
        return self.observe(), {}

    def observe(self):
        return np.array([self.t, self.episode, *self.last[1:]], np.float32)

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        self.steps += 1
        self.last = [*self.last[1:], int(action)]
        seen, reward, due = self.observe(), 1.0, self.steps == self.at
        if self.fails == "raise" and due:
            return 1 / 0
        if self.fails == "chance" and self.np_random.random() < 0.01:
            raise Unlucky("by chance")
        if self.fails == "global" and random.random() + np.random.random() < 0.15:
            raise Unlucky("by the chance of all")
        if self.fails == "sequence" and self.last == [2, 4, 3]:
            seen[2] = np.nan
        if self.fails == "infinite" and due:
            seen[1] = np.inf
        if self.fails == "reward" and due:
            reward = np.nan
        if self.fails == "none" and due:
            reward = None
        if self.fails == "shape" and due:
            seen = seen[:3]
        if self.fails == "tuple" and due:
            return seen, reward, False, {}
        return seen, reward, bool(self.np_random.random() < 0.15), False, {}


class FaultyVector(VectorEnv):
    """The same with vector code of its own."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - Gymnasium's

    def __init__(self, num_envs, fails="never", at=100, opaque=False):
        self.num_envs, self.fails, self.at, self.steps = num_envs, fails, at, 0
        self.single_observation_space = Faulty.observation_space
        self.single_action_space = Faulty.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.lock = threading.Lock() if opaque else None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.fails == "first":
            raise Unlucky("in reset")
        self.ended = np.zeros(self.num_envs, bool)
        self.seen = np.zeros((self.num_envs, 4), np.float32)
        return self.seen.copy(), {}

    def step(self, actions):
        self.steps += 1
        due = self.steps == self.at
        self.seen[:, 1] += self.ended
        self.seen[:, 0] = np.where(self.ended, 0, self.seen[:, 0] + 1)
        reward = np.where(self.ended, 0.0, 1.0)
        self.ended = (self.np_random.random(self.num_envs) < 0.15) & ~self.ended
        seen = self.seen.copy()
        if self.fails == "raise" and due:
            return 1 / 0
        if self.fails == "chance" and self.np_random.random() < 0.02:
            raise Unlucky("by chance")
        if self.fails == "sequence" and self.steps > 20 and actions[-1] == 4:
            seen[-1, 2] = np.nan
        if self.fails == "reward" and due:
            reward[-1] = -np.inf
        if self.fails == "shape" and due:
            seen = seen[:1, :1]  # would be broadcast
        return seen, reward, self.ended.copy(), np.zeros(self.num_envs, bool), {}


class Functional(FuncEnv):
    """Five times the last action in a row, and the reward is no number."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(3, start=2)
    max_episode_steps = 20

    def initial(self, rng, params=None):
        return {"row": jnp.int32(0), "noise": jax.random.uniform(rng)}

    def transition(self, state, action, rng, params=None):
        return {"row": jnp.where(action == 4, state["row"] + 1, 0), "noise": jax.random.uniform(rng)}

    def observation(self, state, rng, params=None):
        return jnp.stack([state["row"].astype(jnp.float32), state["noise"]])

    def reward(self, state, action, next_state, rng, params=None):
        return jnp.where(next_state["row"] == 5, jnp.nan, 1.0)

    def terminal(self, state, rng, params=None):
        return state["noise"] < 0.05


class Blind(Functional):
    """The same with an observation that is infinite."""

    def observation(self, state, rng, params=None):
        return jnp.stack([state["noise"], jnp.where(state["row"] == 4, jnp.inf, 0.0)])

    def reward(self, state, action, next_state, rng, params=None):
        return jnp.float32(1)


KINDS = "never making first reset raise chance global sequence infinite reward none shape tuple"
for fails in KINDS.split():
    entry = dict(entry_point=Faulty, kwargs={"fails": fails})
    gym.register(f"test/{fails.title()}-v0", **entry)
    gym.register(f"test/Vector{fails.title()}-v0", vector_entry_point=FaultyVector, **entry)
late = {"fails": "raise", "at": 400}
gym.register("test/Late-v0", entry_point=Faulty, kwargs=late)
opaque = late | {"opaque": True}
gym.register("test/VectorOpaque-v0", entry_point=Faulty, vector_entry_point=FaultyVector, kwargs=opaque)
gym.register("test/Forgetful-v0", entry_point=Faulty, kwargs={"fails": "chance", "forgets": True})
gym.register("test/VectorLate-v0", entry_point=Faulty, vector_entry_point=FaultyVector, kwargs=late)
