"""The store of workers in this process: parameters and optimizer state as plain arrays.

The serial engine's only worker and the workers of the thread engine use the same one. Arrays are never
changed in place: an update makes new ones and swaps a reference, so that a pull copies nothing.
"""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from a3c.engines.stores import Limits, StoreState, crosses_period, is_finite
from a3c.engines.stores.activity import Activity
from a3c.engines.stores.report_accumulator import ReportAccumulator
from a3c.types import PartGradients, Report, Rollout, Snapshot, is_average

MOST_WAITING = 8192
"""Episodes of one worker that may wait to be reported."""


class LocalStore:
    """Global parameters and optimizer state held by this process.

    Args:
        contents: What to begin with.
        update: `f(weights, state, gradients, steps) -> (weights, state)`, given the steps until then.
        workers: Number of workers.
        limits: When training is over.
        locking: Update under the lock; else lock-free, as Hogwild and the paper do.
        target_steps: Steps between renewals of the target network; None: there is none.
        statistics: How many numbers behind the parameters are running statistics, see `normalisation`.
    """

    central = False

    def __init__(
        self,
        contents: StoreState,
        update: Callable[..., tuple[Any, dict]],
        workers: int,
        limits: Limits,
        locking: bool,
        target_steps: int | None = None,
        statistics: int = 0,
    ):
        self._target_steps, self._statistics = target_steps, statistics
        first = contents.weights if contents.target is None else contents.target
        self._target = None if target_steps is None else first
        self._parameters: tuple[Any, dict[str, Any]] = (contents.weights, contents.optimizer)
        self._update, self._limits = update, limits
        self._counting = threading.Condition(threading.Lock())
        self._updating = threading.Lock() if locking else contextlib.nullcontext()
        self._stopped = False
        self._running = threading.Event()
        self._running.set()
        self.steps, self.updates = contents.steps, contents.updates
        self.episodes, self.skipped = contents.episodes, contents.skipped
        self._accumulators: dict[int, ReportAccumulator] = defaultdict(ReportAccumulator)
        self._consecutive_skips = [0] * workers
        self.activity = Activity.local(workers)

    # -- the workers' side ----------------------------------------------------------------------------------

    def pull(self, worker: int, again: bool = False) -> Snapshot | None:
        """The current parameters, or None when training is over. Waits while training is paused."""
        while not self._running.wait(0.2):
            self.activity.show_life(worker)
        if self.finished and not again:
            return None
        weights, optimizer = self._parameters
        snapshot = Snapshot(weights, self.updates, self.steps, self._target, optimizer)
        self.activity.pulled(worker, snapshot.version)
        return snapshot

    def wait_for_reader(self, worker: int) -> None:
        """Wait while the main process is many episodes behind: they would fill the memory."""
        with self._counting:
            while self._accumulators[worker].episodes >= MOST_WAITING and not self.finished:
                self.activity.show_life(worker)
                self._counting.wait(0.2)

    def push(
        self, worker: int, contribution: Any, version: int, rollout: Rollout, losses: Mapping[str, float]
    ) -> None:
        """Update the parameters, if the losses are finite, and count."""
        self.activity.show_life(worker)
        if isinstance(contribution, PartGradients):  # those of an only worker, whose mean is its own
            contribution = contribution.gradients
        finite = is_finite(losses)
        with self._updating:
            before = self._parameters
            after = self._update(*before, contribution, self.steps) if finite else before
            with self._counting:  # what counts has been made: nobody else writes in between
                now = self._parameters
                # Only without the lock can another worker have been faster: then keep what both did.
                if finite:
                    swapped = now is before
                    self._parameters = after if swapped else _add(now, before, after, self._statistics)
                self._count(worker, version, rollout, losses, finite)

    def _count(
        self, worker: int, version: int, rollout: Rollout, losses: Mapping[str, float], finite: bool
    ) -> None:
        lag = self.updates - version
        self.updates += finite
        self.skipped += not finite
        self._consecutive_skips[worker] = 0 if finite else self._consecutive_skips[worker] + 1
        if crosses_period(self._target_steps, self.steps, self.steps + rollout.steps):
            self._target = self._parameters[0]
        self.steps += rollout.steps
        self.episodes += len(rollout.episodes)
        self._accumulators[worker].add(rollout, losses, lag, finite)

    # -- the main process's side ----------------------------------------------------------------------------

    def learner_step(self, seconds: float) -> None:
        """Nothing: workers make the updates."""

    def weights(self) -> np.ndarray:
        """A copy of the parameters: [P] float32."""
        return np.array(self._parameters[0])

    def reports(self) -> list[Report]:
        """What workers have done since the last call."""
        if not self._accumulators:
            return []
        with self._counting:
            return self._take()

    def snapshot(self) -> tuple[list[Report], StoreState]:
        """A copy of everything, and the reports that lead up to exactly this moment."""
        with self._updating, self._counting:
            weights, state = self._parameters
            counts = (self.steps, self.updates, self.episodes, self.skipped)
            reports, target = self._take(), self._target
        copied = {name: np.array(vector) for name, vector in state.items()}
        fixed = None if target is None else np.array(target)
        return reports, StoreState(np.array(weights), copied, *counts, target=fixed)

    def _take(self) -> list[Report]:
        accumulators, self._accumulators = self._accumulators, defaultdict(ReportAccumulator)
        self._counting.notify_all()
        return [accumulator.report(worker) for worker, accumulator in accumulators.items()]

    def consecutive_skips(self) -> int:
        """The most updates in a row that one worker has had to skip, up to now."""
        return max(self._consecutive_skips)

    @property
    def finished(self) -> bool:
        """Whether every later pull returns None."""
        return self._stopped or self._limits.reached(self.steps, self.episodes)

    def stop(self) -> None:
        """Make every later pull return None."""
        self._stopped = True
        self._running.set()

    def pause(self, paused: bool) -> None:
        """Make every later pull wait, or let them go on."""
        if paused and not self._stopped:
            self._running.clear()
        else:
            self._running.set()


