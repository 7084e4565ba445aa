"""The training loop: it starts the workers, hands on what they report, and ends the run.

Whatever else happens in a run is done by the callbacks.
"""

import contextlib
import gc
from collections.abc import Callable
from pathlib import Path

from a3c.engines import Engine
from a3c.envs.faults import Fault
from a3c.training.ending import write_result
from a3c.training.run import Run
from a3c.types import Report


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
            KeyboardInterrupt: by a signal before anything was trained.
        """
        run = self._run
        with contextlib.ExitStack() as last:
            last.callback(self._write_result)  # after everything that can fail
            last.callback(run.teardown)
            try:
                run.attempt(self._begin)
                if run.begun:
                    self._train()
            finally:
                run.end_clock()
                if run.engine is not None:
                    run.attempt(run.engine.close)
            if run.begun:
                self._end()

    def _begin(self) -> None:
        """Start the workers; meanwhile set the callbacks up."""
        run = self._run
        run.engine = self._start()
        if run.solved:
            run.engine.store.stop()
        run.tell("setup")
        if run.error is not None:
            return
        for callback in run.callbacks:
            if (state := run.resumed.callbacks.get(callback.state_key)) is not None:
                callback.load_state_dict(state)
        for note in run.resumed.notes:
            run.message(note)
        run.begun = True
        run.tell("on_train_begin")

    def _train(self) -> None:
        """Let the workers train; an error ends that, and is kept in `run.error`."""
        run = self._run
        gc.freeze()  # else collections walk all of Keras again and again, with every thread waiting
        try:
            if run.error is None and run.engine is not None:
                run.engine.run(self)
        except BaseException as error:  # also what an environment raises in this thread, to end the process
            if not run.interrupts.deferred:
                raise
            run.fail(error)
        finally:
            gc.unfreeze()

    def _end(self) -> None:
        """Take in the last reports, and let the callbacks end: each step on its own."""
        run = self._run
        run.attempt(self._take_last)
        if run.error is not None:
            run.tell("on_exception", run.error)
        run.attempt(run.place.ensure_writable)
        run.tell("on_train_end")
        run.deliver_messages()

    def _write_result(self) -> None:
        """Write what the run came to, unless it came to nothing new."""
        if self._run.begun or (self._run.resumed.new and self._run.error is not None):
            write_result(self._run)

    def _take_last(self) -> None:
        """Take in what the workers have left."""
        run = self._run
        assert run.engine is not None
        try:
            for report in run.engine.store.reports():
                run.add(report)
        finally:
            run.last_weights = run.engine.store.weights()

    # -- while the workers train ----------------------------------------------------------------------------

    def on_report(self, report: Report) -> None:
        """Count what a worker has done, and tell the callbacks."""
        self._run.attempt(lambda: self._run.add(report))  # an error here is no fault of the worker
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
