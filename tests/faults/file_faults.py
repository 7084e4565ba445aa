"""File operations of this process that fail: the n-th one below a folder, or all from the n-th one on.

In the manner of ALICE (Pillai et al., 2014), but with errors in place of crashes. Meant for a process that
is there for one command only: nothing is put back.
"""

import builtins
import errno
import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READING = {"open to read", "read", "list"}
GROWING = {"open to write", "write", "mkdir", "link"}
MODES = ("once", "full", "read-only")
"""One operation fails; the disk is full from there on; the file system is read-only from there on."""


@dataclass
class FileFaults:
    """Counts file operations below a folder, and lets some fail.

    Args:
        folder: Operations on other paths are left alone.
        at: The number of the first one that fails, from 1; 0: none.
        mode: Which ones after it fail, too: see `MODES`.
    """

    folder: Path
    at: int = 0
    mode: str = "once"
    _count: int = 0
    _record: Any = None
    _paths: dict[int, str] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)

    def install(self, record: Path | None = None) -> None:
        """Put this in the place of the functions of `os`, of `open`, and of what it returns.

        Args:
            record: A file for a line about each operation.
        """
        self._record = record and open(record, "w", buffering=1)  # noqa: SIM115 - as long as the process
        self._root = os.path.abspath(self.folder) + os.sep
        kinds = dict(
            replace="rename", rename="rename", mkdir="mkdir", link="link", symlink="link", unlink="unlink",
            remove="unlink", rmdir="unlink", truncate="truncate", listdir="list", scandir="list",
        )  # fmt: skip
        for name, kind in kinds.items():
            setattr(os, name, self._of_path(getattr(os, name), kind))
        of_descriptor = dict(write="write", pwrite="write", read="read", pread="read", fsync="fsync")
        for name, kind in {**of_descriptor, "ftruncate": "truncate"}.items():
            setattr(os, name, self._of_descriptor(getattr(os, name), kind))
        self._open, self._close = os.open, os.close
        os.open, os.close = self._os_open, self._os_close
        io.open = builtins.open = self._opened  # type: ignore[assignment]

    def check(self, kind: str, path: Any, to: Any = None) -> None:
        """Count one operation on a path of ours; raise `OSError` if it is one that fails."""
        name = self._name(path)
        if name is None:
            return
        with self._lock:
            self._count = number = self._count + 1
            if self._record is not None:
                print(kind, name, file=self._record)
        if self.at == 0 or number < self.at or not (number == self.at or self._goes_on(kind)):
            return
        code = errno.EROFS if self.mode == "read-only" else errno.ENOSPC
        raise OSError(errno.EIO if kind in READING else code, "(put in by a test)", str(path), None, to)

    def _goes_on(self, kind: str) -> bool:
        return {"once": False, "full": kind in GROWING, "read-only": kind not in READING}[self.mode]

    def _name(self, path: Any) -> str | None:
        """The path below our folder, or None; a descriptor stands for what was opened."""
        if isinstance(path, int):
            return self._paths.get(path)
        whole = os.path.abspath(os.fsdecode(path))
        return whole.removeprefix(self._root) if whole.startswith(self._root) else None

    def _of_path(self, function: Callable, kind: str) -> Callable:
        def checked(path: Any = ".", *arguments: Any, **keywords: Any) -> Any:
            if keywords.get("dir_fd") is None:
                self.check(kind, path)
            return function(path, *arguments, **keywords)

        return checked

    def _of_descriptor(self, function: Callable, kind: str) -> Callable:
        def checked(fd: int, *arguments: Any) -> Any:
            self.check(kind, fd)
            return function(fd, *arguments)

        return checked

    def _os_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        if dir_fd is None:
            self.check("open to write" if writes else "open to read", path)
        fd = self._open(path, flags, mode, dir_fd=dir_fd)
        if dir_fd is None and (name := self._name(path)) is not None:
            self._paths[fd] = name
        return fd

    def _os_close(self, fd: int) -> None:
        self._paths.pop(fd, None)
        self._close(fd)

    def _opened(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        """`open`, whose file fails as the functions of `os` do."""
        name = self._name(file)
        if name is None:
            return _OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)
        writes = bool(set(mode) & set("wax+"))
        if not isinstance(file, int):
            self.check("open to write" if writes else "open to read", file)
        raw = _Raw(self, name, file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedWriter if writes else io.BufferedReader
        buffered = kind(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)


_OPEN = io.open


class _Raw(io.FileIO):
    """A file whose reads and writes count."""

    def __init__(self, faults: FileFaults, path: str, file: Any, mode: str, closefd: bool, opener: Any):
        self._faults, self._path = faults, faults.folder / path
        super().__init__(file, mode, closefd, opener)

    def write(self, data: Any) -> int:
        self._faults.check("write", self._path)
        return super().write(data)

    def readinto(self, buffer: Any) -> int:
        self._faults.check("read", self._path)
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self._faults.check("read", self._path)
        return super().readall()

    def truncate(self, size: int | None = None) -> int:
        self._faults.check("truncate", self._path)
        return super().truncate(size)
