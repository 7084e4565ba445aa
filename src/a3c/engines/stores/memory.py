"""Memory that processes share: named arrays in a file without a name.

Nothing is left behind, however the processes end. The same file carries a lock, which the kernel releases
when its holder dies.
"""

import contextlib
import fcntl
import math
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Hashable, Mapping
from multiprocessing import reduction
from typing import Any

import numpy as np

from a3c.errors import RunError

LINE = 64  # bytes of a cache line


class SharedArrays:
    """Arrays by name, in one shared file. None shares a cache line with another.

    Args:
        spec: The dtype and the shape of each.
        file: Where they are; None: in a new file, filled with zeros.

    Raises:
        RunError: see `SharedFile`.
    """

    def __init__(
        self, spec: Mapping[Hashable, tuple[str, tuple[int, ...]]], file: "SharedFile | None" = None
    ):
        sizes = [np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in spec.values()]
        lines = [-(-size // LINE) * LINE for size in sizes]
        self._spec = spec
        self.file = file or SharedFile(sum(lines))
        self._arrays, offset = {}, 0
        for (name, (dtype, shape)), length in zip(spec.items(), lines, strict=True):
            numbers = np.frombuffer(self.file.map, dtype, math.prod(shape), offset)
            self._arrays[name] = numbers.reshape(shape)
            offset += length

    def __reduce__(self):
        return SharedArrays, (self._spec, self.file)

    def __getitem__(self, name: Hashable) -> np.ndarray:
        return self._arrays[name]


class SharedFlag:
    """A flag that one process sets and others wait for."""

    def __init__(self):
        self._memory = SharedArrays({"flag": ("<i8", (1,))})

    def set(self) -> None:
        """Set it for good."""
        self._memory["flag"][0] = 1

    def wait(self) -> None:
        """Return when it is set."""
        while not self._memory["flag"][0]:
            time.sleep(0.005)


class SharedFile:
    """Memory in a file without a name, mapped by every process that it is passed to at its start.

    Raises:
        RunError: where neither shared memory nor the temporary directory has room.
    """

    def __init__(self, size: int, fd: int | None = None):
        self._size = size
        self.place = ""
        if fd is None:
            fd, self.place = _reserve(size)
        self._fd = fd
        self.map = mmap.mmap(self._fd, size)

    def __reduce__(self):
        return _attach, (self._size, reduction.DupFd(self._fd))

    def __enter__(self) -> None:
        """Exclude other processes. Released by the kernel if this process dies."""
        fcntl.lockf(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def holder(self) -> int | None:
        """The process id of whoever else holds the lock now."""
        query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(self._fd, fcntl.F_GETLK, query))
        return None if kind == fcntl.F_UNLCK else pid


def _attach(size: int, handle: Any) -> SharedFile:
    return SharedFile(size, handle.detach())


def _reserve(size: int) -> tuple[int, str]:
    """A new nameless file with `size` bytes reserved, and where it is: in shared memory if that has room."""
    failures = []
    for directory in ("/dev/shm", tempfile.gettempdir()):
        try:
            fd = _open_nameless(directory)
        except OSError as error:
            failures.append(f"{directory}: {error.strerror}")
            continue
        try:
            # Reserved now, a full disk is an error here; later it would be a SIGBUS in some worker.
            os.posix_fallocate(fd, 0, size) if hasattr(os, "posix_fallocate") else os.ftruncate(fd, size)
            return fd, directory
        except OSError as error:
            os.close(fd)
            failures.append(f"{directory}: {error.strerror}")
    wanted = f"{size / 2**20:.1f} MiB of shared memory for the parameters cannot be had"
    raise RunError(
        f"{wanted} ({'; '.join(failures)}).\nMake /dev/shm larger (docker run --shm-size=1g), or free some "
        "disk where TMPDIR points."
    )


def _open_nameless(directory: str) -> int:
    """A new file that has no name from the beginning, where the system has that, and else from soon on.

    Raises:
        OSError: if none can be made there.
    """
    if hasattr(os, "O_TMPFILE"):
        with contextlib.suppress(OSError):  # not every file system can
            return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fd, path = tempfile.mkstemp(prefix="a3c-", dir=directory)
    os.unlink(path)
    return fd
