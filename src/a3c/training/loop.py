"""The training loop: it starts the workers, hands on what they report, and ends the run.

Whatever else happens in a run is done by the callbacks.
"""

import gc
import json
from collections.abc import Callable
from pathlib import Path

from a3c.engines import Engine
from a3c.envs.faults import Fault
from a3c.errors import RunError
from a3c.training.run import Run
from a3c.types import Report
from a3c.utils.files import write_whole


class TrainingLoop:
    """Trains to the end of a run; the `RunListener` of its engine.

    Args:
        run: The run.
        start: Starts the workers, which compile while the callbacks are set up.
    """

    def __init__(self, run: Run, start: Callable[[], Engine]):
        self._run, self._start = run, start

    def execute(self) -> None:
        """Train, and end the run, whatever happens; `run.error` is what ended it before its time.

        Raises:
            RunError: if a callback cannot be set up; nothing was trained then.
        """
        run = self._run
        try:
            try:
                self._begin()
                self._train()
            finally:
                run.end_clock()
                if run.engine is not None:
                    run.engine.close()
            self._end()
        finally:
            run.teardown()

    def _begin(self) -> None:
        """Start the workers; meanwhile set the callbacks up."""
        run = self._run
        run.engine = self._start()
        if run.solved:
            run.engine.store.stop()
        run.tell("setup")
        if run.error is not None:
            raise run.error
        for callback in run.callbacks:
            if (state := run.resumed.callbacks.get(callback.state_key)) is not None:
                callback.load_state_dict(state)
        for note in run.resumed.notes:
            run.message(note)
        run.tell("on_train_begin")

    def _train(self) -> None:
        """Let the workers train; an error ends that, and is kept in `run.error`."""
        run = self._run
        gc.freeze()  # else collections walk all of Keras again and again, with every thread waiting
        try:
            if run.error is None and run.engine is not None:
                run.engine.run(self)
        except Exception as error:
            run.error = run.error or error
        finally:
            gc.unfreeze()

    def _end(self) -> None:
        """Take in the last reports, and let the callbacks end."""
        run = self._run
        assert run.engine is not None
        for report in run.engine.store.reports():
            run.add(report)
        run.last_weights = run.engine.store.weights()
        if run.error is not None:
            run.tell("on_exception", run.error)
        run.tell("on_train_end")
        run.deliver_messages()
        self._write_result()

    def _write_result(self) -> None:
        """Write `result.json`: what the run came to."""
        run = self._run
        run.result = run.summary()
        try:
            write_whole(run.directory / "result.json", json.dumps(run.result, indent=2) + "\n")
        except OSError as error:
            run.error = run.error or RunError(f"The result cannot be saved: {error.strerror or error}.")

    # -- while the workers train ----------------------------------------------------------------------------

    def on_report(self, report: Report) -> None:
        """Count what a worker has done, and tell the callbacks."""
        self._run.add(report)
        self._stop_if_asked()

    def on_tick(self) -> None:
        """Let the callbacks do what is due."""
        if self._stop_if_asked():
            return
        self._run.deliver_messages()
        self._run.tell("on_tick", self._run.seconds)

    def on_event(self, text: str) -> None:
        """Tell the user; from any thread."""
        self._run.message(text)

    def on_fault(self, worker: int, fault: Fault) -> Path:
        """Tell of an environment's fault. Returns where its crash report is."""
        number = 1 + len(list(self._run.directory.glob("crash-*.json")))
        path = self._run.directory / f"crash-{number}-worker-{worker}.json"
        self._run.tell("on_fault", worker, fault, path)
        return path

    def beat(self) -> int:
        """Grows while a callback plays in environments."""
        return sum(callback.heartbeat() for callback in self._run.callbacks)

    def _stop_if_asked(self) -> bool:
        """Whether the run is to end, by a signal or by an error of a callback."""
        if self._run.interrupted or self._run.error is not None:
            assert self._run.engine is not None
            self._run.engine.store.stop()
            return True
        return False


def report_failure(run: Run) -> None:
    """Raise what ended a run before its time, if something did.

    Raises:
        RunError: for a fault of the run, with how to go on.
        Exception: what a callback of the user's has raised, as it is.
    """
    if run.error is None:
        return
    saved = f"What was learned until then is saved in {run.directory}; go on with: a3c resume {run.directory}"
    if isinstance(run.error, RunError):
        raise RunError(f"{run.error}\n{saved}") from run.error
    run.message(saved)
    raise run.error
