"""`best.keras` and `last.keras`: the agents that a run leaves to those who play."""

from typing import Any

import numpy as np

from a3c.errors import RunError
from a3c.evaluation.selection import EvaluationOutcome
from a3c.networks import saved_model
from a3c.networks.parameters import assign_parameters, parameters_of
from a3c.training.callbacks.base import Callback
from a3c.training.callbacks.files import FailureTeller
from a3c.training.run import Run


class SaveAgents(Callback):
    """Writes the best parameters whenever they are new, and the last ones at the end."""

    def __init__(self) -> None:
        self._teller = FailureTeller("best.keras")

    def on_evaluation_end(self, run: Run, outcome: EvaluationOutcome, is_best: bool) -> None:
        """Write a new best; one that solves the environment is written at the end."""
        if is_best and not run.solved:
            with self._teller.attempt(run):
                _save(run, "best.keras", outcome.candidate.weights, outcome.evaluation)

    def on_train_end(self, run: Run) -> None:
        """Write both, each on its own."""
        with run.saving("last.keras"):
            if run.last_weights is None:
                raise RunError("the last parameters could not be read")
            _save(run, "last.keras", run.last_weights, None)
        with run.saving("best.keras"):
            _save(run, "best.keras", run.best_weights(), run.evaluation)


def _save(run: Run, name: str, weights: np.ndarray, evaluation: Any) -> None:
    """Write an agent's file; the model has its own weights again afterwards.

    Raises:
        OSError: if that fails; the file is what it was then.
    """
    metrics = run.metrics
    metadata = saved_model.describe(vars(run.config), run.model, evaluation, metrics.steps, metrics.baseline)
    own = parameters_of(run.model)
    assign_parameters(run.model, weights)
    try:
        saved_model.save_model(run.directory / name, run.network, metadata)
    finally:
        assign_parameters(run.model, own)
