"""`log.txt`: every message with its time."""

import contextlib
import datetime
import os

from a3c.training.callbacks.base import Callback, Level
from a3c.training.run import Run
from a3c.utils.files import open_plain


class Log(Callback):
    """Appends a line per message."""

    any_thread = True

    def on_message(self, run: Run, level: Level, text: str) -> None:
        """Append it; a disk that is full keeps nothing."""
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with contextlib.suppress(OSError):
            fd = open_plain(run.directory / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with open(fd, "a", encoding="utf-8") as file:
                file.write(f"{stamp} {text}\n")
