"""Environments that Gymnasium does not have, for `benchmarks/defaults.py`: the same ones for every side.

    cd benchmarks && a3c train environments:Catch-v0
    python benchmarks/environments.py          # what the best known player and a random one earn

Two games of MinAtar as vectors, a game of pixels, one that needs a memory, one with two choices at once, and
one whose only reward chance does not find. Importing this registers them. MinAtar's need
`pip install --no-deps minatar`.
"""

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np


class MinAtar(gym.Env):
    """A game of MinAtar (Young & Tian 2019) with its minimal actions; what is seen is flattened to 0 and 1.

    Args:
        game: Its name in MinAtar.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(self, game: str):
        from minatar import Environment  # pyright: ignore[reportMissingImports]

        self._game = Environment(game)
        self._actions = self._game.minimal_action_set()
        self.action_space = gym.spaces.Discrete(len(self._actions))
        self.observation_space = gym.spaces.Box(0.0, 1.0, (math.prod(self._game.state_shape()),), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Begin a game."""
        super().reset(seed=seed)
        if seed is not None:
            self._game.seed(seed % 2**32)
        self._game.reset()
        return self._observation(), {}

    def step(self, action: int):
        """Play one frame."""
        reward, done = self._game.act(self._actions[action])
        return self._observation(), float(reward), bool(done), False, {}

    def _observation(self) -> np.ndarray:
        return self._game.state().astype(np.float32).ravel()


class Catch(gym.Env):
    """Pixels: a ball falls in one of 14 columns, a paddle of three columns must be under it.

    42 × 42 bytes, a cell is 3 × 3 pixels. The ball falls a cell per step, and the paddle moves by a cell or
    stays, which is always enough. Each ball is worth 1 or −1, ten balls are an episode of 130 steps.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    CELLS, PIXELS, BALLS = 14, 3, 10

    def __init__(self) -> None:
        side = self.CELLS * self.PIXELS
        self.observation_space = gym.spaces.Box(0, 255, (side, side, 1), np.uint8)
        self.action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Put the paddle in the middle and drop the first ball."""
        super().reset(seed=seed)
        self.paddle, self.thrown = self.CELLS // 2, 0
        self._throw()
        return self._picture(), {}

    def step(self, action: int):
        """Move the paddle left (0), not (1) or right (2); the ball falls."""
        self.paddle = int(np.clip(self.paddle + int(action) - 1, 1, self.CELLS - 2))
        self.row += 1
        reward = 0.0
        if self.row == self.CELLS - 1:
            reward = 1.0 if abs(self.column - self.paddle) <= 1 else -1.0
            if self.thrown < self.BALLS:
                self._throw()
            else:
                return self._picture(), reward, True, False, {}
        return self._picture(), reward, False, False, {}

    def _throw(self) -> None:
        self.row, self.column = 0, int(self.np_random.integers(self.CELLS))
        self.thrown += 1

    def _picture(self) -> np.ndarray:
        cells = np.zeros((self.CELLS, self.CELLS), np.uint8)
        cells[-1, self.paddle - 1 : self.paddle + 2] = 128
        cells[self.row, self.column] = 255
        return cells.repeat(self.PIXELS, 0).repeat(self.PIXELS, 1)[:, :, None]


class TMaze(gym.Env):
    """Memory: a sign at the start of a corridor tells which way to turn at its end (after Bakker 2002).

    The sign is seen in the first step only. Eight steps forward lead to the junction; each step costs 0.01.
    The right turn is worth 1 and the wrong one −1. Without a memory no player earns more than −0.08 on
    average.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    LENGTH = 8

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Stand before the sign."""
        super().reset(seed=seed)
        self.position, self.begun = 0, False
        self.sign = 1 if self.np_random.random() < 0.5 else -1
        return self._observation(), {}

    def step(self, action: int):
        """Go forward (0), turn left (1) or right (2); turns count at the junction only."""
        self.begun = True
        if self.position == self.LENGTH and action != 0:
            turned = -1 if action == 1 else 1
            return self._observation(), float(turned * self.sign), True, False, {}
        if action == 0:
            self.position = min(self.position + 1, self.LENGTH)
        return self._observation(), -0.01, False, False, {}

    def _observation(self) -> np.ndarray:
        """The sign, while it is seen; whether this is the corridor; whether this is the junction."""
        junction = self.position == self.LENGTH
        return np.array([0 if self.begun else self.sign, not junction, junction], np.float32)


