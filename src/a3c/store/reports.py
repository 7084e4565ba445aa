"""What a worker tells the master, gathered over several updates, since telling each would cost more."""

import itertools
import time
from collections.abc import Callable, Mapping

from a3c.types import Report, Rollout


class Reporter:
    """Collects the figures of one worker's updates and sends them now and then.

    Args:
        worker: The worker's number.
        send: Takes the reports.
        interval: Seconds between reports; 0: one per update.
    """

    def __init__(self, worker: int, send: Callable[[Report], None], interval: float):
        self._worker, self._send, self._interval = worker, send, interval
        self._pending: list[tuple[Rollout, Mapping[str, float], int]] = []
        self._last = time.monotonic()

    def add(self, rollout: Rollout, losses: Mapping[str, float], lag: int) -> None:
        """Take in one update, and report if it is time."""
        self._pending.append((rollout, losses, lag))
        if time.monotonic() - self._last >= self._interval:
            self.flush()

    def flush(self) -> None:
        """Report what has not been reported yet."""
        if self._pending:
            pending, self._pending = self._pending, []
            self._send(_merge(self._worker, pending))
        self._last = time.monotonic()


def _merge(worker: int, pending: list[tuple[Rollout, Mapping[str, float], int]]) -> Report:
    """One report of several updates."""
    updates = len(pending)
    names = pending[0][1]
    taken = list(itertools.accumulate(rollout.steps for rollout, _, _ in pending))
    return Report(
        worker=worker,
        updates=updates,
        steps=taken[-1],
        episodes=[episode for rollout, _, _ in pending for episode in rollout.episodes],
        episode_steps=[
            steps for steps, (rollout, _, _) in zip(taken, pending, strict=True) for _ in rollout.episodes
        ],
        losses={name: sum(losses[name] for _, losses, _ in pending) / updates for name in names},
        lag=sum(lag for _, _, lag in pending) / updates,
    )
