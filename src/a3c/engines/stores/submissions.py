"""What lies between workers and a learner in the middle: submissions one way, parameters the other.

`LocalSubmissions` for workers in this process, `SharedSubmissions` for others, in memory that all of them map.
Nothing in them can be held by a worker that dies: a submission is there when it is whole, by the writing of one
number, and wake-up pipes only wake whoever waits.
"""

import contextlib
import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing import reduction
from typing import Any, NamedTuple, Protocol

import numpy as np

from a3c.engines.stores.memory import SharedFile, aligned
from a3c.types import Episode, Snapshot, Transitions


class Submission(NamedTuple):
    """What a worker hands in after a rollout."""

    worker: int
    time: int
    """Nanoseconds of the system's monotonic clock: the order of arrival."""
    content: Any
    """Gradients [P], or `Transitions`."""
    version: int
    """Updates in the parameters that the worker had."""
    steps: int
    episodes: Sequence[Episode]
    losses: Mapping[str, float]
    slot: int = 0


class SubmissionQueue(Protocol):
    """Between workers and learner."""

    @property
    def place(self) -> str: ...
    @property
    def held(self) -> bool: ...
    @property
    def closed(self) -> bool: ...

    # the learner's side
    def publish(self, weights: Any, version: int, steps: int) -> None: ...
    def arrived(self) -> list[Submission]: ...
    def await_arrival(self, seconds: float) -> None: ...
    def release(self, submissions: list[Submission]) -> None: ...
    def pause(self, held: bool) -> None: ...
    def close(self) -> None: ...
    def heartbeats(self) -> list[int]: ...
    def pulls(self) -> list[int]: ...
    def versions(self) -> list[int]: ...

    # the workers' side
    def published(self) -> Snapshot: ...
    def waiting(self, worker: int) -> int: ...
    def post(self, submission: Submission) -> None: ...
    def wait(self, worker: int, seconds: float) -> None: ...
    def note(self, worker: int, version: int | None) -> None: ...
    def announce_compiled(self) -> None: ...
    def await_compiled(self) -> None: ...


class LocalSubmissions:
    """For workers that are threads of this process: submissions are passed on as they are."""

    place = ""

    def __init__(self, workers: int):
        self._changed = threading.Condition()
        self._submissions: list[deque[Submission]] = [deque() for _ in range(workers)]
        self._beats, self._pulls, self._versions = ([0] * workers for _ in range(3))
        self._snapshot = Snapshot(None, 0)
        self.held = self.closed = False

    def publish(self, weights: Any, version: int, steps: int) -> None:
        """Let workers have these parameters."""
        self._snapshot = Snapshot(weights, version, steps)

    def arrived(self) -> list[Submission]:
        """All submissions that wait to be taken."""
        with self._changed:
            return [submission for submissions in self._submissions for submission in submissions]

    def await_arrival(self, seconds: float) -> None:
        """Wait until something may have come."""
        with self._changed:
            self._changed.wait(seconds)

    def release(self, submissions: list[Submission]) -> None:
        """Make room where these submissions were."""
        if submissions:
            with self._changed:
                gone = set(map(id, submissions))
                for worker in {submission.worker for submission in submissions}:
                    waiting = self._submissions[worker]
                    self._submissions[worker] = deque(
                        submission for submission in waiting if id(submission) not in gone
                    )
                self._changed.notify_all()

    def pause(self, held: bool) -> None:
        """Make every later pull wait, or let them go on."""
        with self._changed:
            self.held = held
            self._changed.notify_all()

    def close(self) -> None:
        """Make every later pull return None."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def heartbeats(self) -> list[int]:
        """For each worker a number that grows as it shows signs of life."""
        return list(self._beats)

    def pulls(self) -> list[int]:
        """For each worker how often it has pulled."""
        return list(self._pulls)

    def versions(self) -> list[int]:
        """For each worker how many updates were in the parameters that it pulled last."""
        return list(self._versions)

    def published(self) -> Snapshot:
        """The newest parameters."""
        return self._snapshot

    def waiting(self, worker: int) -> int:
        """How many submissions of `worker` have not been taken."""
        return len(self._submissions[worker])

    def post(self, submission: Submission) -> None:
        """Hand a submission in; samplers use their arrays again, so that those are copied."""
        content = submission.content
        if isinstance(content, Transitions) and isinstance(content.rewards, np.ndarray):
            content = Transitions._make(None if array is None else array.copy() for array in content)
        with self._changed:
            self._submissions[submission.worker].append(submission._replace(content=content))
            self._changed.notify_all()

    def wait(self, worker: int, seconds: float) -> None:
        """Wait until something may have changed."""
        with self._changed:
            if not self.closed:
                self._changed.wait(seconds)

    def note(self, worker: int, version: int | None) -> None:
        """A sign of life, and perhaps which parameters the worker has pulled."""
        self._beats[worker] += 1
        if version is not None:
            self._pulls[worker] += 1
            self._versions[worker] = version

    def announce_compiled(self) -> None:
        """Threads share what is compiled."""

    def await_compiled(self) -> None:
        """Threads share what is compiled."""


class WakeupPipe:
    """Wakes one that waits in another process; what it means, shared memory tells."""

    def __init__(self, ends: tuple[int, int] | None = None):
        self._read, self._write = ends or os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)

    def __reduce__(self):
        return _attach_bell, (reduction.DupFd(self._read), reduction.DupFd(self._write))

    def ring(self) -> None:
        """Wake whoever waits, or will wait next."""
        with contextlib.suppress(BlockingIOError):  # it has been rung often enough
            os.write(self._write, b"\0")

    def wait(self, seconds: float) -> None:
        """Return when it is rung, has been since the last wait, or the seconds are over."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        if ready:
            os.read(self._read, 65536)