class Wheels(gym.Env):
    """Two choices at once: a robot with two wheels drives to one target after the other.

    Each wheel turns at one of five speeds, backward to forward. The target is seen as a point before and
    beside the robot. The reward is how much nearer it came, and 1 when it is there; then there is another
    target, 0.5 to 1.5 away in any direction.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    NEAR, STEP, TURN = 0.1, 0.1, 0.5

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gym.spaces.MultiDiscrete([5, 5])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Show the first target."""
        super().reset(seed=seed)
        self._aim()
        return self._observation(), {}

    def step(self, action: np.ndarray):
        """Turn by up to 0.5 and drive by up to 0.1."""
        left, right = (int(speed) - 2 for speed in action)
        before = abs(self.target)
        turned = self.target * np.exp(-1j * self.TURN * (right - left) / 4)
        self.target = turned - self.STEP * (right + left) / 4
        reward = before - abs(self.target)
        if abs(self.target) < self.NEAR:
            reward += 1.0
            self._aim()
        return self._observation(), float(reward), False, False, {}

    def _aim(self) -> None:
        """Draw a target: a complex number, ahead of the robot its real part, to its left the other."""
        distance, angle = self.np_random.uniform(0.5, 1.5), self.np_random.uniform(-np.pi, np.pi)
        self.target = distance * np.exp(1j * angle)

    def _observation(self) -> np.ndarray:
        return np.array([self.target.real, self.target.imag], np.float32)


class KeyDoor(gym.Env):
    """Sparse: fetch the key in one corner of a grid, then open the door in the opposite one, for 1.

    16 × 16 cells and 200 steps; what is seen is the cell, and whether the key is held. A random player opens
    the door in about one of 100,000 episodes.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    SIDE = 16
    MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))

    def __init__(self) -> None:
        self.observation_space = gym.spaces.MultiDiscrete([self.SIDE, self.SIDE, 2])
        self.action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Stand in the door's corner, without the key."""
        super().reset(seed=seed)
        self.cell, self.key = np.array([self.SIDE - 1, self.SIDE - 1]), False
        return self._observation(), {}

    def step(self, action: int):
        """Go up (0), down (1), left (2) or right (3)."""
        self.cell = np.clip(self.cell + self.MOVES[action], 0, self.SIDE - 1)
        self.key = self.key or not self.cell.any()
        opened = self.key and bool((self.cell == self.SIDE - 1).all())
        return self._observation(), float(opened), opened, False, {}

    def _observation(self) -> np.ndarray:
        return np.array([*self.cell, self.key])


for _name, _game in (("MinAtarBreakout-v0", "breakout"), ("MinAtarSpaceInvaders-v0", "space_invaders")):
    gym.register(_name, entry_point=f"{__name__}:MinAtar", kwargs={"game": _game})
gym.register("Catch-v0", entry_point=f"{__name__}:Catch")
gym.register("TMaze-v0", entry_point=f"{__name__}:TMaze", max_episode_steps=50)
gym.register("Wheels-v0", entry_point=f"{__name__}:Wheels", max_episode_steps=100)
gym.register("KeyDoor-v0", entry_point=f"{__name__}:KeyDoor", max_episode_steps=200)


# -- the best known players, which see what the agents do not ------------------------------------------------


def catch(game: Any) -> int:
    """Go under the ball."""
    return 1 + int(np.sign(game.column - game.paddle))


def t_maze(game: Any) -> int:
    """Remember the sign."""
    if game.position < game.LENGTH:
        return 0
    return 1 if game.sign < 0 else 2


def wheels(game: Any) -> np.ndarray:
    """Take the pair of speeds after which the target will be reached soonest."""

    def left_to_go(pair: tuple[int, int]) -> float:
        left, right = pair[0] - 2, pair[1] - 2
        turned = game.target * np.exp(-1j * game.TURN * (right - left) / 4)
        target = turned - game.STEP * (right + left) / 4
        if abs(target) < game.NEAR:
            return 0.0
        angle = abs(np.angle(target))  # driving backward is as good as forward
        return abs(target) / game.STEP + min(angle, np.pi - angle) / game.TURN

    return np.array(min(((a, b) for a in range(5) for b in range(5)), key=left_to_go))


def mean_return(env_id: str, play: Callable[[Any], Any] | None, episodes: int, most: int = 10**9) -> dict:
    """Mean and standard deviation of returns, with seed 0.

    Args:
        env_id: Which environment.
        play: Maps the environment to an action; None: draw actions evenly.
        episodes: How many.
        most: No further episode begins after so many steps.
    """
    env = gym.make(env_id)
    env.action_space.seed(0)
    returns: list[float] = []
    steps, seed = 0, 0
    while len(returns) < episodes and (steps < most or not returns):
        env.reset(seed=seed)
        seed, total, ended = None, 0.0, False
        while not ended:
            action = env.action_space.sample() if play is None else play(env.unwrapped)
            _, reward, terminated, truncated, _ = env.step(action)
            total, ended, steps = total + float(reward), terminated or truncated, steps + 1
        returns.append(total)
    env.close()
    return {"mean": float(np.mean(returns)), "std": float(np.std(returns)), "episodes": len(returns)}


if __name__ == "__main__":
    for _id, _play in (("Catch-v0", catch), ("TMaze-v0", t_maze), ("Wheels-v0", wheels)):
        for _who, _player in (("best known", _play), ("random", None)):
            print(_id, _who, mean_return(_id, _player, 300))
