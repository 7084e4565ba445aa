"""The backend seam: a few functions compiled by a framework, and the choice of the framework.

`jax.py` and `tensorflow.py` beside this file are the only ones that import a framework. Each offers:

    compile_policy(network, eager)
        -> f(weights) -> g(observations [N, *O], state) -> policy parameters [N, A], state
    compile_gradients(network, loss, global_clipnorm, eager)
        -> f(weights, transitions, target) -> (gradients [P], losses)
    compile_update(network, optimizer, eager)
        -> f(weights, state, gradients, share) -> (weights, state), and the first state; `share` is how far
           the parameters go of the way that the optimizer would have them go, None: all of it
    compile_part_gradient(network, loss, global_clipnorm, eager)
        -> f(weights, batch, index [n]) -> (gradients, losses): of a part of a rollout that is used again
    compile_pass(network, loss, optimizer, global_clipnorm, eager)
        -> f(weights, state, batch, order [parts, n], share) -> (Delta, losses): a step of the optimizer for
           each part; and the first state
    compile_function(function, eager) -> any pure function of arrays, compiled
    configure(cache_directory, accelerated) -> settings that must precede the first computation

Weights and gradients are flat vectors [P] float32; an optimizer's state is one flat vector per dtype.
This file imports neither a framework nor Keras, so that the choice can be made before either is.
"""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from a3c.errors import UsageError

NAMES = ("jax", "tensorflow")
_INSTALL = {"jax": "pip install jax", "tensorflow": "pip install 'a3c[tensorflow]'"}

SINGLE_THREADED = {
    # One compute thread per worker. XLA's thread pool only listens to PJRT_NPROC.
    "PJRT_NPROC": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

IN_WORKERS = {
    **SINGLE_THREADED,
    # Where the user has them compute on an accelerator, no one takes most of its memory for itself.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


def installed() -> list[str]:
    """The backends whose framework can be imported here."""
    return [name for name in NAMES if _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module blocked or half initialised in sys.modules
        return False


def select(name: str = "auto") -> str:
    """Decide Keras' backend for this process and tell Keras by `KERAS_BACKEND`.

    Args:
        name: `jax`, `tensorflow` or `auto`: the backend of a Keras that is imported already, else
            `KERAS_BACKEND`, else the first installed of jax and tensorflow.

    Returns:
        `jax` or `tensorflow`.

    Raises:
        UsageError: if that backend is not installed, or Keras already runs on another one.
    """
    running = sys.modules["keras"].backend.backend() if "keras" in sys.modules else None
    wanted = name
    if name == "auto":
        wanted = running or os.environ.get("KERAS_BACKEND") or next(iter(installed()), "jax")
    if wanted not in NAMES:
        fix = "Unset KERAS_BACKEND or choose one with --backend."
        raise UsageError(f"Keras backend {wanted}", f"one of {', '.join(NAMES)}", fix)
    if not _is_installed(wanted):
        have = ", ".join(installed()) or "none"
        raise UsageError(
            f"backend {wanted}, which is not installed",
            f"an installed one ({have})",
            f"Install it with: {_INSTALL[wanted]}",
        )
    if running and running != wanted:
        fix = f"Set KERAS_BACKEND={wanted} before the first import of Keras."
        raise UsageError(f"backend {wanted}", f"{running}, which Keras already runs on", fix)
    os.environ["KERAS_BACKEND"] = wanted
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return wanted


@contextlib.contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """Let a runtime that is started meanwhile compute with so many threads; one that runs keeps its own."""
    before = os.environ.get("PJRT_NPROC")
    os.environ["PJRT_NPROC"] = before or str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PJRT_NPROC"]


def load(
    threads: int | None = None, cache_directory: Path | None = None, accelerated: bool = True
) -> ModuleType:
    """The module of the selected backend, configured. Imports Keras and the framework.

    Args:
        threads: Compute threads of the runtime, if this call is what starts it; None: its own default.
        cache_directory: Where to keep compiled programs; None: nowhere new.
        accelerated: Whether to compute on an accelerator, where there is one; where not, `JAX_PLATFORMS` and
            `CUDA_VISIBLE_DEVICES` still say otherwise.
    """
    import keras

    module = importlib.import_module(f"a3c.backend.{keras.backend.backend()}")
    with contextlib.nullcontext() if threads is None else compute_threads(threads):
        module.configure(cache_directory, accelerated)
    return module
