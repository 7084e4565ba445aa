"""Evaluations beside the training: when they come, which parameters are the best, when one ends the run.

`evaluation/selection.py` decides; `EvaluateCandidates` asks it at the right moments and tells the others.
"""

import contextlib
import time
from concurrent.futures import Future
from typing import Any

import numpy as np

from a3c.engines.monitors import HeartbeatMonitor
from a3c.engines.supervision import format_seconds
from a3c.errors import RunError
from a3c.evaluation.evaluator import Abandoned, Evaluation, Evaluator, make_evaluator
from a3c.evaluation.selection import Candidate, EvaluationOutcome, ModelSelector, solves
from a3c.training.callbacks.base import Callback
from a3c.training.run import Run
from a3c.types import Report

_WAIT = 0.001  # seconds between looks at an evaluation that is waited for


class EvaluateCandidates(Callback):
    """Evaluates the parameters of now when it is time, and the best ones at the end."""

    state_key = "evaluation"  # type: ignore[assignment]

    def __init__(self) -> None:
        self._evaluator: Evaluator
        self._selector: ModelSelector
        self._opened = contextlib.ExitStack()
        self._restored: dict[str, Any] | None = None
        self._baseline: Future[Evaluation] | None = None
        self._final: Future[Evaluation] | None = None

    def setup(self, run: Run) -> None:
        """Make environments to evaluate in."""
        config = run.config
        assert config.seed is not None
        values = run.spec.algorithm.values
        self._monitor = HeartbeatMonitor(1, config.hang_seconds)
        self._evaluator = make_evaluator(
            run.environment, run.network, config.evaluation_episodes, values, config.eager
        )
        self._selector = ModelSelector(
            evaluator=self._evaluator,
            explores=values,
            threshold=config.stop_return,
            seed=config.seed,
            # Eager code runs Keras itself, which is not for two threads at once.
            concurrent=config.engine != "serial" and not config.eager,
            max_failures=config.max_restarts,
            tell=run.message,
            mode=config.evaluation_mode,
        )
        self._opened.callback(self._selector.close)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep it until the training begins: a candidate that was under way is evaluated anew then."""
        self._restored = state

    def state_dict(self) -> dict[str, Any]:
        """The best so far, when to evaluate next, and the candidate that is being evaluated."""
        return self._selector.state()

    def on_train_begin(self, run: Run) -> None:
        """Compile the policy here, on the main thread; have random play evaluated."""
        weights = run.resumed.contents.weights
        self._evaluator.warm_up(weights)
        run.interrupts.defer(self._selector.abandon)
        if run.metrics.baseline is None:
            self._baseline = self._selector.baseline(weights)
        if self._restored is not None:
            self._selector.restore(self._restored)
            self._publish_best(run)
            self._take_outcome(run)

    def on_report(self, run: Run, report: Report) -> None:
        """Evaluate if it is time, and let the training wait for an outcome that may end it."""
        if run.interrupted:
            return
        metrics, selector = run.metrics, self._selector
        due = selector.due(metrics.steps, metrics.mean_return_100)
        if (due or selector.pending) and selector.reached(metrics.mean_return_100):
            run.pause(self)
        if due:
            self._submit(run, run.weights())
            if run.spec.algorithm.gathers == "gradients":
                self._await_outcome(run)  # in step, what is decided must not depend on how long that takes
            self._take_outcome(run)

    def on_tick(self, run: Run, seconds: float) -> None:
        """Take what is finished, and see whether what is not still moves."""
        self._take_outcome(run)
        self._take_baseline(run, wait=False)
        self._look_after_evaluations(run)

    def on_train_end(self, run: Run) -> None:
        """Let the last parameters compete with the best so far, then evaluate the best with fresh seeds."""
        if run.error is None and not run.interrupted:
            run.evaluation = self._evaluate_best(run)
        else:
            self._selector.abandon()  # what is under way would hold up the end

    def teardown(self, run: Run) -> None:
        """Close the environments, if they were made."""
        self._opened.close()

    def heartbeat(self) -> int:
        return self._evaluator.beat

    # -- one evaluation -------------------------------------------------------------------------------------

    def _submit(self, run: Run, weights: np.ndarray) -> None:
        reached = self._selector.decides(run.metrics.mean_return_100)
        if reached:
            run.reached_seconds = run.wall_seconds
        candidate = Candidate(weights, run.metrics.steps, reached)
        run.tell("on_evaluation_begin", candidate)
        self._selector.submit(candidate)

    def _take_outcome(self, run: Run) -> None:
        """Tell of an outcome that has come in, if one has."""
        selector = self._selector
        if not selector.pending:
            return
        if (outcome := selector.outcome()) is not None:
            self._publish_best(run)
            run.tell("on_evaluation_end", outcome, outcome is selector.best)
        if not selector.pending:  # or was given up, by a signal: who waits must see the end
            run.resume(self)

    def _publish_best(self, run: Run) -> None:
        run.best = self._selector.best
        run.metrics.best = None if run.best is None else run.best.mean

    def _await_outcome(self, run: Run) -> None:
        while self._selector.pending:
            self._take_outcome(run)
            self._look_after_evaluations(run)
            time.sleep(_WAIT)

    def _take_baseline(self, run: Run, wait: bool) -> None:
        future = self._baseline
        if run.metrics.baseline is None and future is not None and (wait or future.done()):
            with contextlib.suppress(Abandoned):
                run.metrics.baseline = self._await(run, future).mean

    def _evaluate_best(self, run: Run) -> Evaluation | None:
        self._await_outcome(run)
        assert run.last_weights is not None
        if not run.solved:
            self._submit(run, run.last_weights)
            self._await_outcome(run)
        self._take_baseline(run, wait=True)
        self._final = self._selector.final(run.best_weights())
        with contextlib.suppress(Abandoned):
            return self._await(run, self._final)
        return None

    def _await(self, run: Run, future: "Future[Evaluation]") -> Evaluation:
        """The result of an evaluation, as long as that does not hang."""
        while not future.done():
            self._look_after_evaluations(run)
            time.sleep(_WAIT)
        return future.result()

    def _look_after_evaluations(self, run: Run) -> None:
        """Tell of an evaluation that hangs, and give up on it.

        Raises:
            RunError: after `hang_seconds`.
        """
        futures = (self._baseline, self._final)
        busy = self._selector.pending or any(f is not None and not f.done() for f in futures)
        tell, end = self._monitor.look([self._evaluator.beat], [0] if busy else [])
        if not busy:
            self._monitor.forget(0)
        for seconds in [*tell.values(), *end.values()]:
            where = self._selector.stack_of()
            text = f"an evaluation has not moved for {format_seconds(seconds)}; {where}"
            if end:
                raise RunError(text)
            run.message(text)


class StopWhenSolved(Callback):
    """Ends the training with the first evaluation that was confirmed by a second one."""

    def on_evaluation_end(self, run: Run, outcome: EvaluationOutcome, is_best: bool) -> None:
        if solves(outcome, run.config.stop_return):
            run.stop("solved")
