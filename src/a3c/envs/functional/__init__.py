"""Compiled environments: pure functions on JAX arrays, run inside the worker's own program.

Their interface is `gymnasium.experimental.functional.FuncEnv`: initial, transition, observation, reward and
terminal, each for a single copy; this package batches them, resets them and limits their episodes. Two
optional class attributes say what the interface does not: `max_episode_steps` and `reward_threshold`.

    jax/CartPole-v1, jax/CartPole-v0    ours, step for step Gymnasium's
    gymnax/<id>                         those of gymnax (an extra)
    module:Class                        a FuncEnv of your own

This folder imports JAX, whatever the backend: under TensorFlow the same environments are stepped by
`vector.py`, like any other. This file does not, so that looking for an environment stays cheap.
"""

import importlib
import inspect
from typing import Any

from gymnasium.envs.registration import EnvSpec

from a3c.errors import UsageError, first_line

VECTOR_ENTRY_POINT = "a3c.envs.functional.vector:FunctionalVectorEnv"
_OURS = {"jax/CartPole-v1": 500, "jax/CartPole-v0": 200}  # and their time limits
_THRESHOLDS = {"jax/CartPole-v1": 475.0, "jax/CartPole-v0": 195.0}


def find_spec(env_id: str) -> EnvSpec | None:
    """The specification of a compiled environment, or None where `env_id` names none.

    Raises:
        UsageError: for an id that asks for a compiled environment which cannot be had.
    """
    namespace, _, _ = env_id.rpartition("/")
    if namespace not in ("jax", "gymnax") and not _is_class(env_id):
        return None
    try:
        env = load(env_id)
        if ":" in env_id:
            from a3c.envs.functional.check import check

            check(env, env_id)
    except UsageError:
        raise
    except Exception as error:
        fix = f"Making it failed: {first_line(error)}"
        raise UsageError(f"environment {env_id}", "a FuncEnv that is made without arguments", fix) from error
    return EnvSpec(
        id=env_id,
        entry_point="a3c.envs.functional.vector:FunctionalEnv",
        vector_entry_point=VECTOR_ENTRY_POINT,
        kwargs={"reference": env_id},
        max_episode_steps=_OURS.get(env_id, getattr(env, "max_episode_steps", None)),
        reward_threshold=_THRESHOLDS.get(env_id, getattr(env, "reward_threshold", None)),
        disable_env_checker=True,
    )


def load(reference: str) -> Any:
    """A new `FuncEnv` for `jax/…`, `gymnax/…` or `module:Class`.

    Raises:
        UsageError: if there is none of that name.
    """
    namespace, _, name = reference.rpartition("/")
    if namespace == "gymnax":
        from a3c.envs.functional import gymnax

        return gymnax.make(name)
    if namespace == "jax":
        if reference not in _OURS:
            raise UsageError(f"environment {reference}", f"one of {', '.join(_OURS)}", "Or gymnax/<id>.")
        from a3c.envs.functional.cartpole import CartPole

        return CartPole()
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)()


def world_of(environment: Any, discount: float = 1.0) -> Any:
    """The `stepping.World` of an `envs.Environment` that is compiled."""
    from a3c.envs.functional.stepping import World

    spec = environment.spec
    env = load(spec.kwargs["reference"])
    return World(env, spec.max_episode_steps, environment.observations, environment.actions, discount)


def _is_class(env_id: str) -> bool:
    """Whether `env_id` is the `module:Class` of a functional environment."""
    from gymnasium.experimental.functional import FuncEnv

    module, _, name = env_id.partition(":")
    if not (module and name.isidentifier()):
        return False
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception:
        return False  # `envs` tells what is wrong with the module
    return inspect.isclass(found) and issubclass(found, FuncEnv)
