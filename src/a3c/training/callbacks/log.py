"""`log.txt`: every message with its time."""

import contextlib
import datetime
import os

from a3c.training.callbacks.base import Callback, Level
from a3c.training.run import Run
from a3c.utils.files import open_plain

_MANY = 1000  # lines that are kept to write the file anew


class Log(Callback):
    """Appends a line per message."""

    any_thread = True

    def __init__(self) -> None:
        self._lines: list[str] = []

    def on_message(self, run: Run, level: Level, text: str) -> None:
        """Append it; a disk that is full keeps nothing."""
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        line = f"{stamp} {text}\n"
        path = run.directory / "log.txt"
        lines = [line] if path.exists() else [*self._lines, line]  # somebody may have removed it
        self._lines = [*self._lines, line][-_MANY:]
        with contextlib.suppress(OSError):
            fd = open_plain(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with open(fd, "a", encoding="utf-8") as file:
                file.writelines(lines)
