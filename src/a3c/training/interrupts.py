"""Signals that ask a run to end: once to save and end soon, twice to be out at once.

Called by the main process. Handlers can only be set on the main thread; elsewhere nothing is handled.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_DEADLINE = 20.0  # seconds from SIGTERM or SIGHUP, whose senders kill before long
_SAME = 0.5  # seconds: a Ctrl-C may reach a process twice, by its group and by whoever started it


def handle_with(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Have these signals handled, except those that are ignored, such as by nohup or in a background job.

    Returns:
        What handled each before; empty on other threads than the main one, where nothing is changed.
    """
    replaced: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _NUMBERS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                replaced[number] = before
                signal.signal(number, handler)
    return replaced


class Interrupts:
    """While entered, the first signal sets `requested`, and the second ends the process.

    Before `defer` is called, when there is nothing to be saved yet, the first raises `KeyboardInterrupt`.

    Args:
        force: What must be done before leaving at once: no more than ending other processes.
        clock: Tells the seconds.
    """

    def __init__(self, force: Callable[[], None], clock: Callable[[], float] = time.monotonic):
        self.requested = False
        self._clock, self._asked = clock, 0.0
        self._force, self.deferred = force, False
        self._on_request: list[Callable[[], None]] = []
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> "Interrupts":
        self._before = handle_with(self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, before in self._before.items():
            signal.signal(number, before)

    def defer(self, on_request: Callable[[], None]) -> None:
        """From now on the first signal calls this and leaves the rest to who looks at `requested`."""
        self._on_request.append(on_request)
        self.deferred = True
        if self.requested:
            on_request()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            if number == signal.SIGINT and self._clock() - self._asked < _SAME:
                return
            self._leave()
        self.requested, self._asked = True, self._clock()
        if number != signal.SIGINT:
            self._timer = threading.Timer(_DEADLINE, self._leave)
            self._timer.daemon = True
            self._timer.start()
        if not self.deferred:
            if callable(before := self._before.get(number)):  # it may note that there was a signal
                before(number, frame)
            raise KeyboardInterrupt
        for call in self._on_request:
            call()

    def _leave(self) -> None:
        """End the process now, and leave the terminal as it should be."""
        with contextlib.suppress(Exception):
            self._force()
        with contextlib.suppress(Exception):
            for number, stream in ((1, sys.stdout), (2, sys.stderr)):
                if stream.isatty():
                    os.write(number, b"\x1b[?25h\n")  # the live table hides the cursor
            os.write(2, b"a3c: left at once; what the newest checkpoint holds is kept\n")
        os._exit(130)
