"""Where compiled programs are kept between runs, and how that stays whole when runs are killed.

JAX reads and writes the entries under a file lock, oldest out first. An entry is written before the mark
that dates it, so one without a mark is a part that a killed writer has left. Compiled programs are code, so
nobody but the user may put any here.
"""

import contextlib
import os
from pathlib import Path

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


def is_own(path: Path) -> bool:
    """Whether a file is this user's, as far as the system knows owners."""
    return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()


def sweep(path: Path) -> None:
    """Remove entries without a mark, and those of other users.

    Raises:
        OSError: where the directory cannot be written to, or others hold its lock for long.
    """
    import filelock

    with filelock.FileLock(path / ".lockfile", timeout=5):
        entries, marks = (
            {file.name.removesuffix(kind) for file in path.glob(f"*{kind}")} for kind in ("-cache", "-atime")
        )
        for name in entries:
            entry = path / f"{name}-cache"
            with contextlib.suppress(FileNotFoundError):
                if name not in marks or not is_own(entry):
                    entry.unlink()