def _attach_bell(read: Any, write: Any) -> WakeupPipe:
    return WakeupPipe((read.detach(), write.detach()))


_CLOSED, _HELD, _GENERATION, _COMPILED = range(4)  # of the header; the generation's last bit is the bank
_BEAT, _PULLS, _VERSION = range(3)  # of a worker's signs of life
_FULL, _TIME, _AT, _STEPS, _EPISODES, _LOSSES = range(6)  # of a slot's numbers


class SharedSubmissions:
    """For worker processes: slots in memory that all of them map.

    Args:
        workers: Number of workers.
        room: Slots of each.
        size: P.
        content: An example of what submissions hold: gradients [P], or `Transitions`.
        figures: The names of the losses that come with them.
        largest: The most episodes that may end in one rollout.
    """

    def __init__(
        self, workers: int, room: int, size: int, content: Any, figures: Sequence[str], largest: int
    ):
        self._workers, self._room, self._size, self._largest = workers, room, size, largest
        self._figures = tuple(figures)
        self._is_transitions = isinstance(content, Transitions)
        arrays = content if self._is_transitions else [content]
        self._spec = [None if array is None else (array.shape, array.dtype.str) for array in arrays]
        self._file = SharedFile(self._layout(None))
        self.place = self._file.place
        self._master_bell, self._bells = WakeupPipe(), [WakeupPipe() for _ in range(workers)]
        self._layout(self._file)

    def __getstate__(self) -> dict[str, Any]:
        names = "_workers _room _size _largest _figures _is_transitions _spec _file _master_bell _bells place"
        return {name: getattr(self, name) for name in names.split()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._layout(self._file)

    def _layout(self, file: SharedFile | None) -> int:
        """Lay views over the memory, or without one only tell how much is needed."""
        offset = 0

        def view(dtype: str, *shape: int) -> Any:
            nonlocal offset
            start, count = offset, math.prod(shape)
            offset += aligned(count * np.dtype(dtype).itemsize)
            return None if file is None else np.frombuffer(file.map, dtype, count, start).reshape(shape)

        header = view("<i8", 8)
        self._header: Any = None if header is None else memoryview(header)
        self._signs = view("<i8", self._workers, 8)
        self._banks = [(view("<f4", self._size), view("<i8", 2)) for _ in range(2)]
        self._slots = [[self._slot(view) for _ in range(self._room)] for _ in range(self._workers)]
        return offset

    def _slot(self, view: Any) -> tuple[Any, Any, list[Any]]:
        numbers = view("<f8", _LOSSES + len(self._figures))
        episodes = view("<f8", self._largest, 2)
        return numbers, episodes, [None if s is None else view(s[1], *s[0]) for s in self._spec]

    # -- the learner's side ---------------------------------------------------------------------------------

    def publish(self, weights: Any, version: int, steps: int) -> None:
        """Write the idle bank and turn to it."""
        generation = self._header[_GENERATION]
        vector, numbers = self._banks[1 - generation % 2]
        vector[:] = weights
        numbers[:] = version, steps
        self._header[_GENERATION] = generation + 1

    def arrived(self) -> list[Submission]:
        """All submissions that wait to be taken; their arrays are those of the slots, until they are released."""
        return [
            self._parcel(worker, slot)
            for worker, slots in enumerate(self._slots)
            for slot, (numbers, _, _) in enumerate(slots)
            if numbers[_FULL]
        ]

    def _parcel(self, worker: int, slot: int) -> Submission:
        numbers, episodes, arrays = self._slots[worker][slot]
        _, when, version, steps, count, *losses = numbers.tolist()
        finished = [Episode(value, int(length)) for value, length in episodes[: int(count)].tolist()]
        content = Transitions._make(arrays) if self._is_transitions else arrays[0]
        named = dict(zip(self._figures, losses, strict=True))
        return Submission(worker, int(when), content, int(version), int(steps), finished, named, slot)

    def await_arrival(self, seconds: float) -> None:
        """Wait until something may have come."""
        self._master_bell.wait(seconds)

    def release(self, submissions: list[Submission]) -> None:
        """Make room where these submissions were."""
        for submission in submissions:
            self._slots[submission.worker][submission.slot][0][_FULL] = 0
            self._bells[submission.worker].ring()

    def pause(self, held: bool) -> None:
        """Make every later pull wait, or let them go on."""
        self._header[_HELD] = held
        self._ring_all()

    def close(self) -> None:
        """Make every later pull return None."""
        self._header[_CLOSED] = 1
        self._ring_all()

    def _ring_all(self) -> None:
        for wakeup in self._bells:
            wakeup.ring()

    def heartbeats(self) -> list[int]:
        """For each worker a number that grows as it shows signs of life."""
        return self._signs[:, _BEAT].tolist()

    def pulls(self) -> list[int]:
        """For each worker how often it has pulled."""
        return self._signs[:, _PULLS].tolist()

    def versions(self) -> list[int]:
        """For each worker how many updates were in the parameters that it pulled last."""
        return self._signs[:, _VERSION].tolist()

    # -- the workers' side ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether every later pull returns None."""
        return bool(self._header[_CLOSED])

    @property
    def held(self) -> bool:
        """Whether pulls wait."""
        return bool(self._header[_HELD])

    def published(self) -> Snapshot:
        """A copy of the newest parameters."""
        while True:
            generation = self._header[_GENERATION]
            vector, numbers = self._banks[generation % 2]
            snapshot = Snapshot(vector.copy(), int(numbers[0]), int(numbers[1]))
            if self._header[_GENERATION] == generation:
                return snapshot

    def waiting(self, worker: int) -> int:
        """How many submissions of `worker` have not been taken."""
        return sum(bool(numbers[_FULL]) for numbers, _, _ in self._slots[worker])

    def post(self, submission: Submission) -> None:
        """Copy a submission into a free slot; it counts from the moment that the slot says so."""
        slots = self._slots[submission.worker]
        numbers, episodes, arrays = next(slot for slot in slots if not slot[0][_FULL])
        given = submission.content if self._is_transitions else [submission.content]
        for array, value in zip(arrays, given, strict=True):
            if array is not None:
                array[...] = value
        if submission.episodes:
            episodes[: len(submission.episodes)] = submission.episodes
        numbers[_TIME:_LOSSES] = (
            submission.time,
            submission.version,
            submission.steps,
            len(submission.episodes),
        )
        numbers[_LOSSES:] = [submission.losses[name] for name in self._figures]
        numbers[_FULL] = 1
        self._master_bell.ring()

    def wait(self, worker: int, seconds: float) -> None:
        """Wait until something may have changed."""
        self._bells[worker].wait(seconds)

    def note(self, worker: int, version: int | None) -> None:
        """A sign of life, and perhaps which parameters the worker has pulled."""
        self._signs[worker, _BEAT] += 1
        if version is not None:
            self._signs[worker, _PULLS] += 1
            self._signs[worker, _VERSION] = version

    def announce_compiled(self) -> None:
        """Tell the other workers that everything lies in the cache of compiled programs."""
        self._header[_COMPILED] = 1

    def await_compiled(self) -> None:
        """Wait until some worker has compiled everything."""
        while not (self._header[_COMPILED] or self._header[_CLOSED]):
            time.sleep(0.005)
