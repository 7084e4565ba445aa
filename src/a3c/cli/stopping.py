"""Ctrl-C, SIGTERM and SIGHUP, from a command's first moment to its last; a run under way has its own rules.

`training/interrupts.py` takes over while a run can be saved.
"""

import _thread
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from a3c.training.interrupts import handle_with

_AGAIN = 0.05  # seconds until it is tried again to interrupt what ignored it


class Stop:
    """While entered, these signals raise `KeyboardInterrupt`, and none is lost.

    Python ignores what is raised while it collects garbage. It is raised again soon then.

    Attributes:
        requested: Whether there was such a signal.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}
        self._hook = sys.unraisablehook

    def __enter__(self) -> "Stop":
        self._before = handle_with(self._handle)
        if threading.current_thread() is threading.main_thread():
            self._hook, sys.unraisablehook = sys.unraisablehook, self._ignored
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            sys.unraisablehook = self._hook
        for number, before in self._before.items():
            signal.signal(number, before)

    def leave_with(self, code: int) -> None:
        """From now on a signal ends the process at once: all is done, and this is its exit code."""
        for number in self._before:
            signal.signal(number, lambda *_: os._exit(code))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        raise KeyboardInterrupt

    def _ignored(self, what: Any) -> None:
        """Python has ignored an exception: perhaps ours."""
        if not issubclass(what.exc_type, KeyboardInterrupt):
            self._hook(what)
            return
        timer = threading.Timer(_AGAIN, self._interrupt)
        timer.daemon = True
        timer.start()

    def _interrupt(self) -> None:
        if signal.getsignal(signal.SIGINT) == self._handle:  # else a run has noted it, or all is over
            _thread.interrupt_main()
