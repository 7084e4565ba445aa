"""What a callback can be told of, and when.

The loop calls these hooks on its own thread, for each callback in the order of the list: the package's own
first, then the user's. A hook that is not overridden costs nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from a3c.envs.faults import Fault
    from a3c.evaluation.selection import Candidate, EvaluationOutcome
    from a3c.training.run import Run
    from a3c.types import Report

Level = Literal["note", "warning"]


class Callback:
    """Something that is told what happens in a run, and may pause, stop or save it; see `Run`.

        class Target(a3c.Callback):
            def on_evaluation_end(self, run, outcome, is_best):
                if outcome.mean > 200:
                    run.stop("target")

        agent.fit(callbacks=[Target()])

    An exception in a hook ends the training. What was learned is saved before it is raised.
    """

    any_thread = False
    """Whether `on_message` may be called at once from any thread; else it waits for the loop's own."""

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints; each callback of a run needs one of its own."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    def setup(self, run: "Run") -> None:
        """Open files and compile. Workers are starting meanwhile."""

    def on_train_begin(self, run: "Run") -> None:
        """All callbacks are set up, and have their states if the run was resumed."""

    def on_report(self, run: "Run", report: "Report") -> None:
        """A worker has done something. `run.metrics` has it; `run.metrics.latest` are its episodes."""

    def on_tick(self, run: "Run", seconds: float) -> None:
        """Do what is due. Called at most fifty times a second.

        Args:
            run: The run.
            seconds: Of training so far.
        """

    def on_evaluation_begin(self, run: "Run", candidate: "Candidate") -> None:
        """Parameters are about to be evaluated."""

    def on_evaluation_end(self, run: "Run", outcome: "EvaluationOutcome", is_best: bool) -> None:
        """Parameters were evaluated; `is_best`: none were better so far."""

    def on_fault(self, run: "Run", worker: int, fault: "Fault", path: Path) -> None:
        """An environment failed, and is made anew; `path` is where its crash report belongs."""

    def on_message(self, run: "Run", level: Level, text: str) -> None:
        """The user is told something."""

    def on_snapshot(self, run: "Run") -> None:
        """A checkpoint is about to be made: bring to the disk what `state_dict` builds on.

        Raises:
            OSError: if that cannot be; then there is no checkpoint this time.
        """

    def on_checkpoint(self, run: "Run", path: Path) -> None:
        """A checkpoint was written."""

    def on_exception(self, run: "Run", error: BaseException) -> None:
        """The training ends before its time. `on_train_end` comes after it."""

    def on_train_end(self, run: "Run") -> None:
        """The workers have left; `run.summary()` says what the run came to."""

    def teardown(self, run: "Run") -> None:
        """Close what `setup` opened. Called for each callback, whatever happened."""

    def state_dict(self) -> Any:
        """What a checkpoint keeps of it: a plain tree of numbers, text and arrays; None: nothing."""
        return None

    def load_state_dict(self, state: Any) -> None:
        """Go on from such a state. Called after `setup` where a run is resumed."""

    def heartbeat(self) -> int:
        """Grows while this callback plays in environments, so that it is not taken for one that hangs."""
        return 0
