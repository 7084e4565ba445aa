"""Where the files of a run are, also if somebody moves, removes or replaces its directory meanwhile.

The directory is held open. So one that was moved is found again, and one that is gone is noticed.
"""

import contextlib
import errno
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from a3c.errors import UsageError
from a3c.training import run_directory
from a3c.utils.files import write_whole

_FIRST_FILES = (run_directory.CONFIG, "model.keras", "optimizer.json")
"""What a run begins with: no other file can be made again from what the run knows."""
_NO_ROOM = {getattr(errno, n, 0) for n in ("ENOSPC", "EDQUOT", "EFBIG", "EMFILE", "ENFILE", "ENOMEM")}
"""Errors that say nothing against a directory: another one would be no better."""
_F_GETPATH = 50  # of macOS' <fcntl.h>


class Place:
    """The directory of a run under way. May be asked from any thread.

    Args:
        directory: Where it is now, with its first files.
        tell: Is told, in a sentence, where the run goes on.
    """

    def __init__(self, directory: Path, tell: Callable[[str], None]):
        self._path, self._tell = directory, tell
        self._lock = threading.RLock()
        self._held = contextlib.ExitStack()
        self._fd: int | None = None
        self._files: dict[str, bytes] = {}
        for name in _FIRST_FILES:
            with contextlib.suppress(OSError):
                self._files[name] = (directory / name).read_bytes()
        with contextlib.suppress(OSError):  # without it nothing is noticed
            self._fd = os.open(directory, os.O_RDONLY)

    @property
    def path(self) -> Path:
        """The directory. One that was moved is followed, one that is gone is made again."""
        with self._lock:
            told = "" if self._is_at(self._path) else self._find_again()
            path = self._path
        if told:
            self._tell(told)
        return path

    def ensure_writable(self) -> None:
        """Have the first files in place; go on in another directory if nothing can be written to this one."""
        path = self.path
        try:
            write_whole(path / ".try", "")
            (path / ".try").unlink()
            for name, content in self._files.items():
                if not (path / name).exists():  # somebody has removed what was in it
                    (path / name).write_bytes(content)
        except OSError as error:
            if error.errno in _NO_ROOM:
                return
            with self._lock:
                try:
                    fresh = self._make_beside()
                except (OSError, UsageError):
                    return  # each file that cannot be written is told of
            why = error.strerror or error
            self._tell(f"{path} cannot be written to ({why}): the run is saved in {fresh}")

    def close(self) -> None:
        """Let go of the directory."""
        with self._lock:
            self._held.close()
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _is_at(self, path: str | Path) -> bool:
        if self._fd is None:
            return True
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._fd))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # such as a network that is away
            return True

    def _find_again(self) -> str:
        """Go where the directory is now, or make it again. Returns what is to be told."""
        assert self._fd is not None
        before, moved = self._path, _path_of(self._fd)
        if moved is not None and self._is_at(moved):
            self._path = Path(moved)
            return f"{before} was moved: the run goes on in {moved}"
        try:
            if os.path.lexists(before):
                fresh = self._make_beside()
            else:
                before.mkdir(parents=True)
                fresh = self._begin_in(before)
        except (OSError, UsageError):
            return ""  # each file that cannot be written is told of
        gone = "crash reports and earlier checkpoints in it are lost"
        return f"{before} was removed: the run goes on in a new {fresh}; {gone}"

    def _make_beside(self) -> Path:
        """Make a new directory beside the one that cannot be used, else among the temporary files.

        Raises:
            OSError, UsageError: if that cannot be done.
        """
        ending = run_directory.ending_of(self._path)
        try:
            fresh = run_directory.make_new(str(self._path.parent), "", ending)
        except UsageError:
            fresh = run_directory.make_new(tempfile.mkdtemp(prefix="a3c-run-"), "", ending)
        return self._begin_in(fresh)

    def _begin_in(self, path: Path) -> Path:
        """Use this new directory from now on."""
        for name, content in self._files.items():
            (path / name).write_bytes(content)
        self._held.enter_context(run_directory.locked(path))
        fd = os.open(path, os.O_RDONLY)
        if self._fd is not None:
            os.close(self._fd)
        self._path, self._fd = path, fd
        return path


def _path_of(fd: int) -> str | None:
    """The path by which an open directory is found now; None where the system does not tell."""
    try:
        if sys.platform == "darwin":
            import fcntl

            return os.fsdecode(fcntl.fcntl(fd, _F_GETPATH, bytes(1024)).rstrip(b"\0"))
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return None
