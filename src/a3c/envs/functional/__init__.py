"""Functional environments: pure functions on JAX arrays, run inside the worker's own program.

Their interface is `gymnasium.experimental.functional.FuncEnv`: initial, transition, observation, reward and
terminal, each for a single copy. This folder batches them, resets them and limits their episodes. An
environment may have two attributes that the interface lacks: `max_episode_steps` and `reward_threshold`.

    jax/CartPole-v1, jax/CartPole-v0    ours, step for step Gymnasium's
    gymnax/<id>                         those of gymnax (an extra)
    module:Class                        a FuncEnv of your own

This folder imports JAX, whatever the backend: under TensorFlow the same environments are stepped by
`vector.py`, like any other. This file imports no JAX, so that looking up an environment is cheap.
"""

import inspect
from typing import Any

from gymnasium.envs.registration import EnvSpec

from a3c.errors import UsageError, first_line
from a3c.utils.user_modules import import_named

VECTOR_ENTRY_POINT = "a3c.envs.functional.vector:FunctionalVectorEnv"
_OURS = {"jax/CartPole-v1": (500, 475.0), "jax/CartPole-v0": (200, 195.0)}
"""Time limits and reward thresholds of our own environments."""


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
    others = getattr(env, "max_episode_steps", None), getattr(env, "reward_threshold", None)
    limit, threshold = _OURS.get(env_id, others)
    return EnvSpec(
        id=env_id,
        entry_point="a3c.envs.functional.vector:make_single",
        vector_entry_point=VECTOR_ENTRY_POINT,
        kwargs={"reference": env_id},
        max_episode_steps=limit,
        reward_threshold=threshold,
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
    return getattr(import_named(module), name)()


def _is_class(env_id: str) -> bool:
    """Whether `env_id` is the `module:Class` of a functional environment."""
    from gymnasium.experimental.functional import FuncEnv

    module, _, name = env_id.partition(":")
    if not (module and name.isidentifier()):
        return False
    try:
        found = getattr(import_named(module), name, None)
    except Exception:
        return False  # `envs` tells what is wrong with the module
    return inspect.isclass(found) and issubclass(found, FuncEnv)
