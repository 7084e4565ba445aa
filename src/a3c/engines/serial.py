"""The serial engine: one worker in this process. The same seed gives the same run, bit for bit."""

import time
import traceback
from collections.abc import Callable

import numpy as np

from a3c import backend
from a3c.engines.job import Job
from a3c.errors import RunError
from a3c.store.local import LocalStore
from a3c.types import Report
from a3c.worker import work


class SerialEngine:
    """Runs the worker cycle on the calling thread; see `engines.Engine`."""

    def __init__(self, job: Job, weights: np.ndarray):
        framework = backend.load()
        network = job.make_network()
        update, state = job.make_update(framework, network)
        update(weights, state, np.zeros_like(weights))  # compile now, off the training clock
        self._sampler, self._learn = job.make_worker(framework, network, framework.place(weights), worker=0)
        limits = job.config.max_steps, job.config.max_episodes
        self.store = LocalStore(weights, state, update, framework.place, *limits)
        self.training_started: float | None = None

    def run(self, on_report: Callable[[Report], None], on_tick: Callable[[], None]) -> None:
        """Train until the store says that training is over."""

        def report(report: Report) -> None:
            on_report(report)
            on_tick()

        self.store.on_report = report
        self.training_started = time.monotonic()
        try:
            work(self.store, self._sampler, self._learn)
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
