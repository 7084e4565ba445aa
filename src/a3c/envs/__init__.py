"""Environments: finding them, checking what they need, making them in batches.

All are Gymnasium's or look like it; those of `compiled/` can run inside a worker's program as well. Nothing
here imports Keras.
"""

import dataclasses
import difflib
import os
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv

from a3c.envs import compiled
from a3c.errors import UsageError, describe, first_line


@dataclass(frozen=True)
class Environment:
    """What the rest of the system needs to know of an environment. Can be sent to another process."""

    spec: EnvSpec
    observation_shape: tuple[int, ...]
    num_actions: int
    action_start: int
    """The environment's own number for the first action: `Discrete(n, start=k)` counts from k."""
    vectorized: bool
    """Whether it has its own vector implementation, which steps many copies at once."""
    compiled: bool = False
    """Whether it can run inside a compiled program; see `compiled`."""

    @property
    def id(self) -> str:
        """The id it is registered under."""
        return self.spec.id

    @property
    def reward_threshold(self) -> float | None:
        """The mean return of 100 episodes at which its authors call it solved, if they say."""
        return None if self.spec.reward_threshold is None else float(self.spec.reward_threshold)


def find(env_id: str) -> Environment:
    """Look an environment up by its id, or by `module:EnvId`, and check that it can be trained on.

    Raises:
        UsageError: if there is none, it cannot be made, or its spaces are not supported.
    """
    spec = _find_spec(env_id)
    vectorized = spec.vector_entry_point is not None
    try:
        env = make_vector(spec, 1, vectorized)
    except Exception as error:
        raise UsageError(
            f"environment {env_id}", "one that can be made", f"Making it failed: {first_line(error)}"
        ) from error
    try:
        if vectorized and env.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
            vectorized = False  # single copies, stepped one by one, always reset as this package needs it
        observation, action = env.single_observation_space, env.single_action_space
        _check_spaces(env_id, observation, action)
        assert isinstance(action, gym.spaces.Discrete)
        assert observation.shape is not None
        return Environment(
            spec, observation.shape, int(action.n), int(action.start), vectorized, _is_compiled(spec)
        )
    finally:
        env.close()


def _is_compiled(spec: EnvSpec) -> bool:
    return spec.vector_entry_point == compiled.VECTOR_ENTRY_POINT


def _find_spec(env_id: str) -> EnvSpec:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, so that module:EnvId finds a file of yours
    if (functional := compiled.find_spec(env_id)) is not None:
        return functional
    if env_id.startswith("envpool/"):
        from a3c.envs import envpool

        return envpool.find_spec(env_id.removeprefix("envpool/"))
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            __import__(module)
    except Exception as error:  # whatever the user's own code does then
        fix = f"Importing {module} failed: {describe(error)}."
        expected = "module:EnvId with a module that can be imported"
        raise UsageError(f"environment {env_id}", expected, fix) from error
    try:
        with _no_version_advice():
            return gym.spec(name)
    except (gym.error.Error, ValueError) as error:
        close = difflib.get_close_matches(name, list(gym.registry), n=3, cutoff=0.5)
        fix = f"Closest: {', '.join(close)}." if close else "Yours? Give it as module:EnvId."
        raise UsageError(f"environment {env_id}", "the id of a registered environment", fix) from error


def _check_spaces(env_id: str, observation: gym.Space, action: gym.Space) -> None:
    """Refuse, by name, what the networks and the policy of this version do not handle."""
    spaces = gym.spaces
    if not isinstance(observation, spaces.Box):
        fix = "Wrap it with gymnasium.wrappers.FlattenObservation, which makes it a vector"
        fix += " (one-hot for a number)." if isinstance(observation, spaces.Discrete) else "."
        raise UsageError(f"{env_id} with observations {observation}", "vectors: Box of shape (n,)", fix)
    if len(observation.shape) != 1:
        kind = "images" if len(observation.shape) in (2, 3) else f"{len(observation.shape)} dimensions"
        raise UsageError(
            f"{env_id} with observations {_brief(observation)}",
            f"vectors, Box of shape (n,), not {kind}",
            "Images are not supported yet; gymnasium.wrappers.FlattenObservation makes them vectors.",
        )
    if not isinstance(action, spaces.Discrete):
        kind = "Continuous" if isinstance(action, spaces.Box) else type(action).__name__
        fix = f"{kind} actions are not supported yet; wrap them to a list of choices (ActionWrapper)."
        raise UsageError(f"{env_id} with actions {action}", "Discrete actions", fix)


def _brief(box: gym.spaces.Box) -> str:
    return f"Box(shape={box.shape}, {box.dtype})"


def _no_version_advice() -> warnings.catch_warnings:
    """Silence the advice to move to a newer version: the user's choice of version is deliberate."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)


def make_vector(spec: EnvSpec, num_envs: int, vectorized: bool, checked: bool = True) -> VectorEnv:
    """`num_envs` copies with next-step autoreset, by the environment's own vector code if it has any.

    Args:
        spec: What to make.
        num_envs: How many copies.
        vectorized: Whether to use the environment's own vector code.
        checked: Let Gymnasium look at what single copies return, and warn: once is enough, and not where
            speed counts.
    """
    if not checked:
        spec = dataclasses.replace(spec, disable_env_checker=True)
    with _no_version_advice():
        if vectorized:
            return gym.make_vec(spec, num_envs=num_envs, vectorization_mode="vector_entry_point")
        options: dict[str, Any] = dict(copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
        return gym.make_vec(spec, num_envs=num_envs, vectorization_mode="sync", vector_kwargs=options)


def make_single(spec: EnvSpec, render_mode: str | None) -> gym.Env:
    """One copy, to be watched."""
    with _no_version_advice():
        # Not every environment takes a render mode, and None is what those that do begin with.
        return gym.make(spec) if render_mode is None else gym.make(spec, render_mode=render_mode)
