"""Running means and variances of observations and returns: where they lie, how they grow and are used.

They are the last numbers of the vector that stores hand about, so that whatever has the parameters has them
as well: every worker, every checkpoint, every candidate that is judged. Where gradients stand for the
parameters, the moments of the rollout stand for them, and an update merges those in (Chan et al. 1979). Pure
functions on `keras.ops`.

Each of these numbers is the sum of two: in float32 alone, a mean of millions of rows would no longer move.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from keras.backend import standardize_dtype

from a3c.spaces.observations import Leaf, Observations, leaves

LARGEST = 10.0
"""Standard deviations beyond which normalised numbers are cut off."""
SMALL = 1e-8  # added to variances
_ROUNDING = 1e-5
"""The least deviation, as a share of the mean: smaller ones are mostly the rounding of float32."""
FARTHEST = 1e9
"""Numbers beyond count as this large: the square of the largest float32 would be none, for good."""


class Statistics(NamedTuple):
    """Of n numbers. What a float32 has no room for is in the `rest` behind it."""

    mean: Any
    """[n]."""
    mean_rest: Any
    variance: Any
    """[n]."""
    variance_rest: Any
    count: Any
    """[1]: how many rows they are of."""
    count_rest: Any


@dataclass(frozen=True)
class Normaliser:
    """What is normalised.

    Attributes:
        observations: How many numbers of an observation are; 0: none.
        returns: Whether rewards are divided by the standard deviation of discounted returns.
        largest_reward: Where rewards are cut off; None: nowhere, or at 10 where `returns` divide them.
        images: Whether images are among the observations that are normalised.
    """

    observations: int = 0
    returns: bool = False
    largest_reward: float | None = None
    images: bool = True

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the fields of `Statistics`: those of observations, then those of returns."""
        groups = [n for n in (self.observations, int(self.returns)) if n]
        return tuple(size for n in groups for size in (n, n, n, n, 1, 1))

    @property
    def size(self) -> int:
        """How many numbers stand behind the parameters."""
        return sum(self.sizes)

    def first(self) -> np.ndarray:
        """Nothing seen yet: means of 0, variances of 1."""
        fields = len(Statistics._fields)
        parts = [np.full(size, float(number % fields == 2)) for number, size in enumerate(self.sizes)]
        return np.concatenate([*parts, np.zeros(0)]).astype(np.float32)

    def groups(self, numbers: Any) -> list[Statistics]:
        """The statistics of each group, from the vector of them all."""
        parts, start = [], 0
        for size in self.sizes:
            parts.append(numbers[start : start + size])
            start += size
        fields = len(Statistics._fields)
        return [Statistics(*parts[k : k + fields]) for k in range(0, len(parts), fields)]

    def widened(self, numbers: np.ndarray) -> np.ndarray:
        """Statistics of version 0.1.0, which had no rests, as this version keeps them; others as they are."""
        if 2 * len(numbers) != self.size:
            return numbers
        ends = np.cumsum(self.sizes[::2])[:-1]
        parts = np.split(np.asarray(numbers, np.float32), ends)
        return np.concatenate([np.concatenate([part, np.zeros_like(part)]) for part in parts])


NOTHING = Normaliser()


def make(
    observations: Observations,
    normalise_observations: bool | None,
    normalise_returns: bool,
    clip_rewards: float | None = None,
) -> Normaliser:
    """The normaliser of an environment's observations; None: of its vectors, but not of images."""
    images = normalise_observations is True
    count = sum(count_statistics(part, images) for part in leaves(observations.tree))
    wanted = normalise_observations is not False
    return Normaliser(count if wanted else 0, normalise_returns, clip_rewards, images)


def count_statistics(part: Leaf, images: bool = True) -> int:
    """How many means (and variances) a part has, where observations, and perhaps `images`, are normalised.

    Each number of a vector has its own, an image one for all of its pixels, so that what is seen in one place
    looks the same in another; choices and vectors of bytes stay what they are.
    """
    if part.kind == "image":
        return int(images)
    return part.size if part.kind == "vector" and part.dtype != "uint8" else 0


