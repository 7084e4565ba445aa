"""What a user should know early: that there has been nothing to learn from."""

from a3c.training.callbacks.base import Callback
from a3c.training.metrics import FEWEST
from a3c.training.run import Run

_STEPS, _SECONDS = 200_000, 45.0
"""Of training, whichever comes first, before it is said."""


class NothingToLearnFrom(Callback):
    """Says once where all episodes were equally good."""

    def __init__(self) -> None:
        self._done = False

    def on_tick(self, run: Run, seconds: float) -> None:
        metrics = run.metrics
        early = metrics.steps < _STEPS and seconds < _SECONDS
        if self._done or early or metrics.episodes < FEWEST:
            return
        self._done = True
        if (sentence := metrics.nothing_to_learn_from()) is not None:
            run.message(sentence)
