"""The store of the process engine: parameters, optimizer state and counts in memory that all workers map.

The memory is a file without a name, so that nothing is left behind however the processes end. The same
file carries the lock, which the kernel releases when its holder dies. An update under the lock writes the
idle one of two banks, counts included, and then turns to it by writing a single number: a worker that dies
half-way leaves neither torn parameters nor an update that counts but was not made. What workers have to
tell lies in the same memory, so that it is not lost with them.
"""

import contextlib
import fcntl
import math
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import reduction
from typing import Any, TypeVar

import numpy as np

from a3c.errors import RunError
from a3c.store import Contents, is_finite
from a3c.types import Episode, Report, Rollout, Snapshot

T = TypeVar("T")
_LINE = 64  # bytes of a cache line: no two writers share one
_STOPPED, _GENERATION, _HELD, _COMPILED = range(4)  # of the header; the generation's last bit is the bank
_BEAT, _VERSION = range(2)  # of a worker's signs of life
_STEPS, _UPDATES, _EPISODES, _SKIPPED, _STREAK, _LAG, _FIGURES = range(7)  # columns of the counts
_RING = 4096  # episodes of a worker that may wait for the master, at least


class SharedFile:
    """Memory in a file without a name, mapped by every process that it is passed to at its start.

    Raises:
        RunError: where neither shared memory nor the temporary directory has room.
    """

    def __init__(self, size: int, fd: int | None = None):
        self._size = size
        self.place = ""
        if fd is None:
            fd, self.place = _reserve(size)
        self._fd = fd
        self.map = mmap.mmap(self._fd, size)

    def __reduce__(self):
        return _attach, (self._size, reduction.DupFd(self._fd))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Exclude other processes. Released by the kernel if this process dies."""
        fcntl.lockf(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def holder(self) -> int | None:
        """The process id of whoever else holds the lock now."""
        query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(self._fd, fcntl.F_GETLK, query))
        return None if kind == fcntl.F_UNLCK else pid


def _attach(size: int, handle: Any) -> SharedFile:
    return SharedFile(size, handle.detach())


def _reserve(size: int) -> tuple[int, str]:
    """A new nameless file with `size` bytes reserved, and where it is: in shared memory if that has room."""
    failures = []
    for directory in ("/dev/shm", tempfile.gettempdir()):
        try:
            fd, path = tempfile.mkstemp(prefix="a3c-", dir=directory)
        except OSError as error:
            failures.append(f"{directory}: {error.strerror}")
            continue
        os.unlink(path)
        try:
            # Reserved now, a full disk is an error here; later it would be a SIGBUS in some worker.
            os.posix_fallocate(fd, 0, size) if hasattr(os, "posix_fallocate") else os.ftruncate(fd, size)
            return fd, directory
        except OSError as error:
            os.close(fd)
            failures.append(f"{directory}: {error.strerror}")
    wanted = f"{size / 2**20:.1f} MiB of shared memory for the parameters cannot be had"
    raise RunError(
        f"{wanted} ({'; '.join(failures)}).\nMake /dev/shm larger (docker run --shm-size=1g), or free some "
        "disk where TMPDIR points."
    )


class SharedStore:
    """Global parameters, optimizer state and counts, shared by the workers and the master.

    Made by the master, passed to each worker at its start, and completed there by `attach`. Each row of the
    counts has one writer, its worker.

    Args:
        contents: What to begin with.
        workers: Number of workers.
        figures: The names of the losses that workers push.
        max_steps: Environment steps after which `pull` returns None; None: no limit.
        max_episodes: The same for finished episodes.
        locking: Update under the lock; else lock-free, as Hogwild and the paper do.
        largest: The most episodes that may end in one rollout.
    """

    def __init__(
        self,
        contents: Contents,
        workers: int,
        figures: Sequence[str],
        max_steps: int | None,
        max_episodes: int | None,
        locking: bool,
        largest: int,
    ):
        self._max_steps = math.inf if max_steps is None else max_steps
        self._max_episodes = math.inf if max_episodes is None else max_episodes
        self._locking, self._workers, self._figures = locking, workers, tuple(figures)
        self._ring = max(_RING, 2 * largest)
        vectors = {"weights": contents.weights, **contents.optimizer}
        self._bank_spec = {name: (v.dtype.str, v.size) for name, v in vectors.items()}
        self._file = SharedFile(self._size())
        self._map()
        for name, vector in vectors.items():
            self._banks[0][name][:] = vector
        # What was counted before belongs to nobody's row: a last one that no worker has.
        before = self._counts[0][workers]
        before[[_STEPS, _UPDATES]] = contents.steps, contents.updates
        before[[_EPISODES, _SKIPPED]] = contents.episodes, contents.skipped
        self._seen = self._counts[0].copy()

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
            "_file",
        )
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def _size(self) -> int:
        vectors = sum(_aligned(np.dtype(kind).itemsize * size) for kind, size in self._bank_spec.values())
        counts = _aligned(8 * (self._workers + 1) * (_FIGURES + len(self._figures)))
        rings = self._workers * _aligned(8 * 3 * self._ring)
        return _LINE * (1 + 2 * self._workers) + 2 * (vectors + counts) + rings

    def _map(self) -> None:
        """Lay NumPy views over the shared memory."""
        offset, workers = 0, self._workers

        def view(dtype: str, *shape: int) -> np.ndarray:
            nonlocal offset
            array = np.frombuffer(self._file.map, dtype, math.prod(shape), offset)
            offset += _aligned(array.nbytes)
            return array.reshape(shape)

        words = _LINE // 8
        self._header = view("<i8", words)
        self._signs = view("<i8", workers, words)  # of life: _BEAT, _VERSION
        self._taken = view("<i8", workers, words)  # episodes that the master has read, in the first column
        columns = _FIGURES + len(self._figures)
        self._counts = [view("<f8", workers + 1, columns) for _ in range(2)]  # whole numbers up to 2^53
        self._banks = [
            {name: view(dtype, count) for name, (dtype, count) in self._bank_spec.items()} for _ in range(2)
        ]
        self._rings = [view("<f8", self._ring, 3) for _ in range(workers)]  # return, length, steps so far

    # -- the worker's side ----------------------------------------------------------------------------------

    def attach(self, worker: int, update: Callable[..., tuple[Any, dict]]) -> None:
        """Make this copy the store of `worker`, going on where one of that number stopped."""
        self._update, self._worker = update, worker
        with self._guard():
            weights, state = self._read()
            self._row = self._counts[self._active()][worker].copy()
            weights, state = weights.copy(), {name: vector.copy() for name, vector in state.items()}
        update(weights, state, np.zeros_like(weights))  # compile now, off the training clock

    def announce_compiled(self) -> None:
        """Tell the other workers that everything lies in the cache of compiled programs."""
        self._header[_COMPILED] = 1

    def await_compiled(self) -> None:
        """Wait until some worker has compiled everything."""
        while not (self._header[_COMPILED] or self._header[_STOPPED]):
            time.sleep(0.005)

    def pull(self) -> Snapshot | None:
        """The current parameters, or None when training is over. Waits while the master holds training."""
        signs = self._signs[self._worker]
        while self._header[_HELD] and not self._header[_STOPPED]:
            signs[_BEAT] += 1
            time.sleep(0.001)
        signs[_BEAT] += 1
        with self._guard():
            active = self._active()
            if self._is_over(counts := self._counts[active]):
                return None
            weights, version = self._banks[active]["weights"].copy(), int(counts[:, _UPDATES].sum())
        signs[_VERSION] = version
        return Snapshot(weights, version)

    def push(
        self, gradients: np.ndarray, version: int, rollout: Rollout, losses: Mapping[str, float]
    ) -> None:
        """Apply `gradients` to the shared parameters, if the losses are finite, and count."""
        self._signs[self._worker, _BEAT] += 1
        finite = is_finite(losses)
        self._publish(rollout)
        row = self._row
        row[_STEPS] += rollout.steps
        row[_EPISODES] += len(rollout.episodes)
        if finite:
            row[_UPDATES] += 1
            row[_STREAK] = 0
            row[_FIGURES:] += [losses[name] for name in self._figures]
        else:
            row[_SKIPPED] += 1
            row[_STREAK] += 1
        with self._guard():
            if finite:
                row[_LAG] += self._counts[self._active()][:, _UPDATES].sum() - version
            if self._locking:
                self._replace(gradients if finite else None)
            elif finite:
                self._add(gradients)
        if not self._locking:
            self._counts[0][self._worker] = row

    def _publish(self, rollout: Rollout) -> None:
        """Write the episodes where the master will read them as soon as they count."""
        episodes, ring = rollout.episodes, self._rings[self._worker]
        if not episodes:
            return
        first, steps = int(self._row[_EPISODES]), self._row[_STEPS] + rollout.steps
        while first + len(episodes) - self._taken[self._worker, 0] > self._ring:
            time.sleep(0.001)  # the master is a whole ring behind
        places = np.arange(first, first + len(episodes)) % self._ring
        ring[places] = [(episode_return, length, steps) for episode_return, length in episodes]

    def _replace(self, gradients: np.ndarray | None) -> None:
        """Write the idle bank and turn to it; without gradients, parameters stay what they are."""
        generation = int(self._header[_GENERATION])
        active, idle = generation % 2, 1 - generation % 2
        weights, state = self._read()
        if gradients is not None:
            weights, state = self._update(weights, state, gradients)
        bank = self._banks[idle]
        for name, vector in {"weights": weights, **state}.items():
            bank[name][:] = np.asarray(vector)
        self._counts[idle][:] = self._counts[active]
        self._counts[idle][self._worker] = self._row
        self._header[_GENERATION] = generation + 1

    def _add(self, gradients: np.ndarray) -> None:
        """Add the difference in place, so that what others write meanwhile is kept, as in Hogwild."""
        weights, state = self._read()
        weights, state = weights.copy(), {name: vector.copy() for name, vector in state.items()}
        new_weights, new_state = self._update(weights, state, gradients)
        shared = self._banks[0]
        shared["weights"] += np.asarray(new_weights) - weights
        for name, vector in new_state.items():
            shared[name] += np.asarray(vector) - state[name]

    # -- both sides -----------------------------------------------------------------------------------------

    def _guard(self) -> contextlib.AbstractContextManager[None]:
        return self._file.lock() if self._locking else contextlib.nullcontext()

    def _active(self) -> int:
        return int(self._header[_GENERATION]) % 2

    def _read(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        state = dict(self._banks[self._active()])
        return state.pop("weights"), state

    def _is_over(self, counts: np.ndarray) -> bool:
        if self._header[_STOPPED]:
            return True
        steps, _, episodes = counts[:, :3].sum(axis=0)
        return steps >= self._max_steps or episodes >= self._max_episodes

    # -- the master's side ----------------------------------------------------------------------------------

    def _look(self, copy: Callable[[int], T]) -> T:
        """`copy` of the active bank while nobody writes to it, without the lock: its holder may be hanging.

        An update turns to the other bank first, and only the next one writes here.
        """
        while True:
            generation = int(self._header[_GENERATION])
            copied = copy(generation % 2)
            if self._header[_GENERATION] == generation or not self._locking:
                return copied

    @property
    def updates(self) -> int:
        """Updates applied so far, by all workers."""
        return int(self._look(lambda active: self._counts[active][:, _UPDATES].sum()))

    @property
    def steps(self) -> int:
        """Environment steps taken so far, by all workers."""
        return int(self._look(lambda active: self._counts[active][:, _STEPS].sum()))

    @property
    def finished(self) -> bool:
        """Whether every later pull returns None."""
        return self._look(lambda active: self._is_over(self._counts[active]))

    def weights(self) -> np.ndarray:
        """A copy of the global parameters: [P] float32."""
        return self._look(lambda active: self._banks[active]["weights"].copy())

    def reports(self) -> list[Report]:
        """What workers have done since the last call."""
        return self._since(self._look(lambda active: self._counts[active].copy()))

    def freeze(self) -> tuple[list[Report], Contents]:
        """A copy of everything, and the reports that lead up to exactly this moment."""
        counts, bank = self._look(
            lambda active: (
                self._counts[active].copy(),
                {name: vector.copy() for name, vector in self._banks[active].items()},
            )
        )
        steps, updates, episodes, skipped = (int(n) for n in counts[:, :4].sum(axis=0))
        return self._since(counts), Contents(bank.pop("weights"), bank, steps, updates, episodes, skipped)

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

    def beats(self) -> list[int]:
        """For each worker a number that grows as it pulls and pushes."""
        return self._signs[:, _BEAT].tolist()

    def versions(self) -> list[int]:
        """For each worker how many updates were in the parameters that it pulled last."""
        return self._signs[:, _VERSION].tolist()

    def streak(self) -> int:
        """The most updates in a row that one worker has had to skip, up to now."""
        return int(self._look(lambda active: self._counts[active][:-1, _STREAK].max()))

    def lock_holder(self) -> int | None:
        """The process id of the worker that is updating now."""
        return self._file.holder()

    def stop(self) -> None:
        """Make every later pull of every worker return None."""
        self._header[_STOPPED] = 1

    def hold(self, held: bool) -> None:
        """Make every later pull of every worker wait, or let them go on."""
        self._header[_HELD] = held


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _LINE) * _LINE
