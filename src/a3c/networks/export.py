"""An agent's network as a Keras model of Keras' own layers alone, from raw observations to named outputs.

Whoever has Keras can open and call it: packing, scaling and normalisation are part of its graph. It has
weights of its own, which are copies; `copy_into` brings them back into one of our networks.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from a3c.networks import OURS, state_size
from a3c.networks.layers import IndependentDeviation, Memory, Residual
from a3c.networks.models import ActorCritic, Body
from a3c.networks.normalisation import LARGEST, Normaliser, count_statistics, deviation
from a3c.networks.parameters import statistics_of
from a3c.spaces.observations import Leaf, Observations, leaves, map_parts

NORMALISATION = "normalisation"
"""How the names of layers that normalise observations begin."""


def export(model: keras.Model, observations: Observations, normaliser: Normaliser) -> keras.Model:
    """The whole of an agent.

    Args:
        model: One of our networks, or the user's own, which becomes one layer; with its statistics.
        observations: What the environment shows.
        normaliser: What of it is normalised.

    Returns:
        A functional model. It maps a batch of observations as the environment shows them to
        `{"policy": [N, A], "value": [N, 1]}`. With a memory it maps `{"observations": …, "state": [N, S]}`,
        and returns the `state` of the next step as well; an episode begins with zeros.
    """
    raw = _inputs(observations.tree, "")
    seen = _seen(raw, observations, normaliser)
    size = state_size(model)
    state = keras.Input((size,), name="state") if size else None
    policy, value, *after = _Graph(model)(seen, state)
    outputs = {"policy": policy, "value": ops.reshape(value, (-1, 1))}
    if after:
        outputs["state"] = after[0]
    whole = keras.Model({"observations": raw, "state": state} if size else raw, outputs, name="agent")
    update(whole, model, normaliser)
    return whole


def update(whole: keras.Model, model: keras.Model, normaliser: Normaliser) -> None:
    """Give what `export` made of `model` its present weights and statistics."""
    for layer, copied in _pairs(model, whole):
        for variable, numbers in zip(copied, _exported(layer), strict=True):
            variable.assign(numbers)
    if normaliser.observations:
        found = normaliser.groups(statistics_of(model))[0]
        names = sorted(layer.name for layer in whole.layers if layer.name.startswith(NORMALISATION))
        layers = list(map(whole.get_layer, names))
        ends = np.cumsum([int(np.prod(layer.adapt_mean.shape)) for layer in layers])[:-1]
        spread = deviation(found.mean, found.variance) ** 2
        for layer, mean, variance in zip(
            layers, np.split(found.mean, ends), np.split(spread, ends), strict=True
        ):
            layer.adapt_mean.assign(np.reshape(mean, layer.adapt_mean.shape))
            layer.adapt_variance.assign(np.reshape(variance, layer.adapt_variance.shape))
            layer.finalize_state()


def copy_into(model: keras.Model, whole: keras.Model) -> None:
    """Give one of our networks the weights of what `export` made of one like it.

    Raises:
        ValueError: where it is of another network.
    """
    for layer, copied in _pairs(model, whole):
        numbers = [ops.convert_to_numpy(variable.value) for variable in copied]
        if isinstance(layer, IndependentDeviation):
            numbers[0] = numbers[0][:, : numbers[0].shape[1] // 2]
        if isinstance(layer, Memory):
            numbers = [numbers[0], numbers[2], numbers[1]]
        for variable, value in zip(layer.trainable_variables, numbers, strict=True):
            variable.assign(value)


# -- what is seen -------------------------------------------------------------------------------------------


def _inputs(tree: Any, name: str) -> Any:
    """Symbolic raw observations, named by their places in the space."""
    if isinstance(tree, Leaf):
        return keras.Input(tree.shape, dtype=_dtype(tree), name=name or "observations")
    inner = f"{name}." if name else ""
    if isinstance(tree, dict):
        return {key: _inputs(branch, inner + key.replace("/", "-")) for key, branch in tree.items()}
    return tuple(_inputs(branch, f"{inner}{place}") for place, branch in enumerate(tree))


def _dtype(part: Leaf) -> str:
    """As in the environment, but no larger than Keras and JAX keep numbers."""
    small = all(abs(start) + size < 2**31 for start, size in zip(part.starts, part.sizes, strict=True))
    return {"float64": "float32", "int64": "int32" if small else "int64"}.get(part.dtype, part.dtype)


def _seen(raw: Any, observations: Observations, normaliser: Normaliser) -> Any:
    """What the network sees, of symbolic raw observations; see `inputs.unpack`."""
    inputs = iter(_in_order(raw, observations.tree))
    numbers = iter(range(len(leaves(observations.tree))))

    def see(part: Leaf) -> Any:
        seen, number = _prepared(part, next(inputs)), next(numbers)
        if normaliser.observations and count_statistics(part, normaliser.images):
            # Its weights are the statistics, which do not learn; in the order of packing, by their names.
            axis = None if part.kind == "image" else -1
            seen = keras.layers.Normalization(axis, name=f"{NORMALISATION}_{number:04d}")(seen)
            seen = ops.clip(seen, -LARGEST, LARGEST)
        return seen

    return map_parts(see, observations.tree)


def _in_order(raw: Any, tree: Any) -> list[Any]:
    """The arrays of a tree in the order of packing."""
    if isinstance(tree, Leaf):
        return [raw]
    places = tree if isinstance(tree, dict) else range(len(tree))
    return [array for place in places for array in _in_order(raw[place], tree[place])]


def _prepared(part: Leaf, array: Any) -> Any:
    """One part as the network sees it, before it is normalised."""
    if part.kind == "choices":
        numbers = ops.reshape(array, (-1, len(part.sizes)))
        starts = np.array(part.starts)
        numbers = ops.cast(numbers - starts if starts.any() else numbers, "int32")
        chosen = [ops.one_hot(numbers[:, k], size, dtype="float32") for k, size in enumerate(part.sizes)]
        return chosen[0] if len(chosen) == 1 else ops.concatenate(chosen, -1)
    array = ops.cast(array, "float32")
    if part.channels_first:
        array = ops.transpose(array, (0, 2, 3, 1))
    if part.scale != 1.0:
        array = array * part.scale
    return ops.reshape(array, (-1, *part.seen_shape))


# -- the network --------------------------------------------------------------------------------------------


class _Graph:
    """The graph of a network, of new layers of Keras' own."""

    def __init__(self, model: keras.Model):
        self._model = model

    def __call__(self, seen: Any, state: Any) -> tuple[Any, ...]:
        model = self._model
        if type(model) not in OURS:
            return tuple(self._of_the_user(seen, state))
        if not isinstance(model, ActorCritic):
            features, *after = self._body("policy", seen, state)
            values = self._dense("policy_head", model.policy_head, features)
            return values, ops.max(values, -1, keepdims=True), *after
        shared = model.settings["shared_tower"]
        states = [state, state] if state is None or shared else ops.split(state, 2, axis=-1)
        features, *after = self._body("policy", seen, states[0])
        of_value, *more = (features, *after) if shared else self._body("value", seen, states[1])
        outputs = [
            self._dense(f"{name}_head", getattr(model, f"{name}_head"), x)
            for name, x in (("policy", features), ("value", of_value))
        ]
        if state is not None:
            outputs.append(after[0] if shared else ops.concatenate([after[0], more[0]], -1))
        return tuple(outputs)

    def _of_the_user(self, seen: Any, state: Any) -> Any:
        if state is None:
            return self._model(seen, training=False)
        return self._model(seen, state, ops.zeros_like(state[None, :, 0]), training=False)

    def _body(self, name: str, seen: Any, state: Any) -> list[Any]:
        body: Body = getattr(self._model, f"{name}_body")
        rows = []
        images = iter(enumerate(body.convolutions))
        for part in keras.tree.flatten(seen):
            if len(part.shape) == 4 and body.convolutions:
                number, convolutions = next(images)
                for place, step in enumerate(convolutions.steps):
                    part = self._step(f"{name}_image_{number}_{place}", step, part)
            rows.append(part if len(part.shape) == 2 else keras.layers.Flatten()(part))
        x = rows[0] if len(rows) == 1 else ops.concatenate(rows, -1)
        for number, layer in enumerate(body.dense):
            x = self._dense(f"{name}_dense_{number}", layer, x)
        return [x] if body.memory is None else self._memory(f"{name}_memory", body.memory, x, state)

    def _dense(self, name: str, layer: Any, x: Any) -> Any:
        independent = isinstance(layer, IndependentDeviation)
        units = layer.settings["num_actions"] if independent else layer.units
        activation = None if independent else layer.activation
        return _built(keras.layers.Dense(units, activation, name=name), x)

    def _step(self, name: str, step: Any, x: Any) -> Any:
        if isinstance(step, Residual):
            inner = self._step(f"{name}_first", step.first, ops.relu(x))
            return x + self._step(f"{name}_second", step.second, ops.relu(inner))
        config = {**step.get_config(), "name": name}
        if not isinstance(step, keras.layers.Conv2D):
            return type(step).from_config(config)(x)
        return _built(keras.layers.Conv2D.from_config({**config, "kernel_initializer": "zeros"}), x)

    def _memory(self, name: str, memory: Memory, x: Any, state: Any) -> list[Any]:
        """One step of it; see `layers.Memory`."""
        h, c = state[:, : memory.units], state[:, memory.units :]
        units = 4 * memory.units
        driven = _built(keras.layers.Dense(units, name=f"{name}_inputs"), x)
        recurrent = _built(keras.layers.Dense(units, use_bias=False, name=f"{name}_recurrent"), h)
        let_in, keeps, candidate, let_out = ops.split(driven + recurrent, 4, axis=-1)
        c = ops.sigmoid(keeps) * c + ops.sigmoid(let_in) * ops.tanh(candidate)
        h = ops.sigmoid(let_out) * ops.tanh(c)
        return [h, ops.concatenate([h, c], -1)]


