"""Zip files that may come from others: refused before anything large is read or made.

Checkpoints and agents are zip files. A few bytes of one can stand for gigabytes, or for millions of members.
"""

import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from a3c.utils.files import open_plain

LARGEST = 2**30
"""Bytes that all members may have together."""
_FREE, _RATIO = 2**26, 4
"""Members together may have so many bytes more than the file, and be so many times as large as it is."""
_DIRECTORY = 2**22
"""Bytes of the list of members."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways of packing whose reader never unpacks more than it is asked for."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A plain file as a zip archive whose members are not too many or too large.

    Raises:
        OSError: if it cannot be opened or is no plain file.
        zipfile.BadZipFile: for what is no such archive.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_end(file, size)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > min(LARGEST, _FREE + _RATIO * size):
                raise zipfile.BadZipFile(f"its parts have {total:,} bytes, too many for a file of {size:,}")
            if len({member.filename for member in members}) < len(members):
                raise zipfile.BadZipFile("two of its parts have one name")
            for member in members:
                if member.compress_type not in _METHODS:
                    raise zipfile.BadZipFile(f"{member.filename} is packed in another way than ours")
            yield archive


def _check_end(file, size: int) -> None:
    """Raise `BadZipFile` where the list of members, which is read as a whole, is too long.

    Only what Python's and Keras' own writers end a file with is accepted, so that there is one reading of it.
    """
    file.seek(max(0, size - 42))
    end = file.read(42)
    locator, record = end[:-22], end[-22:]
    if record[:4] != b"PK\5\6" or record[-2:] != b"\0\0" or locator[:4] == b"PK\6\7":
        raise zipfile.BadZipFile("it does not end as such a file does")
    if int.from_bytes(record[12:16], "little") > _DIRECTORY:
        raise zipfile.BadZipFile("it has too many parts")


def read_member(archive: zipfile.ZipFile, name: str, largest: int = LARGEST) -> bytearray:
    """What one member holds.

    Raises:
        KeyError: if there is none of that name.
        zipfile.BadZipFile: if it is larger than `largest`, or damaged.
    """
    member = archive.getinfo(name)
    if member.file_size > largest:
        raise zipfile.BadZipFile(f"{name} has {member.file_size:,} bytes, more than {largest:,}")
    content = bytearray(member.file_size)
    with archive.open(member) as file:
        view, done = memoryview(content), 0
        while count := file.readinto(view[done:]):  # type: ignore[attr-defined] - every BufferedIOBase has it
            done += count
    if done < len(content):
        raise zipfile.BadZipFile(f"{name} breaks off")
    return content
