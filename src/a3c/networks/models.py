"""Our own networks: `ActorCritic` for policies with values, `ActionValues` for Q-learning and Sarsa."""

import json
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from a3c.networks.initializers import Orthogonal
from a3c.networks.layers import Convolutions, IndependentDeviation, Memory, first_bias

_GAIN = 2**0.5  # of hidden layers
_POLICY_GAIN = 0.01  # small first logits make the first policy nearly uniform: it explores without a bias


@keras.saving.register_keras_serializable(package="a3c")
class Body(keras.layers.Layer):
    """From what is seen to features: convolutions for images, dense layers, and perhaps a memory.

    Args:
        hidden_units: Units of each dense layer.
        activation: Their activation.
        convolutions: The kind of `Convolutions`, or None: images are flattened.
        images: How many of the parts of an observation are images.
        lstm_units: Units of the memory; 0: none.
        seeds: Those of the dense layers' first weights, then of the others.
        prefix: Of the dense layers' names.
    """

    def __init__(
        self,
        hidden_units: tuple[int, ...],
        activation: str,
        convolutions: str | None,
        images: int,
        lstm_units: int,
        seeds: list[int],
        prefix: str,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = dict(
            hidden_units=tuple(hidden_units),
            activation=activation,
            convolutions=convolutions,
            images=images,
            lstm_units=lstm_units,
            seeds=list(seeds),
            prefix=prefix,
        )
        left = iter(seeds)
        self.dense = [
            _dense(units, _GAIN, next(left), f"{prefix}_{i}", activation)
            for i, units in enumerate(hidden_units)
        ]
        self.convolutions = (
            [Convolutions(convolutions, next(left)) for _ in range(images)] if convolutions else []
        )
        self.memory = Memory(lstm_units, next(left)) if lstm_units else None

    @property
    def state_size(self) -> int:
        """Numbers of its memory per copy of the environment; 0: it has none."""
        return self.memory.state_size if self.memory else 0

    def call(self, observations: Any, state: Any = None, starts: Any = None) -> Any:
        """`observations`: what `inputs.unpack` makes. Returns features [N, n] and the memory's next state."""
        seeing = iter(self.convolutions)
        rows = []
        for part in keras.tree.flatten(observations):
            if len(part.shape) == 4:
                part = next(seeing)(part) if self.convolutions else _flat(part)
            rows.append(part)
        x = rows[0] if len(rows) == 1 else ops.concatenate(rows, -1)
        for layer in self.dense:
            x = layer(x)
        if self.memory is None:
            return x, None
        x, state = self.memory(ops.reshape(x, (*starts.shape, x.shape[-1])), state, starts)
        return ops.reshape(x, (-1, x.shape[-1])), state

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self.settings}


class _FromFile(keras.Model):
    """What both of our models need for Keras to make them again from a file."""

    settings: dict[str, Any]
    """The constructor's arguments."""
    seen: Any
    """The shapes of what the model has been called with."""

    def get_build_config(self) -> dict[str, Any]:
        """What the model has been called with, so that Keras can build one that it has read from a file."""
        return {"seen": self.seen}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Make the weights for that."""
        call_on(self, _read(config))
        self._inbound_nodes.clear()  # else a model around this one takes that call for its own

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, so that Keras can build the model again."""
        return {**super().get_config(), **self.settings}


