"""The state of environments as plain trees: taken out of running copies, put into freshly made ones.

A captured state is a list of numbered nodes, one per object; a list of one number refers to a node. So shared
references, cycles and views of arrays stay what they are. `restore` fills the objects of the fresh
environment in place where it can. It imports nothing, and makes new objects without calling their
constructors, only of classes that belong to the environment. Called by whatever writes samplers to disk, and
by `continuity`.

What it cannot see: variables of closures, module and class variables that no instance refers to, and the
order of a set after many removals.
"""

import random
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from a3c.envs.state.objects import Unsaveable, plain_copy, random_state, set_random_state
from a3c.envs.state.restoration import Restoration
from a3c.envs.state.walk import Walk
from a3c.errors import describe

__all__ = ["Unsaveable", "capture", "capture_globals", "restore", "restore_globals"]

_VERSION = 1


def capture(env: gym.Env | VectorEnv) -> dict[str, Any]:
    """The state of `env` as a plain tree, which shares nothing with it.

    An environment with `state_dict() -> plain tree` and `load_state_dict(tree)` is asked; others are walked.

    Raises:
        Unsaveable: if some of it cannot be read.
    """
    try:
        return {"version": _VERSION, "nodes": Walk(env).nodes}
    except Unsaveable:
        raise
    except Exception as error:  # foreign objects may do anything when they are looked at
        why = f"some of which cannot be looked at: {describe(error)}"
        raise Unsaveable("", type(env.unwrapped).__name__, why=why) from error


def restore(env: gym.Env | VectorEnv, tree: dict[str, Any]) -> None:
    """Put the state `tree` into `env`, a freshly made environment of the same kind that was reset once.

    Raises:
        ValueError: if `tree` is not the state of such an environment. Nothing has changed then, unless a
            generator or the environment's own `load_state_dict` refused.
        Unsaveable: if it would need objects of classes that are not the environment's.
    """
    try:
        if tree["version"] != _VERSION:
            raise ValueError(f"version {tree['version']}, not {_VERSION}")
        Restoration(env, tree["nodes"]).run()
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"This is not the state of such an environment: {error}") from error


def capture_globals() -> dict[str, Any]:
    """The state of the module-level generators of `random` and `numpy.random`, as a plain tree."""
    return {"random": random_state(random), "numpy": plain_copy(np.random.get_state(legacy=False))}


def restore_globals(tree: dict[str, Any]) -> None:
    """Put back what `capture_globals` returned.

    Raises:
        ValueError: for anything else.
    """
    try:
        set_random_state(random, tree["random"])
        np.random.set_state(plain_copy(tree["numpy"]))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"This is not the state of the global generators: {error}") from error
