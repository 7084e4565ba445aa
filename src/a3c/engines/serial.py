"""The serial engine: one worker in this process. The same seed gives the same run, bit for bit."""

import time
import traceback
from collections.abc import Callable

import numpy as np

from a3c import backend
from a3c.engines.job import Job
from a3c.errors import RunError
from a3c.flat import Network
from a3c.types import Report
from a3c.worker import work

_TICK = 0.05  # seconds


class SerialEngine:
    """Runs the worker cycle on the calling thread; see `engines.Engine`."""

    def __init__(self, job: Job, network: Network, weights: np.ndarray):
        framework = backend.load()
        # The worker's program first: it takes longest, and compiles while the rest is made.
        [(self._sampler, self._learn)] = job.make_workers(framework, network, weights, [0])
        self.store = job.make_local_store(framework, network, weights)
        self.training_started: float | None = None

    def run(self, on_report: Callable[[Report], None], on_tick: Callable[[], None]) -> None:
        """Train until the store says that training is over."""

        next_tick = 0.0

        def report(report: Report) -> None:
            nonlocal next_tick
            on_report(report)
            if (now := time.monotonic()) >= next_tick:
                on_tick()
                next_tick = now + _TICK

        self._sampler.wait()
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
