"""The judge: best by evaluation and not by luck, solved only when confirmed, costs bounded."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from a3c.errors import RunError
from a3c.evaluate import Evaluation
from a3c.judge import Candidate, Judge


@dataclass
class Scripted:
    """An evaluator that gives prepared means."""

    means: list[float]
    seeds: list[int] = field(default_factory=list)

    def evaluate(self, weights, mode, seed):
        self.seeds.append(seed)
        return Evaluation(mode, np.full(10, self.means.pop(0)), np.full(10, 100))

    def close(self):
        pass


def make_judge(means, threshold=475.0):
    judge = Judge(Scripted(means), threshold, seed=0, concurrent=False)  # type: ignore[arg-type]
    return judge


def candidate(steps, reached=False):
    return Candidate(np.full(3, steps, np.float32), steps, reached)


def judged(judge, *arguments, **keywords):
    judge.submit(candidate(*arguments, **keywords))
    return judge.verdict()


def test_the_best_is_chosen_by_evaluation():
    judge = make_judge([10.0, 30.0, 20.0])
    for steps in (1, 2, 3):
        judged(judge, steps)
    assert judge.best is not None
    assert judge.best.candidate.steps == 2


def test_solved_needs_training_returns_and_two_evaluations():
    judge = make_judge([480.0, 480.0, 470.0, 480.0, 480.0])
    assert not judge.solves(judged(judge, 1, reached=False))
    assert not judge.solves(judged(judge, 2, reached=True)), "the second evaluation was below"
    assert judge.solves(judged(judge, 3, reached=True))
    assert judge.best.candidate.steps == 3
    assert len(set(judge._evaluator.seeds)) == 5, "every evaluation has seeds of its own"


def test_without_a_threshold_nothing_solves():
    judge = make_judge([1e9], threshold=None)
    assert not judge.reached(1e9)
    assert not judge.solves(judged(judge, 1, reached=True))


def test_no_evaluation_before_a_hundred_episodes_nor_too_often():
    judge = make_judge([1.0, 470.0, 470.0])
    assert not judge.due(10_000, None)
    assert judge.due(10_000, 20.0)
    judged(judge, 10_000)
    assert not judge.due(29_999, 20.0), "an evaluation of 1,000 steps is a twentieth of those until the next"
    assert judge.due(30_000, 20.0)
    assert judge.due(12_000, 480.0), "a threshold that is reached calls sooner"
    judged(judge, 12_000, reached=True)
    assert not judge.due(12_100, 480.0)
    assert judge.due(12_600, 480.0)


def test_a_crash_in_an_evaluation_is_not_swallowed():
    judge = make_judge([])
    with pytest.raises(RunError, match="pop from empty list"):
        judged(judge, 1)
