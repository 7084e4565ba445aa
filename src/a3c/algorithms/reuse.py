"""A rollout used several times: made into a batch, taken in parts, and what a pass changed added up.

Pure functions on `keras.ops`, which the backends compile; called by them and by `engines.learning`.
"""

from typing import Any

import numpy as np

from a3c.networks.functional import Network, after_update, apply_network, apply_sequence, prepare
from a3c.types import Batch, Delta, Shapes, Transitions, is_average
from a3c.utils.lazy_imports import ops


def estimate(network: Network, estimator: Any, weights: Any, transitions: Transitions) -> tuple[Batch, Any]:
    """A rollout as a batch, its rewards scaled, and its own moments [·], which an update merges.

    Args:
        network: Says what the observations are worth.
        estimator: `algorithms.Reuse.estimate`.
        weights: [P], those that acted.
        transitions: T steps in B environments.
    """
    transitions, found = prepare(network, weights, transitions)
    batch = estimator(apply_sequence(network, weights, transitions), transitions)
    moments = ops.concatenate(found, 0) if found else ops.zeros((0,))
    return (batch if batch.starts is not None else _in_one_row(batch)), moments


def _in_one_row(batch: Batch) -> Batch:
    """Without a memory the order of steps means nothing: [T, B, …] becomes [T·B, …]."""
    return Batch._make(
        None if array is None else ops.reshape(array, (-1, *array.shape[2:])) for array in batch
    )


def count_parts(shapes: Shapes, minibatch: int) -> tuple[int, int]:
    """How many parts a pass has, and of how much each: steps, or with a memory sequences of T steps."""
    if not shapes.state:
        steps = shapes.time * shapes.batch
        parts = max(1, steps // minibatch)
        return parts, steps // parts
    parts = min(shapes.batch, max(1, shapes.time * shapes.batch // minibatch))
    return parts, shapes.batch // parts


def draw_parts(shapes: Shapes, minibatch: int, seed: tuple[int, ...]) -> np.ndarray:
    """What each part of a pass takes, at random and nothing twice: [parts, size] int32."""
    parts, size = count_parts(shapes, minibatch)
    whole = shapes.batch if shapes.state else shapes.time * shapes.batch
    order = np.random.default_rng(seed).permutation(whole)
    return order[: parts * size].reshape(parts, size).astype(np.int32)


def take_part(batch: Batch, index: Any) -> Batch:
    """The steps, or with a memory the sequences, that `index` [n] names."""
    if batch.starts is None:
        return Batch._make(None if array is None else ops.take(array, index, axis=0) for array in batch)
    taken = {name: ops.take(array, index, axis=0 if name == "state" else 1) for name, array in _arrays(batch)}
    return batch._replace(**taken)


def _arrays(batch: Batch):
    return ((name, array) for name, array in batch._asdict().items() if array is not None)


def evaluate_part(network: Network, weights: Any, part: Batch) -> tuple[Any, Any]:
    """Policy parameters [N, A] and values [N] of a part's observations."""
    if part.starts is None:
        parameters, values, _ = apply_network(network, weights, part.observations)
        return parameters, values
    time, copies = part.starts.shape
    seen = ops.reshape(part.observations, (-1, *part.observations.shape[2:]))
    parameters, values, _ = apply_network(network, weights, seen, part.state, part.starts)
    return ops.reshape(parameters, (time, copies, -1)), ops.reshape(values, (time, copies))


def add_delta(network: Network, weights: Any, state: dict[str, Any], delta: Delta) -> tuple[Any, dict]:
    """Global parameters and optimizer state with what a worker's own steps changed.

    The averages of the optimizer become the worker's, as single writes of theirs would leave them. Its
    counters do not become smaller: they tell of how many steps the averages are, as Adam's correction asks.
    """
    size = weights.shape[0] - network.normaliser.size
    parameters = weights[:size] + delta.parameters[:size]
    after = {
        dtype: delta.optimizer[dtype] if is_average(dtype) else ops.maximum(vector, delta.optimizer[dtype])
        for dtype, vector in state.items()
    }
    return after_update(network, parameters, weights, delta.parameters, None), after
