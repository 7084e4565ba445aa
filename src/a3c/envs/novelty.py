"""Random network distillation: a reward for what has seldom been seen (Burda et al. 2018).

A network with random weights that never change maps each observation to a few numbers; a second one learns to
predict them. Where its error is large, little like this was seen before: the squared error is added to the
reward, in learning only. Each worker has its own pair of networks, so that workers exchange nothing. They are
in NumPy, so that every algorithm and backend can use them. Unlike the paper there is one value for both
rewards, and novelty after the end of an episode is worth nothing.
"""

import copy
import itertools
import math
from typing import Any

import numpy as np

from a3c.envs.episodes import sum_discounted
from a3c.envs.vector_sampler import Sampler
from a3c.spaces.observations import Observations, leaves
from a3c.types import Rollout, Snapshot, Transitions
from a3c.utils.serialization import plain

_UNITS, _OUTPUTS = 128, 32
_LEARNING_RATE, _MINIBATCH = 1e-3, 256
_CLIP = 5.0  # standard deviations at which observations are clipped (section 2.4 of the paper)
_EPSILON = 1e-8


class CuriousSampler:
    """Adds the novelty of what was seen to the rewards of another sampler's rollouts.

    Args:
        sampler: Acts. Its rollouts are arrays that may be changed.
        novelty: Judges.
        weight: What a standard deviation of the discounted sums of novelty is worth.
        discount: γ of the discounted sums of rewards that rollouts keep.
    """

    def __init__(self, sampler: Sampler, novelty: "Novelty", weight: float, discount: float):
        self._sampler, self._novelty, self._weight, self._discount = sampler, novelty, weight, discount
        self._sums: np.ndarray | None = None

    def collect(self, snapshot: Snapshot) -> Rollout:
        """See `Sampler.collect`; returns of episodes stay what the environment paid."""
        rollout = self._sampler.collect(snapshot)
        transitions = rollout.content
        assert isinstance(transitions, Transitions)
        bonus = self._weight * self._novelty.of(transitions.observations[1:], transitions.valid)
        transitions.rewards[:] += bonus
        if transitions.returns is not None:
            # Discounted sums are linear: those of the bonus are added to those of the rewards.
            before = np.zeros(bonus.shape[1], np.float32) if self._sums is None else self._sums
            sums = np.empty_like(bonus)
            self._sums = sum_discounted(bonus, transitions.valid, self._discount, before, sums)
            transitions.returns[:] += sums
        return rollout

    def wait(self) -> None:
        """See `Sampler.wait`."""
        self._sampler.wait()

    def close(self) -> None:
        """See `Sampler.close`."""
        self._sampler.close()

    def state(self) -> dict[str, Any]:
        """See `Sampler.state`."""
        sums = None if self._sums is None else self._sums.copy()
        return {"sampler": self._sampler.state(), "novelty": self._novelty.state(), "sums": sums}

    def restore(self, tree: dict[str, Any]) -> str:
        """See `Sampler.restore`."""
        message = self._sampler.restore(tree["sampler"])
        self._novelty.restore(tree["novelty"])
        self._sums = None if tree["sums"] is None else tree["sums"].copy()
        return message


