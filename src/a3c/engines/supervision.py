"""Keeping workers alive: faults counted against a limit, lost workers replaced, hanging ones named.

Each engine has its worker pool, which starts and ends workers; what becomes of them is decided here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from a3c.config import Config
from a3c.engines.monitors import AwakeClock, HeartbeatMonitor, StalenessMonitor
from a3c.engines.stores import StoreControl
from a3c.envs.faults import Fault
from a3c.errors import RunError
from a3c.types import Report

TICK = 0.02  # seconds between looks at what workers have done
PATIENCE = 5.0  # seconds that a stopped worker has to leave before it is ended


class RunListener(Protocol):
    """Who is told what happens while workers train: the main process."""

    def on_report(self, report: Report) -> None:
        """Take in what a worker has done."""
        ...

    def on_tick(self) -> None:
        """Do what is due; called many times a second."""
        ...

    def on_event(self, text: str) -> None:
        """Tell the user something that happened."""
        ...

    def on_fault(self, worker: int, fault: Fault) -> Path:
        """Keep the card of an environment's fault; returns where."""
        ...

    def beat(self) -> int:
        """Grows while the listener itself plays in environments, on the thread of the serial engine."""
        ...


class Diverged(RunError):
    """Losses or gradients were not finite too many times in a row."""


class Faults:
    """The faults of a run: told one by one, and one too many ends it with the first one's traceback.

    Args:
        limit: How many are survived.
        listener: Who is told.
    """

    def __init__(self, limit: int, listener: RunListener):
        self._limit, self._listener = limit, listener
        self._first: str | None = None
        self.count = 0

    def lost(self, what: str, trace: str = "", counts: bool = True) -> None:
        """A worker is gone; it will be started again.

        Args:
            what: What happened.
            trace: The traceback, if there is one.
            counts: Whether it is a fault of its own.

        Raises:
            RunError: if that was one too many.
        """
        if counts:
            self._count(what, trace)
        self._listener.on_event(f"{what}; restarted {self.count}/{self._limit}")

    def environment(self, worker: int, fault: Fault) -> None:
        """An environment failed; its worker rebuilds it.

        Raises:
            RunError: if that was one too many.
        """
        card = self._listener.on_fault(worker, fault)
        what = f"worker {worker}: {fault.summary}"
        self._count(what, fault.traceback, f"See it again with: a3c reproduce {card}")
        again = f"rebuilt {self.count}/{self._limit}; see it again with: a3c reproduce {card}"
        self._listener.on_event(f"{what}; {again}")

    def _count(self, what: str, trace: str, fix: str = "") -> None:
        self.count += 1
        if self._first is None:
            self._first = "\n".join(part.rstrip() for part in (what, trace, fix) if part)
        if self.count > self._limit:
            if self.count == 1:
                raise RunError(self._first)
            limit = f"one fault more than --max-restarts {self._limit} allows"
            raise RunError(f"{what}: {limit}. The first was\n{self._first}")


@dataclass(frozen=True)
class Event:
    """What a pool has heard of one of its workers."""

    kind: Literal["ready", "fault", "lost", "left"]
    worker: int
    content: Any = None
    """`fault`: a `Fault`. `lost`: what `Faults.lost` is told."""


class WorkerPool(Protocol):
    """The workers of one engine, by number."""

    def start(self, worker: int, restart: int) -> None:
        """Start `worker`, for the `restart`-th time again."""
        ...

    def listen(self, seconds: float) -> list[Event]:
        """What was heard, waiting for so long if there is nothing."""
        ...

    def stack_of(self, worker: int) -> str:
        """What a silent worker is doing, as far as can be told."""
        ...

    def lock_holder(self) -> int | None:
        """The worker that others may be waiting for at this moment."""
        ...

    def terminate(self, worker: int) -> None:
        """End a silent worker."""
        ...