def standardise(numbers: Any, mean: Any, variance: Any) -> Any:
    """(x − mean) / deviation, cut off at ±10."""
    return ops.clip((numbers - mean) / deviation(mean, variance), -LARGEST, LARGEST)


def deviation(mean: Any, variance: Any) -> Any:
    """What is divided by, for arrays of NumPy and of every backend: a constant number becomes 0."""
    return (variance + SMALL + (mean * _ROUNDING) ** 2) ** 0.5


def scale_rewards(normaliser: Normaliser, numbers: Any, rewards: Any) -> Any:
    """Rewards divided by the standard deviation of discounted returns if so wished, and cut off."""
    largest = normaliser.largest_reward
    if normaliser.returns:
        variance = normaliser.groups(numbers)[-1].variance[0]
        # While all returns were the same, the first other one says nothing of how large they are.
        scale = ops.where(variance > 0, ops.sqrt(variance + SMALL), 1.0)
        rewards, largest = rewards / scale, largest or LARGEST
    return rewards if largest is None else ops.clip(rewards, -largest, largest)


def moments(numbers: Any, weights: Any) -> Statistics:
    """Those of the rows of `numbers` [N, n, k] whose weight [N] is 1."""
    bounded = standardize_dtype(numbers.dtype) == "uint8"
    numbers = ops.cast(numbers, "float32")
    if not bounded:
        numbers = ops.clip(numbers, -FARTHEST, FARTHEST)
    count = ops.sum(weights)
    shares = (weights / ops.maximum(count, 1.0))[:, None]
    pivot = ops.max(numbers[0], -1)  # small distances from it are added up exactly
    distance = ops.mean(numbers - pivot[:, None], -1)
    mean = ops.where(count > 0, pivot, 0.0) + ops.sum(distance * shares, 0)
    variance = ops.sum(ops.mean(ops.square(numbers - mean[:, None]), -1) * shares, 0)
    return without_rests(mean, variance, ops.reshape(count, (1,)))


def without_rests(mean: Any, variance: Any, count: Any) -> Statistics:
    """Statistics of a single batch, for which float32 is enough."""
    nothing, none = ops.zeros_like(mean), ops.zeros_like(count)
    return Statistics(mean, nothing, variance, nothing, count, none)


def merge(normaliser: Normaliser, before: Any, batch: Any) -> Any:
    """The statistics `before` with those of one more batch: Chan's formula, group by group."""
    merged = []
    for old, new in zip(normaliser.groups(before), normaliser.groups(batch), strict=True):
        count = _added(old.count, old.count_rest, new.count + new.count_rest)
        share = new.count / ops.maximum(count[0], 1.0)
        distance = (new.mean - old.mean) - old.mean_rest + new.mean_rest
        variance = new.variance + new.variance_rest
        change = variance - old.variance - old.variance_rest + ops.square(distance) * (1.0 - share)
        grown = _added(old.variance, old.variance_rest, share * change)
        # Before anything was seen, the variance of 1 stands for nothing.
        seen, first = old.count > 0, new.count > 0
        merged += [
            *_added(old.mean, old.mean_rest, distance * share),
            ops.where(seen, grown[0], ops.where(first, variance, old.variance)),
            ops.where(seen, grown[1], ops.zeros_like(variance)),
            *count,
        ]
    return ops.concatenate(merged, 0)


def _added(number: Any, rest: Any, change: Any) -> tuple[Any, Any]:
    """`number` + `rest` + `change` as a number and a rest: the sum without rounding (Knuth 1969)."""
    change = rest + change
    total = number + change
    taken = total - number
    return total, (number - (total - taken)) + (change - taken)


def pool(normaliser: Normaliser, batches: list[np.ndarray]) -> np.ndarray:
    """The moments of several batches as those of one."""
    pooled = batches[0]
    for batch in batches[1:]:
        pooled = np.asarray(ops.convert_to_numpy(merge(normaliser, pooled, batch)))
    return pooled
