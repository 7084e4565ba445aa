"""Files of a run: written whole, so that a reader finds the old one or the new one; and plain files only.

A run directory may come from somebody else. A link in it could lead to any file of the user's, and a pipe
would keep its reader waiting for ever.
"""

import contextlib
import errno
import os
import stat
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
        with contextlib.suppress(OSError):  # what failed before is to be told, not this
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str, to_disk: bool = False) -> None:
    """Write a text file in one step; see `replacing`."""
    with replacing(path, to_disk) as temporary:
        temporary.write_text(text, encoding="utf-8")


def open_plain(path: Path, flags: int) -> int:
    """Open a plain file; a new one where `flags` say so.

    Returns:
        Its descriptor.

    Raises:
        OSError: if it cannot be opened, or is a link, a pipe, a device or a folder.
    """
    safe = flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        fd = os.open(path, safe, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a link, a pipe, a folder
            raise _not_plain(path) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _not_plain(path)
    return fd


def _not_plain(path: Path) -> OSError:
    return OSError(errno.EINVAL, "It is a link, a pipe, a device or a folder, not a plain file", str(path))


def is_own(file: Path | int) -> bool:
    """Whether a file, or what a descriptor is of, is this user's, as far as the system knows owners."""
    return not hasattr(os, "getuid") or os.stat(file).st_uid == os.getuid()


def read_plain(path: Path, largest: int = 64 * 2**20) -> bytes:
    """What a plain file holds.

    Args:
        path: The file.
        largest: The most bytes that it may have.

    Raises:
        OSError: if it cannot be read, is no plain file, or is larger.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        if os.fstat(file.fileno()).st_size > largest:
            raise OSError(errno.EFBIG, f"It has more than {largest:,} bytes", str(path))
        return file.read()


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
