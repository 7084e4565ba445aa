"""Choices among things: Discrete actions by a softmax, MultiDiscrete ones by several independent ones."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from a3c.spaces.noise import gumbel_noise


@dataclass(frozen=True)
class Categorical:
    """One of `size` actions, counted from 0; the environment counts from `start`. Parameters are logits."""

    size: int
    start: int = 0
    space_dtype: str = "int64"

    shape = ()
    dtype = "int32"

    @property
    def outputs(self) -> int:
        """A logit per action."""
        return self.size

    @property
    def noise(self) -> tuple[str, int]:
        """Gumbel noise per logit."""
        return "gumbel", self.size

    def choose(self, parameters: Any, noise: Any) -> Any:
        """The Gumbel-max trick: a sample of the softmax."""
        return (parameters + noise).argmax(-1)

    def uniform(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Gumbel noise: equal logits are uniform."""
        return gumbel_noise(generator, (*shape, self.size))

    def to_env(self, actions: Any) -> Any:
        """Counted from the environment's own start, in the dtype of its space."""
        return _typed(actions + self.start if self.start else actions, self.space_dtype)

    def from_env(self, actions: np.ndarray) -> np.ndarray:
        """Counted from 0."""
        return actions - self.start

    def probabilities(self, parameters: np.ndarray) -> np.ndarray:
        """Those of all actions [N, A] for logits [N, A]."""
        return _softmax(parameters)

    def contains(self, actions: np.ndarray) -> bool:
        """Whether each is one of them."""
        return actions.dtype.kind in "iu" and bool(((actions >= 0) & (actions < self.size)).all())

    def log_prob(self, parameters: Any, actions: Any) -> Any:
        """log π(a|s). `parameters`: [..., A]; `actions`: [...] integers. Returns [...]."""
        return log_softmax_at(parameters, actions)

    def entropy(self, parameters: Any) -> Any:
        """−Σ π log π in nats, from 0 (certain) to log A (uniform)."""
        return softmax_entropy(parameters)

    def describe(self) -> str:
        """In words."""
        return f"{self.size} actions"


@dataclass(frozen=True)
class MultiCategorical:
    """Several independent choices at once; the k-th among `sizes[k]` things, counted from `starts[k]`."""

    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    space_shape: tuple[int, ...]
    space_dtype: str = "int64"

    dtype = "int32"

    @property
    def shape(self) -> tuple[int, ...]:
        """A number per choice."""
        return (len(self.sizes),)

    @property
    def outputs(self) -> int:
        """A logit per thing, choice after choice."""
        return sum(self.sizes)

    @property
    def noise(self) -> tuple[str, int]:
        """Gumbel noise per logit."""
        return "gumbel", self.outputs

    def choose(self, parameters: Any, noise: Any) -> Any:
        """The Gumbel-max trick for each choice."""
        loud = parameters + noise
        return loud.__array_namespace__().stack([part.argmax(-1) for part in self._parts(loud)], -1)

    def uniform(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Gumbel noise: equal logits are uniform."""
        return gumbel_noise(generator, (*shape, self.outputs))

    def to_env(self, actions: Any) -> Any:
        """Counted from the environment's own starts, in the shape and dtype of its space."""
        started = actions + np.array(self.starts, np.int32) if any(self.starts) else actions
        return _typed(started, self.space_dtype).reshape(*actions.shape[:-1], *self.space_shape)

    def from_env(self, actions: np.ndarray) -> np.ndarray:
        """Counted from 0, in a row."""
        return actions.reshape(len(actions), -1) - np.array(self.starts)

    def probabilities(self, parameters: np.ndarray) -> list[np.ndarray]:
        """Those of the things [N, sizes[k]] of each choice k."""
        return list(map(_softmax, self._parts(parameters)))

    def contains(self, actions: np.ndarray) -> bool:
        """Whether each is among the things of its choice."""
        return actions.dtype.kind in "iu" and bool(((actions >= 0) & (actions < np.array(self.sizes))).all())

    def log_prob(self, parameters: Any, actions: Any) -> Any:
        """The sum over all choices, which are independent."""
        parts = enumerate(self._parts(parameters))
        return sum(log_softmax_at(part, actions[..., k]) for k, part in parts)

    def entropy(self, parameters: Any) -> Any:
        """The sum over all choices."""
        return sum(map(softmax_entropy, self._parts(parameters)))

    def describe(self) -> str:
        """In words."""
        return f"{len(self.sizes)} choices among {', '.join(map(str, self.sizes))}"

    def _parts(self, parameters: Any) -> list[Any]:
        ends = list(itertools.accumulate(self.sizes))
        return [parameters[..., end - size : end] for end, size in zip(ends, self.sizes, strict=True)]


def _typed(actions: Any, dtype: str) -> Any:
    """`actions` in another dtype than Gymnasium's usual one, which may hold any of ours."""
    return actions if dtype == "int64" else actions.astype(dtype)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def log_softmax_at(logits: Any, chosen: Any) -> Any:
    """The logarithm of the probability of `chosen` [...] under `logits` [..., A]: [...]."""
    from keras import ops

    # Faster than indexing, also its gradient. No product: a logit of −∞ rules an action out.
    one_hot = ops.one_hot(chosen, logits.shape[-1], dtype="bool")
    return ops.sum(ops.where(one_hot, ops.log_softmax(logits), 0.0), axis=-1)


def softmax_entropy(logits: Any) -> Any:
    """−Σ π log π of the softmax of `logits` [..., A]: [...]."""
    from keras import ops

    log_probs = ops.log_softmax(logits)
    probs = ops.exp(log_probs)
    # What is never done adds nothing; its −∞ must not meet a product, nor the product's gradient.
    return -ops.sum(probs * ops.where(probs > 0, log_probs, 0.0), axis=-1)
