"""Environments of EnvPool, stepped in C++, as `envpool/<id>` (Weng et al. 2022, "EnvPool").

EnvPool resets in the step after an end, as this package needs it. It takes its seed when it is made, so a
reset with a seed makes the pool anew. Each worker gives it one thread, its own.
"""

import difflib
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from a3c.errors import UsageError


def find_spec(name: str) -> EnvSpec:
    """The specification of the environment that EnvPool calls `name`.

    Raises:
        UsageError: if EnvPool is not installed or has no such environment.
    """
    try:
        import envpool  # type: ignore[import-not-found] - an extra
    except ImportError as error:
        fix = f"Install it with: pip install 'a3c[envpool]' ({error})."
        raise UsageError(f"environment envpool/{name}", "EnvPool to be installed", fix) from error
    names = envpool.list_all_envs()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        fix = f"Closest: {', '.join(f'envpool/{c}' for c in close)}." if close else ""
        raise UsageError(f"environment envpool/{name}", "an environment of EnvPool", fix)
    spec = envpool.make_spec(name)
    return EnvSpec(
        id=f"envpool/{name}",
        entry_point="a3c.envs.envpool:make_original",
        vector_entry_point="a3c.envs.envpool:EnvPoolVectorEnv",
        kwargs={"name": name},
        max_episode_steps=spec.config.max_episode_steps,
        reward_threshold=spec.reward_threshold,
        disable_env_checker=True,
    )


def make_original(name: str, render_mode: str | None = None) -> gym.Env:
    """One copy of Gymnasium's environment of that name, to be watched: EnvPool does not draw.

    Raises:
        UsageError: if Gymnasium has none.
    """
    if name not in gym.registry:
        raise UsageError(f"envpool/{name} to be watched", "one that Gymnasium has as well")
    return gym.make(name, render_mode=render_mode)


class EnvPoolVectorEnv(VectorEnv):
    """B copies of one of EnvPool's environments.

    Args:
        num_envs: B.
        name: What EnvPool calls it.
        max_episode_steps: Steps after which an episode is truncated.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012 - Gymnasium's

    def __init__(self, num_envs: int, name: str, max_episode_steps: int):
        self._options: dict[str, Any] = dict(
            num_envs=num_envs, num_threads=1, max_episode_steps=max_episode_steps
        )
        self._name = name
        self._pool = self._make(0)
        self.num_envs = num_envs
        self.single_observation_space = self._pool.observation_space
        self.single_action_space = self._pool.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        """Start every copy anew; returns observations [B, *O]."""
        first = seed[0] if isinstance(seed, list) else seed
        if first is not None:
            self._pool.close()
            self._pool = self._make(first)
        return self._pool.reset()

    def step(self, actions: Any):
        """One step of every copy; those that ended in the last one are reset instead."""
        return self._pool.step(np.asarray(actions))

    def close_extras(self, **_: Any) -> None:
        """End the pool's thread."""
        self._pool.close()

    def _make(self, seed: int) -> Any:
        import envpool  # type: ignore[import-not-found] - an extra

        return envpool.make_gymnasium(self._name, seed=seed % 2**31, **self._options)
