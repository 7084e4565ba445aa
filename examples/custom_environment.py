"""An environment of your own: register it with Gymnasium, and `module:EnvId` finds it.

    cd examples
    a3c train custom_environment:Corridor-v0
    a3c evaluate Corridor-v0

The agent stands in a corridor and must walk to the end that a lamp shows. Each step costs a little, so the
best return is known: 1 − 0.05 · (steps to the end − 1).
"""

import gymnasium as gym
import numpy as np

LENGTH = 4


class Corridor(gym.Env):
    """Walk left (0) or right (1) to the end that the lamp shows; the other end pays −1."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None):
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Stand in the middle; light a lamp at random."""
        super().reset(seed=seed)
        self.position = 0
        self.goal = int(self.np_random.choice([-LENGTH, LENGTH]))
        return self._observation(), {}

    def step(self, action: int):
        """Move by one."""
        self.position += 1 if action == 1 else -1
        done = abs(self.position) == LENGTH
        reward = (1.0 if self.position == self.goal else -1.0) if done else -0.05
        return self._observation(), reward, done, False, {}

    def render(self) -> np.ndarray:
        """A picture of the corridor: the lamp yellow, the agent blue."""
        cells = np.full((1, 2 * LENGTH + 1, 3), 230, np.uint8)
        cells[0, self.goal + LENGTH] = (250, 210, 60)
        cells[0, self.position + LENGTH] = (50, 90, 200)
        return cells.repeat(32, axis=0).repeat(32, axis=1)

    def _observation(self) -> np.ndarray:
        return np.array([self.position / LENGTH, np.sign(self.goal)], np.float32)


gym.register("Corridor-v0", entry_point=f"{__name__}:Corridor", max_episode_steps=50, reward_threshold=0.8)
