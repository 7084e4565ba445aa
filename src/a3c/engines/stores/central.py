"""The store of algorithms with a learner in the middle: workers hand in what they have, the master updates.

In step (A2C), each worker hands in its gradients and waits; when all have come, their mean makes one update
and everybody goes on from it. Otherwise (IMPALA) workers hand in rollouts and go on with the newest
parameters there are; the learner takes them in batches, and a worker whose rollouts have not been taken
waits, so that none grows older than the queue is long. What lies between is an `SubmissionQueue`: `submissions.py`.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from a3c.engines.stores import StoreState, is_finite
from a3c.engines.stores.submissions import Submission, SubmissionQueue
from a3c.networks.normalisation import NOTHING, Normaliser, pool
from a3c.networks.parameters import Towers
from a3c.types import Report, Rollout, Snapshot, Transitions

_LOOK = 0.1  # seconds after which a waiting worker shows a sign of life


@dataclass(frozen=True)
class Rules:
    """How workers and learner take turns.

    Attributes:
        in_step: Whether workers wait for the update that their submission is for.
        batch: Submissions per update; in step, one of each worker.
        room: Submissions of one worker that may wait to be taken.
    """

    in_step: bool
    batch: int
    room: int


class CentralStore:
    """The parameters and the optimizer's state, in the hands of the master.

    Args:
        contents: What to begin with.
        rules: How workers and learner take turns.
        exchange: What lies between them.
        workers: Number of workers.
        max_steps: Environment steps after which `pull` returns None; None: no limit.
        max_episodes: The same for finished episodes.
        normaliser: What statistics stand behind the parameters.
        global_clipnorm: Largest norm, of each tower, of the mean of gradients that are handed in; None: any.
        towers: Of which numbers each norm is; None: one norm of all parameters.
    """

    central = True

    def __init__(
        self,
        contents: StoreState,
        rules: Rules,
        submission_queue: SubmissionQueue,
        workers: int,
        max_steps: int | None,
        max_episodes: int | None,
        normaliser: Normaliser = NOTHING,
        global_clipnorm: float | None = None,
        towers: Towers | None = None,
    ):
        self._normaliser, self._clipnorm = normaliser, global_clipnorm
        self._towers = ((slice(0, len(contents.weights) - normaliser.size),),) if towers is None else towers
        self._weights, self._state = contents.weights, contents.optimizer
        self._rules, self._queue, self._workers = rules, submission_queue, workers
        self._max_steps = math.inf if max_steps is None else max_steps
        self._max_episodes = math.inf if max_episodes is None else max_episodes
        self.steps, self.updates = contents.steps, contents.updates
        self.episodes, self.skipped = contents.episodes, contents.skipped
        self._streak = 0
        self._reports: list[Report] = []
        self._taken: list[Submission] = []
        self._publish()

    def prepare(self, update: Callable[..., tuple[Any, dict]], learn: Callable | None, blank: Any) -> None:
        """Compile what the master does.

        Args:
            update: `f(weights, state, gradients, steps) -> (weights, state)`, given the steps until then.
            learn: `f(weights, transitions) -> (gradients, losses)`; None: workers hand in gradients.
            blank: Transitions of one worker, to compile for.
        """
        self._update, self._learn = update, learn
        if learn is not None:
            learn(self._weights, _joined([blank] * self._rules.batch))
        update(self._weights, self._state, self._weights * 0, 0)

    def client(self) -> "WorkerClient":
        """The store as workers see it, each to be given its number by `attach`."""
        return WorkerClient(self._queue, self._rules)

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
        if not self._rules.in_step:  # else the master looks at what came of it before anybody goes on
            self._queue.release(self._taken)
            self._taken = []

    def _enough(self) -> list[Submission] | None:
        """The submissions of the next update, or None while some are missing."""
        submissions = self._queue.arrived()
        if len(submissions) < self._rules.batch:
            return None
        if self._rules.in_step:
            return sorted(
                submissions, key=lambda submission: submission.worker
            )  # whoever was first: sums stay the same
        return sorted(submissions, key=lambda submission: submission.time)[: self._rules.batch]

    def _learn_from(self, submissions: list[Submission]) -> None:
        if self._learn is None:
            gradients, norm = self._mean([np.asarray(submission.content) for submission in submissions])
            every = [submission.losses for submission in submissions]
            losses = {name: float(np.mean([each[name] for each in every])) for name in every[0]}
            losses["gradient_norm"] = norm
        else:
            gradients, losses = self._learn(
                self._weights, _joined([submission.content for submission in submissions])
            )
        lag = float(np.mean([self.updates - submission.version for submission in submissions]))
        if finite := is_finite(losses):
            self._weights, self._state = self._update(self._weights, self._state, gradients, self.steps)
        self.updates += finite
        self.skipped += not finite
        self._streak = 0 if finite else self._streak + 1
        for number, submission in enumerate(submissions):
            self._count(submission, losses if finite else {}, lag, number == 0, finite)

    def _mean(self, gradients: list[np.ndarray]) -> tuple[np.ndarray, float]:
        """The mean of gradients, clipped, with its norm before; of the moments behind them those of all.

        Clipped is what the update is made of, tower by tower, as if one worker had all the copies: clipping
        each worker's gradients would weigh the smaller ones more.
        """
        mean = np.mean(gradients, axis=0)
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

    # -- the master -----------------------------------------------------------------------------------------

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

    def heartbeats(self) -> list[int]:
        """For each worker a number that grows as it acts, pulls and pushes."""
        return self._queue.heartbeats()

    def pulls(self) -> list[int]:
        """For each worker how often it has pulled."""
        return self._queue.pulls()

    def versions(self) -> list[int]:
        """For each worker how many updates were in the parameters that it pulled last."""
        return self._queue.versions()

    def consecutive_skips(self) -> int:
        """The most updates in a row that had to be skipped, up to now."""
        return self._streak

    def lock_holder(self) -> None:
        """Nobody: there is no lock that a worker could hold."""

    @property
    def place(self) -> str:
        """The directory whose file system holds shared memory; empty where none is shared."""
        return self._queue.place

    @property
    def finished(self) -> bool:
        """Whether every later pull returns None."""
        over = self.steps >= self._max_steps or self.episodes >= self._max_episodes
        return over or self._queue.closed

    def stop(self) -> None:
        """Make every later pull return None."""
        self._queue.close()

    def pause(self, held: bool) -> None:
        """Make every later pull wait, or let them go on."""
        self._queue.pause(held)


class WorkerClient:
    """A `CentralStore` in the hands of one worker."""

    def __init__(self, submission_queue: SubmissionQueue, rules: Rules, worker: int = 0):
        self._queue, self._rules, self._worker = submission_queue, rules, worker
        self.revoked = False
        """Set when the worker was given up: what it may still bring is not wanted."""

    central = True

    def attach(self, worker: int, update: None = None) -> "WorkerClient":
        """Make this the client of `worker`; it makes no updates itself."""
        self._worker = worker
        return self

    def weights(self) -> np.ndarray:
        """The newest parameters: [P] float32."""
        return self._queue.published().weights

    def announce_compiled(self) -> None:
        """Tell the other workers that everything lies in the cache of compiled programs."""
        self._queue.announce_compiled()

    def await_compiled(self) -> None:
        """Wait until some worker has compiled everything."""
        self._queue.await_compiled()

    def pull(self, again: bool = False) -> Snapshot | None:
        """The newest parameters, or None when training is over; in step, those of the update to come."""
        submission_queue, worker = self._queue, self._worker
        self._wait_while(
            lambda: submission_queue.held or (self._rules.in_step and submission_queue.waiting(worker) > 0)
        )
        if submission_queue.closed or self.revoked:
            return None
        snapshot = submission_queue.published()
        submission_queue.note(worker, snapshot.version)
        return snapshot

    def show_life(self) -> None:
        """See `Store.show_life`."""
        self._queue.note(self._worker, None)

    def push(self, gradients: Any, version: int, rollout: Rollout, losses: Mapping[str, float]) -> None:
        """Hand in gradients or transitions, when there is room for them."""
        submission_queue, worker = self._queue, self._worker
        self._wait_while(lambda: submission_queue.waiting(worker) >= self._rules.room)
        if not (submission_queue.closed or self.revoked):
            now = time.monotonic_ns()
            submission = Submission(worker, now, gradients, version, rollout.steps, rollout.episodes, losses)
            submission_queue.post(submission)

    def _wait_while(self, condition: Callable[[], bool]) -> None:
        submission_queue, worker = self._queue, self._worker
        submission_queue.note(worker, None)
        while not (submission_queue.closed or self.revoked) and condition():
            submission_queue.wait(worker, _LOOK)
            submission_queue.note(worker, None)


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
