"""Printing where it may fail: on a full disk, to a pipe that nobody reads, on a terminal that was closed.

What is printed may come from others: names in files, errors of environments. A terminal obeys some signs.
"""

import contextlib
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, TextIO

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


class SafeOutput:
    """A text stream that can always be written to: what cannot be shown, and all after it, goes nowhere.

    Attributes:
        lost: Why something could not be shown; None while all was.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text. Returns its length."""
        self._attempt(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Show what was written."""
        self._attempt(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, call: Any, *arguments: Any) -> None:
        if self.lost is not None:
            return
        try:
            call(*arguments)
        except OSError as error:
            self.lost = error
            with contextlib.suppress(OSError, ValueError):  # what the stream still holds goes nowhere as well
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


def safe(stream: Any) -> Any:
    """`stream` as one that can always be written to."""
    return stream if isinstance(stream, SafeOutput) else SafeOutput(stream)


def say(text: str, stream: Any) -> None:
    """Print lines, as `printable`, at once; where that cannot be, these and all later ones go nowhere."""
    print(printable(text, lines=True), file=safe(stream), flush=True)


@contextlib.contextmanager
def safe_output() -> Iterator[SafeOutput]:
    """Meanwhile, whoever prints cannot fail. Gives standard output.

    Both streams also replace characters that their encoding lacks, such as that of LC_ALL=C.
    """
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    ours = {}
    for name, stream in before.items():
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        # Without a file, as in a window of Windows, or where the shell has closed it, a stream is None.
        ours[name] = safe(stream or open(os.devnull, "w"))  # noqa: SIM115
        setattr(sys, name, ours[name])
    try:
        yield ours["stdout"]
    finally:
        for name, stream in ours.items():
            stream.flush()
            if stream.lost is None:  # else Python itself would fail to flush it at its end
                setattr(sys, name, before[name])
