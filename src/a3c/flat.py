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


def parameters_of(model: keras.Model) -> np.ndarray:
    """The trainable weights of `model` as one new vector: [P] float32."""
    values = [keras.ops.convert_to_numpy(v.value).ravel() for v in model.trainable_variables]
    return np.concatenate(values).astype(np.float32)


def assign_parameters(model: keras.Model, flat: np.ndarray) -> None:
    """Write the vector [P] back into the trainable weights of `model`."""
    sizes = [math.prod(v.shape) for v in model.trainable_variables]
    ends = list(itertools.accumulate(sizes))
    for variable, end, size in zip(model.trainable_variables, ends, sizes, strict=True):
        variable.assign(np.reshape(flat[end - size : end], variable.shape))


def fixed_of(model: keras.Model) -> list[np.ndarray]:
    """The non-trainable weights of `model`, such as the statistics of a normalisation layer."""
    return [ops.convert_to_numpy(v.value) for v in model.non_trainable_variables]


@dataclass(frozen=True)
class Network:
    """A model as a function of its weights.

    Attributes:
        model: A built model; the values of its own variables are never used.
        fixed: The values of its non-trainable weights, which training leaves as they are.
    """

    model: keras.Model
    fixed: list[np.ndarray]


def apply_network(network: Network, weights: Any, observations: Any) -> tuple[Any, Any]:
    """Call the model with the flat `weights` in place of its own.

    Args:
        network: The model and its fixed weights.
        weights: [P] float32.
        observations: [N, *O].

    Returns:
        Policy parameters [N, A] and values [N].
    """
    trainable = Layout.of(network.model.trainable_variables).split({"float32": weights})
    outputs, _ = network.model.stateless_call(trainable, network.fixed, observations, training=False)
    policy_parameters, values = outputs
    return policy_parameters, ops.reshape(values, (-1,))


# For these the parameters may as well be one variable, which compiles six times faster. Other optimizers
# see the model's own variables.
_ELEMENTWISE = ("SGD", "RMSprop", "Adam", "Adadelta", "Adagrad", "Adamax", "Nadam", "Lion", "Ftrl")


def is_elementwise(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the optimizer's update of one number depends on no other number."""
    cls = type(optimizer)
    own_rules = optimizer.clipnorm is not None or optimizer.weight_decay
    return cls.__module__.startswith("keras.") and cls.__name__ in _ELEMENTWISE and not own_rules


def build_optimizer(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> list[keras.Variable]:
    """Create the optimizer's state for `model`, and return the variables that it was built on.

    That is one flat copy where the optimizer works number by number, else the model's own weights.
    """
    if is_elementwise(optimizer):
        variables = [keras.Variable(parameters_of(model), name="parameters")]
    else:
        variables = list(model.trainable_variables)
    optimizer.build(variables)
    return variables