class Supervisor:
    """Workers at work, from the first to the last.

    Args:
        pool: Starts and ends them.
        store: What they train.
        config: The limits.
        listener: Who is told.
        clock: Tells the seconds by which workers are judged.
    """

    def __init__(
        self,
        pool: WorkerPool,
        store: StoreControl,
        config: Config,
        listener: RunListener,
        clock: Callable[[], float] | None = None,
    ):
        assert config.workers is not None
        self._pool, self._store, self._config, self._listener = pool, store, config, listener
        self._faults = Faults(config.max_restarts, listener)
        self._clock = clock or AwakeClock()
        self._monitor = HeartbeatMonitor(config.workers, config.hang_seconds, self._clock)
        self._lag = StalenessMonitor(config.workers, self._clock)
        self._present = set(range(config.workers))
        self._ready: set[int] = set()
        self._restarts = [0] * config.workers
        self.training_started: float | None = None

    def run(self) -> None:
        """Watch until every worker has left, or has had time to.

        Raises:
            RunError: after one fault too many.
        """
        deadline = None
        while self._present:
            for event in self._pool.listen(0.0 if self._store.central else TICK):
                self._heard(event)
            if self._store.central:
                self._store.learner_step(TICK)
            self.take_reports()
            self._listener.on_tick()
            now = self._clock()
            if self._store.finished:
                deadline = deadline or now + PATIENCE
                if not self._present & self._ready or now > deadline:
                    break
            else:
                check_divergence(self._store, self._config)
                self._look_after()
        self.take_reports()

    def take_reports(self) -> None:
        """Hand what workers have done to the listener."""
        for report in self._store.reports():
            self._listener.on_report(report)

    def _heard(self, event: Event) -> None:
        if event.worker not in self._present:
            return
        if event.kind == "ready":
            self._ready.add(event.worker)
            self._monitor.forget(event.worker)
            self.training_started = self.training_started or time.monotonic()
        elif event.kind == "left":
            self._present.discard(event.worker)
        elif event.kind == "fault":
            self._faults.environment(event.worker, event.content)
        else:
            self._replace(event.worker, *event.content)

    def _replace(self, worker: int, what: str, trace: str = "", counts: bool = True) -> None:
        """Start a lost worker again, unless there is nothing left to do."""
        self._ready.discard(worker)
        if self._store.finished:
            self._present.discard(worker)
            return
        self._faults.lost(what, trace, counts)
        self._restarts[worker] += 1
        self._monitor.forget(worker)
        self._pool.start(worker, self._restarts[worker])

    def _look_after(self) -> None:
        """Tell of workers that are silent, and replace those that are silent for too long."""
        tell, end = self._monitor.look(self._store.activity.heartbeats(), self._present & self._ready)
        for worker, seconds in tell.items():
            where = self._pool.stack_of(worker)
            self._listener.on_event(
                f"worker {worker} has finished nothing for {format_seconds(seconds)}; {where}"
            )
        for worker, seconds in end.items():
            where = self._pool.stack_of(worker)
            guilty = self._guilty(worker)
            self._pool.terminate(guilty)
            whose = f"worker {guilty} hung for {format_seconds(seconds)}"
            self._replace(guilty, f"{whose} ({where})" if guilty == worker else f"{whose} in an update")
            for other in end:
                self._monitor.forget(other)  # they may have waited for the one that was ended
            break
        activity = self._store.activity
        for worker, seconds in self._lag.look(activity.versions(), activity.pulls()).items():
            what = f"worker {worker} has acted on the same parameters for {format_seconds(seconds)}"
            self._listener.on_event(f"{what} while others changed them")

    def _guilty(self, worker: int) -> int:
        """Whose fault the silence of `worker` is: another's if that one is silent and keeps it waiting.

        Whoever holds the lock at this moment may well be at work; it need not have been silent quite as long.
        """
        lock_holder = self._pool.lock_holder()
        if lock_holder is None or self._monitor.silence(lock_holder) < self._monitor.silence(worker) / 2:
            return worker
        return lock_holder


def check_divergence(store: StoreControl, config: Config) -> None:
    """Stop a run whose losses stay NaN or infinite.

    Raises:
        Diverged: after `max_skips` updates in a row that had to be skipped.
    """
    if (skips_in_a_row := store.consecutive_skips()) >= config.max_skips:
        raise Diverged(
            f"{skips_in_a_row} updates in a row had a loss or a gradient that is not finite "
            f"(--max-skips {config.max_skips})."
            "\nMostly the learning rate is too high, or rewards or observations are very large: try a lower "
            "--learning-rate, --global-clipnorm 0.5, or scaled rewards and observations."
        )


def format_seconds(seconds: float) -> str:
    """Seconds in words: whole ones, where there are some."""
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
