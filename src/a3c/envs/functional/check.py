"""Whether the functions of an environment return the right shapes: by tracing, which computes nothing."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import jax
import numpy as np

from a3c.envs.functional.stepping import draw_key, key_data
from a3c.errors import UsageError, first_line


def check(env: Any, reference: str) -> None:
    """Raise `UsageError`, with the function that is wrong, if `env` could not be stepped in a program."""
    key = jax.eval_shape(lambda data: draw_key(data)[1], key_data(0))
    space = env.action_space
    dtype = np.float32 if np.issubdtype(space.dtype, np.floating) else np.int32
    action = jax.ShapeDtypeStruct(space.shape or (), dtype)

    def shapes(name: str, *arguments: Any) -> Any:
        function: Callable = getattr(env, name)
        try:
            return jax.eval_shape(function, *arguments, key)
        except Exception as error:
            fix = f"Tracing it failed: {type(error).__name__}: {first_line(error)}"
            raise UsageError(f"{reference}.{name}", "a pure function on JAX arrays", fix) from error

    state = shapes("initial")
    moved = shapes("transition", state, action)
    if _described(moved) != _described(state):
        raise UsageError(
            f"{reference}.transition returning {_described(moved)}",
            f"a state as initial returns it, {_described(state)}",
        )
    for name, arguments in (("reward", (state, action, moved)), ("terminal", (moved,))):
        shape = shapes(name, *arguments).shape
        if math.prod(shape) != 1:
            raise UsageError(f"{reference}.{name} returning shape {shape}", "one number for one copy")
    if isinstance(env.observation_space, gym.spaces.Dict | gym.spaces.Tuple):
        return  # looked at part by part where it is packed
    seen, promised = shapes("observation", state).shape, env.observation_space.shape
    if seen != promised:
        raise UsageError(f"{reference}.observation returning shape {seen}", f"that of its space, {promised}")


def _described(state: Any) -> str:
    """The structure, shapes and dtypes of a state in words."""
    return str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", state))
