"""The store of the process engine: parameters, optimizer state and counts in memory that all workers map.

The memory is a file without a name, so that nothing is left behind however the processes end. The same
file carries the lock, which the kernel releases when its holder dies. An update under the lock writes the
idle one of two banks, counts included, and then turns to it by writing a single number: a worker that dies
half-way leaves neither torn parameters nor an update that counts but was not made. What workers have to
tell lies in the same memory, so that it is not lost with them.
"""

import contextlib
import math
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from a3c.engines.stores import StoreState, crosses_period, is_finite
from a3c.engines.stores.memory import LINE, SharedFile, aligned
from a3c.types import Episode, Report, Rollout, Snapshot, is_average

T = TypeVar("T")
# Of the header; the generation's last bit is the bank.
_STOPPED, _GENERATION, _HELD, _COMPILED, _PERIOD = range(5)
_BEAT, _PULLS, _VERSION = range(3)  # of a worker's signs of life
_STEPS, _UPDATES, _EPISODES, _SKIPPED, _STREAK, _LAG, _FIGURES = range(7)  # columns of the counts
_TARGET = "target"  # the name of its vector in a bank, beside the dtypes of the optimizer's
_RING = 4096  # episodes of a worker that may wait for the master, at least


class SharedStore:
    """Global parameters, optimizer state and counts, shared by the workers and the master.

    Made by the master, passed to each worker at its start, and completed there by `attach`. Each row of the
    counts has one writer, its worker. The last row is that of all workers together, what was counted before
    included; lock-free, where nobody could keep it, it is only what was counted before.

    Args:
        contents: What to begin with.
        workers: Number of workers.
        figures: The names of the losses that workers push.
        max_steps: Environment steps after which `pull` returns None; None: no limit.
        max_episodes: The same for finished episodes.
        locking: Update under the lock; else lock-free, as Hogwild and the paper do.
        largest: The most episodes that may end in one rollout.
        target_steps: Steps between renewals of the target network; None: there is none.
        statistics: How many numbers behind the parameters are running statistics, see `normalisation`.
        lends_optimizer: Whether workers make the optimizer's steps themselves, and so pull its state as well.
    """

    central = False

    def __init__(
        self,
        contents: StoreState,
        workers: int,
        figures: Sequence[str],
        max_steps: int | None,
        max_episodes: int | None,
        locking: bool,
        largest: int,
        target_steps: int | None = None,
        statistics: int = 0,
        lends_optimizer: bool = False,
    ):
        self._lends_optimizer = lends_optimizer
        self._max_steps = math.inf if max_steps is None else max_steps
        self._max_episodes = math.inf if max_episodes is None else max_episodes
        self._locking, self._workers, self._figures = locking, workers, tuple(figures)
        self._ring = max(_RING, 2 * largest)
        self._target_steps, self._parameters = target_steps, contents.weights.size - statistics
        vectors = {"weights": contents.weights, **contents.optimizer}
        if target_steps is not None:
            vectors[_TARGET] = contents.weights if contents.target is None else contents.target
        self._bank_spec = {name: (v.dtype.str, v.size) for name, v in vectors.items()}
        self._file = SharedFile(self._size())
        self._map()
        for name, vector in vectors.items():
            self._banks[0][name][:] = vector
        self._counts[0][workers, :4] = contents.steps, contents.updates, contents.episodes, contents.skipped
        self._header[_PERIOD] = 0 if target_steps is None else contents.steps // target_steps
        self._seen = self._counts[0].copy()

    def client(self) -> "SharedStore":
        """The store as workers see it, each to be given its number by `attach`."""
        return self

    @property
    def place(self) -> str:
        """The directory whose file system holds the memory."""
        return self._file.place

    def __getstate__(self) -> dict[str, Any]:
        names = (
            "_max_steps",
            "_max_episodes",
            "_locking",
            "_bank_spec",
            "_workers",
            "_figures",
            "_ring",
            "_target_steps",
            "_parameters",
            "_lends_optimizer",
            "_file",
        )
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def _size(self) -> int:
        vectors = sum(aligned(np.dtype(kind).itemsize * size) for kind, size in self._bank_spec.values())
        counts = aligned(8 * (self._workers + 1) * (_FIGURES + len(self._figures)))
        rings = self._workers * aligned(8 * 3 * self._ring)
        return LINE * (1 + 2 * self._workers) + 2 * (vectors + counts) + rings

    def _map(self) -> None:
        """Lay NumPy views over the shared memory, and plain ones where single numbers matter."""
        offset, workers, plain = 0, self._workers, memoryview(self._file.map)

        def view(dtype: str, *shape: int) -> np.ndarray:
            nonlocal offset
            numbers = np.frombuffer(self._file.map, dtype, math.prod(shape), offset)
            self._at.append(slice(offset, offset + numbers.nbytes))
            offset += aligned(numbers.nbytes)
            return numbers.reshape(shape)

        words, self._at = LINE // 8, []
        view("<i8", words)  # the header
        self._signs = view("<i8", workers, words)  # of life: _BEAT, _PULLS, _VERSION
        self._taken = view("<i8", workers, words)  # episodes that the master has read, in the first column
        self._header = plain[self._at[0]].cast("q")
        columns = _FIGURES + len(self._figures)
        self._counts = [view("<f8", workers + 1, columns) for _ in range(2)]  # whole numbers up to 2^53
        self._plain_counts = [plain[at].cast("d") for at in self._at[-2:]]
        self._banks = [
            {name: view(dtype, count) for name, (dtype, count) in self._bank_spec.items()} for _ in range(2)
        ]
        self._rings = [view("<f8", self._ring, 3) for _ in range(workers)]  # return, length, steps so far

    # -- the worker's side ----------------------------------------------------------------------------------

    def attach(self, worker: int, update: Callable[..., tuple[Any, dict]]) -> None:
        """Make this copy the store of `worker`, going on where one of that number stopped."""
        self._update, self._worker = update, worker
        columns, line = _FIGURES + len(self._figures), slice(worker * LINE, (worker + 1) * LINE)
        plain = memoryview(self._file.map)
        self._own_signs, self._room = (plain[self._at[i]][line].cast("q") for i in (1, 2))
        self._own_ring = plain[self._at[-self._workers + worker]].cast("d")
        self._own_row = slice(worker * columns, (worker + 1) * columns)
        self._all = self._workers * columns
        with self._guard():
            self._row = array("d", self._plain_counts[self._active()][self._own_row])

    def announce_compiled(self) -> None:
        """Tell the other workers that everything lies in the cache of compiled programs."""
        self._header[_COMPILED] = 1

    def await_compiled(self) -> None:
        """Wait until some worker has compiled everything."""
        while not (self._header[_COMPILED] or self._header[_STOPPED]):
            time.sleep(0.005)

    def pull(self, again: bool = False) -> Snapshot | None:
        """The current parameters, or None when training is over. Waits while the master holds training.

        A rollout that reached a limit is learned from to its end, but not where the master stops it.
        """
        header, signs = self._header, self._own_signs
        while header[_HELD] and not header[_STOPPED]:
            self.show_life()
            time.sleep(0.001)
        self.show_life()
        signs[_PULLS] += 1
        with self._guard():
            active = header[_GENERATION] % 2
            steps, updates, episodes = self._totals(active)
            over = steps >= self._max_steps or episodes >= self._max_episodes
            if header[_STOPPED] or (over and not again):
                return None
            weights, lent = self._banks[active]["weights"].copy(), None
            if self._lends_optimizer:
                lent = {name: vector.copy() for name, vector in self._read()[1].items()}
            target = None if self._target_steps is None else self._banks[active][_TARGET].copy()
        signs[_VERSION] = int(updates)
        return Snapshot(weights, int(updates), int(steps), target, lent)

    def show_life(self) -> None:
        """Tell whoever watches that this worker goes on."""
        self._own_signs[_BEAT] += 1

    def push(
        self, gradients: np.ndarray, version: int, rollout: Rollout, losses: Mapping[str, float]
    ) -> None:
        """Apply `gradients` to the shared parameters, if the losses are finite, and count."""
        self.show_life()
        finite = is_finite(losses)
        self._publish(rollout)
        row = self._row
        row[_STEPS] += rollout.steps
        row[_EPISODES] += len(rollout.episodes)
        if finite:
            row[_UPDATES] += 1
            row[_STREAK] = 0
            for column, name in enumerate(self._figures, _FIGURES):
                row[column] += losses[name]
        else:
            row[_SKIPPED] += 1
            row[_STREAK] += 1
        with self._guard():
            if finite:
                row[_LAG] += self._totals(self._active())[_UPDATES] - version
            if self._locking:
                self._replace(gradients if finite else None)
            else:
                self._add(gradients if finite else None)
        if not self._locking:
            self._plain_counts[0][self._own_row] = row

    def _totals(self, active: int) -> Sequence[float]:
        """Steps, updates and episodes of all workers."""
        if self._locking:
            return self._plain_counts[active][self._all : self._all + 3].tolist()
        return self._counts[0][:, :3].sum(axis=0).tolist()

    def _publish(self, rollout: Rollout) -> None:
        """Write the episodes where the master will read them as soon as they count."""
        episodes, size = rollout.episodes, self._ring
        if not episodes:
            return
        first, steps = int(self._row[_EPISODES]), self._row[_STEPS] + rollout.steps
        while first + len(episodes) - self._room[0] > size:
            time.sleep(0.001)  # the master is a whole ring behind
        numbers = array("d", [n for returned, length in episodes for n in (returned, length, steps)])
        start, room = first % size, size - first % size
        ring, fitting = self._own_ring, 3 * min(len(episodes), room)
        ring[3 * start : 3 * start + fitting] = numbers[:fitting]
        if len(numbers) > fitting:
            ring[: len(numbers) - fitting] = numbers[fitting:]

    def _replace(self, gradients: np.ndarray | None) -> None:
        """Write the idle bank and turn to it; without gradients, parameters stay what they are."""
        generation = self._header[_GENERATION]
        active, idle = generation % 2, 1 - generation % 2
        weights, state = self._read()
        before_steps = self._totals(active)[_STEPS]
        if gradients is not None:
            weights, state = self._update(weights, state, gradients, before_steps)
        bank = self._banks[idle]
        bank["weights"][:] = weights
        if self._target_steps is not None:
            passed = before_steps + self._row[_STEPS] - self._plain_counts[active][self._own_row][_STEPS]
            renewed = crosses_period(self._target_steps, before_steps, passed)
            bank[_TARGET][:] = weights if renewed else self._banks[active][_TARGET]
        for name, vector in state.items():
            bank[name][:] = vector
        before, counts, row, total = *(self._plain_counts[i] for i in (active, idle)), self._row, self._all
        old = before[self._own_row]
        counts[:] = before
        counts[self._own_row] = row
        for column in (_STEPS, _UPDATES, _EPISODES, _SKIPPED):
            counts[total + column] += row[column] - old[column]
        self._header[_GENERATION] = generation + 1

    def _add(self, gradients: np.ndarray | None) -> None:
        """Add the difference in place, so that what others write meanwhile is kept, as in Hogwild."""
        if gradients is not None:
            self._add_update(gradients)
        if self._target_steps is not None:
            steps = self._totals(0)[_STEPS] + self._row[_STEPS] - self._counts[0][self._worker, _STEPS]
            period = int(steps // self._target_steps)
            if period > self._header[_PERIOD]:  # also if another's steps came in between
                self._header[_PERIOD] = period
                self._banks[0][_TARGET][:] = self._banks[0]["weights"]

    def _add_update(self, gradients: np.ndarray) -> None:
        weights, state = self._read()
        weights, state = weights.copy(), {name: vector.copy() for name, vector in state.items()}
        new_weights, new_state = self._update(weights, state, gradients, self._totals(0)[_STEPS])
        shared, end, new_weights = self._banks[0], self._parameters, np.asarray(new_weights)
        shared["weights"][:end] += new_weights[:end] - weights[:end]
        shared["weights"][end:] = new_weights[end:]  # see `local._add`
        for name, vector in new_state.items():
            if is_average(name):  # see `local._add`
                shared[name][:] = vector
            else:
                shared[name] += np.asarray(vector) - state[name]

    # -- both sides -----------------------------------------------------------------------------------------

    def _guard(self) -> contextlib.AbstractContextManager[None]:
        return self._file if self._locking else contextlib.nullcontext()

    def _active(self) -> int:
        return self._header[_GENERATION] % 2

    def _read(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        state = dict(self._banks[self._active()])
        state.pop(_TARGET, None)
        return state.pop("weights"), state

    # -- the master's side ----------------------------------------------------------------------------------

    def _look(self, copy: Callable[[int], T]) -> T:
        """`copy` of the active bank while nobody writes to it, without the lock: its holder may be hanging.

        An update turns to the other bank first, and only the next one writes here.
        """
        while True:
            generation = self._header[_GENERATION]
            copied = copy(generation % 2)
            if self._header[_GENERATION] == generation or not self._locking:
                return copied

    @property
    def updates(self) -> int:
        """Updates applied so far, by all workers."""
        return self._counted()[_UPDATES]

    @property
    def steps(self) -> int:
        """Environment steps taken so far, by all workers."""
        return self._counted()[_STEPS]

    @property
    def finished(self) -> bool:
        """Whether every later pull returns None."""
        counted = self._counted()
        over = counted[_STEPS] >= self._max_steps or counted[_EPISODES] >= self._max_episodes
        return over or bool(self._header[_STOPPED])

    def _counted(self) -> list[int]:
        """Steps, updates, episodes and skipped updates of all workers, and what was counted before."""
        return self._sum(self._look(lambda active: self._counts[active].copy()))

    def _sum(self, counts: np.ndarray) -> list[int]:
        totals = counts[-1] if self._locking else counts.sum(axis=0)
        return [int(n) for n in totals[:4]]

    def learner_step(self, seconds: float) -> None:
        """Nothing: workers make the updates."""

    def weights(self) -> np.ndarray:
        """A copy of the global parameters: [P] float32."""
        return self._look(lambda active: self._banks[active]["weights"].copy())

    def reports(self) -> list[Report]:
        """What workers have done since the last call."""
        return self._since(self._look(lambda active: self._counts[active].copy()))

    def snapshot(self) -> tuple[list[Report], StoreState]:
        """A copy of everything, and the reports that lead up to exactly this moment."""
        counts, bank = self._look(
            lambda active: (
                self._counts[active].copy(),
                {name: vector.copy() for name, vector in self._banks[active].items()},
            )
        )
        weights, target = bank.pop("weights"), bank.pop(_TARGET, None)
        return self._since(counts), StoreState(weights, bank, *self._sum(counts), target=target)

    def _since(self, counts: np.ndarray) -> list[Report]:
        """A report of each worker that has done something between the last `counts` and these."""
        changes = counts - self._seen
        reports = [
            self._report(worker, changes[worker], counts[worker])
            for worker in np.flatnonzero(changes[:-1, [_UPDATES, _SKIPPED]].any(axis=1)).tolist()
        ]
        self._seen = counts
        self._taken[:, 0] = counts[:-1, _EPISODES]
        return reports

    def _report(self, worker: int, change: np.ndarray, counts: np.ndarray) -> Report:
        steps, updates, episodes, skipped = (int(n) for n in change[:4])
        last, taken = int(counts[_EPISODES]), int(counts[_STEPS]) - steps
        rows = self._rings[worker][np.arange(last - episodes, last) % self._ring].tolist()
        divisor = max(1, updates)
        return Report(
            worker=worker,
            updates=updates,
            skipped=skipped,
            steps=steps,
            episodes=[Episode(episode_return, int(length)) for episode_return, length, _ in rows],
            episode_steps=[int(reached) - taken for _, _, reached in rows],
            losses=dict(zip(self._figures, (change[_FIGURES:] / divisor).tolist(), strict=True))
            if updates
            else {},
            lag=float(change[_LAG]) / divisor,
        )

    def heartbeats(self) -> list[int]:
        """For each worker a number that grows as it acts, pulls and pushes."""
        return self._signs[:, _BEAT].tolist()

    def pulls(self) -> list[int]:
        """For each worker how often it has pulled."""
        return self._signs[:, _PULLS].tolist()

    def versions(self) -> list[int]:
        """For each worker how many updates were in the parameters that it pulled last."""
        return self._signs[:, _VERSION].tolist()

    def consecutive_skips(self) -> int:
        """The most updates in a row that one worker has had to skip, up to now."""
        return int(self._look(lambda active: self._counts[active][:-1, _STREAK].max()))

    def lock_holder(self) -> int | None:
        """The process id of the worker that is updating now."""
        return self._file.holder()

    def stop(self) -> None:
        """Make every later pull of every worker return None."""
        self._header[_STOPPED] = 1

    def pause(self, held: bool) -> None:
        """Make every later pull of every worker wait, or let them go on."""
        self._header[_HELD] = held
