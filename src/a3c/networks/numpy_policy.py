"""The policy of a plain dense network in NumPy: its arithmetic takes less time than the call of a program.

A compiled call on a handful of observations costs 15 to 150 µs before it computes anything, and twice that
between the steps of a Python environment, which push it out of the processor's caches.
"""

import itertools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np

from a3c.networks import OURS
from a3c.networks.functional import Network
from a3c.networks.normalisation import LARGEST, Normaliser, deviation
from a3c.spaces.observations import Leaf
from a3c.types import Act, Policy

_LARGEST = 2**17  # parameters; beyond that the arithmetic counts, and may have an accelerator
_ACTIVATIONS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "tanh": np.tanh,
    "relu": lambda x, out: np.maximum(x, 0, out=out),
    "linear": lambda x, out: x,
}


def make_policy(framework: ModuleType, network: Network, eager: bool = False) -> Policy:
    """The policy head of `network`: in NumPy where that is possible, else compiled by the backend."""
    plain = None if eager else dense_policy(network)
    return framework.compile_policy(network, eager) if plain is None else plain


def dense_policy(network: Network) -> Policy | None:
    """The policy head of `network` in NumPy, or None for one that this does not cover.

    It covers our own networks of moderate size with hidden layers of tanh, relu or no activation, without a
    memory, where observations are vectors as they come.
    """
    model, seen, normaliser = network.model, network.observations.tree, network.normaliser
    if not (isinstance(seen, Leaf) and (seen.kind, len(seen.shape), seen.scale) == ("vector", 1, 1.0)):
        return None
    if type(model) not in OURS or model.settings["activation"] not in _ACTIVATIONS or model.state_size:
        return None
    if (
        model.compute_dtype != "float32"
        or sum(math.prod(v.shape) for v in model.trainable_variables) > _LARGEST
    ):
        return None
    activation = _ACTIVATIONS[model.settings["activation"]]
    places = _places(model)
    layers = [(places[layer.kernel.path], places[layer.bias.path]) for layer in model.policy_body.dense]
    head = places[model.policy_head.kernel.path], places[model.policy_head.bias.path]

    def policy(weights: Any) -> Act:
        flat = np.asarray(weights)
        hidden = [(flat[w].reshape(shape), flat[b]) for (w, shape), (b, _) in layers]
        (where, shape), (bias, _) = head
        kernel, offset = flat[where].reshape(shape), flat[bias]
        if rest := len(offset) - shape[1]:  # deviations that are biases alone: one product is still fastest
            kernel = np.concatenate([kernel, np.zeros((shape[0], rest), np.float32)], 1)
        shown = _standardised(normaliser, flat) if normaliser.observations else None

        def act(observations: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
            x = observations if shown is None else shown(observations)
            for w, b in hidden:
                x = x @ w
                x += b
                x = activation(x, x)
            return x @ kernel + offset, None

        return act

    return policy


def _standardised(normaliser: Normaliser, flat: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """`normalisation.standardise` in NumPy, with the statistics behind the parameters."""
    found = normaliser.groups(flat[len(flat) - normaliser.size :])[0]
    scale = 1.0 / deviation(found.mean, found.variance)
    return lambda observations: np.clip((observations - found.mean) * scale, -LARGEST, LARGEST)


def _places(model: keras.Model) -> dict[str, tuple[slice, tuple[int, ...]]]:
    """Where in the flat vector each weight lies, and its shape, by its path."""
    shapes = [tuple(map(int, v.shape)) for v in model.trainable_variables]
    ends = [0, *itertools.accumulate(map(math.prod, shapes))]
    spans = itertools.starmap(slice, itertools.pairwise(ends))
    paths = (v.path for v in model.trainable_variables)
    return dict(zip(paths, zip(spans, shapes, strict=True), strict=True))
