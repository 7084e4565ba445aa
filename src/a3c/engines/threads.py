"""The thread engine: workers are threads of this process around one store.

They are parallel where what they do releases the interpreter lock: compiled environments do for the whole
of a worker step, EnvPool's for each environment step. Everything is compiled on the calling thread, once for
all workers; worker threads touch arrays and their own keys only.
"""

import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from a3c import backend
from a3c.engines.job import Job
from a3c.errors import RunError
from a3c.flat import Network
from a3c.types import Report
from a3c.worker import work

_REPORT_INTERVAL = 0.02  # seconds
_TICK = 0.05  # seconds between ticks when no report comes
_PATIENCE = 5.0  # seconds that a stopped worker has to leave before it is left behind


class ThreadEngine:
    """Starts worker threads and listens to them; see `engines.Engine`."""

    def __init__(self, job: Job, network: Network, weights: np.ndarray):
        framework = backend.load()
        assert job.config.workers is not None
        numbers = range(job.config.workers)
        # The workers' program first: it takes longest, and compiles while the rest is made.
        self._workers = job.make_workers(framework, network, weights, numbers)
        self.store = job.make_local_store(framework, network, weights)
        self._messages: queue.SimpleQueue[tuple[str, int, Any]] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._main, args=(worker,), name=f"a3c-worker-{worker}", daemon=True)
            for worker in numbers
        ]
        self._left = 0
        self.training_started: float | None = None

    def run(self, on_report: Callable[[Report], None], on_tick: Callable[[], None]) -> None:
        """Listen until every worker has left."""
        for sampler, _ in self._workers:
            sampler.wait()
        self.training_started = time.monotonic()
        for thread in self._threads:
            thread.start()
        while self._left < len(self._threads):
            self._listen(on_report)
            on_tick()

    def drain(self, on_report: Callable[[Report], None]) -> None:
        """Stop, and listen while workers take their leave."""
        self.store.stop()
        deadline = time.monotonic() + _PATIENCE
        while self._left < len(self._threads) and time.monotonic() < deadline:
            self._listen(on_report)

    def close(self) -> None:
        """Stop the workers and close their environments; one that is stuck in its environment is left."""
        self.store.stop()
        deadline = time.monotonic() + _PATIENCE
        for thread, (sampler, _) in zip(self._threads, self._workers, strict=True):
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
            if not thread.is_alive():
                sampler.close()

    def _listen(self, on_report: Callable[[Report], None]) -> None:
        """Take in one message, or wait a moment."""
        try:
            kind, worker, content = self._messages.get(timeout=_TICK)
        except queue.Empty:
            return
        if kind == "report":
            on_report(content)
        elif kind == "failed":
            raise RunError(f"worker {worker} failed:\n{content}")
        else:
            self._left += 1

    def _main(self, worker: int) -> None:
        """The life of a worker thread."""
        store = self.store.worker(
            worker, lambda report: self._messages.put(("report", worker, report)), _REPORT_INTERVAL
        )
        sampler, learn = self._workers[worker]
        try:
            work(store, sampler, learn)
            store.flush()
            self._messages.put(("left", worker, None))
        except Exception:
            self._messages.put(("failed", worker, traceback.format_exc()))
