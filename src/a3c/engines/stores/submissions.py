"""The queue between workers and a central learner: submissions one way, parameters the other.

`LocalSubmissions` is for workers in this process, `SharedSubmissions`, in a file of its own, for processes. A
worker that dies holds nothing in them.
"""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from a3c.engines.stores.activity import Activity
from a3c.types import Episode, Snapshot, Transitions


class Submission(NamedTuple):
    """What a worker hands in after a rollout."""

    worker: int
    time: int
    """Nanoseconds of the system's monotonic clock: the order of arrival."""
    contribution: Any
    """Gradients [P], or `Transitions`."""
    version: int
    """Updates in the parameters that the worker had."""
    steps: int
    episodes: Sequence[Episode]
    losses: Mapping[str, float]
    valid: int = 0
    """Of how many steps the gradients are the mean."""
    slot: int = 0


class SubmissionQueue(Protocol):
    """Between workers and learner."""

    activity: Activity

    @property
    def place(self) -> str:
        """The directory whose file system holds shared memory; empty where none is shared."""
        ...

    @property
    def paused(self) -> bool: ...
    @property
    def closed(self) -> bool: ...

    # the learner's side
    def publish(self, weights: Any, version: int, steps: int) -> None: ...
    def arrived(self) -> list[Submission]: ...
    def await_arrival(self, seconds: float) -> None: ...
    def release(self, submissions: list[Submission]) -> None: ...
    def pause(self, paused: bool) -> None: ...
    def close(self) -> None: ...

    # the workers' side
    def published(self) -> Snapshot: ...
    def waiting(self, worker: int) -> int: ...
    def post(self, submission: Submission) -> None: ...
    def wait(self, worker: int, seconds: float) -> None: ...


class LocalSubmissions:
    """For workers that are threads of this process: submissions are passed on as they are."""

    place = ""

    def __init__(self, workers: int):
        self._changed = threading.Condition()
        self._submissions: list[deque[Submission]] = [deque() for _ in range(workers)]
        self.activity = Activity.local(workers)
        self._snapshot = Snapshot(None, 0)
        self.paused = self.closed = False

    # -- the learner's side ---------------------------------------------------------------------------------

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
        if not submissions:
            return
        gone = set(map(id, submissions))
        with self._changed:
            for worker in {submission.worker for submission in submissions}:
                left = [waiting for waiting in self._submissions[worker] if id(waiting) not in gone]
                self._submissions[worker] = deque(left)
            self._changed.notify_all()

    def pause(self, paused: bool) -> None:
        """Make every later pull wait, or let them go on."""
        with self._changed:
            self.paused = paused
            self._changed.notify_all()

    def close(self) -> None:
        """Make every later pull return None."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    # -- the workers' side ----------------------------------------------------------------------------------

    def published(self) -> Snapshot:
        """The newest parameters."""
        return self._snapshot

    def waiting(self, worker: int) -> int:
        """How many submissions of `worker` have not been taken."""
        return len(self._submissions[worker])

    def post(self, submission: Submission) -> None:
        """Hand a submission in; samplers use their arrays again, so that those are copied."""
        content = submission.contribution
        if isinstance(content, Transitions) and isinstance(content.rewards, np.ndarray):
            content = Transitions._make(None if array is None else array.copy() for array in content)
        with self._changed:
            self._submissions[submission.worker].append(submission._replace(contribution=content))
            self._changed.notify_all()

    def wait(self, worker: int, seconds: float) -> None:
        """Wait until something may have changed."""
        with self._changed:
            if not self.closed:
                self._changed.wait(seconds)