class Novelty:
    """How new observations are to one worker, which learns that from all that it is asked about.

    Args:
        observations: How they are packed.
        copies: B, of the environment.
        discount: γ of the sums by whose standard deviation errors are divided.
        generator: Draws the weights, and the order in which they learn.
    """

    def __init__(
        self, observations: Observations, copies: int, discount: float, generator: np.random.Generator
    ):
        self._observations, self._discount, self._generator = observations, discount, generator
        size = sum(math.prod(part.seen_shape) for part in leaves(observations.tree))
        self._target = _network(generator, (size, _UNITS, _OUTPUTS))
        self._predictor = _network(generator, (size, _UNITS, _UNITS, _OUTPUTS))
        self._adam = [np.zeros((2, *array.shape), np.float32) for array in self._predictor]
        self._steps = 0
        self._seen = Moments(size)
        self._errors = Moments(1)
        self._sums = np.zeros(copies, np.float32)

    def of(self, packed: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Novelty [T, B] of packed observations [T, B, *O]; 0 where `valid` [T, B] is not.

        They are learned afterwards: what comes a second time is less new.
        """
        counts = valid.ravel().astype(bool)
        numbers = features(self._observations, packed.reshape(counts.size, *packed.shape[2:]))
        self._seen.add(numbers[counts])
        numbers = np.clip(self._seen.standardise(numbers), -_CLIP, _CLIP)
        wanted = _outputs(self._target, numbers)[-1]
        errors = np.square(_outputs(self._predictor, numbers)[-1] - wanted).mean(1) * counts
        self._learn(numbers[counts], wanted[counts])
        return self._scaled(errors.reshape(valid.shape).astype(np.float32))

    def _scaled(self, errors: np.ndarray) -> np.ndarray:
        """Errors [T, B] by the standard deviation of their discounted sums, which no end interrupts."""
        sums = np.empty_like(errors)
        self._sums = sum_discounted(errors, np.ones_like(errors), self._discount, self._sums, sums)
        self._errors.add(sums.reshape(-1, 1))
        return errors / np.sqrt(self._errors.variance[0] + _EPSILON).astype(np.float32)

    def _learn(self, numbers: np.ndarray, wanted: np.ndarray) -> None:
        """One pass of Adam over what was seen."""
        order = self._generator.permutation(len(numbers))
        for start in range(0, len(order), _MINIBATCH):
            part = order[start : start + _MINIBATCH]
            self._steps += 1
            correction = math.sqrt(1.0 - 0.999**self._steps) / (1.0 - 0.9**self._steps)
            gradients = _gradients(self._predictor, numbers[part], wanted[part])
            for array, (mean, square), gradient in zip(self._predictor, self._adam, gradients, strict=True):
                mean += 0.1 * (gradient - mean)
                square += 0.001 * (np.square(gradient) - square)
                array -= _LEARNING_RATE * correction * mean / (np.sqrt(square) + 1e-7)

    def state(self) -> dict[str, Any]:
        """All that it has learned, as a plain tree."""
        networks = {"predictor": self._predictor, "adam": self._adam, "target": self._target}
        return {name: [array.copy() for array in arrays] for name, arrays in networks.items()} | {
            "steps": self._steps,
            "seen": self._seen.state(),
            "errors": self._errors.state(),
            "sums": self._sums.copy(),
            "generator": plain(self._generator.bit_generator.state),
        }

    def restore(self, tree: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name in ("predictor", "adam", "target"):
            setattr(self, f"_{name}", [array.copy() for array in tree[name]])
        self._steps, self._sums = tree["steps"], tree["sums"].copy()
        self._seen.restore(tree["seen"])
        self._errors.restore(tree["errors"])
        self._generator.bit_generator.state = tree["generator"]


class Moments:
    """Running mean and variance of `size` numbers, in float64 (Chan et al. 1979)."""

    def __init__(self, size: int):
        self.mean, self.variance, self.count = np.zeros(size), np.ones(size), 0

    def add(self, rows: np.ndarray) -> None:
        """Take in rows [N, size]."""
        if not len(rows):
            return
        mean, variance = rows.mean(0, np.float64), rows.var(0, dtype=np.float64)
        total = self.count + len(rows)
        share, distance = len(rows) / total, mean - self.mean
        self.variance = self.variance * (1 - share) + variance * share + distance**2 * share * (1 - share)
        self.mean = self.mean + distance * share
        self.count = total

    def standardise(self, rows: np.ndarray) -> np.ndarray:
        """(x − mean) / deviation, float32."""
        return ((rows - self.mean) / np.sqrt(self.variance + _EPSILON)).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """As a plain tree."""
        return copy.deepcopy(vars(self))

    def restore(self, tree: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        vars(self).update(copy.deepcopy(tree))


def features(observations: Observations, packed: np.ndarray) -> np.ndarray:
    """Packed observations [N, *O] as one vector each [N, n]: bytes scaled, choices one-hot."""
    rows = np.asarray(packed, np.float32).reshape(len(packed), -1)
    parts = leaves(observations.tree)
    vectors: list[np.ndarray] = []
    for part, numbers in zip(
        parts, np.split(rows, np.cumsum([part.size for part in parts])[:-1], axis=1), strict=True
    ):
        if part.kind != "choices":
            vectors.append(numbers * np.float32(part.scale))
            continue
        for column, size in zip(numbers.T, part.sizes, strict=True):
            vectors.append((column[:, None] == np.arange(size)).astype(np.float32))
    return np.concatenate(vectors, 1)


# -- dense networks with rectified layers: [kernel, bias, kernel, bias, …] -----------------------------------


def _network(generator: np.random.Generator, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Weights as of He et al. (2015)."""
    arrays = []
    for inputs, outputs in itertools.pairwise(sizes):
        scale = math.sqrt(2.0 / inputs)
        arrays += [
            generator.standard_normal((inputs, outputs), dtype=np.float32) * np.float32(scale),
            np.zeros(outputs, np.float32),
        ]
    return arrays


def _outputs(network: list[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """What each layer gives for x [N, n], the last one linear."""
    layers = []
    for kernel, bias in zip(network[::2], network[1::2], strict=True):
        if layers:
            np.maximum(x, 0, out=x)
        x = x @ kernel + bias
        layers.append(x)
    return layers


def _gradients(network: list[np.ndarray], x: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """Of half the mean squared error, in the order of the arrays."""
    layers = _outputs(network, x)
    slope = (layers[-1] - wanted) / np.float32(wanted.size)
    found: list[np.ndarray] = []
    for number in range(len(layers) - 1, -1, -1):
        below = layers[number - 1] if number else x
        found = [below.T @ slope, slope.sum(0), *found]
        if number:
            slope = (slope @ network[2 * number].T) * (below > 0)
    return found
