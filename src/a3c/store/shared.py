"""The store of the process engine: parameters and optimizer state in memory that all workers map.

The memory is a file without a name, so that nothing is left behind however the processes end. The same
file carries the lock, which the kernel releases when its holder dies. An update under the lock writes
the idle one of two banks and then flips an index: a worker that dies half-way leaves no torn parameters.
"""

import contextlib
import fcntl
import math
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import reduction
from typing import Any

import numpy as np

from a3c.errors import RunError
from a3c.store.reports import Reporter
from a3c.types import Report, Rollout, Snapshot

_REPORT_INTERVAL = 0.02  # seconds
_STEPS, _UPDATES, _EPISODES = range(3)  # columns of the counters
_LINE = 64  # bytes of a cache line: no two writers share one


class SharedFile:
    """Memory in a file without a name, mapped by every process that it is passed to at its start.

    Raises:
        RunError: where neither shared memory nor the temporary directory has room.
    """

    def __init__(self, size: int, fd: int | None = None):
        self._size = size
        self._fd = _reserve(size) if fd is None else fd
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


def _attach(size: int, handle: Any) -> SharedFile:
    return SharedFile(size, handle.detach())


def _reserve(size: int) -> int:
    """A new nameless file with `size` bytes reserved, in shared memory if that has room."""
    failure: OSError | None = None
    for directory in ("/dev/shm", tempfile.gettempdir()):
        try:
            fd, path = tempfile.mkstemp(prefix="a3c-", dir=directory)
        except OSError as error:
            failure = error
            continue
        os.unlink(path)
        try:
            # Reserved now, a full disk is an error here; later it would be a SIGBUS in some worker.
            os.posix_fallocate(fd, 0, size) if hasattr(os, "posix_fallocate") else os.ftruncate(fd, size)
            return fd
        except OSError as error:
            os.close(fd)
            failure = error
    raise RunError(f"{size / 2**20:.1f} MiB of shared memory for the parameters cannot be had: {failure}")


class SharedStore:
    """Global parameters, optimizer state and counters, shared by the workers and the master.

    Made by the master, passed to each worker at its start, and completed there by `attach`. Every counter
    has one writer, its worker, so counting needs no lock.

    Args:
        weights: [P] float32, the first parameters.
        state: The optimizer's first state: one flat vector per dtype.
        workers: Number of workers.
        max_steps: Environment steps after which `pull` returns None; None: no limit.
        max_episodes: The same for finished episodes.
        locking: Update under the lock; else lock-free, as Hogwild and the paper do.
    """

    def __init__(
        self,
        weights: np.ndarray,
        state: dict[str, np.ndarray],
        workers: int,
        max_steps: int | None,
        max_episodes: int | None,
        locking: bool,
    ):
        self._max_steps = math.inf if max_steps is None else max_steps
        self._max_episodes = math.inf if max_episodes is None else max_episodes
        self._locking = locking
        vectors = {"weights": weights, **state}
        self._bank_spec = {name: (v.dtype.str, v.size) for name, v in vectors.items()}
        self._workers = workers
        size = _LINE * (1 + workers) + 2 * sum(_aligned(v.nbytes) for v in vectors.values())
        self._file = SharedFile(size)
        self._map()
        for name, vector in vectors.items():
            self._banks[0][name][:] = vector

    def __getstate__(self) -> dict[str, Any]:
        names = ("_max_steps", "_max_episodes", "_locking", "_bank_spec", "_workers", "_file")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def _map(self) -> None:
        """Lay NumPy views over the shared memory."""
        offset = 0

        def view(dtype: str, count: int) -> np.ndarray:
            nonlocal offset
            array = np.frombuffer(self._file.map, dtype, count, offset)
            offset += _aligned(array.nbytes)
            return array

        words = _LINE // 8
        self._header = view("<i8", words)  # [stopped, active bank, held]
        self._counters = view("<i8", words * self._workers).reshape(self._workers, words)  # a row: _STEPS, …
        self._banks = [
            {name: view(dtype, count) for name, (dtype, count) in self._bank_spec.items()} for _ in range(2)
        ]

    # -- the worker's side ----------------------------------------------------------------------------------

    def attach(
        self,
        worker: int,
        update: Callable[..., tuple[Any, dict]],
        send: Callable[[Report], None],
    ) -> None:
        """Make this copy the store of `worker`, which updates with `update` and reports by `send`."""
        self._update = update
        self._own = self._counters[worker]
        self._reporter = Reporter(worker, send, _REPORT_INTERVAL)
        weights, state = self._read()
        update(weights, state, np.zeros_like(weights))  # compile now, off the training clock

    def pull(self) -> Snapshot | None:
        """The current parameters, or None when training is over. Waits while the master holds training."""
        while self._header[2] and not self._header[0]:
            time.sleep(0.001)
        if self._header[0] or self._exhausted():
            return None
        with self._guard():
            weights, version = self._bank()["weights"].copy(), self.updates
        return Snapshot(weights, version)

    def push(
        self, gradients: np.ndarray, version: int, rollout: Rollout, losses: Mapping[str, float]
    ) -> None:
        """Apply `gradients` to the shared parameters, and report now and then."""
        with self._guard():
            lag = self.updates - version
            self._apply(gradients)
            self._own[_UPDATES] += 1
        self._own[_STEPS] += rollout.steps
        self._own[_EPISODES] += len(rollout.episodes)
        self._reporter.add(rollout, losses, lag)

    def flush(self) -> None:
        """Report what has not been reported yet."""
        self._reporter.flush()

    def _apply(self, gradients: np.ndarray) -> None:
        weights, state = self._read()
        if self._locking:
            new_weights, new_state = self._update(weights, state, gradients)
            idle = self._banks[1 - self._header[1]]
            for name, vector in {"weights": new_weights, **new_state}.items():
                idle[name][:] = np.asarray(vector)
            self._header[1] = 1 - self._header[1]
        else:
            # Add the difference, so that what others wrote meanwhile is kept, as single additions would.
            weights, state = weights.copy(), {name: vector.copy() for name, vector in state.items()}
            new_weights, new_state = self._update(weights, state, gradients)
            shared = self._banks[0]
            shared["weights"] += np.asarray(new_weights) - weights
            for name, vector in new_state.items():
                shared[name] += np.asarray(vector) - state[name]

    # -- both sides -----------------------------------------------------------------------------------------

    def _guard(self) -> contextlib.AbstractContextManager[None]:
        return self._file.lock() if self._locking else contextlib.nullcontext()

    def _bank(self) -> dict[str, np.ndarray]:
        return self._banks[self._header[1]]

    def _read(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        state = dict(self._bank())
        return state.pop("weights"), state

    @property
    def updates(self) -> int:
        """Updates applied so far, by all workers."""
        return int(self._counters[:, _UPDATES].sum())

    @property
    def steps(self) -> int:
        """Environment steps taken so far, by all workers."""
        return int(self._counters[:, _STEPS].sum())

    def _exhausted(self) -> bool:
        steps, _, episodes = self._counters[:, :3].sum(axis=0)
        return steps >= self._max_steps or episodes >= self._max_episodes

    def weights(self) -> np.ndarray:
        """A copy of the global parameters: [P] float32."""
        with self._guard():
            return self._bank()["weights"].copy()

    def stop(self) -> None:
        """Make every later pull of every worker return None."""
        self._header[0] = 1

    def hold(self, held: bool) -> None:
        """Make every later pull of every worker wait, or let them go on."""
        self._header[2] = held


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _LINE) * _LINE
