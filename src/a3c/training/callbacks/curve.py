"""`learning_curve.png`, drawn on a thread of its own, so that neither training nor screen waits for it."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

from a3c.training.callbacks.base import Callback
from a3c.training.callbacks.files import FailureTeller
from a3c.training.metrics import columns
from a3c.training.run import Run
from a3c.utils.files import replacing

_FIRST = 30.0
"""Seconds of training before the first picture: it imports Matplotlib, which takes a second."""
_SHARE = 0.01
"""How much of the time pictures may take."""
_POINTS = 10_000
"""Episodes in a picture."""


class DrawCurve(Callback):
    """Draws the learning curve now and then, and at the end."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "a3c-curve")
        self._pending: Future[float] | None = None
        self._teller = FailureTeller("learning_curve.png")
        self._next = 0.0

    def setup(self, run: Run) -> None:
        self._next = run.resumed.seconds + _FIRST

    def on_tick(self, run: Run, seconds: float) -> None:
        """Take a picture that is finished; begin one, if it is time."""
        if self._pending is not None:
            if self._pending.done():
                self._next = seconds + self._take(run) / _SHARE
        elif seconds >= self._next:
            self._begin(run)

    def on_train_end(self, run: Run) -> None:
        """Draw the whole of it."""
        self._take(run)
        self._begin(run)
        if self._pending is not None:
            with run.saving("learning_curve.png"):
                self._pending.result()

    def teardown(self, run: Run) -> None:
        self._executor.shutdown()

    def _begin(self, run: Run) -> None:
        rows = run.metrics.history.rows
        if rows:
            rows = rows[:: 1 + len(rows) // _POINTS]
            self._pending = self._executor.submit(_draw, run, list(rows))

    def _take(self, run: Run) -> float:
        """Wait for the picture under way, if there is one. Returns the seconds that it took."""
        took, pending, self._pending = 0.0, self._pending, None
        if pending is not None:
            with self._teller.attempt(run):
                took = pending.result()
        return took


def _draw(run: Run, rows: list[tuple]) -> float:
    """Draw these episodes, on the thread."""
    from a3c.training.plotting import learning_curve

    before = time.monotonic()
    episodes = (run.directory.name, columns(rows))
    title = f"{run.config.algorithm.upper()} on {run.environment.id}"
    with replacing(run.directory / "learning_curve.png") as temporary:
        learning_curve([episodes], temporary, title, run.config.stop_return, run.metrics.baseline)
    return time.monotonic() - before
