"""The engine seam: how workers are started, and what kind of store they are handed.

`serial.py`: one worker in this process. `threads.py`: threads of this process, for what releases the
interpreter lock. `processes.py`: worker processes around shared memory. A further engine is one more file
with the same two methods, and a line in `start`.
"""

import dataclasses
import os
from typing import TYPE_CHECKING, Any, Protocol

from a3c import algorithms
from a3c.config import Config
from a3c.engines.stores import StoreControl, StoreState
from a3c.errors import SettingError

if TYPE_CHECKING:
    from a3c.engines.spec import WorkerSpec
    from a3c.engines.supervision import RunListener
    from a3c.networks.functional import Network


class Engine(Protocol):
    """Workers, started and watched."""

    @property
    def training_started(self) -> float | None:
        """`time.monotonic()` when the first worker began its first rollout; None before."""
        ...

    @property
    def store(self) -> StoreControl:
        """The global parameters, as the main process sees them."""
        ...

    def run(self, listener: "RunListener") -> None:
        """Train until the store is stopped or reaches a limit, and every worker has left.

        Args:
            listener: Is told of everything that happens, on this thread; of events from any.

        Raises:
            RunError: after more faults than the settings allow.
        """
        ...

    def sampler_state(self) -> Any:
        """Where the worker of the serial engine stands, as a plain tree; None on every other engine."""
        ...

    def kill(self) -> None:
        """End what can be ended at once; called from a signal handler."""
        ...

    def close(self) -> None:
        """Leave nothing running."""
        ...


def usable_cores() -> int:
    """Cores this process may use: its affinity, and the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return cores


_COPIES = 16
"""Environments of all workers together, where their number is left open."""


def resolve_workers(config: Config) -> Config:
    """`config` with the number of workers decided, and of the environments that each of them steps.

    Raises:
        SettingError: for more than one worker on the serial engine.
    """
    engine, workers = config.engine, config.workers
    if engine == "serial" and workers not in (None, 1):
        raise SettingError("workers", workers, "1 with the serial engine", "Leave --engine out for more.")
    if workers is None:
        workers = 1 if engine == "serial" else usable_cores()
    copies = config.envs_per_worker or max(1, _COPIES // workers)
    return dataclasses.replace(config, workers=workers, envs_per_worker=copies)


def resolve_engine(config: Config, compiled: bool) -> Config:
    """`config` with the engine decided.

    Args:
        config: With backend and number of workers decided.
        compiled: Whether the environment runs inside the worker's program.

    Raises:
        SettingError: for threads where they cannot be.
    """
    engine = config.engine
    fused = compiled and config.backend == "jax" and not config.eager
    if engine == "auto":
        parallel = "threads" if fused else "processes"
        engine = "serial" if config.workers == 1 else parallel
    if engine == "threads" and (config.backend != "jax" or config.eager):
        what = "eager code" if config.eager else f"the {config.backend} backend"
        fix = "Choose --engine processes."
        raise SettingError(
            "engine", engine, f"one that {what} can run in: it is not for several threads", fix
        )
    return dataclasses.replace(config, engine=engine)


def compute_threads(config: Config) -> int:
    """Threads that compute in the main process: one per worker there."""
    assert config.workers is not None
    return 1 if config.engine == "processes" else config.workers


def accelerated(config: Config) -> bool:
    """Whether the main process computes on an accelerator, where there is one.

    Where workers are processes it does not, unless it is the one that learns: they compute on the processor,
    since each would want most of the accelerator's memory, and small networks are faster there.
    """
    learner = algorithms.find(config.algorithm).gathers == "rollouts"
    return config.engine != "processes" or learner


def prepare(config: Config) -> None:
    """Start what takes a while and needs no Keras here, before the main process imports Keras."""
    if config.engine == "processes":
        from a3c.engines import processes

        assert config.workers is not None
        processes.prepare(config.workers)


def start(
    worker_spec: "WorkerSpec", network: "Network", contents: StoreState, sampler_state: Any = None
) -> Engine:
    """Start the workers of the engine that the settings name.

    Args:
        worker_spec: What the workers do.
        network: That of the main process, which workers in this process use as well.
        contents: The first global parameters, or those of a checkpoint.
        sampler_state: Where the serial engine's worker goes on; None: it begins anew.
    """
    if worker_spec.config.engine == "serial":
        from a3c.engines.serial import SerialEngine

        return SerialEngine(worker_spec, network, contents, sampler_state)
    if worker_spec.config.engine == "threads":
        from a3c.engines.threads import ThreadEngine as Chosen
    else:
        from a3c.engines.processes import ProcessEngine as Chosen
    return Chosen(worker_spec, network, contents)
