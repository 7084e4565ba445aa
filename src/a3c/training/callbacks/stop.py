"""When a run ends, beside its limits of steps and episodes: when the environment counts as solved."""

from a3c.evaluation.selection import EvaluationOutcome, solves
from a3c.training.callbacks.base import Callback
from a3c.training.run import Run


class StopWhenSolved(Callback):
    """Ends the training with the first evaluation that was confirmed by a second one."""

    def on_evaluation_end(self, run: Run, outcome: EvaluationOutcome, is_best: bool) -> None:
        if solves(outcome, run.config.stop_return):
            run.stop("solved")
