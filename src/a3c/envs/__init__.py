"""Environments: finding them, checking what they need, making them in batches.

All have Gymnasium's interface; those of `functional/` can run inside a worker's program as well. Nothing here
imports Keras.
"""

import dataclasses
import difflib
import functools
import sys
import warnings
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv

from a3c.envs import atari, functional
from a3c.envs.copies import Copies
from a3c.errors import UsageError, describe, first_line
from a3c.spaces import distributions
from a3c.spaces.distributions import Bounds, Distribution
from a3c.spaces.observations import ObservationMismatch, Observations, describe_observations
from a3c.utils.user_modules import hidden_file, import_named


@dataclass(frozen=True)
class Environment:
    """What the rest of the system needs to know of an environment. Can be sent to another process."""

    spec: EnvSpec
    observations: Observations
    """How its observations are packed."""
    actions: Distribution
    """The distribution over its actions."""
    observation_space: gym.Space
    action_space: gym.Space
    vectorized: bool
    """Whether it has its own vector implementation, which steps many copies at once."""
    compiled: bool = False
    """Whether it can run inside a compiled program; see `functional/`."""

    @property
    def id(self) -> str:
        """The id it is registered under."""
        return self.spec.id

    @property
    def reward_threshold(self) -> float | None:
        """The mean return of 100 episodes at which its authors call it solved, if they say."""
        return None if self.spec.reward_threshold is None else float(self.spec.reward_threshold)


class MakingFailed(UsageError):
    """An environment that is there, but cannot be made; its cause is what it raised."""


def find(env_id: str, bounds: Bounds = "clip") -> Environment:
    """Look an environment up by its id, or by `module:EnvId`, and check that it can be trained on.

    Args:
        env_id: Which one.
        bounds: How continuous actions are kept inside theirs.

    Raises:
        UsageError: if there is none, it cannot be made, or its spaces are not supported.
    """
    spec = _find_spec(env_id)
    vectorized = spec.vector_entry_point is not None
    try:
        env = make_vector(spec, 1, vectorized)
    except Exception as error:
        fix = f"Making it failed: {first_line(error)}"
        raise MakingFailed(f"environment {env_id}", "one that can be made", fix) from error
    try:
        if vectorized and env.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
            vectorized = False  # single copies, stepped one by one, always reset as this package needs it
        observations = describe_observations(env.single_observation_space, env_id)
        actions = distributions.for_space(env.single_action_space, env_id, bounds)
        if isinstance(env, Copies):
            _check_first(env.envs[0], observations, env_id)
        compiled = spec.vector_entry_point == functional.VECTOR_ENTRY_POINT
        spaces = env.single_observation_space, env.single_action_space
        return Environment(spec, observations, actions, *spaces, vectorized, compiled)
    finally:
        env.close()


def _check_first(env: gym.Env, observations: Observations, env_id: str) -> None:
    """Raise `UsageError` where the first observation has another shape than its space: so will all others.

    Other faults may be gone when the environment is made anew: they are handled while it is played.
    """
    try:
        first, _ = env.reset(seed=0)
    except Exception:
        return
    try:
        if not observations.pack_any(first)[1]:
            raise ObservationMismatch(f"an observation of shape {np.shape(first)}, a batch of them")
    except ObservationMismatch as error:
        fix = "Correct its observation_space, or what its reset and step return."
        expected = f"{observations.describe()}, as its space says"
        raise UsageError(f"{env_id} showing {error}", expected, fix) from error


def _find_spec(env_id: str) -> EnvSpec:
    if (spec := functional.find_spec(env_id)) is not None:
        return spec
    if (game := atari.find_spec(env_id)) is not None:
        return game
    if env_id.startswith("envpool/"):
        from a3c.envs import envpool

        return envpool.find_spec(env_id.removeprefix("envpool/"))
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            import_named(module)
    except Exception as error:  # whatever the user's own code does then
        fix = hidden_file(module) or f"Importing {module} failed: {describe(error)}."
        expected = "module:EnvId with a module that can be imported"
        raise UsageError(f"environment {env_id}", expected, fix) from error
    try:
        with _no_version_advice():
            spec = gym.spec(name)
        if not module and str(spec.entry_point).startswith("ale_py"):  # known only once ALE was imported
            raise gym.error.NameNotFound(name)
        return spec
    except (gym.error.Error, ValueError) as error:
        close = atari.suggest(name) or difflib.get_close_matches(name, list(gym.registry), n=3, cutoff=0.5)
        fix = f"Closest: {', '.join(close)}." if close else "Yours? Give it as module:EnvId."
        if module:
            fix = hidden_file(module) or fix
        if isinstance(getattr(sys.modules.get(module), name, None), type):
            fix = f"It is a class. Register it: gymnasium.register('{name}-v0', entry_point='{env_id}')."
        raise UsageError(f"environment {env_id}", "the id of a registered environment", fix) from error


def _no_version_advice() -> warnings.catch_warnings:
    """Silence the advice to move to a newer version: the user's choice of version is deliberate."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)


def make_vector(spec: EnvSpec, num_envs: int, vectorized: bool, checked: bool = True) -> VectorEnv:
    """`num_envs` copies with next-step autoreset, by the environment's own vector code if it has any.

    Args:
        spec: What to make.
        num_envs: How many copies.
        vectorized: Whether to use the environment's own vector code.
        checked: Let Gymnasium check what single copies return, and warn. That costs speed.
    """
    if not checked:
        spec = dataclasses.replace(spec, disable_env_checker=True)
    with _no_version_advice():
        if vectorized:
            return gym.make_vec(spec, num_envs=num_envs, vectorization_mode="vector_entry_point")
        return Copies(functools.partial(gym.make, spec), num_envs)


def shows_lives(environment: Environment) -> bool:
    """Whether its `info` counts lives, as that of Atari's games does."""
    env = make_vector(environment.spec, 1, environment.vectorized)
    try:
        return "lives" in env.reset(seed=0)[1]
    finally:
        env.close()


def make_single(spec: EnvSpec, render_mode: str | None) -> gym.Env:
    """One copy, to be watched."""
    with _no_version_advice():
        # Not every environment takes a render mode, and None is what those that do begin with.
        return gym.make(spec) if render_mode is None else gym.make(spec, render_mode=render_mode)
