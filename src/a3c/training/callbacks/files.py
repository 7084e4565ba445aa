"""Files that grow while a run goes on. A full disk costs nothing: a failure is told once, and tried again."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from a3c.errors import RunError
from a3c.training.callbacks.base import Callback
from a3c.training.run import Run
from a3c.utils.files import open_plain, replacing

_INTERVAL, _SHARE = 0.5, 0.02
"""Seconds between two pieces at first, and their share of the time so far later."""


class AppendOnlyFile:
    """A file that only grows, by whole pieces: one that does not fit on the disk leaves no part behind.

    Args:
        path: Where.
        end: What lies behind this position is cut off.
    """

    def __init__(self, path: Path, end: int):
        self._fd = open_plain(path, os.O_RDWR | os.O_CREAT)
        self.end = min(end, os.fstat(self._fd).st_size)
        os.ftruncate(self._fd, self.end)

    def append(self, piece: bytes) -> None:
        """Write `piece` at the end.

        Raises:
            OSError: if it cannot be written; the file is what it was then.
        """
        done = 0
        try:
            while done < len(piece):
                done += os.pwrite(self._fd, piece[done:], self.end + done)
        except OSError:
            os.ftruncate(self._fd, self.end)
            raise
        self.end += len(piece)

    def follow(self, path: Path) -> None:
        """Go on at `path`, with all that it holds: it is there, unless somebody has moved or removed it.

        Raises:
            OSError: if that cannot be; the file goes on where it was then.
        """
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(path), os.fstat(self._fd)):
                return
        with replacing(path) as temporary:
            fd = open_plain(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            try:
                with os.fdopen(os.dup(self._fd), "rb") as old, os.fdopen(os.dup(fd), "wb") as new:
                    old.seek(0)
                    shutil.copyfileobj(old, new)
            except OSError:
                os.close(fd)
                raise
        os.close(self._fd)
        self._fd = fd

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


class FailureTeller:
    """Tells when writing something begins to fail, and when it works again."""

    def __init__(self, what: str):
        self._what, self._failing = what, False

    @contextlib.contextmanager
    def attempt(self, run: Run) -> Iterator[None]:
        """Survive an `OSError`, and tell the first one of a row."""
        try:
            yield
        except OSError as error:
            if not self._failing:
                self._failing = True
                why = error.strerror or error
                run.message(f"{self._what} cannot be written ({why}); training goes on, trying again")
        else:
            if self._failing:
                self._failing = False
                run.message(f"{self._what} can be written again")


class FileCallback(Callback):
    """A callback that appends to one file of the run directory now and then.

    A subclass says what is to be appended. Checkpoints keep where the file ended.

    Args:
        name: The file's name.
    """

    def __init__(self, name: str):
        self.name = name
        self._teller = FailureTeller(name)
        self._file: AppendOnlyFile | None = None
        self._next = 0.0

    @property
    def state_key(self) -> str:
        """The file's name."""
        return self.name

    def piece(self, run: Run, seconds: float) -> bytes:
        """What to append now; called again with the same and more where that failed."""
        raise NotImplementedError

    def written(self) -> None:
        """The last piece is in the file."""

    def first_piece(self) -> bytes:
        """What a new file begins with."""
        return b""

    def setup(self, run: Run) -> None:
        """Open the file: a new one, or behind what the checkpoint has of it."""
        end = run.resumed.callbacks.get(self.state_key, {}).get("end", 0)
        try:
            self._file = AppendOnlyFile(run.directory / self.name, end)
            if self._file.end == 0:
                self._file.append(self.first_piece())
        except OSError as error:
            raise RunError(f"{run.directory / self.name} cannot be written to: {error.strerror}.") from error

    def on_tick(self, run: Run, seconds: float) -> None:
        """Append, if it is time."""
        if seconds >= self._next:
            self.flush(run, seconds)
            self._next = seconds + max(_INTERVAL, _SHARE * seconds)

    def on_snapshot(self, run: Run) -> None:
        """Have all of it in the file that a checkpoint builds on.

        Raises:
            OSError: if that cannot be.
        """
        self._append(run, run.seconds)

    def flush(self, run: Run, seconds: float) -> None:
        """Append; a failure is told."""
        with self._teller.attempt(run):
            self._append(run, seconds)

    def _append(self, run: Run, seconds: float) -> None:
        assert self._file is not None
        self._file.follow(run.directory / self.name)
        self._file.append(self.piece(run, seconds))
        self.written()

    def teardown(self, run: Run) -> None:
        """Append the rest, and close the file."""
        if self._file is not None:
            with run.saving(self.name):
                self._append(run, run.seconds)
            self._file.close()

    def state_dict(self) -> dict[str, int]:
        """Where the file ends."""
        assert self._file is not None
        return {"end": self._file.end}
