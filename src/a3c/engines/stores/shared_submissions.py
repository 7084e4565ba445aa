"""The queue between worker processes and a central learner: slots in memory that all of them map.

A submission counts once it is whole: the number that says so is written last. Pipes only wake whoever waits.
"""

import contextlib
import os
import select
from collections.abc import Sequence
from multiprocessing import reduction
from typing import Any

from a3c.engines.stores.activity import WORDS, Activity
from a3c.engines.stores.memory import LINE, SharedArrays
from a3c.engines.stores.submissions import Submission
from a3c.types import Episode, Snapshot, Transitions

_CLOSED, _PAUSED, _GENERATION = range(3)  # of the header; the generation's last bit is the bank
_FULL, _TIME, _VERSION, _STEPS, _VALID, _EPISODES, _LOSSES = range(7)  # of a slot's numbers


class WakeupPipe:
    """Wakes one that waits in another process. What has happened stands in shared memory."""

    def __init__(self, ends: tuple[int, int] | None = None):
        self._read, self._write = ends or os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)

    def __reduce__(self):
        return _attach_pipe, (reduction.DupFd(self._read), reduction.DupFd(self._write))

    def wake(self) -> None:
        """Wake whoever waits, or will wait next."""
        with contextlib.suppress(BlockingIOError):  # it is full of signals
            os.write(self._write, b"\0")

    def wait(self, seconds: float) -> None:
        """Return when `wake` is called, was called since the last wait, or the seconds are over."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        if ready:
            os.read(self._read, 65536)


def _attach_pipe(read: Any, write: Any) -> WakeupPipe:
    return WakeupPipe((read.detach(), write.detach()))


class SharedSubmissions:
    """See `submissions.SubmissionQueue`.

    Args:
        workers: Number of workers.
        room: Slots of each.
        size: P.
        content: An example of what workers hand in: gradients [P], or `Transitions`.
        figures: The names of the losses that come with them.
        largest: The most episodes that may end in one rollout.
    """

    def __init__(
        self, workers: int, room: int, size: int, content: Any, figures: Sequence[str], largest: int
    ):
        self._workers, self._room, self._figures = workers, room, tuple(figures)
        self._fields = content._fields if isinstance(content, Transitions) else None
        arrays = content._asdict() if isinstance(content, Transitions) else {"gradients": content}
        slot = {name: (a.dtype.str, a.shape) for name, a in arrays.items() if a is not None}
        slot |= {"numbers": ("<f8", (_LOSSES + len(figures),)), "episodes": ("<f8", (largest, 2))}
        self._names = tuple(slot)
        self._memory = SharedArrays(
            {
                "header": ("<i8", (LINE // 8,)),
                "activity": ("<i8", (workers, WORDS)),
                **{("weights", bank): ("<f4", (size,)) for bank in range(2)},
                **{("counts", bank): ("<i8", (2,)) for bank in range(2)},
                **{
                    (worker, place, name): kind
                    for worker in range(workers)
                    for place in range(room)
                    for name, kind in slot.items()
                },
            }
        )
        self._learner_pipe, self._pipes = WakeupPipe(), [WakeupPipe() for _ in range(workers)]
        self._view()

    def _view(self) -> None:
        """Give names to the parts of the memory."""
        self._header = self._memory["header"].data
        self.activity = Activity(self._memory["activity"])
        self._banks = [(self._memory["weights", bank], self._memory["counts", bank]) for bank in range(2)]
        self._slots = [
            [{name: self._memory[worker, place, name] for name in self._names} for place in range(self._room)]
            for worker in range(self._workers)
        ]

    def __getstate__(self) -> dict[str, Any]:
        views = ("_header", "activity", "_banks", "_slots")
        return {name: value for name, value in self.__dict__.items() if name not in views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._view()

    @property
    def place(self) -> str:
        """The directory whose file system holds the memory."""
        return self._memory.file.place

    # -- the learner's side ---------------------------------------------------------------------------------

    def publish(self, weights: Any, version: int, steps: int) -> None:
        """Write the idle bank and turn to it."""
        generation = self._header[_GENERATION]
        vector, counts = self._banks[1 - generation % 2]
        vector[:] = weights
        counts[:] = version, steps
        self._header[_GENERATION] = generation + 1

    def arrived(self) -> list[Submission]:
        """All submissions that wait; their arrays are those of the slots, until they are released."""
        return [
            self._read(worker, place, slot)
            for worker, slots in enumerate(self._slots)
            for place, slot in enumerate(slots)
            if slot["numbers"][_FULL]
        ]

    def _read(self, worker: int, place: int, slot: dict[str, Any]) -> Submission:
        _, when, version, steps, valid, count, *losses = slot["numbers"].tolist()
        episodes = [Episode(value, int(length)) for value, length in slot["episodes"][: int(count)].tolist()]
        if self._fields is None:
            content = slot["gradients"]
        else:
            content = Transitions._make(slot.get(name) for name in self._fields)
        named = dict(zip(self._figures, losses, strict=True))
        whole = int(when), content, int(version), int(steps), episodes, named, int(valid), place
        return Submission(worker, *whole)

    def await_arrival(self, seconds: float) -> None:
        """Wait until something may have come."""
        self._learner_pipe.wait(seconds)

    def release(self, submissions: list[Submission]) -> None:
        """Make room where these submissions were."""
        for submission in submissions:
            self._slots[submission.worker][submission.slot]["numbers"][_FULL] = 0
            self._pipes[submission.worker].wake()

    def pause(self, paused: bool) -> None:
        """Make every later pull wait, or let them go on."""
        self._header[_PAUSED] = paused
        self._wake_all()

    def close(self) -> None:
        """Make every later pull return None."""
        self._header[_CLOSED] = 1
        self._wake_all()

    def _wake_all(self) -> None:
        for pipe in self._pipes:
            pipe.wake()

    # -- the workers' side ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether every later pull returns None."""
        return bool(self._header[_CLOSED])

    @property
    def paused(self) -> bool:
        """Whether pulls wait."""
        return bool(self._header[_PAUSED])

    def published(self) -> Snapshot:
        """A copy of the newest parameters."""
        while True:
            generation = self._header[_GENERATION]
            vector, counts = self._banks[generation % 2]
            snapshot = Snapshot(vector.copy(), int(counts[0]), int(counts[1]))
            if self._header[_GENERATION] == generation:
                return snapshot

    def waiting(self, worker: int) -> int:
        """How many submissions of `worker` have not been taken."""
        return sum(bool(slot["numbers"][_FULL]) for slot in self._slots[worker])

    def post(self, submission: Submission) -> None:
        """Copy a submission into a free slot; it counts from the moment that the slot says so."""
        slot = next(slot for slot in self._slots[submission.worker] if not slot["numbers"][_FULL])
        content = submission.contribution
        for name, value in (content._asdict() if self._fields else {"gradients": content}).items():
            if name in slot:
                slot[name][...] = value
        episodes, numbers = submission.episodes, slot["numbers"]
        if episodes:
            slot["episodes"][: len(episodes)] = episodes
        counts = submission.version, submission.steps, submission.valid, len(episodes)
        numbers[_TIME:_LOSSES] = submission.time, *counts
        numbers[_LOSSES:] = [submission.losses[name] for name in self._figures]
        numbers[_FULL] = 1
        self._learner_pipe.wake()

    def wait(self, worker: int, seconds: float) -> None:
        """Wait until something may have changed."""
        self._pipes[worker].wait(seconds)
