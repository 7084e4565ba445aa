"""Training from settings: what a run needs is made here, in order; then the loop takes over.

Called by the command line and by `Agent.fit`.
"""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a3c import backend, engines
from a3c.backend import cache
from a3c.config import Config
from a3c.envs import Environment
from a3c.training import callbacks as builtin
from a3c.training import provenance, resumption, run_directory
from a3c.training.callbacks.base import Callback
from a3c.training.callbacks.display import Display
from a3c.training.continuation import Continuation
from a3c.training.interrupts import Interrupts
from a3c.training.metrics import TrainingMetrics
from a3c.training.resolve import make_model, resolve_config

if TYPE_CHECKING:
    from a3c.engines.spec import WorkerSpec


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    summary: dict[str, Any]
    """The keys of `--json`; see `docs/json.md`."""
    metrics: TrainingMetrics
    model: Any
    """The network with the best weights: a `keras.Model`."""
    interrupted: bool
    config: Config
    """The settings, with everything decided."""
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Those that say something of this run, and where environment, model and optimizer come from."""


def train(
    config: Config,
    *,
    environment: Environment | None = None,
    model: Any = None,
    optimizer: Any = None,
    display: Display | None = None,
    callbacks: Sequence[Callback] = (),
    process_started: float | None = None,
    resume: Path | None = None,
    continuation: Continuation | None = None,
) -> Result:
    """Train as `config` says until the environment is solved or a limit is reached.

    Args:
        config: The settings.
        environment: What `config` was resolved for; default: resolve it here.
        model: A `keras.Model` of the user's own; default: what the settings describe.
        optimizer: A `keras.optimizers.Optimizer`; default: what the settings describe.
        display: Shows the progress; default: nothing.
        callbacks: The user's own.
        process_started: `time.monotonic()` from which `solved_seconds` and `wall_seconds` count;
            default: now.
        resume: The directory of a run to go on with; default: make a new one.
        continuation: Where the new run begins; default: with the weights of `model`.

    Raises:
        UsageError: for settings that cannot be carried out; nothing has been started then.
        RunError: after more faults than the settings allow; what was learned until then is saved.
        Exception: what a callback raised; what was learned until then is saved.
    """
    started = process_started or time.monotonic()
    if environment is None:
        config, environment = resolve_config(config)
    display = display or Display()
    _load_backend(config, display)
    model, optimizer, spec = _describe(config, environment, model, optimizer, resume)
    own_model = _is_own(model)
    origins = provenance.origins(environment, model if own_model else None, optimizer)
    replaced = provenance.replaced(own_model, optimizer is not None)
    directory = resume or run_directory.create(config, sys.argv, origins, replaced)
    with run_directory.locked(directory):
        begin = resumption.begin if resume is None else resumption.load
        if continuation is not None:
            continuation.put_into(directory)
            begin = resumption.take_up
        resumed = begin(directory, spec, model, optimizer)
        spec = dataclasses.replace(spec, resumed=resumed.count)
        result = _carry_out(spec, model, resumed, directory, builtin.in_order(display, callbacks), started)
    settings = {name: value for name, value in vars(result.config).items() if name not in replaced}
    return dataclasses.replace(result, params={**settings, **origins})


def _is_own(model: Any) -> bool:
    """Whether a model is of the user's own."""
    from a3c.networks import OURS

    return type(model) not in OURS


def _carry_out(
    spec: "WorkerSpec",
    model: Any,
    resumed: resumption.Resumed,
    directory: Path,
    callbacks: list[Callback],
    started: float,
) -> Result:
    """Train until the run ends, and leave the best weights in `model`."""
    from a3c.networks.functional import Network
    from a3c.networks.parameters import assign_parameters, non_trainable_of
    from a3c.training.ending import report_failure
    from a3c.training.loop import TrainingLoop
    from a3c.training.run import Run

    network = Network(model, non_trainable_of(model), spec.environment.observations, spec.normaliser)
    interrupts = Interrupts(lambda: run.engine.kill() if run.engine else None)
    run = Run(spec, network, directory, resumed, callbacks, interrupts, started)
    with interrupts, contextlib.closing(run.place):
        TrainingLoop(run, lambda: engines.start(spec, network, resumed.contents, resumed.sampler)).execute()
        if run.begun:
            run.attempt(lambda: assign_parameters(model, run.best_weights()))
        report_failure(run)
        summary = run.result | {"run_dir": str(run.directory)}
        return Result(summary, run.metrics, model, run.interrupted, run.config)


def _load_backend(config: Config, display: Display) -> None:
    """Import Keras and its backend, with compiled programs kept where that can be."""
    engines.prepare(config)
    kept, wrong = cache.find() if config.cache else (None, "")
    if wrong:
        display.note(f"Compiled programs are not kept: {wrong} (--no-cache).")
    backend.load(engines.compute_threads(config), kept, engines.accelerated(config))


def _describe(
    config: Config, environment: Environment, model: Any, optimizer: Any, resume: Path | None
) -> tuple[Any, Any, Any]:
    """The model, the optimizer of the user's own if there is one, and what workers need to know of both."""
    from a3c.algorithms.optimizers import make_optimizer
    from a3c.engines.spec import WorkerSpec

    if resume is not None and model is None:
        model = resumption.load_model(resume, config)
    model = make_model(config, environment, model)
    if resume is not None and optimizer is None:
        optimizer = resumption.load_optimizer(resume)
    return model, optimizer, WorkerSpec.of(config, environment, model, optimizer or make_optimizer(config))
