"""What worker processes count and finish, in shared memory, so that it is not lost when one of them dies."""

from array import array
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from a3c.engines.stores.memory import LINE, SharedArrays
from a3c.types import Episode, Report, Rollout

_STEPS, _UPDATES, _EPISODES, _SKIPPED, _STREAK, _LAG, _FIGURES = range(7)  # columns
_RING = 4096  # episodes of a worker that may wait for the main process, at least


def counts_spec(workers: int, figures: Sequence[str], largest: int) -> dict:
    """The arrays of `SharedCounts`, for `SharedArrays`. `largest`: episodes that may end in one rollout."""
    rows = ("<f8", (workers + 1, _FIGURES + len(figures)))  # whole numbers up to 2^53
    rings = {("ring", worker): ("<f8", (max(_RING, 2 * largest), 3)) for worker in range(workers)}
    return {("counts", 0): rows, ("counts", 1): rows, "taken": ("<i8", (workers, LINE // 8)), **rings}


class SharedCounts:
    """A row of counts for each worker, which only that worker writes, and a last row.

    There are two banks of rows, as there are of the parameters. With a lock, the last row is the sum of all
    workers and of what was counted before. Without a lock there is nobody to keep such a sum: only bank 0 is
    used, and its last row stays what was counted before.

    Args:
        memory: Shared arrays, those of `counts_spec` among them.
        workers: Number of workers.
        figures: The names of the losses that workers push.
        locking: Whether there is a lock.
    """

    def __init__(self, memory: SharedArrays, workers: int, figures: Sequence[str], locking: bool):
        self._figures, self._locking = tuple(figures), locking
        self._banks = [memory["counts", bank] for bank in range(2)]
        self._plain = [bank.reshape(-1).data for bank in self._banks]  # faster for a single number
        self._taken = memory["taken"]  # episodes that the main process has read, in the first column
        self._rings = [memory["ring", worker] for worker in range(workers)]  # return, length, steps so far
        self._total = workers * self._banks[0].shape[1]  # where the last row begins

    def begin(self, counted: Sequence[int]) -> None:
        """Begin with what was counted before: steps, updates, episodes, skipped updates."""
        self._banks[0][-1, :4] = counted
        self._seen = self._banks[0].copy()

    # -- the worker's side ----------------------------------------------------------------------------------

    def attach(self, worker: int, bank: int) -> None:
        """Count for `worker`, going on from its row in `bank`."""
        columns = self._banks[0].shape[1]
        self._own = slice(worker * columns, (worker + 1) * columns)
        self._row = array("d", self._plain[bank][self._own])
        self._own_ring, self._own_taken = self._rings[worker], self._taken[worker].data

    def totals(self, bank: int) -> Sequence[float]:
        """Steps, updates and episodes of all workers."""
        if self._locking:
            return self._plain[bank][self._total : self._total + 3].tolist()
        return self._banks[0][:, :3].sum(axis=0).tolist()

    def add(self, rollout: Rollout, losses: Mapping[str, float], finite: bool) -> None:
        """Count a rollout in this worker's own memory; `write` or `write_in_place` shows it to others."""
        row = self._row
        row[_STEPS] += rollout.steps
        row[_EPISODES] += len(rollout.episodes)
        row[_UPDATES if finite else _SKIPPED] += 1
        row[_STREAK] = 0 if finite else row[_STREAK] + 1
        if finite:
            for column, name in enumerate(self._figures, _FIGURES):
                row[column] += losses[name]

    def add_lag(self, version: int, bank: int) -> None:
        """Count how many updates others have made since the parameters of `version`."""
        self._row[_LAG] += self.totals(bank)[_UPDATES] - version

    def unwritten_steps(self, bank: int) -> float:
        """Steps that were added since the row was last written there."""
        return self._row[_STEPS] - self._plain[bank][self._own][_STEPS]

    def write(self, bank: int, idle: int) -> None:
        """Write all rows of `bank` to the idle one, with the new row of this worker."""
        counts, row, total = self._plain[idle], self._row, self._total
        before = self._plain[bank][self._own]
        counts[:] = self._plain[bank]
        counts[self._own] = row
        for column in (_STEPS, _UPDATES, _EPISODES, _SKIPPED):
            counts[total + column] += row[column] - before[column]

    def write_in_place(self) -> None:
        """Write the row of this worker where it stands; nobody else writes there."""
        self._plain[0][self._own] = self._row

    def publish(self, rollout: Rollout, wait: Callable[[float], None]) -> None:
        """Write a rollout's episodes to this worker's ring, before they count; the main process reads them.

        Args:
            rollout: One that has not been added.
            wait: Waits so many seconds, where the main process is a whole ring behind.
        """
        episodes, ring = rollout.episodes, self._own_ring
        if not episodes:
            return
        first, steps = int(self._row[_EPISODES]), self._row[_STEPS] + rollout.steps
        while first + len(episodes) - self._own_taken[0] > len(ring):
            wait(0.001)
        places = np.arange(first, first + len(episodes)) % len(ring)
        ring[places] = [(episode.episode_return, episode.length, steps) for episode in episodes]

    # -- the main process's side ----------------------------------------------------------------------------

    def copy(self, bank: int) -> np.ndarray:
        """All rows of a bank as they are now."""
        return self._banks[bank].copy()

    def counted(self, rows: np.ndarray) -> list[int]:
        """Steps, updates, episodes and skipped updates of all workers, and of before."""
        return [int(n) for n in (rows[-1] if self._locking else rows.sum(axis=0))[:4]]

    def most_skips(self, bank: int) -> int:
        """The most updates in a row that one worker has had to skip."""
        return int(self._banks[bank][:-1, _STREAK].max())

    def reports(self, rows: np.ndarray) -> list[Report]:
        """A report of each worker that has done something between the rows of the last call and these."""
        changes = rows - self._seen
        active = np.flatnonzero(changes[:-1, [_UPDATES, _SKIPPED]].any(axis=1)).tolist()
        reports = [self._report(worker, changes[worker], rows[worker]) for worker in active]
        self._seen = rows
        self._taken[:, 0] = rows[:-1, _EPISODES]
        return reports

    def _report(self, worker: int, change: np.ndarray, row: np.ndarray) -> Report:
        steps, updates, episodes, skipped = (int(n) for n in change[:4])
        last, taken, ring = int(row[_EPISODES]), int(row[_STEPS]) - steps, self._rings[worker]
        finished = ring[np.arange(last - episodes, last) % len(ring)].tolist()
        means = (change[_FIGURES:] / max(1, updates)).tolist()
        return Report(
            worker=worker,
            updates=updates,
            skipped=skipped,
            steps=steps,
            episodes=[Episode(episode_return, int(length)) for episode_return, length, _ in finished],
            episode_steps=[int(reached) - taken for _, _, reached in finished],
            losses=dict(zip(self._figures, means, strict=True)) if updates else {},
            lag=float(change[_LAG]) / max(1, updates),
        )
