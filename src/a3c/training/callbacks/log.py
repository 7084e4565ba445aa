"""`log.txt`: every message with its time."""

import contextlib
import datetime

from a3c.training.callbacks.base import Callback, Level
from a3c.training.run import Run


class Log(Callback):
    """Appends a line per message."""

    any_thread = True

    def on_message(self, run: Run, level: Level, text: str) -> None:
        """Append it; a disk that is full keeps nothing."""
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with contextlib.suppress(OSError), open(run.directory / "log.txt", "a") as file:
            file.write(f"{stamp} {text}\n")
