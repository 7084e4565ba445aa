"""The compiled update of the global parameters: a step of the shared optimizer, or workers' steps added."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from a3c.algorithms import reuse
from a3c.engines.spec import WorkerSpec
from a3c.networks.functional import Network
from a3c.types import Delta

Update = Callable[[Any, dict[str, Any], Any, float], tuple[Any, dict[str, Any]]]
"""Maps parameters, the optimizer's state, what a worker contributes, and the environment steps of all workers
until then, to new parameters and state."""


def make_update(
    spec: WorkerSpec, framework: ModuleType, network: Network
) -> tuple[Update, dict[str, np.ndarray]]:
    """The compiled update, and the optimizer's first state."""
    config = spec.config
    update, state = framework.compile_update(network, spec.optimizer.build(), config.eager)
    if spec.algorithm.local_steps:
        add = framework.compile_function(functools.partial(reuse.add_delta, network), config.eager)
        return lambda weights, before, delta, steps: add(weights, before, delta), state

    def annealed(weights: Any, before: Any, gradients: Any, steps: float) -> tuple[Any, dict]:
        share = annealing(spec, steps)
        return update(weights, before, gradients, *(() if share is None else (share,)))

    return annealed, state


def warm_up(spec: WorkerSpec, update: Update, weights: Any, state: dict[str, Any]) -> None:
    """Compile an update, off the training clock, by one that changes nothing."""
    nothing = weights * 0
    update(weights, state, Delta(nothing, state) if spec.algorithm.local_steps else nothing, 0)


def annealing(spec: WorkerSpec, steps: float) -> np.float32 | None:
    """The share of its step that the optimizer makes after so many environment steps; None: all of it."""
    if not spec.config.anneal:
        return None
    assert spec.config.max_steps is not None
    return np.float32(max(0.0, 1.0 - steps / spec.config.max_steps))
