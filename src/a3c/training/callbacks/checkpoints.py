"""Checkpoints: written now and then, when somebody asks, and at the end.

The state is copied between two updates. It goes to the disk on a thread of its own.
"""

import contextlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from a3c.errors import RunError, UsageError
from a3c.evaluation.selection import EvaluationOutcome
from a3c.training import checkpoint, resumption
from a3c.training.callbacks.base import Callback
from a3c.training.callbacks.files import FailureTeller
from a3c.training.run import Run
from a3c.utils.files import sweep, sync

_BEST_WITHIN = 1.0
"""Seconds until a new best is in a checkpoint."""
_SHARE = 0.01
"""How much of the time copying the state may take: where it is much, checkpoints come less often."""


class WriteCheckpoints(Callback):
    """Keeps what a run needs to go on."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "a3c-checkpoint")
        self._pending: Future[Path] | None = None
        self._teller = FailureTeller("checkpoints")
        self._best_is_new = self._told_not_finite = self._is_last = False
        self._next = 0.0
        self._last: tuple[int, dict[str, Any], bool]

    def setup(self, run: Run) -> None:
        """Remove what a writer that was killed has left."""
        self._next = run.resumed.seconds + run.config.checkpoint_seconds
        try:
            for folder in (run.directory, _files(run).folder):
                sweep(folder)
        except OSError as error:
            raise RunError(f"{run.directory} cannot be written to: {error.strerror}.") from error

    def on_train_begin(self, run: Run) -> None:
        """Write the first one: from the first moment on there is something to go on from."""
        if run.resumed.new:
            self._write(run)

    def on_evaluation_end(self, run: Run, outcome: EvaluationOutcome, is_best: bool) -> None:
        """Have a new best in a checkpoint soon."""
        if is_best and not run.solved:
            self._best_is_new = True
            run.request_checkpoint(_BEST_WITHIN)

    def on_tick(self, run: Run, seconds: float) -> None:
        """Write one, if it is time and the last one is on the disk."""
        if self._pending is not None:
            if not self._pending.done():
                return
            self._finish(run)
        due = self._next if run.checkpoint_by is None else min(self._next, run.checkpoint_by)
        if seconds >= due:
            self._write(run)

    def on_exception(self, run: Run, error: BaseException) -> None:
        """After losses that were not finite, the last parameters are those of the newest checkpoint."""
        if run.diverged:
            self._finish(run)
            with contextlib.suppress(UsageError):
                _, state, _ = checkpoint.newest(_files(run))
                if state:
                    run.last_weights = state["store"]["weights"]

    def on_train_end(self, run: Run) -> None:
        """Write where the run stands."""
        self._finish(run)
        self._is_last = True
        if not run.diverged:
            self._write(run)

    def teardown(self, run: Run) -> None:
        """Wait for what is under way."""
        self._finish(run)
        self._executor.shutdown()

    # -- one checkpoint -------------------------------------------------------------------------------------

    def _attempt(self, run: Run) -> AbstractContextManager[None]:
        """Survive a failure, and tell it: the training goes on, except after the last one."""
        return run.saving("The last checkpoint") if self._is_last else self._teller.attempt(run)

    def _write(self, run: Run) -> None:
        """Copy where the run stands: what was counted, and what was learned from exactly that."""
        self._finish(run)
        before, run.checkpoint_by = time.monotonic(), None
        with self._attempt(run):
            contents = run.snapshot()
            finite = resumption.is_finite(contents)
            if not (finite or self._told_not_finite):
                self._told_not_finite = True
                run.message("parameters that are not finite are not kept: no checkpoints from here on")
            state = self._state(run, contents, run.callback_states())
            if finite:
                self._last = contents.steps, state, self._best_is_new
                self._pending = self._executor.submit(self._to_disk, run, *self._last)
                self._best_is_new = False
        seconds, cost = run.seconds, time.monotonic() - before
        self._next = seconds + max(run.config.checkpoint_seconds, cost / _SHARE)

    def _to_disk(self, run: Run, steps: int, state: dict[str, Any], best: bool) -> Path:
        """On the thread: first what the checkpoint builds on, then the checkpoint."""
        for path in run.directory.iterdir():
            if path.is_file() and not path.name.startswith("."):
                sync(path)
        return _files(run).write(steps, state, best)

    def _finish(self, run: Run) -> None:
        """Wait for the checkpoint under way, and tell if it failed."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            with self._attempt(run):
                path = pending.result()
                if self._is_last and not (_files(run).folder / path.name).exists():  # removed meanwhile
                    path = self._to_disk(run, *self._last)
                run.tell("on_checkpoint", path)

    def _state(self, run: Run, contents: Any, callbacks: dict[str, Any]) -> dict[str, Any]:
        assert run.engine is not None
        return dict(
            about=resumption.describe(run.spec, run.model),
            store=contents.as_tree(),
            metrics=run.metrics.state(),
            callbacks=callbacks,
            sampler=run.engine.sampler_state(),
            seconds=run.seconds,
            wall_seconds=run.wall_seconds,
            baseline=run.metrics.baseline,
            reached_seconds=run.reached_seconds,
            solved=run.solved,
            goal=run.config.stop_return,
            count=run.resumed.count,
        )


def _files(run: Run) -> checkpoint.Files:
    return checkpoint.Files(run.directory / checkpoint.FOLDER, run.config.keep_checkpoints)
