"""`crash-N-worker-W.json`: how an environment failed, for `a3c reproduce`."""

from pathlib import Path

from a3c.envs.faults import Fault, write_crash_report
from a3c.training.callbacks.base import Callback
from a3c.training.callbacks.files import FailureTeller
from a3c.training.run import Run


class CrashReports(Callback):
    """Writes a report for each fault of an environment."""

    def __init__(self) -> None:
        self._teller = FailureTeller("a crash report")

    def on_fault(self, run: Run, worker: int, fault: Fault, path: Path) -> None:
        with self._teller.attempt(run):
            write_crash_report(fault, path)
