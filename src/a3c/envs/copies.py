"""Copies of an environment stepped in turn, with a record of how each one's episode began.

Gymnasium's `SyncVectorEnv` with next-step autoreset and two things more: it keeps the states of a copy's
random generators from before each reset, and when a copy fails, it knows which one.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import concatenate, iterate

from a3c.envs import generators


class Copies(SyncVectorEnv):
    """`count` copies of what `make` makes. The observations that it returns are overwritten by the next call.

    Attributes:
        beginnings: Of each copy's last episode, a plain tree: the `seed` of its reset or None, and the states
            of its `generators` just before.
        current: Which copy is being called; None: none.
        layers: Of each copy, its wrappers from the outside in, and the environment itself.
    """

    def __init__(self, make: Callable[[], gym.Env], count: int):
        super().__init__([make] * count, copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
        self.beginnings: list[dict[str, Any]] = [{"seed": None, "generators": []} for _ in range(count)]
        self.current: int | None = None
        self.layers = [generators.layers_of(env) for env in self.envs]

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        """Start every copy anew; the k-th with `seed` + k. Returns observations [B, *O] and information."""
        if not isinstance(seed, list):
            seed = [None if seed is None else seed + i for i in range(self.num_envs)]
        infos: dict[str, Any] = {}
        for i, each in enumerate(seed):
            self.current = i
            self.beginnings[i] = {"seed": each, "generators": generators.states(self.layers[i])}
            self._env_obs[i], info = self.envs[i].reset(seed=each, options=options)
            infos = self._add_info(infos, info, i)
        self.current = None
        self._rewards[:], self._terminations[:], self._truncations[:] = 0.0, False, False
        return self._joined(), infos

    def step(self, actions: Any):
        """One step of every copy; those that ended in the last one are reset instead."""
        infos: dict[str, Any] = {}
        for i, (action, env) in enumerate(zip(iterate(self.action_space, actions), self.envs, strict=True)):
            self.current = i
            if self._autoreset_envs[i]:
                self.beginnings[i] = {"seed": None, "generators": generators.states(self.layers[i])}
                self._env_obs[i], info = env.reset()
                self._rewards[i], self._terminations[i], self._truncations[i] = 0.0, False, False
            else:
                self._env_obs[i], self._rewards[i], self._terminations[i], self._truncations[i], info = (
                    env.step(action)
                )
            infos = self._add_info(infos, info, i)
        self.current = None
        seen = self._joined()
        return seen, self._rewards.copy(), self._terminations.copy(), self._truncations.copy(), infos

    def begin(self, i: int, beginning: dict[str, Any]) -> None:
        """Begin an episode of copy `i` as another one began."""
        generators.restore(self.layers[i], beginning["generators"])
        self.beginnings[i] = beginning
        self._env_obs[i], _ = self.envs[i].reset(seed=beginning["seed"])

    def take(self, i: int, action: Any) -> tuple[float, bool]:
        """One step of copy `i` alone; returns its reward, and whether its episode ended."""
        self._env_obs[i], reward, terminated, truncated, _ = self.envs[i].step(action)
        self._rewards[i], self._terminations[i], self._truncations[i] = reward, terminated, truncated
        return float(np.float32(reward)), bool(terminated or truncated)

    def reset_next(self, i: int) -> None:
        """Let the next step reset copy `i`."""
        self._terminations[i] = self._autoreset_envs[i] = True

    def waits(self, i: int) -> bool:
        """Whether the next step resets copy `i`."""
        return bool(self._autoreset_envs[i])

    def shown(self, i: int) -> Any:
        """The last observation of copy `i`; None before its first."""
        return self._env_obs[i]

    def _joined(self) -> Any:
        self._autoreset_envs = self._terminations | self._truncations
        self._observations = concatenate(self.single_observation_space, self._env_obs, self._observations)
        return self._observations
