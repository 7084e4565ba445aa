"""A model as a function of its weights, and what happens around an update on every backend.

Called inside the programs that the backends compile.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from a3c.networks import state_size
from a3c.networks.inputs import observed_moments, unpack
from a3c.networks.normalisation import NOTHING, Normaliser, merge, moments, scale_rewards
from a3c.networks.parameters import Layout, Towers, towers_of
from a3c.spaces.observations import Observations
from a3c.types import Outputs, Transitions


@dataclass(frozen=True)
class Network:
    """A model as a function of its weights.

    Attributes:
        model: A built model; the values of its own variables are never used.
        fixed: The values of its non-trainable weights, which training leaves as they are.
        observations: How what it sees is packed.
        normaliser: What of it is normalised, by statistics behind the weights.
    """

    model: keras.Model
    fixed: list[np.ndarray]
    observations: Observations
    normaliser: Normaliser = NOTHING

    @property
    def state_size(self) -> int:
        """S, numbers of its memory per copy of the environment; 0: it has none."""
        return state_size(self.model)

    @cached_property
    def towers(self) -> Towers:
        """Which of its weights are clipped together, see `towers_of`."""
        return towers_of(self.model)


def apply_network(
    network: Network, weights: Any, observations: Any, state: Any = None, starts: Any = None
) -> tuple[Any, Any, Any]:
    """Call the model with the flat `weights` in place of its own.

    Args:
        network: The model and its fixed weights.
        weights: [P] float32.
        observations: [N, *O], packed; with a memory [T·N, *O].
        state: [N, S]: the memory before the first step, if it has one.
        starts: [T, N]: 1 where an episode begins.

    Returns:
        Policy parameters [N, A], values [N], and the memory after the last step, None without one.
    """
    trainable = Layout.of(network.model.trainable_variables).split({"float32": weights})
    statistics = observation_statistics(network, weights)
    seen = unpack(network.observations, observations, statistics, network.normaliser.images)
    memory = () if state is None else (state, starts)
    outputs, _ = network.model.stateless_call(trainable, network.fixed, seen, *memory, training=False)
    policy_parameters, values, *after = outputs
    return policy_parameters, ops.reshape(values, (-1,)), after[0] if after else None


def statistics_in(network: Network, weights: Any) -> Any:
    """The statistics behind the parameters in `weights` [P]."""
    return weights[weights.shape[0] - network.normaliser.size :]


def observation_statistics(network: Network, weights: Any) -> tuple[Any, Any] | None:
    """Mean and variance of what is normalised in observations, for which nothing is learned from them."""
    if not network.normaliser.observations:
        return None
    found = network.normaliser.groups(ops.stop_gradient(statistics_in(network, weights)))[0]
    return found.mean, found.variance


def prepare(network: Network, weights: Any, transitions: Transitions) -> tuple[Transitions, list[Any]]:
    """A rollout as it is learned from, its rewards scaled, and its own moments, which an update merges."""
    normaliser = network.normaliser
    if normaliser == NOTHING:
        return transitions, []
    valid, found = ops.reshape(ops.cast(transitions.valid, "float32"), (-1,)), []
    if normaliser.observations:
        seen = ops.reshape(transitions.observations[:-1], (-1, *transitions.observations.shape[2:]))
        found += observed_moments(network.observations, seen, valid, normaliser.images)
    if normaliser.returns:
        found += moments(ops.reshape(transitions.returns, (-1, 1, 1)), valid)
    rewards = scale_rewards(normaliser, statistics_in(network, weights), transitions.rewards)
    return transitions._replace(rewards=rewards), found


def pack_gradients(
    network: Network, gradient: Any, found: list[Any], global_clipnorm: float | None
) -> tuple[Any, Any]:
    """What a worker pushes [P]: the clipped gradient, then the moments that `prepare` found.

    Each tower is clipped by itself: a large gradient of the value must not leave the policy next to none.

    Args:
        network: What the gradient is of.
        gradient: [P], of which what stands for statistics is left out.
        found: The rollout's own moments.
        global_clipnorm: The largest norm of the gradient of a tower; None: any.

    Returns:
        It, and the norm of the whole gradient before it was clipped.
    """
    gradient = gradient[: gradient.shape[0] - network.normaliser.size]
    squares = [sum(ops.sum(ops.square(gradient[span])) for span in own) for own in network.towers]
    if global_clipnorm is not None:
        scales = [global_clipnorm / ops.maximum(ops.sqrt(square), global_clipnorm) for square in squares]
        gradient = _scaled(gradient, network.towers, scales)
    return ops.concatenate([gradient, *found], 0) if found else gradient, ops.sqrt(sum(squares))


def _scaled(gradient: Any, towers: Towers, scales: Sequence[Any]) -> Any:
    """The gradient with each tower's part times the scale of the tower."""
    scaled = [
        (span.start, gradient[span] * scale)
        for own, scale in zip(towers, scales, strict=True)
        for span in own
    ]
    if len(scaled) == 1:
        return scaled[0][1]
    return ops.concatenate([part for _, part in sorted(scaled, key=operator.itemgetter(0))], 0)


def after_update(network: Network, parameters: Any, weights: Any, gradient: Any, share: Any) -> Any:
    """The vector after an update: its `parameters`, and the statistics in `weights` and `gradient` merged.

    With a `share` below 1 the parameters go only that far from where they were, as they would with so much
    smaller a learning rate; None: all the way.
    """
    parameters = partway(weights[: parameters.shape[0]], parameters, share)
    if not network.normaliser.size:
        return parameters
    before, batch = (vector[parameters.shape[0] :] for vector in (weights, gradient))
    return ops.concatenate([parameters, merge(network.normaliser, before, batch)], 0)


def partway(before: Any, after: Any, share: Any) -> Any:
    """The point this `share` of the way from `before` to `after`; None: `after`."""
    return after if share is None else before + share * (after - before)


def act_once(network: Network, weights: Any, observations: Any, state: Any = None) -> tuple[Any, Any]:
    """Policy parameters [N, A] and the memory's next state, for the observations [N, *O] of one step."""
    starts = None if state is None else ops.zeros((1, observations.shape[0]))
    parameters, _, after = apply_network(network, weights, observations, state, starts)
    return parameters, after


def apply_sequence(network: Network, weights: Any, transitions: Transitions) -> Outputs:
    """What the network says of every observation of a rollout, T + 1 steps of B copies."""
    time, batch = transitions.rewards.shape
    observations = ops.reshape(transitions.observations, (-1, *transitions.observations.shape[2:]))
    starts = None
    if transitions.state is not None:
        # After a step that only resets, an episode begins; before the first step the sampler has seen to it.
        reset = 1.0 - ops.cast(transitions.valid, "float32")
        starts = ops.concatenate([ops.zeros((1, batch)), reset], 0)
    parameters, values, _ = apply_network(network, weights, observations, transitions.state, starts)
    return Outputs(ops.reshape(parameters, (time + 1, batch, -1)), ops.reshape(values, (time + 1, batch)))
