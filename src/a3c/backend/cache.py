"""Where compiled programs are kept between runs, and how that stays whole when runs are killed.

JAX reads and writes the entries under a file lock, oldest out first. An entry is written before the mark
that dates it, so one without a mark is the torso of a writer that was killed.
"""

import contextlib
from pathlib import Path

MAX_SIZE = 512 * 2**20  # bytes


def directory() -> Path | None:
    """The directory for compiled programs in the user's cache, or None where none can be had."""
    import platformdirs

    path = platformdirs.user_cache_path("a3c") / "xla"
    try:
        path.mkdir(parents=True, exist_ok=True)
        sweep(path)
    except OSError:
        return None
    return path


def sweep(path: Path) -> None:
    """Remove entries without a mark.

    Raises:
        OSError: where the directory cannot be written to, or others hold its lock for long.
    """
    import filelock

    with filelock.FileLock(path / ".lockfile", timeout=5):
        entries, marks = (
            {file.name.removesuffix(kind) for file in path.glob(f"*{kind}")} for kind in ("-cache", "-atime")
        )
        for name in entries - marks:
            with contextlib.suppress(FileNotFoundError):
                (path / f"{name}-cache").unlink()
