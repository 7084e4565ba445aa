"""Parameters as one flat vector: how Keras variables are laid out in it and taken out again.

Stores, engines and workers only ever see `[P]` float32 for the parameters, and one flat vector per dtype
for the optimizer's state, so that a pull or a push is one copy. Called by the backends.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from a3c.networks import ActorCritic


@dataclass(frozen=True)
class Layout:
    """The shapes and dtypes of a list of arrays, in order."""

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, variables: Sequence[Any]) -> "Layout":
        """The layout of these Keras variables."""
        shapes = tuple(tuple(map(int, v.shape)) for v in variables)
        return cls(shapes, tuple(keras.backend.standardize_dtype(v.dtype) for v in variables))

    def split(self, flat: dict[str, Any]) -> list[Any]:
        """The arrays, as slices of the flat vectors of their dtypes."""
        position = dict.fromkeys(flat, 0)
        arrays = []
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            start, end = position[dtype], position[dtype] + math.prod(shape)
            arrays.append(ops.reshape(flat[dtype][start:end], shape))
            position[dtype] = end
        return arrays

    def join(self, arrays: Sequence[Any]) -> dict[str, Any]:
        """The flat vectors of these arrays, one per dtype."""
        return {
            dtype: ops.concatenate([ops.reshape(a, (-1,)) for a, d in self._pairs(arrays) if d == dtype])
            for dtype in sorted(set(self.dtypes))
        }

    def _pairs(self, arrays: Sequence[Any]):
        return zip(arrays, self.dtypes, strict=True)


def trainable_of(model: keras.Model) -> np.ndarray:
    """The trainable weights of `model` as one new vector, float32."""
    values = [keras.ops.convert_to_numpy(v.value).ravel() for v in model.trainable_variables]
    return np.concatenate(values).astype(np.float32)


def parameters_of(model: keras.Model) -> np.ndarray:
    """The trainable weights of `model` and the statistics that it carries, as one new vector [P] float32."""
    return np.concatenate([trainable_of(model), statistics_of(model)])


def statistics_of(model: keras.Model) -> np.ndarray:
    """The running statistics that a model carries, see `normalisation`; none where nothing is normalised."""
    return getattr(model, _STATISTICS, np.zeros(0, np.float32))


def set_statistics(model: keras.Model, numbers: Any) -> None:
    """Let a model carry these running statistics; they are no weights of Keras'."""
    object.__setattr__(model, _STATISTICS, np.array(numbers, np.float32))


_STATISTICS = "a3c_statistics"


def assign_parameters(model: keras.Model, flat: np.ndarray) -> None:
    """Write the vector [P] back into the trainable weights of `model` and the statistics that it carries."""
    if size := statistics_of(model).size:
        set_statistics(model, flat[len(flat) - size :])
    sizes = [math.prod(v.shape) for v in model.trainable_variables]
    ends = list(itertools.accumulate(sizes))
    for variable, end, size in zip(model.trainable_variables, ends, sizes, strict=True):
        variable.assign(np.reshape(flat[end - size : end], variable.shape))


def non_trainable_of(model: keras.Model) -> list[np.ndarray]:
    """The non-trainable weights of `model`, such as the statistics of a normalisation layer."""
    return [ops.convert_to_numpy(v.value) for v in model.non_trainable_variables]


Towers = tuple[tuple[slice, ...], ...]
"""Of each tower of a network, where its weights lie in the flat vector."""


def towers_of(model: keras.Model) -> Towers:
    """Where the weights of the policy's tower and of the value's lie in the flat vector.

    It is one tower of all weights where policy and value share some, and for models of the user's own.
    """
    policy: set[int] = set()
    if type(model) is ActorCritic and not model.settings["shared_tower"]:
        layers = model.policy_body, model.policy_head
        policy = {id(variable) for layer in layers for variable in layer.trainable_variables}
    towers: dict[bool, list[slice]] = {}
    start = 0
    for own, run in itertools.groupby(model.trainable_variables, lambda variable: id(variable) in policy):
        end = start + sum(math.prod(variable.shape) for variable in run)
        towers.setdefault(own, []).append(slice(start, end))
        start = end
    return tuple(map(tuple, towers.values()))
