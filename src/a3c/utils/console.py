"""Printing where it may fail: on a full disk, to a pipe that nobody reads. For displays and commands."""

import io
import os
import sys
from typing import TextIO


def say(text: str, stream: TextIO) -> None:
    """Print a line; where it cannot be, this and all later ones go nowhere."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_all_characters() -> None:
    """Replace what an encoding lacks, such as that of LC_ALL=C, where else printing would fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