def _built(layer: Any, x: Any) -> Any:
    """What a layer makes of `x`. Its weights are zeros of NumPy: JAX would compile a program for each."""
    layer.kernel_initializer = layer.bias_initializer = lambda shape, dtype=None: np.zeros(shape, dtype)
    result = layer(x)
    layer.kernel_initializer = layer.bias_initializer = keras.initializers.Zeros()
    return result


# -- the weights --------------------------------------------------------------------------------------------


def _pairs(model: keras.Model, whole: keras.Model) -> Iterator[tuple[Any, list[Any]]]:
    """Each layer of ours that has weights, with the variables that its copies have."""
    if type(model) not in OURS:
        return
    for name, layer in _named(model):
        names = (f"{name}_inputs", f"{name}_recurrent") if isinstance(layer, Memory) else (name,)
        copies = [whole.get_layer(copy).trainable_variables for copy in names]
        yield layer, list(itertools.chain.from_iterable(copies))


def _named(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """The layers of ours that have weights, by the names of their copies."""
    for name in ("policy", "value"):
        body = getattr(model, f"{name}_body", None)
        if body is None or (name == "value" and body is model.policy_body):
            continue
        yield from ((f"{name}_dense_{number}", layer) for number, layer in enumerate(body.dense))
        for number, convolutions in enumerate(body.convolutions):
            for place, step in enumerate(convolutions.steps):
                yield from _weighty(f"{name}_image_{number}_{place}", step)
        if body.memory is not None:
            yield f"{name}_memory", body.memory
    for name in ("policy_head", "value_head"):
        if hasattr(model, name):
            yield name, getattr(model, name)


def _weighty(name: str, step: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(step, Residual):
        yield f"{name}_first", step.first
        yield f"{name}_second", step.second
    elif step.trainable_variables:
        yield name, step


def _exported(layer: Any) -> list[np.ndarray]:
    """The weights of a layer of ours as those of its copies."""
    numbers = [np.asarray(ops.convert_to_numpy(variable.value)) for variable in layer.trainable_variables]
    if isinstance(layer, IndependentDeviation):
        return [np.concatenate([numbers[0], np.zeros_like(numbers[0])], 1), numbers[1]]
    return [numbers[0], numbers[2], numbers[1]] if isinstance(layer, Memory) else numbers
