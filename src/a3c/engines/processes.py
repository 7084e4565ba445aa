"""The process engine: workers in processes of their own, around a store in shared memory.

Workers are forked from a server that has imported Keras but started nothing; where that is missing they
are spawned. They end by themselves when the master is gone, however it ended.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from a3c import backend
from a3c.backend import cache
from a3c.errors import RunError
from a3c.types import Report

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_TICK = 0.05  # seconds between ticks when no report comes
_PATIENCE = 5.0  # seconds that a stopped worker has to leave before it is ended


def prepare() -> None:
    """Start the server that workers are forked from; it imports Keras while the master does the same.

    Raises:
        RunError: in a worker that is re-importing a main script which trains without a guard.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunError(
            "Training began while a worker was importing your script: put it under if __name__ == '__main__':"
        )
    if _METHOD == "forkserver":
        from multiprocessing import forkserver

        multiprocessing.get_context(_METHOD).set_forkserver_preload(["a3c.engines.preload"])
        with _environment(backend.SINGLE_THREADED):
            forkserver.ensure_running()


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables meanwhile, for processes started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class ProcessEngine:
    """Starts worker processes and listens to them; see `engines.Engine`."""

    def __init__(self, job: Any, network: Any, weights: np.ndarray):
        from a3c.store.shared import SharedStore

        prepare()
        config = job.config
        framework = backend.load()
        _, state = job.make_update(framework, network)
        self.store = SharedStore(
            weights, state, config.workers, config.max_steps, config.max_episodes, config.locking
        )
        self.training_started: float | None = None
        self._processes: list[Any] = []
        self._listening: dict[Connection, int] = {}
        self._begun: set[int] = set()
        context: Any = multiprocessing.get_context(_METHOD)
        self._compiled = compiled = context.Event()  # kept: workers attach to it by name as they start
        with _environment(backend.SINGLE_THREADED):
            for worker in range(config.workers):
                ours, theirs = context.Pipe(duplex=False)
                arguments = (job, self.store, theirs, worker, compiled)
                process = context.Process(
                    target=_main, args=arguments, name=f"a3c-worker-{worker}", daemon=True
                )
                process.start()
                theirs.close()
                self._processes.append(process)
                self._listening[ours] = worker

    def run(self, on_report: Callable[[Report], None], on_tick: Callable[[], None]) -> None:
        """Listen until every worker has left."""
        while self._listening:
            self._listen(on_report)
            on_tick()

    def drain(self, on_report: Callable[[Report], None]) -> None:
        """Stop, and listen while workers that have begun take their leave."""
        self.store.stop()
        deadline = time.monotonic() + _PATIENCE
        while self._begun & set(self._listening.values()) and time.monotonic() < deadline:
            self._listen(on_report)

    def _listen(self, on_report: Callable[[Report], None]) -> None:
        """Take in one message of each worker that has one, or wait a moment."""
        for ready in connection.wait(list(self._listening), timeout=_TICK):
            assert isinstance(ready, Connection)
            worker = self._listening[ready]
            try:
                kind, content = ready.recv()
            except EOFError:
                raise RunError(self._obituary(worker)) from None
            if kind == "report":
                on_report(content)
            elif kind == "ready":
                self._begun.add(worker)
                self.training_started = self.training_started or time.monotonic()
            elif kind == "failed":
                raise RunError(f"worker {worker} failed:\n{content}")
            else:
                del self._listening[ready]

    def _obituary(self, worker: int) -> str:
        """What became of a worker that left without a word."""
        process = self._processes[worker]
        process.join(_PATIENCE)
        code = process.exitcode
        if code is not None and code < 0:
            return f"worker {worker} killed (signal {-code})"
        return f"worker {worker} ended unexpectedly (exit code {code}); its message stands above"

    def close(self) -> None:
        """Stop the workers, and end those that do not leave in time."""
        self.store.stop()
        deadline = time.monotonic() + _PATIENCE
        for end in self._listening:
            end.close()  # a worker that is blocked on sending is woken by this
        for worker, process in enumerate(self._processes):
            if worker in self._begun:  # one that is still compiling has nothing to lose
                process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


# -- in the worker process --------------------------------------------------------------------------------


def _main(job: Any, store: Any, link: Connection, worker: int, compiled: Any) -> None:
    """The life of a worker process. `compiled` is set when the first worker has compiled everything."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the master decides
    threading.Thread(target=_leave_with_the_master, daemon=True).start()
    try:
        from a3c.worker import work

        kept = cache.directory() if job.config.cache else None
        framework = backend.load(cache_directory=kept)
        network = job.make_network()
        if worker > 0 and framework.FUSES and kept is not None:
            compiled.wait()  # then everything is in the cache: compiled once, not per worker
        update, _ = job.make_update(framework, network)
        [(sampler, learn)] = job.make_workers(framework, network, store.weights(), [worker])
        store.attach(worker, update, lambda report: link.send(("report", report)))
        sampler.wait()
        compiled.set()
        gc.freeze()  # else collections walk all of Keras again and again
        link.send(("ready", None))
        work(store, sampler, learn)
        store.flush()
        link.send(("left", None))
        sampler.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the master stopped listening: it is ending the run
    except Exception:
        link.send(("failed", traceback.format_exc()))


def _leave_with_the_master() -> None:
    """Wait for the master's end, whatever the reason, and end this process with it."""
    master = multiprocessing.parent_process()
    assert master is not None
    connection.wait([master.sentinel])
    os._exit(1)
