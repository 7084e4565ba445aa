"""Printing where it may fail: on a full disk, to a pipe that nobody reads. For displays and commands.

What is printed may come from others: names in files, errors of environments. A terminal obeys some signs.
"""

import io
import os
import sys
import unicodedata
from typing import TextIO

_STEERING = ("Cc", "Cs", "Zl", "Zp")
"""Kinds of characters that a terminal obeys, that break a line, or that are none."""
_REORDERING = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
"""Show what follows them in another order than it has."""


def printable(text: str, lines: bool = False) -> str:
    """`text` with what would steer a terminal written out as in Python; letters of all scripts stay.

    Args:
        text: From anywhere.
        lines: Whether it may have several lines, and tabs; else these are written out as well.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(sign if sign in kept or not _steers(sign) else _written_out(sign) for sign in text)


def _steers(sign: str) -> bool:
    return unicodedata.category(sign) in _STEERING or sign in _REORDERING


def _written_out(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def say(text: str, stream: TextIO) -> None:
    """Print lines, as `printable`; where that cannot be, these and all later ones go nowhere."""
    try:
        print(printable(text, lines=True), file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_all_characters() -> None:
    """Replace what an encoding lacks, such as that of LC_ALL=C, where else printing would fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
