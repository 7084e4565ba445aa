"""Where compiled programs are kept between runs, and how that stays whole when runs are killed.

JAX reads and writes the entries under a file lock, oldest out first. An entry is written before the mark
that dates it, so one without a mark is a part that a killed writer has left. Compiled programs are code, so
nobody but the user may put any here. Each entry ends with a checksum of its name and its content: a damaged
one, or one under another's name, is removed and compiled anew.
"""

import contextlib
import hashlib
import stat
from pathlib import Path
from typing import Any

from a3c.utils.files import is_own

MAX_SIZE = 512 * 2**20  # bytes


def directory() -> Path | None:
    """The directory for compiled programs in the user's cache, or None where none can be had."""
    return find()[0]


def find() -> tuple[Path | None, str]:
    """The directory for compiled programs, or None and what is wrong with the one in the user's cache."""
    import platformdirs

    path = platformdirs.user_cache_path("a3c") / "xla"
    try:
        path.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent, path):
            if not is_own(folder):
                return None, f"the cache directory {folder} belongs to another user"
            if folder.stat().st_mode & 0o022:
                folder.chmod(0o700)
        sweep(path)
    except OSError:
        return None, "the cache directory cannot be written to"
    return path, ""


def sweep(path: Path) -> None:
    """Remove entries without a mark, those of other users, and what is no plain file.

    Raises:
        OSError: where the directory cannot be written to, or others hold its lock for long.
    """
    with _locked(path):
        entries, marks = (
            {file.name.removesuffix(kind) for file in path.glob(f"*{kind}")} for kind in ("-cache", "-atime")
        )
        for name in entries:
            entry = path / f"{name}-cache"
            with contextlib.suppress(FileNotFoundError):
                plain = stat.S_ISREG(entry.lstat().st_mode)
                if name not in marks or not plain or not is_own(entry):
                    entry.unlink()


class CheckedEntries:
    """JAX's entries, each with its checksum behind it.

    Args:
        entries: JAX's own cache in a directory (`jax._src.lru_cache.LRUCache`).
    """

    def __init__(self, entries: Any):
        self._entries = entries
        self._path = entries._path  # JAX names it where it resets its cache

    def get(self, key: str) -> bytes | None:
        """The entry, or None where there is none that is whole; one that is not is removed."""
        value = self._entries.get(key)
        if value is None:
            return None
        content, checksum = value[:-_SIZE], value[-_SIZE:]
        if checksum == _checksum(key, content):
            return content
        folder = Path(self._path)
        with _locked(folder):
            for kind in ("cache", "atime"):
                (folder / f"{key}-{kind}").unlink(missing_ok=True)
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keep an entry; one that is there already stays as it is."""
        self._entries.put(key, value + _checksum(key, value))


_SIZE = hashlib.sha256().digest_size


def _checksum(key: str, content: bytes) -> bytes:
    """Of the name too, so that no program can take another's place."""
    return hashlib.sha256(key.encode() + b"\0" + content).digest()


def _locked(path: Path) -> Any:
    """JAX's own lock of a directory of entries."""
    import filelock

    return filelock.FileLock(path / ".lockfile", timeout=5)
