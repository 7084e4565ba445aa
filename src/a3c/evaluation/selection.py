"""When to evaluate, which parameters are the best, and whether the environment is solved.

Training returns are those of a policy that explores and changes; the number to trust comes from
evaluations with fixed parameters, in environments of their own. Called by the main process.
"""

import itertools
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np

from a3c.errors import RunError, describe_stack
from a3c.evaluation.evaluator import Abandoned, Evaluation, Evaluator, Failed
from a3c.spaces.distributions import Mode
from a3c.utils.seeding import integer_seed

_PATIENCE = 5.0  # seconds that an evaluation under way has to notice that it was given up
_MANY_STEPS = 5_000  # a baseline of 20 episodes longer than this in all is long enough


@dataclass(frozen=True)
class Candidate:
    """Parameters to be evaluated."""

    weights: np.ndarray
    """[P] float32."""
    steps: int
    reached: bool
    """Whether it may end the training: the mean of the last 100 training episodes had reached the threshold,
    or is not asked for."""


@dataclass(frozen=True)
class EvaluationOutcome:
    """What evaluations showed of a candidate."""

    candidate: Candidate
    evaluation: Evaluation
    confirmation: Evaluation | None
    """A second evaluation with other seeds, made where the first reached the threshold."""

    @property
    def mean(self) -> float:
        """Mean return by which candidates are compared."""
        return self.evaluation.mean


def solves(outcome: EvaluationOutcome, threshold: float | None) -> bool:
    """Whether this outcome ends the training: its second evaluation reached the threshold as well."""
    confirmation = outcome.confirmation
    if confirmation is None or threshold is None or not outcome.candidate.reached:
        return False
    return confirmation.mean >= threshold


