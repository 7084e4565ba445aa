"""Printing where it may fail. Called by the displays and the commands."""

import os
from typing import TextIO


def say(text: str, stream: TextIO) -> None:
    """Print a line; where it cannot be, as on a disk that is full, this and all later ones go nowhere."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
