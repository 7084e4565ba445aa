"""The judge: best by evaluation and not by luck, solved only when confirmed, costs bounded."""

import queue
import threading
from dataclasses import dataclass, field

import harness
import numpy as np
import pytest

from a3c.errors import RunError
from a3c.evaluation.evaluator import Evaluation, Failed
from a3c.evaluation.selection import Candidate, ModelSelector, solves


@dataclass
class Scripted:
    """An evaluator that gives prepared means."""

    means: list[float]
    seeds: list[int] = field(default_factory=list)
    abandoned: threading.Event = field(default_factory=threading.Event)
    beat: int = 0
    failures: int = 0
    rebuilt: int = 0

    def rebuild(self):
        self.rebuilt += 1

    def evaluate(self, weights, mode, seed):
        self.seeds.append(seed)
        if self.failures:
            self.failures -= 1
            raise Failed("Env-v0 raised ValueError\nits own traceback")
        return Evaluation(mode, np.full(10, self.means.pop(0)), np.full(10, 100))

    def close(self):
        pass


def make_judge(means, threshold=475.0, concurrent=False, **more):
    evaluator = means if isinstance(means, Scripted) else Scripted(means)
    return ModelSelector(evaluator, threshold, 0, concurrent, **more)  # type: ignore[arg-type]


def candidate(steps, reached=False):
    return Candidate(np.full(3, steps, np.float32), steps, reached)


def judged(selector, *arguments, **keywords):
    selector.submit(candidate(*arguments, **keywords))
    return selector.outcome()


def test_the_best_is_chosen_by_evaluation():
    selector = make_judge([10.0, 30.0, 20.0])
    for steps in (1, 2, 3):
        judged(selector, steps)
    assert selector.best is not None
    assert selector.best.candidate.steps == 2


def test_solved_needs_training_returns_and_two_evaluations():
    selector = make_judge([480.0, 480.0, 470.0, 480.0, 480.0])
    assert not solves(judged(selector, 1, reached=False), 475.0)
    assert not solves(judged(selector, 2, reached=True), 475.0), "the second evaluation was below"
    assert solves(judged(selector, 3, reached=True), 475.0)
    assert selector.best.candidate.steps == 3
    assert len(set(selector._evaluator.seeds)) == 5, "every evaluation has seeds of its own"


def test_without_a_threshold_nothing_solves():
    selector = make_judge([1e9], threshold=None)
    assert not selector.reached(1e9)
    assert not solves(judged(selector, 1, reached=True), None)


def test_no_evaluation_before_a_hundred_episodes_nor_too_often():
    selector = make_judge([1.0, 470.0, 470.0])
    assert not selector.due(10_000, None)
    assert selector.due(10_000, 20.0)
    judged(selector, 10_000)
    assert not selector.due(29_999, 20.0), (
        "an evaluation of 1,000 steps is a twentieth of those until the next"
    )
    assert selector.due(30_000, 20.0)
    assert selector.due(12_000, 480.0), "a threshold that is reached calls sooner"
    judged(selector, 12_000, reached=True)
    assert not selector.due(12_100, 480.0)
    assert selector.due(12_600, 480.0)


def test_a_crash_in_an_evaluation_is_not_swallowed():
    selector = make_judge([])
    with pytest.raises(RunError, match="pop from empty list"):
        judged(selector, 1)


@pytest.mark.parametrize("concurrent", [False, True])
def test_an_environment_that_fails_in_an_evaluation_is_made_anew(concurrent):
    evaluator, told = Scripted([7.0], failures=2), []
    selector = make_judge(evaluator, concurrent=concurrent, max_failures=2, tell=told.append)
    selector.submit(candidate(1))
    outcome = harness.wait_for(selector.outcome)
    assert outcome.mean == 7.0
    assert evaluator.rebuilt == 2
    assert len(set(evaluator.seeds)) == 3, "the same seed would fail again"
    assert told[0] == "an evaluation failed: Env-v0 raised ValueError; its environments made anew 1/2"
    selector.close()


def test_past_the_limit_the_first_failure_ends_the_run():
    selector = make_judge(Scripted([], failures=9), max_failures=2)
    with pytest.raises(
        RunError, match=r"(?s)an evaluation failed: Env-v0 raised ValueError.*its own traceback"
    ):
        judged(selector, 1)


def test_what_was_under_judgement_is_judged_again_after_resuming():
    first = make_judge([1.0, 2.0])
    judged(first, 5)
    first.abandon()
    assert judged(first, 1_000) is None
    second = make_judge([3.0])
    second.restore(first.state())
    assert second.best is not None
    assert second.best.mean == 1.0
    assert second.outcome().candidate.steps == 1_000
    assert second.best.mean == 3.0


def test_an_evaluation_that_hangs_keeps_nobody_from_leaving(monkeypatch):
    from a3c.evaluation import selection as module

    over = queue.SimpleQueue()

    class Hanging(Scripted):
        def evaluate(self, weights, mode, seed):
            over.get()

    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    selector = make_judge(Hanging([]), concurrent=True)
    selector.submit(candidate(1))
    harness.wait_for(lambda: "in evaluate" in selector.stack_of())
    selector.close()
    over.put(None)
