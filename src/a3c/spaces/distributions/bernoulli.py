"""Switches: MultiBinary actions, each on or off with a probability of its own."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from a3c.spaces.noise import logistic_noise


@dataclass(frozen=True)
class Bernoulli:
    """Independent switches; parameters are the logits of being on."""

    space_shape: tuple[int, ...]

    dtype = "int32"

    @property
    def shape(self) -> tuple[int, ...]:
        """A number per switch."""
        return (self.outputs,)

    @property
    def outputs(self) -> int:
        """A logit per switch."""
        return math.prod(self.space_shape)

    @property
    def noise(self) -> tuple[str, int]:
        """Logistic noise per switch."""
        return "logistic", self.outputs

    def choose(self, parameters: Any, noise: Any) -> Any:
        """On where logit and noise together are positive: with the probability sigmoid(logit)."""
        return (parameters + noise > 0).astype("int32")

    def uniform(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Logistic noise: a logit of zero is a fair coin."""
        return logistic_noise(generator, (*shape, self.outputs))

    def to_env(self, actions: Any) -> Any:
        """As bytes, in the shape of the space."""
        return actions.astype("int8").reshape(*actions.shape[:-1], *self.space_shape)

    def from_env(self, actions: np.ndarray) -> np.ndarray:
        """A row of switches each."""
        return actions.reshape(len(actions), self.outputs)

    def probabilities(self, parameters: np.ndarray) -> np.ndarray:
        """Of being on [N, *space] for logits [N, A]."""
        return (1.0 / (1.0 + np.exp(-parameters))).reshape(len(parameters), *self.space_shape)

    def contains(self, actions: np.ndarray) -> bool:
        """Whether each is 0 or 1."""
        return actions.dtype.kind in "iu" and bool(((actions == 0) | (actions == 1)).all())

    def log_prob(self, parameters: Any, actions: Any) -> Any:
        """The sum over all switches: log sigmoid(±logit)."""
        from keras import ops

        signs = 2.0 * ops.cast(actions, parameters.dtype) - 1.0
        return ops.sum(ops.log_sigmoid(signs * parameters), axis=-1)

    def entropy(self, parameters: Any) -> Any:
        """The sum over all switches, each from 0 (certain) to log 2."""
        from keras import ops

        certain = ops.isinf(parameters)  # adds nothing; its ∞ must not meet a product, nor a gradient
        logits = ops.where(certain, ops.zeros_like(parameters), parameters)
        on = ops.sigmoid(logits)
        each = -on * ops.log_sigmoid(logits) - (1 - on) * ops.log_sigmoid(-logits)
        return ops.sum(ops.where(certain, ops.zeros_like(each), each), axis=-1)

    def describe(self) -> str:
        """In words."""
        return f"{self.outputs} switches"
