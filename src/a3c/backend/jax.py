"""The JAX backend: each of its functions is one XLA program."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from a3c.algorithms.optimizers import build_optimizer
from a3c.algorithms.reuse import evaluate_part, take_part
from a3c.backend import cache
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
        _keep_programs(cache_directory)
    jax.devices()


def _keep_programs(directory: Path) -> None:
    """Have JAX keep compiled programs in `directory`, their checksums checked before they are read.

    JAX has no public way to put a check between it and its entries. With one that is built in another way
    than those known, nothing is kept.
    """
    from jax._src import compilation_cache, lru_cache

    if not {"_cache", "_cache_initialized"} <= vars(compilation_cache).keys():
        return
    entries = lru_cache.LRUCache(str(directory), max_size=cache.MAX_SIZE)
    compilation_cache._cache = cache.CheckedEntries(entries)  # type: ignore[assignment]
    compilation_cache._cache_initialized = True
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_compilation_cache_max_size", cache.MAX_SIZE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


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
        fixed = None if target is None else apply_sequence(network, target, transitions)
        return loss(apply_sequence(network, weights, transitions), transitions, fixed)

    def clipped_gradient(weights, transitions, target):
        transitions, found = prepare(network, weights, transitions)
        (_, losses), gradient = jax.value_and_grad(objective, has_aux=True)(weights, transitions, target)
        gradient, norm = pack_gradients(network, gradient, found, global_clipnorm)
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


def _optimizer_function(network: Network, optimizer: keras.optimizers.Optimizer) -> tuple[Callable, State]:
    """One step of a Keras optimizer on flat parameters and flat state, not compiled, and the first state."""
    variables = build_optimizer(optimizer, network.model)
    weights_layout, state_layout = Layout.of(variables), Layout.of(optimizer.variables)

    def step(weights, state, gradient):
        new_weights, new_state = optimizer.stateless_apply(
            state_layout.split(state),
            weights_layout.split({"float32": gradient}),
            weights_layout.split({"float32": weights}),
        )
        return weights_layout.join(new_weights)["float32"], state_layout.join(new_state)

    first_state = state_layout.join([v.value for v in optimizer.variables])
    return step, {dtype: np.array(v) for dtype, v in first_state.items()}


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
    return function if eager else jax.jit(function)


def _part_gradient_function(network: Network, loss: Callable, global_clipnorm: float | None) -> Callable:
    """The clipped gradient of `loss` on a part of a batch, and its terms with the norm, not yet compiled."""

    def objective(weights, part):
        return loss(*evaluate_part(network, weights, part), part)

    def gradient_of(weights, batch, index):
        part = take_part(batch, index)
        (_, losses), gradient = jax.value_and_grad(objective, has_aux=True)(weights, part)
        gradient, norm = pack_gradients(network, gradient, [], global_clipnorm)
        return gradient, {**losses, "gradient_norm": norm}

    return gradient_of


def compile_part_gradient(
    network: Network, loss: Callable, global_clipnorm: float | None, eager: bool = False
) -> Callable[[Any, Batch, Any], tuple[np.ndarray, dict[str, float]]]:
    """Compile the gradient of `loss` on a part of a batch."""
    compiled = compile_function(_part_gradient_function(network, loss, global_clipnorm), eager)

    def compute(weights, batch, index):
        gradient, losses = compiled(weights, batch, index)
        return np.asarray(gradient), {name: float(value) for name, value in losses.items()}

    return compute


def compile_pass(
    network: Network,
    loss: Callable,
    optimizer: keras.optimizers.Optimizer,
    global_clipnorm: float | None,
    eager: bool = False,
) -> tuple[Callable[..., tuple[Delta, dict[str, float]]], State]:
    """Compile a pass over a batch, each part a step of the optimizer, as one program.

    Also returns the optimizer's first state.
    """
    gradient_of = _part_gradient_function(network, loss, global_clipnorm)
    update, first_state = _optimizer_function(network, optimizer)
    names: list[str] = []

    def step(carry, index, batch, share):
        weights, state = carry
        gradient, losses = gradient_of(weights, batch, index)
        names[:] = losses
        size = gradient.shape[0]
        parameters, state = update(weights, state, gradient)
        parameters = partway(weights[:size], parameters, share)
        return (jnp.concatenate([parameters, weights[size:]]), state), jnp.stack(list(losses.values()))

    def run(weights, state, batch, order, share):
        scan = _loop if eager else jax.lax.scan
        after, losses = scan(lambda carry, index: step(carry, index, batch, share), (weights, state), order)
        return Delta(after[0] - weights, after[1]), losses.mean(0)

    compiled = compile_function(run, eager)

    def compute(weights, state, batch, order, share=None):
        delta, losses = compiled(weights, state, batch, order, share)
        return delta, dict(zip(names, np.asarray(losses).tolist(), strict=True))

    return compute, first_state


def _loop(step: Callable, carry: Any, rows: Any) -> tuple[Any, jax.Array]:
    """`jax.lax.scan` in plain Python, for a debugger to walk through."""
    results = []
    for row in rows:
        carry, result = step(carry, row)
        results.append(result)
    return carry, jnp.stack(results)
