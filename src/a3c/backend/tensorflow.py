"""The TensorFlow backend: `tf.function` and `tf.GradientTape`, or plain eager code to step through.

Keras declares this backend not thread-safe: workers are processes, never threads.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from a3c.algorithms.optimizers import build_optimizer
from a3c.algorithms.reuse import evaluate_part, take_part
from a3c.networks.functional import (
    Network,
    act_once,
    after_update,
    apply_sequence,
    pack_gradients,
    partway,
    prepare,
)
from a3c.networks.parameters import Layout
from a3c.types import Act, Batch, Delta, Policy, Transitions

FUSES = False
"""Compiled environments are stepped from outside, like any other."""

State = dict[str, Any]
"""An optimizer's state: one flat vector per dtype."""


def configure(cache_directory: Path | None, accelerated: bool) -> None:
    """Thread limits come by environment variables before the start, and no programs are kept."""
    if not accelerated and not os.environ.get("CUDA_VISIBLE_DEVICES"):
        with contextlib.suppress(RuntimeError):  # the runtime has been started by somebody else
            tf.config.set_visible_devices([], "GPU")


def compile_policy(network: Network, eager: bool = False) -> Policy:
    """Compile the policy head."""

    def parameters_and_state(weights, observations, state):
        return act_once(network, weights, observations, state)

    compiled = parameters_and_state if eager else tf.function(parameters_and_state, autograph=False)

    def policy(weights: Any) -> Act:
        tensor = tf.convert_to_tensor(weights)  # once for many calls

        def act(observations: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
            parameters, after = compiled(tensor, tf.constant(observations), _constant(state))
            return parameters.numpy(), None if after is None else after.numpy()

        return act

    return policy


def _constant(array: Any) -> Any:
    return None if array is None else tf.constant(array)


def compile_gradients(
    network: Network, loss: Callable, global_clipnorm: float | None, eager: bool = False
) -> Callable[[Any, Transitions, Any], tuple[np.ndarray, dict[str, float]]]:
    """Compile the gradient of `loss` with respect to the flat weights, clipped to a global norm."""

    def clipped_gradient(weights, transitions, target):
        transitions, found = prepare(network, weights, transitions)
        fixed = None if target is None else apply_sequence(network, target, transitions)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            total, losses = loss(apply_sequence(network, weights, transitions), transitions, fixed)
        gradient, norm = pack_gradients(network, tape.gradient(total, weights), found, global_clipnorm)
        traced_names.update(names=(*losses, "gradient_norm"))
        return gradient, tf.stack([*losses.values(), norm])

    traced_names: dict[str, tuple[str, ...]] = {}
    compiled = clipped_gradient if eager else tf.function(clipped_gradient, autograph=False)

    def compute(weights, transitions, target=None):
        tensors = Transitions._make(map(_constant, transitions))
        gradient, losses = compiled(tf.convert_to_tensor(weights), tensors, _constant(target))
        return gradient.numpy(), dict(zip(traced_names["names"], losses.numpy().tolist(), strict=True))

    return compute


def _optimizer_function(network: Network, optimizer: keras.optimizers.Optimizer) -> tuple[Callable, State]:
    """One step of a Keras optimizer on flat parameters and flat state, not compiled, and the first state.

    Keras offers no stateless optimizers here, so the step assigns its arguments to the optimizer's
    variables, applies the gradients and reads the variables back, all in one graph.
    """
    variables = build_optimizer(optimizer, network.model)
    weights_layout, state_layout = Layout.of(variables), Layout.of(optimizer.variables)

    def read() -> tuple[Any, State]:
        weights = weights_layout.join([tf.identity(v.value) for v in variables])
        return weights["float32"], state_layout.join([tf.identity(v.value) for v in optimizer.variables])

    def step(weights, state, gradient):
        arguments = weights_layout.split({"float32": weights}) + state_layout.split(state)
        for variable, value in zip([*variables, *optimizer.variables], arguments, strict=True):
            variable.assign(value)
        optimizer.apply(weights_layout.split({"float32": gradient}), variables)
        return read()

    return step, {dtype: vector.numpy().copy() for dtype, vector in read()[1].items()}


def compile_update(
    network: Network, optimizer: keras.optimizers.Optimizer, eager: bool = False
) -> tuple[Callable[[Any, State, np.ndarray], tuple[Any, State]], State]:
    """Compile one step of a Keras optimizer on flat weights and flat state; also return the first state."""
    step, first_state = _optimizer_function(network, optimizer)

    def update(weights, state, gradient, share=None):
        parameters, state = step(weights, state, gradient)
        return after_update(network, parameters, weights, gradient, share), state

    return compile_function(update, eager), first_state


def compile_function(function: Callable, eager: bool = False) -> Callable:
    """Compile any pure function of arrays."""
    compiled = function if eager else tf.function(function, autograph=False)

    def call(*arguments, **more):
        return compiled(*_tensors(arguments), **_tensors(more))

    return call


def _tensors(arguments: Any) -> Any:
    """The arrays in a structure as tensors."""
    return tf.nest.map_structure(_constant, arguments)


def _part_gradient_function(network: Network, loss: Callable, global_clipnorm: float | None) -> Callable:
    """The clipped gradient of `loss` on a part of a batch, and its terms with the norm, not yet compiled."""

    def gradient_of(weights, batch, index):
        part = take_part(batch, index)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            total, losses = loss(*evaluate_part(network, weights, part), part)
        gradient, norm = pack_gradients(network, tape.gradient(total, weights), [], global_clipnorm)
        return gradient, {**losses, "gradient_norm": norm}

    return gradient_of


def compile_part_gradient(
    network: Network, loss: Callable, global_clipnorm: float | None, eager: bool = False
) -> Callable[[Any, Batch, Any], tuple[np.ndarray, dict[str, float]]]:
    """Compile the gradient of `loss` on a part of a batch."""
    compiled = compile_function(_part_gradient_function(network, loss, global_clipnorm), eager)

    def compute(weights, batch, index):
        gradient, losses = compiled(weights, batch, index)
        return gradient.numpy(), {name: float(value) for name, value in losses.items()}

    return compute


def compile_pass(
    network: Network,
    loss: Callable,
    optimizer: keras.optimizers.Optimizer,
    global_clipnorm: float | None,
    eager: bool = False,
) -> tuple[Callable[..., tuple[Delta, dict[str, float]]], State]:
    """Compile a step of the optimizer on a part of a batch, which a pass calls part after part.

    Also returns the optimizer's first state.
    """
    gradient_of = _part_gradient_function(network, loss, global_clipnorm)
    update, first_state = _optimizer_function(network, optimizer)

    def step(weights, state, batch, index, share):
        gradient, losses = gradient_of(weights, batch, index)
        size = gradient.shape[0]
        parameters, state = update(weights, state, gradient)
        parameters = partway(weights[:size], parameters, share)
        names[:] = losses
        return tf.concat([parameters, weights[size:]], 0), state, tf.stack(list(losses.values()))

    names: list[str] = []
    compiled = compile_function(step, eager)

    def compute(weights, state, batch, order, share=None):
        weights, state, batch = _tensors((weights, state, batch))
        now, after, found = weights, state, []
        for index in order:
            now, after, losses = compiled(now, after, batch, index, share)
            found.append(losses.numpy())
        delta = Delta((now - weights).numpy(), after)
        return delta, dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))

    return compute, first_state