class ModelSelector:
    """Decides when to evaluate, and keeps the best parameters.

    A candidate counts as solving when the last 100 training episodes reach the threshold on average, a
    separate evaluation does, and so does a second one with other seeds: the first to pass of many tries
    would often pass by luck alone.

    Args:
        evaluator: Plays in copies of the environment of its own.
        threshold: The mean return that counts as solved; None: nothing does.
        seed: The run's seed.
        concurrent: Evaluate on a thread of its own, while training goes on.
        max_failures: How many failures of the environment are survived.
        tell: Is told of each.
        explores: Whether training returns are those of a policy that goes on exploring, and say little of how
            good the greedy one is; then evaluations alone decide.
        mode: How candidates play.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        threshold: float | None,
        seed: int,
        concurrent: bool,
        max_failures: int = 0,
        tell: Callable[[str], None] = lambda text: None,
        explores: bool = False,
        mode: Mode = "greedy",
    ):
        self._explores = explores
        self._mode: Mode = mode
        self._evaluator, self._seed, self._threshold = evaluator, seed, threshold
        self._max_failures, self._failures, self._tell = max_failures, 0, tell
        self._first_failure, self._warned = "", False
        # No executor: Python waits for those at its end, however long their environment hangs.
        self._tasks: queue.SimpleQueue[Any] | None = queue.SimpleQueue() if concurrent else None
        self._thread: threading.Thread | None = None
        if concurrent:
            self._thread = threading.Thread(target=self._work, name="a3c-evaluation", daemon=True)
            self._thread.start()
        self._pending: Future[EvaluationOutcome] | None = None
        self._candidate: Candidate | None = None
        self._evaluations = 0
        self._next_steps = 0  # evaluate no earlier than this
        self._next_reached = 0  # the same, while the threshold is reached
        self.best: EvaluationOutcome | None = None

    def baseline(self, weights: np.ndarray) -> Future[Evaluation]:
        """Random play, whatever the weights: 100 episodes, or 20 where they are long."""

        def play(attempt: tuple[int, ...]) -> Evaluation:
            seeds = (integer_seed(self._seed, "baseline", i, attempt) for i in range(2))
            first = self._play(weights, "random", next(seeds), 20)
            many = first.lengths.sum() > _MANY_STEPS
            return first if many else self._play(weights, "random", next(seeds), 100)

        return self._submit(play)

    def _play(self, *arguments: Any) -> Evaluation:
        evaluation = self._evaluator.evaluate(*arguments)
        if evaluation.warning and not self._warned:
            self._warned = True
            self._tell(evaluation.warning)
        return evaluation

    def reached(self, mean_return_100: float | None) -> bool:
        """Whether the training returns call for a decision."""
        if mean_return_100 is None or self._threshold is None:
            return False
        return mean_return_100 >= self._threshold

    def decides(self, mean_return_100: float | None) -> bool:
        """Whether an evaluation now may end the training."""
        return self._explores or self.reached(mean_return_100)

    def due(self, steps: int, mean_return_100: float | None) -> bool:
        """Whether to evaluate now."""
        if self._pending is not None or mean_return_100 is None:
            return False
        return steps >= (self._next_reached if self.reached(mean_return_100) else self._next_steps)

    def submit(self, candidate: Candidate) -> None:
        """Begin to evaluate `candidate`; `outcome` tells when it is done."""
        number = 2 * (self._evaluations + 1)

        def evaluate(attempt: tuple[int, ...]) -> EvaluationOutcome:
            seeds = (integer_seed(self._seed, "evaluation", number + i, attempt) for i in range(2))
            evaluation, confirmation = self._play(candidate.weights, self._mode, next(seeds)), None
            if candidate.reached and self._threshold is not None and evaluation.mean >= self._threshold:
                confirmation = self._play(candidate.weights, self._mode, next(seeds))
            return EvaluationOutcome(candidate, evaluation, confirmation)

        self._candidate, self._pending = candidate, self._submit(evaluate)

    @property
    def pending(self) -> bool:
        """Whether a candidate is being evaluated, or its outcome waits to be taken."""
        return self._pending is not None

    def outcome(self) -> EvaluationOutcome | None:
        """The outcome of the last candidate, once, when it is there; updates `best`."""
        if self._pending is None or not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        if isinstance(pending.exception(), Abandoned):
            return None
        outcome, self._candidate = pending.result(), None
        self._evaluations += 1
        steps, cost = outcome.candidate.steps, int(outcome.evaluation.lengths.sum())
        # Periodic evaluations share the cores with training: in the long run they take one step in twenty.
        # Retries of a threshold nearly reached come sooner, since training is about to end.
        # Where training returns say little, evaluations come more often.
        share, price = (10, 4) if self._explores else (4, 20)
        self._next_steps = steps + max(steps // share, price * cost)
        self._next_reached = steps + max(steps // 20, cost // 4)
        if self._is_better(outcome):
            self.best = outcome
        return outcome

    def final(self, weights: np.ndarray) -> Future[Evaluation]:
        """An evaluation with seeds that chose nothing: the number to report."""

        def play(attempt: tuple[int, ...]) -> Evaluation:
            return self._play(weights, self._mode, integer_seed(self._seed, "final", 0, attempt))

        return self._submit(play)

    def stack_of(self) -> str:
        """The function that the evaluation thread is in."""
        frame = sys._current_frames().get((self._thread and self._thread.ident) or 0)
        return "it is gone" if frame is None else describe_stack(traceback.extract_stack(frame))

    def abandon(self) -> None:
        """Give up what is under way, and evaluate nothing more. May be called from a signal handler."""
        self._evaluator.abandoned.set()

    @property
    def abandoned(self) -> bool:
        """Whether nothing is evaluated any more."""
        return self._evaluator.abandoned.is_set()

    def state(self) -> dict[str, Any]:
        """The best so far, when to evaluate next, and the candidate under evaluation, as a plain tree."""
        return dict(
            evaluations=self._evaluations,
            next_steps=self._next_steps,
            next_reached=self._next_reached,
            best=None if self.best is None else _as_tree(self.best),
            candidate=None if self._candidate is None else _as_tree(self._candidate),
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from such a state; a candidate that was being evaluated is evaluated anew."""
        self._evaluations = state["evaluations"]
        self._next_steps, self._next_reached = state["next_steps"], state["next_reached"]
        self.best = None if state["best"] is None else _outcome_of(state["best"])
        if state["candidate"] is not None:
            self.submit(Candidate(**state["candidate"]))

    def close(self) -> None:
        """Abandon what is under way, and close the environments."""
        self.abandon()
        if self._tasks is not None and self._thread is not None:
            self._tasks.put(None)
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                return  # it hangs in an environment, which cannot be closed then
        self._evaluator.close()

    def _is_better(self, outcome: EvaluationOutcome) -> bool:
        if self.best is None or solves(outcome, self._threshold):
            return True
        return outcome.mean >= self.best.mean and not solves(self.best, self._threshold)

    def _submit(self, task: Callable[[tuple[int, ...]], Any]) -> Future:
        """Run `task`, given the number of the attempt, for its seeds; here or on the evaluation thread."""
        future: Future = Future()
        if self._tasks is not None:
            self._tasks.put((task, future))
        else:
            self._carry_out(task, future)
        return future

    def _work(self) -> None:
        """The life of the evaluation thread."""
        assert self._tasks is not None
        while (order := self._tasks.get()) is not None:
            self._carry_out(*order)

    def _carry_out(self, task: Callable[[tuple[int, ...]], Any], future: Future) -> None:
        try:
            future.set_result(self._retried(task))
        except Exception as error:
            future.set_exception(error)

    def _retried(self, task: Callable[[tuple[int, ...]], Any]) -> Any:
        """What `task` returns; where an environment fails, they are made anew and it is done again."""
        for attempt in itertools.count():
            if self.abandoned:
                raise Abandoned
            try:
                if attempt:
                    self._evaluator.rebuild()
                return task((attempt,))
            except Abandoned:
                raise
            except Failed as error:
                what, _, _ = str(error).partition("\n")
                self._first_failure = self._first_failure or str(error)
                self._failures += 1
                if self._failures > self._max_failures:
                    raise RunError(f"an evaluation failed: {self._first_failure}") from error
                again = f"its environments made anew {self._failures}/{self._max_failures}"
                self._tell(f"an evaluation failed: {what}; {again}")
            except Exception as error:
                raise RunError(f"an evaluation failed:\n{traceback.format_exc()}") from error


def _as_tree(thing: Any) -> dict[str, Any]:
    """A dataclass and those in it as dicts. Arrays are not copied: nobody changes them."""
    return {name: _as_tree(value) if is_dataclass(value) else value for name, value in vars(thing).items()}


def _outcome_of(state: dict[str, Any]) -> EvaluationOutcome:
    first, second = state["evaluation"], state["confirmation"]
    confirmation = None if second is None else Evaluation(**second)
    return EvaluationOutcome(Candidate(**state["candidate"]), Evaluation(**first), confirmation)
