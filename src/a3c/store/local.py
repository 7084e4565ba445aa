"""The store of workers in this process: parameters and optimizer state as plain arrays.

The serial engine's only worker and the workers of the thread engine use the same one. Arrays are never
changed in place: an update makes new ones and swaps a reference, so that a pull copies nothing.
"""

import contextlib
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from a3c.store.reports import Reporter
from a3c.types import Report, Rollout, Snapshot


class LocalStore:
    """Global parameters and optimizer state held by this process.

    Args:
        weights: [P] float32, the first parameters.
        state: The optimizer's first state.
        update: `f(weights, state, gradients) -> (weights, state)`.
        max_steps: Environment steps after which `pull` returns None; None: no limit.
        max_episodes: The same for finished episodes.
        locking: Update under the lock; else lock-free, as Hogwild and the paper do.
    """

    def __init__(
        self,
        weights: np.ndarray,
        state: dict[str, np.ndarray],
        update: Callable[..., tuple[Any, dict]],
        max_steps: int | None,
        max_episodes: int | None,
        locking: bool,
    ):
        self._parameters: tuple[Any, dict[str, Any]] = (weights, state)
        self._update = update
        self._max_steps = math.inf if max_steps is None else max_steps
        self._max_episodes = math.inf if max_episodes is None else max_episodes
        self._locking = locking
        self._counting = threading.Lock()
        self._updating = threading.Lock() if locking else contextlib.nullcontext()
        self._stopped = False
        self._running = threading.Event()
        self._running.set()
        self.updates = 0
        self.steps = 0
        self.episodes = 0

    def warm_up(self) -> None:
        """Compile the update, off the training clock, leaving everything as it was."""
        self._update(*self._parameters, self._parameters[0] * 0)

    def worker(self, worker: int, send: Callable[[Report], None], interval: float) -> "WorkerStore":
        """The store as one worker sees it, which reports by `send` every `interval` seconds."""
        return WorkerStore(self, Reporter(worker, send, interval))

    def pull(self) -> Snapshot | None:
        """The current parameters, or None when training is over. Waits while the master holds training."""
        self._running.wait()
        if self._stopped or self.steps >= self._max_steps or self.episodes >= self._max_episodes:
            return None
        return Snapshot(self._parameters[0], self.updates)

    def apply(self, gradients: Any, version: int, rollout: Rollout) -> int:
        """Update the parameters and count; return the policy lag."""
        with self._updating:
            before = self._parameters
            after = self._update(*before, gradients)
            # Only without the lock can another worker have been faster: then keep what both did.
            self._parameters = after if self._parameters is before else _add(self._parameters, before, after)
        with self._counting:
            lag = self.updates - version
            self.updates += 1
            self.steps += rollout.steps
            self.episodes += len(rollout.episodes)
        return lag

    def weights(self) -> np.ndarray:
        """A copy of the parameters: [P] float32."""
        return np.array(self._parameters[0])

    def stop(self) -> None:
        """Make every later pull return None."""
        self._stopped = True
        self._running.set()

    def hold(self, held: bool) -> None:
        """Make every later pull wait, or let them go on."""
        if held and not self._stopped:
            self._running.clear()
        else:
            self._running.set()


class WorkerStore:
    """A `LocalStore` in the hands of one worker."""

    def __init__(self, store: LocalStore, reporter: Reporter):
        self._store, self._reporter = store, reporter
        self.pull, self.flush = store.pull, reporter.flush

    def push(self, gradients: Any, version: int, rollout: Rollout, losses: Mapping[str, float]) -> None:
        """Apply `gradients` to the global parameters, and report now and then."""
        self._reporter.add(rollout, losses, self._store.apply(gradients, version, rollout))


def _add(now: tuple[Any, dict], before: tuple[Any, dict], after: tuple[Any, dict]) -> tuple[Any, dict]:
    """`now` plus the difference that an update made, as single additions in place would leave it."""
    state = {name: vector + (after[1][name] - before[1][name]) for name, vector in now[1].items()}
    return now[0] + (after[0] - before[0]), state
