"""JSON that may come from others: refused where it would take far more memory than it is long."""

import json
import re
from typing import Any


def parse_json(content: bytes | bytearray) -> Any:
    """The value of a JSON text, which may come from others.

    Raises:
        ValueError: for what is none, is nested too deeply, or would take much more memory than it is long.
    """
    check_json(content)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_json(content: bytes | bytearray) -> None:
    """Raise `ValueError` where `parse_json` would refuse a JSON text for its size."""
    if sum(content.count(sign) for sign in b",[{") > _MOST_PARTS:
        raise ValueError(f"it has more than {_MOST_PARTS:,} parts")
    if len(content) > _LONGEST_UNICODE and not _is_narrow(content):
        raise ValueError(f"it has more than {_LONGEST_UNICODE:,} bytes, and signs of other scripts")


def _is_narrow(content: bytes | bytearray) -> bool:
    """Whether each character takes one byte, also in memory: none is written as several, or as an escape."""
    utf8 = b"\0" not in content[:4]  # else it is taken for UTF-16 or UTF-32
    return utf8 and content.isascii() and not re.search(rb"\\u(?!00)", content)


_MOST_PARTS = 2_000_000
"""Of a JSON text; the largest take some 200 bytes each."""
_LONGEST_UNICODE = 2**24
"""Bytes of a JSON text with signs beyond Latin ones: one such sign makes each of a text take four bytes."""
