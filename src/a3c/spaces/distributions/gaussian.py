"""Continuous actions: a Gaussian with a diagonal covariance.

As in Mnih et al. (2016), section 9: the network gives a mean μ and, through a softplus, a variance σ² per
number. Whether the variance depends on the state is up to the network. Where the space is bounded, −1 to 1
is mapped to its bounds, and what the Gaussian draws beyond is either clipped on the way to the environment or
squashed by a tanh.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np

_MIN_VARIANCE = 1e-4
"""Added to the variance: a gradient with respect to the mean is at most a hundred times the noise."""
_DEVIATION_AT_ZERO = math.sqrt(math.log(2.0) + _MIN_VARIANCE)
"""σ where its parameter is 0."""
_FIRST_OF_ONE, _FIRST_OF_SEVERAL, _FIRST_SUM, _FIRST_LEAST = 0.83, 0.45, 2.0, 0.1
"""σ of a first policy: of a single number; of each of two to four; the sum over more than four numbers; and
the least. docs/algorithms.md has what was tried."""
_LARGEST_TANH = 1.0 - 1e-6
"""Of uniform draws that go through an inverse tanh."""
_POINTS = np.linspace(-4.8, 4.8, 25, dtype=np.float32)
"""Standard normal numbers that stand for all of them in an expectation, by the trapezoidal rule: for a
squashed policy it is exact to 1e-3 up to a σ of 3."""
_SHARES = np.exp(-0.5 * _POINTS**2) / np.exp(-0.5 * _POINTS**2).sum()
_UNBOUNDED = 1e12
"""Larger bounds count as none: some spaces give the largest number of their dtype."""


@dataclass(frozen=True)
class Gaussian:
    """Independent normal numbers; parameters are all means, then all variances before their softplus.

    Actions are kept as drawn, before clipping or squashing.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    space_shape: tuple[int, ...]
    space_dtype: str
    bounds: Literal["clip", "squash"]

    dtype = "float32"

    @classmethod
    def of(cls, space: gym.spaces.Box, bounds: Literal["clip", "squash"]) -> "Gaussian":
        """For the actions of `space`."""
        low, high = space.low.ravel().tolist(), space.high.ravel().tolist()
        return cls(tuple(low), tuple(high), space.shape, str(space.dtype), bounds)

    @property
    def shape(self) -> tuple[int, ...]:
        """A number per dimension."""
        return (len(self.low),)

    @property
    def outputs(self) -> int:
        """A mean and a variance per dimension."""
        return 2 * len(self.low)

    @property
    def noise(self) -> tuple[str, int]:
        """Normal noise per dimension."""
        return "normal", len(self.low)

    @property
    def first_deviation(self) -> float:
        """σ of a first policy: the more numbers an action has, the less each is disturbed.

        One number alone needs a large disturbance to find anything (MountainCarContinuous), and four with a
        small one learn to stand still (BipedalWalker). Many disturbed at once hide what each does (Ant).
        """
        size = len(self.low)
        return _FIRST_OF_ONE if size == 1 else max(min(_FIRST_OF_SEVERAL, _FIRST_SUM / size), _FIRST_LEAST)

    def centred(self, deviation: float) -> tuple[float, ...]:
        """The parameters [A] of a mean of 0 and this standard deviation."""
        variance = max(deviation**2 - _MIN_VARIANCE, _MIN_VARIANCE / 100)
        before = variance + math.log(-math.expm1(-variance))  # the inverse of the softplus, for any size
        return (0.0,) * len(self.low) + (before,) * len(self.low)

    def choose(self, parameters: Any, noise: Any) -> Any:
        """μ + σ · noise."""
        size = len(self.low)
        xp = parameters.__array_namespace__()
        variance = xp.logaddexp(parameters[..., size:], xp.zeros((), parameters.dtype)) + _MIN_VARIANCE
        return parameters[..., :size] + xp.sqrt(variance) * noise

    def uniform(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Noise for uniform actions within the bounds, standard normal ones where there are none."""
        size = (*shape, len(self.low))
        even = generator.uniform(-_LARGEST_TANH, _LARGEST_TANH, size)
        if self.bounds == "squash":
            even = np.arctanh(even)
        drawn = np.where(self._bounded, even, generator.standard_normal(size))
        return (drawn / _DEVIATION_AT_ZERO).astype(np.float32)

    def to_env(self, actions: Any) -> Any:
        """Within the bounds, in the shape and dtype of the space."""
        xp = actions.__array_namespace__()
        half, middle = self._scale
        inside = xp.tanh(actions) if self.bounds == "squash" else xp.clip(actions, -1.0, 1.0)
        scaled = middle + half * xp.where(self._bounded, inside, actions)
        # Only in the dtype of the space the limits are exactly those of the space.
        sent = xp.clip(scaled.astype(self.space_dtype), *self._limits)
        return sent.reshape(*actions.shape[:-1], *self.space_shape)

    def from_env(self, actions: np.ndarray) -> np.ndarray:
        """As drawn; squashed ones at a bound as what comes closest to it."""
        half, middle = self._scale
        inside = (np.asarray(actions, np.float64).reshape(len(actions), -1) - middle) / half
        if self.bounds == "squash":
            drawn = np.arctanh(np.clip(inside, -_LARGEST_TANH, _LARGEST_TANH))
            inside = np.where(self._bounded, drawn, inside)
        return inside.astype(np.float32)

    def contains(self, actions: np.ndarray) -> bool:
        """Whether what the environment is sent for them are finite numbers."""
        return actions.dtype.kind == "f" and bool(np.isfinite(self.to_env(actions)).all())

    def log_prob(self, parameters: Any, actions: Any) -> Any:
        """The log density of actions as they are kept, with the Jacobian of the tanh where it squashes."""
        from keras import ops

        mean, variance = self._moments(parameters)
        each = -0.5 * (ops.square(actions - mean) / variance + ops.log(2.0 * math.pi * variance))
        if self.bounds == "squash":
            each = each - _log_slope(actions) * ops.convert_to_tensor(self._bounded.astype(np.float32))
        return ops.sum(each, axis=-1)

    def entropy(self, parameters: Any) -> Any:
        """½ (log(2πσ²) + 1) per dimension, of the Gaussian before clipping; squashed, plus E[log(1 − tanh²)].

        The second term keeps a squashed policy from gaining entropy by actions at its bounds.
        """
        from keras import ops

        mean, variance = self._moments(parameters)
        each = 0.5 * (ops.log(2.0 * math.pi * variance) + 1.0)
        if self.bounds == "squash":
            drawn = mean[..., None] + ops.sqrt(variance)[..., None] * ops.convert_to_tensor(_POINTS)
            slopes = ops.sum(_log_slope(drawn) * ops.convert_to_tensor(_SHARES), axis=-1)
            each = each + slopes * ops.convert_to_tensor(self._bounded.astype(np.float32))
        return ops.sum(each, axis=-1)

    def describe(self) -> str:
        """In words."""
        return f"{len(self.low)} continuous actions"

    def _moments(self, parameters: Any) -> tuple[Any, Any]:
        from keras import ops

        size = len(self.low)
        return parameters[..., :size], ops.softplus(parameters[..., size:]) + _MIN_VARIANCE

    @cached_property
    def _bounded(self) -> np.ndarray:
        """Where there are bounds on both sides."""
        low, high = self._near
        return low & high

    @cached_property
    def _near(self) -> tuple[np.ndarray, np.ndarray]:
        """Where there is a lower bound, and where an upper one."""
        return np.abs(self.low) < _UNBOUNDED, np.abs(self.high) < _UNBOUNDED

    @cached_property
    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.low, self.space_dtype), np.array(self.high, self.space_dtype)

    @cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        """What 1 stands for in each dimension, and what 0: without bounds these numbers themselves.

        With one bound it is where −1 or 1 would be mapped to were the other one 2 away.
        """
        lower, upper = self._near
        low = np.where(lower, self.low, np.where(upper, np.array(self.high) - 2.0, -1.0))
        high = np.where(upper, self.high, low + 2.0)
        return ((high - low) / 2).astype(np.float32), ((high + low) / 2).astype(np.float32)


def _log_slope(actions: Any) -> Any:
    """log(1 − tanh²(a)), the Jacobian of the squashing, without its rounding at large a."""
    from keras import ops

    return 2.0 * (math.log(2.0) - actions - ops.softplus(-2.0 * actions))
