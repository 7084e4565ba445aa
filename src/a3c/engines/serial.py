"""The serial engine: one worker in this process. The same seed gives the same run, bit for bit."""

import time
import traceback
from collections.abc import Callable

import numpy as np

from a3c import backend
from a3c.engines.job import Job
from a3c.errors import RunError
from a3c.types import Report
from a3c.worker import work


class SerialEngine:
    """Runs the worker cycle on the calling thread; see `engines.Engine`."""

    def __init__(self, job: Job, weights: np.ndarray):
        framework = backend.load()
        network = job.make_network()
        self.store = job.make_local_store(framework, network, weights)
        [(self._sampler, self._learn)] = job.make_workers(framework, network, framework.place(weights), [0])
        self.training_started: float | None = None

    def run(self, on_report: Callable[[Report], None], on_tick: Callable[[], None]) -> None:
        """Train until the store says that training is over."""

        def report(report: Report) -> None:
            on_report(report)
            on_tick()

        self.training_started = time.monotonic()
        try:
            work(self.store.worker(0, report, interval=0.0), self._sampler, self._learn)
        except RunError:
            raise
        except Exception as error:
            raise RunError(f"worker 0 failed:\n{traceback.format_exc()}") from error

    def drain(self, on_report: Callable[[Report], None]) -> None:
        """Stop. Nothing is left to report: the only worker was interrupted itself."""
        self.store.stop()

    def close(self) -> None:
        """Close the environments."""
        self._sampler.close()
