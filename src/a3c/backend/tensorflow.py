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

from a3c.flat import Layout, Network, act_once, after_update, build_optimizer, prepare, pushed, unroll
from a3c.types import Act, Policy, Transitions

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
        fixed = None if target is None else unroll(network, target, transitions)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            total, losses = loss(unroll(network, weights, transitions), transitions, fixed)
        gradient, norm = pushed(network, tape.gradient(total, weights), found, global_clipnorm)
        traced_names.update(names=(*losses, "gradient_norm"))
        return gradient, tf.stack([*losses.values(), norm])

    traced_names: dict[str, tuple[str, ...]] = {}
    compiled = clipped_gradient if eager else tf.function(clipped_gradient, autograph=False)

    def compute(weights, transitions, target=None):
        tensors = Transitions._make(map(_constant, transitions))
        gradient, losses = compiled(tf.convert_to_tensor(weights), tensors, _constant(target))
        return gradient.numpy(), dict(zip(traced_names["names"], losses.numpy().tolist(), strict=True))

    return compute


def compile_update(
    network: Network, optimizer: keras.optimizers.Optimizer, eager: bool = False
) -> tuple[Callable[[Any, State, np.ndarray], tuple[Any, State]], State]:
    """Compile one step of a Keras optimizer on flat weights and flat state; also return the first state.

    Keras offers no stateless optimizers here, so the step assigns its arguments to the optimizer's
    variables, applies the gradients and reads the variables back, all in one graph.
    """
    variables = build_optimizer(optimizer, network.model)
    weights_layout, state_layout = Layout.of(variables), Layout.of(optimizer.variables)

    def read() -> tuple[Any, State]:
        weights = weights_layout.join([tf.identity(v.value) for v in variables])
        return weights["float32"], state_layout.join([tf.identity(v.value) for v in optimizer.variables])

    def step(weights, state, gradient, share=None):
        arguments = weights_layout.split({"float32": weights}) + state_layout.split(state)
        for variable, value in zip([*variables, *optimizer.variables], arguments, strict=True):
            variable.assign(value)
        optimizer.apply(weights_layout.split({"float32": gradient}), variables)
        parameters, state = read()
        return after_update(network, parameters, weights, gradient, share), state

    compiled = step if eager else tf.function(step, autograph=False)

    def update(weights, state, gradient, share=None):
        state = {dtype: tf.constant(vector) for dtype, vector in state.items()}
        return compiled(tf.constant(weights), state, tf.constant(gradient), _constant(share))

    return update, {dtype: vector.numpy().copy() for dtype, vector in read()[1].items()}


saving = contextlib.nullcontext
