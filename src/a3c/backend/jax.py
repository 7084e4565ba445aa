"""The JAX backend: each of the three functions is one XLA program."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from a3c.backend import cache
from a3c.flat import Layout, Network, act_once, after_update, build_optimizer, prepare, pushed, unroll
from a3c.types import Act, Policy, Transitions

FUSES = True
"""Acting, environment and learning can be one program: see `policy_function`, `gradient_function`."""

State = dict[str, Any]
"""An optimizer's state: one flat vector per dtype."""


def configure(cache_directory: Path | None, accelerated: bool) -> None:
    """Start the runtime.

    Small programs return when done: three times faster than handing them over. Compiled programs are kept
    in `cache_directory`, unless the user has told JAX of another.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if not accelerated and not os.environ.get("JAX_PLATFORMS"):
        jax.config.update("jax_platforms", "cpu")
    if cache_directory is not None and jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(cache_directory))
        jax.config.update("jax_compilation_cache_max_size", cache.MAX_SIZE)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.devices()


def policy_function(network: Network) -> Callable[[Any, Any, Any], tuple[jax.Array, Any]]:
    """The policy head; the compiler drops the value head, since acting needs none. Not yet compiled."""
    return lambda weights, observations, state: act_once(network, weights, observations, state)


def compile_policy(network: Network, eager: bool = False) -> Policy:
    """Compile `policy_function`."""
    function = policy_function(network)
    compiled = function if eager else jax.jit(function)

    def policy(weights: Any) -> Act:
        placed = jnp.asarray(weights)  # on the device once for many calls

        def act(observations: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
            parameters, after = compiled(placed, observations, state)
            return np.asarray(parameters), None if after is None else np.array(after)

        return act

    return policy


def gradient_function(
    network: Network, loss: Callable, global_clipnorm: float | None
) -> Callable[[Any, Transitions, Any], tuple[jax.Array, dict[str, jax.Array]]]:
    """The gradient of `loss` with respect to the flat weights, clipped to a global norm; not yet compiled."""

    def objective(weights, transitions, target):
        fixed = None if target is None else unroll(network, target, transitions)
        return loss(unroll(network, weights, transitions), transitions, fixed)

    def clipped_gradient(weights, transitions, target):
        transitions, found = prepare(network, weights, transitions)
        (_, losses), gradient = jax.value_and_grad(objective, has_aux=True)(weights, transitions, target)
        gradient, norm = pushed(network, gradient, found, global_clipnorm)
        return gradient, {**losses, "gradient_norm": norm}

    return clipped_gradient


def compile_gradients(
    network: Network, loss: Callable, global_clipnorm: float | None, eager: bool = False
) -> Callable[[Any, Transitions, Any], tuple[np.ndarray, dict[str, float]]]:
    """Compile `gradient_function`."""
    gradient_of = gradient_function(network, loss, global_clipnorm)
    names: list[str] = []

    def stacked(weights, transitions, target):
        gradient, losses = gradient_of(weights, transitions, target)
        names[:] = losses
        return gradient, jnp.stack(list(losses.values()))  # one array is fetched faster than six

    compiled = stacked if eager else jax.jit(stacked)

    def compute(weights, transitions, target=None):
        gradient, losses = compiled(weights, transitions, target)
        return np.asarray(gradient), dict(zip(names, np.asarray(losses).tolist(), strict=True))

    return compute


def compile_update(
    network: Network, optimizer: keras.optimizers.Optimizer, eager: bool = False
) -> tuple[Callable[[Any, State, np.ndarray], tuple[Any, State]], State]:
    """Compile one step of a Keras optimizer on flat weights and flat state; also return the first state."""
    variables = build_optimizer(optimizer, network.model)
    weights_layout, state_layout = Layout.of(variables), Layout.of(optimizer.variables)

    def step(weights, state, gradient, share=None):
        new_weights, new_state = optimizer.stateless_apply(
            state_layout.split(state),
            weights_layout.split({"float32": gradient}),
            weights_layout.split({"float32": weights}),
        )
        parameters = weights_layout.join(new_weights)["float32"]
        return after_update(network, parameters, weights, gradient, share), state_layout.join(new_state)

    first_state = state_layout.join([v.value for v in optimizer.variables])
    return step if eager else jax.jit(step), {dtype: np.array(v) for dtype, v in first_state.items()}


@contextlib.contextmanager
def saving() -> Iterator[None]:
    """Keep Keras from importing an installed TensorFlow, which takes seconds, only to look for its types."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.modules["tensorflow"] = None  # type: ignore[assignment] - the documented way to block an import
    try:
        yield
    finally:
        del sys.modules["tensorflow"]
        # Keras remembers that it found no TensorFlow; let it look again when someone else needs it.
        from keras.src.utils import module_utils

        if getattr(module_utils.tensorflow, "_available", None) is False:
            module_utils.tensorflow._available = None