@keras.saving.register_keras_serializable(package="a3c")
class ActorCritic(_FromFile):
    """Policy and value, from a body each (as in the 2018 tutorial) or from a shared one.

    Args:
        num_actions: A, the number of policy parameters; for discrete actions a logit each.
        hidden_units: Units of each dense layer.
        activation: Their activation.
        shared_tower: Whether policy and value share everything but their last layer, their memory too.
        seed: Seed of the first weights.
        convolutions: `paper`, `nature` or `impala` (see `Convolutions`), or None: images are flattened.
        images: How many of the parts of an observation are images.
        lstm_units: Units of an LSTM after the dense layers; 0: none. Each tower has its own: one for both can
            be lost to large values, which drive it to its limits, where no policy can be learned from it.
        policy_bias: First biases of the policy parameters, A numbers, so to say the first policy; None: 0.
        state_dependent_deviation: False for continuous actions whose standard deviations are the same in
            every state: the second half of the policy parameters is a bias alone, see `IndependentDeviation`.
    """

    def __init__(
        self,
        num_actions: int,
        hidden_units: tuple[int, ...] = (64, 64),
        activation: str = "tanh",
        shared_tower: bool = False,
        seed: int | None = None,
        convolutions: str | None = None,
        images: int = 1,
        lstm_units: int = 0,
        policy_bias: tuple[float, ...] | None = None,
        state_dependent_deviation: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = dict(
            num_actions=num_actions,
            hidden_units=tuple(hidden_units),
            activation=activation,
            shared_tower=shared_tower,
            seed=seed,
            convolutions=convolutions,
            images=images,
            lstm_units=lstm_units,
            policy_bias=None if policy_bias is None else tuple(policy_bias),
            state_dependent_deviation=state_dependent_deviation,
        )
        count = len(hidden_units)
        seeds = _Seeds(seed, 2 * count + 2, 2 * (images + 1))

        def body(name: str) -> Body:
            own = [next(seeds.dense) for _ in range(count)] + [next(seeds.others) for _ in range(images + 1)]
            return Body(
                hidden_units, activation, convolutions, images, lstm_units, own, name, name=f"{name}_body"
            )

        self.policy_body = body("shared" if shared_tower else "policy")
        self.value_body = self.policy_body if shared_tower else body("value")
        if state_dependent_deviation:
            self.policy_head = _dense(
                num_actions, _POLICY_GAIN, next(seeds.dense), "logits", bias=policy_bias
            )
        else:
            self.policy_head = IndependentDeviation(
                num_actions, _POLICY_GAIN, next(seeds.dense), policy_bias, name="means_and_variances"
            )
        self.value_head = _dense(1, 1.0, next(seeds.dense), "value")

    @property
    def state_size(self) -> int:
        """S, numbers of its memories per copy of the environment; 0: it has none."""
        return self.policy_body.state_size * (1 if self.settings["shared_tower"] else 2)

    def call(self, observations: Any, state: Any = None, starts: Any = None, training: bool = False) -> Any:
        """`observations`: [N, …]. Returns policy parameters [N, A], value [N, 1], with a memory its state."""
        del training  # nothing here behaves differently in training
        self.seen = _shapes(observations)
        bodies = [self.policy_body] if self.settings["shared_tower"] else [self.policy_body, self.value_body]
        states = [None] * len(bodies) if state is None else ops.split(state, len(bodies), axis=-1)
        found = [body(observations, own, starts) for body, own in zip(bodies, states, strict=True)]
        policy, value = found[0][0], found[-1][0]
        after = None if state is None else ops.concatenate([own for _, own in found], -1)
        outputs = self.policy_head(policy), self.value_head(value)
        return outputs if after is None else (*outputs, after)


@keras.saving.register_keras_serializable(package="a3c")
class ActionValues(_FromFile):
    """Q(s, a) of discrete actions; the value beside it is that of the best, max Q(s, ·).

    Args: as `ActorCritic`.
    """

    def __init__(
        self,
        num_actions: int,
        hidden_units: tuple[int, ...] = (64, 64),
        activation: str = "tanh",
        seed: int | None = None,
        convolutions: str | None = None,
        images: int = 1,
        lstm_units: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = dict(
            num_actions=num_actions,
            hidden_units=tuple(hidden_units),
            activation=activation,
            seed=seed,
            convolutions=convolutions,
            images=images,
            lstm_units=lstm_units,
        )
        seeds = _Seeds(seed, len(hidden_units) + 1, images + 1)
        own = [next(seeds.dense) for _ in hidden_units] + list(seeds.others)
        self.policy_body = Body(
            hidden_units, activation, convolutions, images, lstm_units, own, "values", name="body"
        )
        self.policy_head = _dense(num_actions, _POLICY_GAIN, next(seeds.dense), "action_values")

    @property
    def state_size(self) -> int:
        """S, numbers of its memory per copy of the environment; 0: it has none."""
        return self.policy_body.state_size

    def call(self, observations: Any, state: Any = None, starts: Any = None, training: bool = False) -> Any:
        """`observations`: [N, …]. Returns Q [N, A], max Q [N, 1], and with a memory its state."""
        del training  # nothing here behaves differently in training
        self.seen = _shapes(observations)
        features, after = self.policy_body(observations, state, starts)
        values = self.policy_head(features)
        outputs = values, ops.max(values, -1, keepdims=True)
        return outputs if after is None else (*outputs, after)


# Of a trial call: unlike any usual dimension of a network, so that mistaken axes are seen.
STEPS, COPIES = 2, 23


def call_on(model: keras.Model, shapes: Any) -> Any:
    """Call `model` symbolically, which makes its weights but computes nothing; returns its outputs.

    Args:
        model: Any model of the protocol.
        shapes: Of one observation, without N: a list; {"dict": …} or {"tuple": …} of them.
    """
    size = int(getattr(model, "state_size", 0) or 0)
    seen = _inputs(shapes)
    if not size:
        return model(seen, training=False)
    state, starts = keras.KerasTensor((COPIES, size)), keras.KerasTensor((STEPS, COPIES))
    return model(seen, state, starts, training=False)


def _read(config: dict[str, Any]) -> Any:
    if "seen" not in config:
        raise ValueError("It was saved by an earlier version of a3c, whose networks had another structure.")
    return json.loads(config["seen"])


def _inputs(shapes: Any) -> Any:
    if isinstance(shapes, list):
        return keras.KerasTensor((STEPS * COPIES, *shapes), "float32")
    if "tuple" in shapes:
        return tuple(map(_inputs, shapes["tuple"]))
    return {name: _inputs(shape) for name, shape in shapes["dict"].items()}


def _shapes(observations: Any) -> str:
    """The opposite, as JSON, since Keras would take lists and tuples for each other."""
    return json.dumps(_listed(observations))


def _listed(observations: Any) -> Any:
    if isinstance(observations, dict):
        return {"dict": {name: _listed(part) for name, part in observations.items()}}
    if isinstance(observations, tuple | list):
        return {"tuple": [_listed(part) for part in observations]}
    return [int(size) for size in observations.shape[1:]]


class _Seeds:
    """Seeds of dense layers, and others: more of one kind never shift the other."""

    def __init__(self, seed: int | None, dense: int, others: int):
        first, second = np.random.SeedSequence(seed), np.random.SeedSequence(seed, spawn_key=(1,))
        self.dense: Iterator[int] = iter(first.generate_state(dense).tolist())
        self.others: Iterator[int] = iter((second.generate_state(others) >> 1).tolist())


def _dense(
    units: int,
    gain: float,
    seed: int,
    name: str,
    activation: str | None = None,
    bias: tuple[float, ...] | None = None,
) -> keras.layers.Dense:
    return keras.layers.Dense(
        units,
        activation,
        kernel_initializer=Orthogonal(gain, int(seed)),
        bias_initializer=first_bias(bias),
        name=name,
    )


def _flat(part: Any) -> Any:
    return ops.reshape(part, (-1, int(np.prod(part.shape[1:]))))
