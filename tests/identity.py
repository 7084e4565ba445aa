"""Identity environments, one for each kind of space: an action that repeats what was seen is worth most.

Each step is worth at most 1, and an episode has 100 steps. If the observation is lost on its way to the
action, nothing is learned here. Registered on import; use them as `identity:identity/Discrete-v0`.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

_STEPS = 100
_SIDE = 16  # pixels of the images
_LOW, _HIGH = np.array([-2.0, 10.0], np.float32), np.array([2.0, 30.0], np.float32)

Show = Callable[[np.ndarray], Any]
"""Makes an observation of the numbers to be repeated."""


class _Identity(gym.Env):
    """Shows numbers; `score` says from 0 to 1 how well an action repeats them."""

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(self) -> None:
        self._numbers = np.zeros(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        return self._next(), {}

    def step(self, action: Any):
        assert self.action_space.contains(action), f"{action} is not in {self.action_space}"
        reward = float(self.score(self._numbers, action))
        return self._next(), reward, False, False, {}

    def _next(self) -> Any:
        self._numbers = self.draw()
        return self.show(self._numbers)

    def draw(self) -> np.ndarray:
        """The next numbers: one of three things."""
        return self.np_random.integers(3, size=1)

    def show(self, numbers: np.ndarray) -> Any:
        """What is seen of them."""
        raise NotImplementedError

    def score(self, numbers: np.ndarray, action: Any) -> float:
        """How well `action` repeats them."""
        return float(action == numbers[0])


def _one_hot(number: int) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[number]


def _picture(number: int) -> np.ndarray:
    """A bright bar at one of three places, [H, W, 1] of bytes."""
    picture = np.zeros((_SIDE, _SIDE, 1), np.uint8)
    picture[:, 5 * number : 5 * number + 5] = 255
    return picture


# -- kinds of observations, with three actions --------------------------------------------------------------


class _ThreeActions(_Identity):
    action_space = gym.spaces.Discrete(3)


class Vector(_ThreeActions):
    """A Box of numbers."""

    observation_space = gym.spaces.Box(0.0, 1.0, (3,), np.float32)

    def show(self, numbers: np.ndarray) -> np.ndarray:
        return _one_hot(numbers[0])


class Discrete(_ThreeActions):
    """One of three things, counted from 5; actions counted from 2."""

    observation_space = gym.spaces.Discrete(3, start=5)
    action_space = gym.spaces.Discrete(3, start=2)

    def show(self, numbers: np.ndarray) -> int:
        return int(numbers[0]) + 5

    def score(self, numbers: np.ndarray, action: Any) -> float:
        return float(action - 2 == numbers[0])


class MultiDiscrete(_ThreeActions):
    """Several choices, of which the second counts."""

    observation_space = gym.spaces.MultiDiscrete([2, 3, 4])

    def show(self, numbers: np.ndarray) -> np.ndarray:
        return np.array([self.np_random.integers(2), numbers[0], self.np_random.integers(4)])


class Pixels(_ThreeActions):
    """A picture [H, W, C] of bytes."""

    observation_space = gym.spaces.Box(0, 255, (_SIDE, _SIDE, 1), np.uint8)

    def show(self, numbers: np.ndarray) -> np.ndarray:
        return _picture(numbers[0])


class ChannelsFirst(_ThreeActions):
    """A picture [C, H, W] of bytes, of three channels."""

    observation_space = gym.spaces.Box(0, 255, (3, _SIDE, _SIDE), np.uint8)

    def show(self, numbers: np.ndarray) -> np.ndarray:
        return np.tile(_picture(numbers[0]).transpose(2, 0, 1), (3, 1, 1))


class Dict(_ThreeActions):
    """A picture that says nothing, and inside another Dict the number that counts."""

    observation_space = gym.spaces.Dict(
        picture=gym.spaces.Box(0, 255, (_SIDE, _SIDE), np.uint8),
        inner=gym.spaces.Dict(thing=gym.spaces.Discrete(3), noise=gym.spaces.Box(-1.0, 1.0, (2,))),
    )

    def show(self, numbers: np.ndarray) -> dict[str, Any]:
        noise = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        inner = {"thing": int(numbers[0]), "noise": noise}
        return {"picture": np.zeros((_SIDE, _SIDE), np.uint8), "inner": inner}


class Tuple(_ThreeActions):
    """Switches and a number."""

    observation_space = gym.spaces.Tuple([gym.spaces.MultiBinary(3), gym.spaces.Box(-1.0, 1.0, ())])

    def show(self, numbers: np.ndarray) -> tuple[Any, ...]:
        return _one_hot(numbers[0]).astype(np.int8), np.array(self.np_random.uniform(), np.float32)


# -- kinds of actions, with observations of numbers ---------------------------------------------------------


class Choices(_Identity):
    """MultiDiscrete actions: three choices, counted from other numbers each."""

    observation_space = gym.spaces.MultiDiscrete([3, 3, 3])
    action_space = gym.spaces.MultiDiscrete([3, 3, 3], start=[0, 1, -1])

    def draw(self) -> np.ndarray:
        return self.np_random.integers(3, size=3)

    def show(self, numbers: np.ndarray) -> np.ndarray:
        return numbers

    def score(self, numbers: np.ndarray, action: Any) -> float:
        return np.mean(action - [0, 1, -1] == numbers)


class Switches(_Identity):
    """MultiBinary actions."""

    observation_space = gym.spaces.MultiBinary(4)
    action_space = gym.spaces.MultiBinary(4)

    def draw(self) -> np.ndarray:
        return self.np_random.integers(2, size=4).astype(np.int8)

    def show(self, numbers: np.ndarray) -> np.ndarray:
        return numbers

    def score(self, numbers: np.ndarray, action: Any) -> float:
        return np.mean(action == numbers)


class Continuous(_Identity):
    """Box actions with bounds of their own; the reward is 1 less the distance as a share of the range."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Box(_LOW, _HIGH)

    def draw(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def show(self, numbers: np.ndarray) -> np.ndarray:
        return numbers

    def score(self, numbers: np.ndarray, action: Any) -> float:
        low, high = _LOW, _HIGH
        wanted = low + (numbers + 1) / 2 * (high - low)
        return 1.0 - np.mean(np.abs(action - wanted) / (high - low))


class Number(_Identity):
    """Observation and action are one number each, without an axis; the action is to be twice as large."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (), np.float32)
    action_space = gym.spaces.Box(-2.0, 2.0, (), np.float32)

    def draw(self) -> np.ndarray:
        return np.asarray(self.np_random.uniform(-1, 1), np.float32)

    def show(self, numbers: np.ndarray) -> np.ndarray:
        return numbers

    def score(self, numbers: np.ndarray, action: Any) -> float:
        return 1.0 - float(np.abs(action - 2 * numbers)) / 4


OBSERVATIONS = (Vector, Discrete, MultiDiscrete, Pixels, ChannelsFirst, Dict, Tuple)
ACTIONS = (Choices, Switches, Continuous, Number)

for _cls in (*OBSERVATIONS, *ACTIONS):
    gym.register(
        f"identity/{_cls.__name__}-v0",
        entry_point=f"{__name__}:{_cls.__name__}",
        max_episode_steps=_STEPS,
        reward_threshold=90.0,
    )
