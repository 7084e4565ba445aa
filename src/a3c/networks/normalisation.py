"""Running means and variances of observations and returns: where they lie, how they grow and are used.

They are the last numbers of the vector that stores hand about, so that whatever has the parameters has them
as well: every worker, every checkpoint, every candidate that is judged. Where gradients stand for the
parameters, the moments of the rollout stand for them, and an update merges those in (Chan et al. 1979). Pure
functions on `keras.ops`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from keras.backend import standardize_dtype

from a3c.spaces.observations import Leaf, Observations, leaves

LARGEST = 10.0
"""Standard deviations beyond which normalised numbers are cut off."""
SMALL = 1e-8  # added to variances
FARTHEST = 1e9
"""Numbers beyond count as this large: the square of the largest float32 would be none, for good."""


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
        """Of each group: mean, variance and count of observations, then of returns."""
        of_observations = (self.observations, self.observations, 1) if self.observations else ()
        return of_observations + ((1, 1, 1) if self.returns else ())

    @property
    def size(self) -> int:
        """How many numbers stand behind the parameters."""
        return sum(self.sizes)

    def first(self) -> np.ndarray:
        """Nothing seen yet: means of 0, variances of 1."""
        parts = [np.full(size, float(number % 3 == 1)) for number, size in enumerate(self.sizes)]
        return np.concatenate([*parts, np.zeros(0)]).astype(np.float32)

    def groups(self, numbers: Any) -> list[tuple[Any, Any, Any]]:
        """Mean, variance and count of each group, from the vector of them all."""
        parts, start = [], 0
        for size in self.sizes:
            parts.append(numbers[start : start + size])
            start += size
        return [(parts[k], parts[k + 1], parts[k + 2]) for k in range(0, len(parts), 3)]


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
    return ops.clip((numbers - mean) / ops.sqrt(variance + SMALL), -LARGEST, LARGEST)


def scale_rewards(normaliser: Normaliser, numbers: Any, rewards: Any) -> Any:
    """Rewards divided by the standard deviation of discounted returns if so wished, and cut off."""
    largest = normaliser.largest_reward
    if normaliser.returns:
        _, variance, _ = normaliser.groups(numbers)[-1]
        rewards, largest = rewards / ops.sqrt(variance[0] + SMALL), largest or LARGEST
    return rewards if largest is None else ops.clip(rewards, -largest, largest)


def moments(numbers: Any, weights: Any) -> list[Any]:
    """Mean [n], variance [n] and count [1] of the rows of `numbers` [N, n, k] whose weight [N] is 1."""
    bounded = standardize_dtype(numbers.dtype) == "uint8"
    numbers = ops.cast(numbers, "float32")
    if not bounded:
        numbers = ops.clip(numbers, -FARTHEST, FARTHEST)
    count = ops.sum(weights)
    shares = (weights / ops.maximum(count, 1.0))[:, None]
    mean = ops.sum(ops.mean(numbers, -1) * shares, 0)
    variance = ops.sum(ops.mean(ops.square(numbers - mean[:, None]), -1) * shares, 0)
    return [mean, variance, ops.reshape(count, (1,))]


def merge(normaliser: Normaliser, before: Any, batch: Any) -> Any:
    """The statistics `before` with those of one more batch: Chan's formula, group by group."""
    merged = []
    for old, new in zip(normaliser.groups(before), normaliser.groups(batch), strict=True):
        (mean, variance, count), (new_mean, new_variance, new_count) = old, new
        total = ops.maximum(count + new_count, 1.0)
        share, distance = new_count / total, new_mean - mean
        within = variance * (1.0 - share) + new_variance * share
        after = within + ops.square(distance) * share * (1.0 - share)
        # Before anything was seen, the variance of 1 stands for nothing.
        merged += [
            mean + distance * share,
            ops.where(count + new_count > 0, after, variance),
            count + new_count,
        ]
    return ops.concatenate(merged, 0)


def pool(normaliser: Normaliser, batches: list[np.ndarray]) -> np.ndarray:
    """The moments of several batches as those of one."""
    pooled = batches[0]
    for batch in batches[1:]:
        pooled = np.asarray(ops.convert_to_numpy(merge(normaliser, pooled, batch)))
    return pooled
