"""What a run leaves in its directory: figures, models, pictures, checkpoints, a log. Called by the master.

A disk that is full or gone does not end the training: what could not be written is told, and tried again.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from a3c.config import Config
from a3c.envs.faults import Fault, write_card
from a3c.errors import RunError
from a3c.training import checkpoint
from a3c.training.metrics import EPISODE_COLUMNS, MetricsSnapshot, TrainingMetrics, Writer


class Recorder:
    """Writes into one run directory.

    Args:
        directory: Where.
        config: The settings of the run.
        tell: Shows the user a line.
    """

    def __init__(self, directory: Path, config: Config, tell: Callable[[str], None]):
        self.directory, self._config, self._tell = directory, config, tell
        self.checkpoints = checkpoint.Files(directory / checkpoint.FOLDER, config.keep_checkpoints)
        self._executor = ThreadPoolExecutor(1, "a3c-checkpoint")
        self._pending: Future | None = None
        self._failing: set[str] = set()
        self._writer: Writer | None = None

    def open(self, positions: dict[str, int] | None, written: int) -> None:
        """Begin to write figures: anew, or behind the positions of a checkpoint.

        Raises:
            RunError: if the files cannot be opened.
        """
        try:
            for partial_file in self.directory.glob(".*.tmp"):
                partial_file.unlink()
            self.checkpoints.sweep()
            self._writer = Writer(self.directory, positions, written)
        except OSError as error:
            raise RunError(f"{self.directory} cannot be written to: {error.strerror}.") from error

    def event(self, text: str) -> None:
        """Tell the user something, and keep it in `log.txt`."""
        self._tell(text)
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with contextlib.suppress(OSError), open(self.directory / "log.txt", "a") as file:
            file.write(f"{stamp} {text}\n")

    @contextlib.contextmanager
    def _trying(self, what: str) -> Iterator[None]:
        """Tell when writing `what` begins to fail, and when it works again."""
        try:
            yield
        except OSError as error:
            if what not in self._failing:
                self._failing.add(what)
                self.event(
                    f"{what} cannot be written ({error.strerror or error}); training goes on, trying again"
                )
        else:
            if what in self._failing:
                self._failing.discard(what)
                self.event(f"{what} can be written again")

    # -- figures --------------------------------------------------------------------------------------------

    def write(self, statistics: TrainingMetrics, status: MetricsSnapshot) -> bool:
        """Write the figures of now; whether that worked."""
        assert self._writer is not None
        with self._trying("the files of figures"):
            self._writer.write(statistics, status)
            return True
        return False

    def plot(
        self, statistics: TrainingMetrics, title: str, threshold: float | None, baseline: float | None
    ) -> None:
        """Draw the learning curve."""
        from a3c.training.plotting import Curve, learning_curve

        rows = [[float("nan") if v is None else v for v in row] for row in statistics.rows]
        if not rows:
            return
        columns = {name: column for name, *column in zip(EPISODE_COLUMNS, *rows, strict=True)}
        curve, path = Curve(self.directory.name, columns), self.directory / "learning_curve.png"
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.png")
        with self._trying("learning_curve.png"):
            try:
                learning_curve([curve], temporary, title, threshold, baseline)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def card(self, worker: int, fault: Fault) -> Path:
        """Write the crash card of an environment's fault."""
        number = 1 + len(list(self.directory.glob("crash-*.json")))
        path = self.directory / f"crash-{number}-worker-{worker}.json"
        with self._trying("a crash card"):
            write_card(fault, path)
        return path

    # -- checkpoints ----------------------------------------------------------------------------------------

    def checkpoint(self, steps: int, state: dict[str, Any], best: bool) -> None:
        """Write a checkpoint, on a thread of its own: disks are slow.

        Args:
            steps: Taken until then.
            state: A plain tree of the run; where the files of figures end is added.
            best: Whether its best parameters are new.
        """
        assert self._writer is not None
        self.finish_checkpoint()
        state = {**state, "files": self._writer.positions()}
        writer, files = self._writer, self.checkpoints

        def write() -> None:
            writer.sync()  # what the checkpoint builds on must not be lost before it
            files.write(steps, state, best)

        self._pending = self._executor.submit(write)

    @property
    def busy(self) -> bool:
        """Whether the last checkpoint is still being written."""
        return self._pending is not None and not self._pending.done()

    def finish_checkpoint(self) -> None:
        """Wait for the checkpoint under way, and tell if it failed."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            with self._trying("checkpoints"):
                pending.result()

    # -- the end --------------------------------------------------------------------------------------------

    def save(self, name: str, model: Any, weights: np.ndarray, card: dict[str, Any]) -> None:
        """Write an agent's file with `weights`.

        Raises:
            OSError: if that fails; the file is what it was then.
        """
        from a3c.networks import saved_model
        from a3c.networks.parameters import assign_parameters

        assign_parameters(model, weights)
        saved_model.save_model(self.directory / name, model, card)

    def try_to_save(self, name: str, model: Any, weights: np.ndarray, card: dict[str, Any]) -> None:
        """The same while training goes on: a failure is told."""
        with self._trying(name):
            self.save(name, model, weights, card)

    def result(self, summary: dict[str, Any]) -> None:
        """Write what the run came to.

        Raises:
            OSError: if that fails.
        """
        from a3c.utils.files import write_whole

        write_whole(self.directory / "result.json", json.dumps(summary, indent=2) + "\n")

    def close(self) -> None:
        """Write what is under way, and close every file."""
        self.finish_checkpoint()
        self._executor.shutdown()
        if self._writer is not None:
            self._writer.close()
