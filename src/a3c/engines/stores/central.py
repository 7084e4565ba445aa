"""The store of algorithms with a central learner: workers hand in what they have, the main process updates.

In step (A2C), each worker hands in its gradients and waits. When all have come, their mean over all valid
steps makes one update, and everybody goes on from it. Otherwise (IMPALA) workers hand in rollouts and go on
with the newest parameters there are. The learner takes rollouts in batches. A worker whose rollouts have not
been taken waits, so that none grows older than the queue is long. Between them lies a `SubmissionQueue`.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from a3c.engines.stores import Limits, StoreState, is_finite
from a3c.engines.stores.activity import Activity
from a3c.engines.stores.submissions import Submission, SubmissionQueue
from a3c.networks.normalisation import NOTHING, Normaliser, pool
from a3c.networks.parameters import Towers
from a3c.types import PartGradients, Report, Rollout, Snapshot, Transitions

_LOOK = 0.1  # seconds after which a waiting worker shows that it is alive


@dataclass(frozen=True)
class Batching:
    """Which submissions make an update, and who waits for it.

    Attributes:
        in_step: Whether workers wait for the update that their submission is for.
        size: Submissions per update; in step, one of each worker.
        room: Submissions of one worker that may wait to be taken.
    """

    in_step: bool
    size: int
    room: int


class CentralStore:
    """The parameters and the optimizer's state, in the hands of the main process.

    Args:
        contents: What to begin with.
        batching: Which submissions make an update.
        submission_queue: What lies between workers and learner.
        limits: When training is over.
        normaliser: What statistics stand behind the parameters.
        global_clipnorm: Largest norm, of each tower, of the mean of gradients that are handed in; None: any.
        towers: Of which numbers each norm is; None: one norm of all parameters.
    """

    central = True

    def __init__(
        self,
        contents: StoreState,
        batching: Batching,
        submission_queue: SubmissionQueue,
        limits: Limits,
        normaliser: Normaliser = NOTHING,
        global_clipnorm: float | None = None,
        towers: Towers | None = None,
    ):
        self._normaliser, self._clipnorm = normaliser, global_clipnorm
        self._towers = ((slice(0, len(contents.weights) - normaliser.size),),) if towers is None else towers
        self._weights, self._state = contents.weights, contents.optimizer
        self._batching, self._queue, self._limits = batching, submission_queue, limits
        self.steps, self.updates = contents.steps, contents.updates
        self.episodes, self.skipped = contents.episodes, contents.skipped
        self._consecutive_skips = 0
        self._reports: list[Report] = []
        self._taken: list[Submission] = []
        self._publish()

    def prepare(self, update: Callable[..., tuple[Any, dict]], learn: Callable | None, blank: Any) -> None:
        """Compile what the learner does.

        Args:
            update: `f(weights, state, gradients, steps) -> (weights, state)`, given the steps until then.
            learn: `f(weights, transitions) -> (gradients, losses)`; None: workers hand in gradients.
            blank: Transitions of one worker, to compile for.
        """
        self._update, self._learn = update, learn
        if learn is not None:
            learn(self._weights, _joined([blank] * self._batching.size))
        update(self._weights, self._state, self._weights * 0, 0)

    def client(self) -> "WorkerClient":
        """The store as workers see it, each to be given its number by `attach`."""
        return WorkerClient(self._queue, self._batching)

    # -- the learner ----------------------------------------------------------------------------------------

    def learner_step(self, seconds: float) -> None:
        """Make an update if enough submissions are there, or come within so many seconds."""
        self._queue.release(self._taken)
        self._taken = []
        deadline = time.monotonic() + seconds
        while (submissions := self._enough()) is None:
            left = deadline - time.monotonic()
            if left <= 0 or self.finished:
                return
            self._queue.await_arrival(left)
        self._learn_from(submissions)
        self._publish()
        self._taken = submissions
        if not self._batching.in_step:  # else the main process looks at the result before anybody goes on
            self._queue.release(self._taken)
            self._taken = []

    def _enough(self) -> list[Submission] | None:
        """The submissions of the next update, or None while some are missing."""
        submissions = self._queue.arrived()
        if len(submissions) < self._batching.size:
            return None
        if self._batching.in_step:
            # In this order, whoever was first: sums stay the same to the last bit.
            return sorted(submissions, key=lambda submission: submission.worker)
        return sorted(submissions, key=lambda submission: submission.time)[: self._batching.size]

    def _learn_from(self, submissions: list[Submission]) -> None:
        if self._learn is None:
            shares = _shares([submission.valid for submission in submissions])
            gradients, norm = self._mean([np.asarray(each.contribution) for each in submissions], shares)
            every = [submission.losses for submission in submissions]
            losses = {name: float(shares @ [each[name] for each in every]) for name in every[0]}
            losses["gradient_norm"] = norm
        else:
            joined = _joined([submission.contribution for submission in submissions])
            gradients, losses = self._learn(self._weights, joined)
        lag = float(np.mean([self.updates - submission.version for submission in submissions]))
        if finite := is_finite(losses):
            self._weights, self._state = self._update(self._weights, self._state, gradients, self.steps)
        self.updates += finite
        self.skipped += not finite
        self._consecutive_skips = 0 if finite else self._consecutive_skips + 1
        for number, submission in enumerate(submissions):
            self._count(submission, losses if finite else {}, lag, number == 0, finite)

    def _mean(self, gradients: list[np.ndarray], shares: np.ndarray) -> tuple[np.ndarray, float]:
        """The mean of gradients, clipped, with its norm before; of the moments behind them those of all.

        Each has its share, and clipped is what the update is made of, tower by tower, as if one worker had
        all the copies: clipping each worker's gradients would weigh the smaller ones more.
        """
        mean = np.zeros_like(gradients[0])
        for gradient, share in zip(gradients, shares, strict=True):
            mean += gradient * share
        norms = [math.hypot(*(np.linalg.norm(mean[span]) for span in own)) for own in self._towers]
        norm = math.hypot(*norms)
        for own, size in zip(self._towers, norms, strict=True):
            if self._clipnorm is not None and size > self._clipnorm:
                for span in own:
                    mean[span] *= self._clipnorm / size
        if self._normaliser.size:
            end = len(mean) - self._normaliser.size
            mean[end:] = pool(self._normaliser, [each[end:] for each in gradients])
        return mean, norm

    def _count(
        self, submission: Submission, losses: Mapping[str, float], lag: float, first: bool, finite: bool
    ) -> None:
        """One update stands in the report of the first submission it was made of."""
        self.steps += submission.steps
        self.episodes += len(submission.episodes)
        report = Report(
            worker=submission.worker,
            updates=int(first and finite),
            skipped=int(first and not finite),
            steps=submission.steps,
            episodes=list(submission.episodes),
            episode_steps=[submission.steps] * len(submission.episodes),
            losses=losses if first else {},
            lag=lag if first else 0.0,
        )
        self._reports.append(report)

    def _publish(self) -> None:
        self._queue.publish(self._weights, self.updates, self.steps)
        if self.finished:
            self._queue.close()

    # -- the main process -----------------------------------------------------------------------------------

    @property
    def activity(self) -> Activity:
        """What workers show of themselves."""
        return self._queue.activity

    def weights(self) -> np.ndarray:
        """A copy of the parameters: [P] float32."""
        return np.array(self._weights)

    def reports(self) -> list[Report]:
        """What workers have done since the last call, one report per submission."""
        reports, self._reports = self._reports, []
        return reports

    def snapshot(self) -> tuple[list[Report], StoreState]:
        """A copy of everything, and the reports that lead up to exactly this moment."""
        state = {name: np.array(vector) for name, vector in self._state.items()}
        counts = self.steps, self.updates, self.episodes, self.skipped
        return self.reports(), StoreState(self.weights(), state, *counts)

    def consecutive_skips(self) -> int:
        """The most updates in a row that had to be skipped, up to now."""
        return self._consecutive_skips

    def lock_holder(self) -> None:
        """Nobody: there is no lock that a worker could hold."""

    @property
    def place(self) -> str:
        """The directory whose file system holds shared memory; empty where none is shared."""
        return self._queue.place

    @property
    def finished(self) -> bool:
        """Whether every later pull returns None."""
        return self._queue.closed or self._limits.reached(self.steps, self.episodes)

    def stop(self) -> None:
        """Make every later pull return None."""
        self._queue.close()

    def pause(self, paused: bool) -> None:
        """Make every later pull wait, or let them go on."""
        self._queue.pause(paused)


class WorkerClient:
    """A `CentralStore` in the hands of one worker."""

    central = True

    def __init__(self, submission_queue: SubmissionQueue, batching: Batching, worker: int = 0):
        self._queue, self._batching, self._worker = submission_queue, batching, worker
        self.revoked = False
        """Set when the worker was given up: what it may still bring is not wanted."""

    def attach(self, worker: int, update: None = None) -> "WorkerClient":
        """Make this the client of `worker`; it makes no updates itself."""
        self._worker = worker
        return self

    def weights(self) -> np.ndarray:
        """The newest parameters: [P] float32."""
        return self._queue.published().weights

    def pull(self, again: bool = False) -> Snapshot | None:
        """The newest parameters, or None when training is over; in step, those of the update to come."""
        queue, worker = self._queue, self._worker
        self._wait_while(lambda: queue.paused or (self._batching.in_step and queue.waiting(worker) > 0))
        if queue.closed or self.revoked:
            return None
        snapshot = queue.published()
        queue.activity.pulled(worker, snapshot.version)
        return snapshot

    def show_life(self) -> None:
        """See `Store.show_life`."""
        self._queue.activity.show_life(self._worker)

    def push(self, contribution: Any, version: int, rollout: Rollout, losses: Mapping[str, float]) -> None:
        """Hand in gradients or transitions, when there is room for them."""
        queue, worker = self._queue, self._worker
        self._wait_while(lambda: queue.waiting(worker) >= self._batching.room)
        if not (queue.closed or self.revoked):
            now, steps, episodes, valid = time.monotonic_ns(), rollout.steps, rollout.episodes, rollout.steps
            if isinstance(contribution, PartGradients):
                contribution, valid = contribution
            queue.post(Submission(worker, now, contribution, version, steps, episodes, losses, valid))

    def _wait_while(self, condition: Callable[[], bool]) -> None:
        self.show_life()
        while not (self._queue.closed or self.revoked) and condition():
            self._queue.wait(self._worker, _LOOK)
            self.show_life()


def _shares(counts: list[int]) -> np.ndarray:
    """What each mean of so many steps contributes to the mean of all steps, float32."""
    weights = np.array(counts, np.float64) if any(counts) else np.ones(len(counts))
    return (weights / weights.sum()).astype(np.float32)


def _joined(rollouts: list[Transitions]) -> Transitions:
    """The rollouts of several workers as one of as many copies more."""
    if len(rollouts) == 1:
        return rollouts[0]
    joined = {}
    for name in Transitions._fields:
        arrays = [getattr(rollout, name) for rollout in rollouts]
        axis = 0 if name in ("state", "next_actions") else 1
        joined[name] = None if arrays[0] is None else np.concatenate([np.asarray(a) for a in arrays], axis)
    return Transitions(**joined)
