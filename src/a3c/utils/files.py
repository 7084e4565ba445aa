"""Files that are written whole: a reader finds the old one or the new one, never half of either."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, to_disk: bool = False) -> Iterator[Path]:
    """A temporary file to write to, beside `path`; when the block ends, it takes the place of `path`.

    Args:
        path: The file to be written. It stays what it was if the block fails.
        to_disk: Wait until the disk has it, as a checkpoint needs that must survive a loss of power.

    Raises:
        OSError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        if to_disk:
            sync(temporary)
        os.replace(temporary, path)
        if to_disk:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str, to_disk: bool = False) -> None:
    """Write a text file in one step; see `replacing`."""
    with replacing(path, to_disk) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sweep(folder: Path) -> None:
    """Remove the temporary files of a process that was killed while it wrote into `folder`."""
    for temporary in folder.glob(".*.tmp*"):
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until the disk has a file, or a folder's list of names."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