class WorkerStore:
    """A `LocalStore` in the hands of one worker, until it is taken away.

    Args:
        store: What it stands for.
        worker: The worker's number.
        between: Called before a rollout is begun, when nothing is left of the one before.
        after: Called after every push.
    """

    def __init__(
        self,
        store: LocalStore,
        worker: int,
        between: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ):
        self._store, self._worker, self._between, self._after = store, worker, between, after
        self.revoked = False
        """Set when the worker was given up: what it may still bring is not wanted."""

    def pull(self, again: bool = False) -> Snapshot | None:
        """The current parameters, or None when training is over or this worker was given up."""
        if not again:
            self._between()
        return None if self.revoked else self._store.pull(self._worker, again)

    def show_life(self) -> None:
        """See `Store.show_life`."""
        self._store.activity.show_life(self._worker)

    def push(self, contribution: Any, version: int, rollout: Rollout, losses: Mapping[str, float]) -> None:
        """See `Store.push`."""
        if not self.revoked:
            self._store.push(self._worker, contribution, version, rollout, losses)
            self._after()


def _add(
    now: tuple[Any, dict], before: tuple[Any, dict], after: tuple[Any, dict], statistics: int
) -> tuple[Any, dict]:
    """`now` plus the difference that an update made, as single additions in place would leave it.

    Averages of the optimizer are written as they came out, as in Hogwild: the difference of one that decays,
    added long after, could make a mean square negative; and so are the running statistics behind the
    parameters, whose variances could. Counters of the optimizer are added to.
    """
    state = {
        name: after[1][name] if is_average(name) else vector + (after[1][name] - before[1][name])
        for name, vector in now[1].items()
    }
    added = now[0] + (after[0] - before[0])
    if statistics:
        end = len(added) - statistics
        added = added.__array_namespace__().concat([added[:end], after[0][end:]])
    return added, state
