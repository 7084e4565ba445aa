"""Probe environments: tiny ones with known answers, each of which finds one kind of mistake in a learner.

Used by `a3c doctor`, by tests, and for networks of your own. Registered on import; use them as
`a3c.envs.probes:probe/Value-v0`. After Andy Jones' list of probes.
"""

from typing import Any

import gymnasium as gym
import numpy as np


class _Probe(gym.Env):
    """Observations of one number; subclasses say what follows an action."""

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own convention
    actions = 1
    first_observations = (0.0,)

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(self.actions)
        self._state = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._state = float(self.np_random.choice(self.first_observations))
        return self._observation(), {}

    def step(self, action: int):
        self._state, reward, terminated = self.follow(self._state, int(action))
        return self._observation(), reward, terminated, False, {}

    def follow(self, state: float, action: int) -> tuple[float, float, bool]:
        """The next state, the reward, and whether the episode ends."""
        raise NotImplementedError

    def _observation(self) -> np.ndarray:
        return np.array([self._state], np.float32)


class Value(_Probe):
    """One action, one step, reward 1. V(0) = 1: does the value learn at all?"""

    def follow(self, state: float, action: int) -> tuple[float, float, bool]:
        """End with reward 1."""
        return state, 1.0, True


class ObservedValue(_Probe):
    """One action, one step, the reward is the observation. V(±1) = ±1: does the value see observations?"""

    first_observations = (-1.0, 1.0)

    def follow(self, state: float, action: int) -> tuple[float, float, bool]:
        """End with the observation as reward."""
        return state, state, True


class DiscountedValue(_Probe):
    """One action, two steps, reward 1 at the end. V(1) = 1, V(0) = γ: is the future discounted?"""

    def follow(self, state: float, action: int) -> tuple[float, float, bool]:
        """Step from 0 to 1, then end with reward 1."""
        return (1.0, 0.0, False) if state == 0.0 else (0.0, 1.0, True)


class Choice(_Probe):
    """Two actions, one step, reward 1 or −1. π → action 1, V → 1: does the policy learn?"""

    actions = 2

    def follow(self, state: float, action: int) -> tuple[float, float, bool]:
        """End with reward 1 for action 1, else −1."""
        return state, 1.0 if action == 1 else -1.0, True


class ObservedChoice(_Probe):
    """Two actions, one step, reward 1 if the action fits the observation. Does the policy see it?"""

    actions = 2
    first_observations = (-1.0, 1.0)

    def follow(self, state: float, action: int) -> tuple[float, float, bool]:
        """End with reward 1 if action 1 meets +1 or action 0 meets −1, else −1."""
        return state, 1.0 if (action == 1) == (state > 0) else -1.0, True


class Endless(_Probe):
    """Reward 1 forever, cut by a time limit. V = 1/(1 − γ): is truncation not taken for termination?"""

    def follow(self, state: float, action: int) -> tuple[float, float, bool]:
        """Go on with reward 1."""
        return state, 1.0, False


class Recall(_Probe):
    """Shows ±1 once, then 0; the third action must fit it. Does the memory last, and is it emptied then?

    A memory that is not emptied still holds what the episode before showed, which misleads.
    """

    actions = 2
    first_observations = (-1.0, 1.0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Begin anew."""
        observation, info = super().reset(seed=seed)
        self._shown, self._left = self._state, 3
        return observation, info

    def follow(self, state: float, action: int) -> tuple[float, float, bool]:
        """Three steps in the dark, and a reward of 1 or −1 for the last one."""
        self._left -= 1
        fits = (action == 1) == (self._shown > 0)
        return 0.0, (1.0 if fits else -1.0) if self._left == 0 else 0.0, self._left == 0


for _cls in (Value, ObservedValue, DiscountedValue, Choice, ObservedChoice, Endless, Recall):
    _limit = 10 if _cls is Endless else None
    gym.register(
        f"probe/{_cls.__name__}-v0", entry_point=f"{__name__}:{_cls.__name__}", max_episode_steps=_limit
    )
