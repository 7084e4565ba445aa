"""What `a3c doctor` asks of this machine: packages, backends, cores, memory, files."""

import fcntl
import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from a3c import backend, engines, play, runs
from a3c.backend import cache
from a3c.doctor import Check, fault, ok, warning

_SMALL_SHARED = 64 * 2**20  # bytes; what containers have unless told otherwise
_SMALL_DISK = 2**30
_SMALL_MEMORY = 2**30
_THREADS = (
    "PJRT_NPROC",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
_COMPUTE = {
    "jax": "import jax; print(int(jax.numpy.ones(3).sum()), *jax.devices())",
    "tensorflow": "import tensorflow as tf; print(int(tf.reduce_sum(tf.ones(3))))",
}


def versions() -> Check:
    """What is installed."""
    return ok("versions", ", ".join(f"{name} {version}" for name, version in runs.versions().items()))


def bytecode() -> Check:
    """Whether Python keeps what it compiles."""
    if os.environ.get("PYTHONDONTWRITEBYTECODE") or sys.dont_write_bytecode:
        fix = "Unset PYTHONDONTWRITEBYTECODE, unless everything was compiled at its installation."
        return warning("bytecode", "Python does not keep it: each start may take five times as long", fix)
    return ok("bytecode", "is kept between starts")


def backends(wanted: str) -> Iterator[Check]:
    """Whether the chosen backend computes, and each other one that is installed."""
    chosen = backend.select(wanted)
    for name in backend.NAMES:
        if name not in backend.installed():
            yield ok(f"backend {name}", "is not installed")
            continue
        text = _compute(name)
        if text is not None:
            use = "is the one used here; " if name == chosen else ""
            yield ok(f"backend {name}", f"{use}computes{text}")
        else:
            fix = f"See what is wrong with: python -c '{_COMPUTE[name]}'"
            yield fault(f"backend {name}", "cannot compute 1 + 1 + 1", fix)


def _compute(name: str) -> str | None:
    """Add three numbers in a process of its own; what else it said, or None if that failed."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    line = [sys.executable, "-c", _COMPUTE[name]]
    try:
        done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    said = done.stdout.strip().partition(" ")
    if done.returncode != 0 or said[0] != "3":
        return None
    return f" on {said[2]}" if said[2] else ""


def cores() -> Check:
    """How many workers there would be."""
    usable, all_of_them = engines.usable_cores(), os.cpu_count() or 1
    limited = f" of {all_of_them} (affinity or quota)" if usable < all_of_them else ""
    if usable == 1:
        fix = "One worker is trained with by default; more would only take turns."
        return warning("cores", f"1 usable{limited}", fix)
    return ok("cores", f"{usable} usable{limited}; as many workers by default")


def threads() -> Check:
    """Whether the environment sets thread counts."""
    told = {name: os.environ[name] for name in _THREADS if name in os.environ}
    if not told:
        return ok("threads", "one per worker, as a3c sets it")
    listed = ", ".join(f"{name}={value}" for name, value in told.items())
    if any(value not in ("", "1") for value in told.values()):
        fix = "Unset them: each worker computes on one thread, and more would compete for the cores."
        return warning("threads", listed, fix)
    return ok("threads", listed)


def memory() -> Check:
    """How much memory there is."""
    available = _available_memory()
    if available is None:
        return ok("memory", "the system does not tell")
    text = f"{available / 2**30:.1f} GiB available"
    if available < _SMALL_MEMORY:
        return warning("memory", text, "Each worker takes about 100 MiB: fewer by --workers.")
    return ok("memory", text)


def _available_memory() -> int | None:
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError):
        pass
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        found += [int(limit) - used] if limit != "max" else []
    except (OSError, ValueError):
        pass
    return min(found, default=None)


def shared_memory() -> Check:
    """Where parallel workers would keep the parameters."""
    if not os.path.isdir("/dev/shm"):
        fix = "None is needed if the disk there is fast; --engine serial needs no shared memory."
        return warning("shared memory", f"no /dev/shm: {tempfile.gettempdir()} is used instead", fix)
    free = shutil.disk_usage("/dev/shm").free
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_UN)
    text = f"/dev/shm has {free / 2**20:,.0f} MiB free, locks work"
    if free < _SMALL_SHARED:
        fix = "Make it larger: docker run --shm-size=1g, or mount -o remount,size=1g /dev/shm."
        return warning("shared memory", text, fix)
    return ok("shared memory", text)


def processes() -> Check:
    """How worker processes are started."""
    methods = multiprocessing.get_all_start_methods()
    if "forkserver" in methods:
        return ok("processes", "forked from a server that has imported everything")
    fix = "Nothing to fix: this system has no fork server."
    return warning("processes", "each worker imports everything by itself", fix)


def display() -> Check:
    """Whether a window could open."""
    if play.has_display():
        return ok("display", "there is one: a3c play opens a window")
    return ok("display", "there is none: a3c play --video play.gif makes a film")


def video() -> Check:
    """Whether films can be written."""
    if importlib.util.find_spec("av"):
        return ok("video", ".gif and .mp4")
    return ok("video", ".gif; for .mp4: pip install 'a3c[video]'")


def cache_directory() -> Check:
    """Where compiled programs would be kept."""
    path = cache.directory()
    if path is None:
        fix = "Set XDG_CACHE_HOME to a directory that can be written, or pass --no-cache."
        return warning("cache", "compiled programs cannot be kept: each start compiles anew", fix)
    return ok("cache", f"compiled programs are kept in {path}")


def save_directory(path: Path) -> Check:
    """Whether runs can be made in `path`."""
    existing = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        fix = "Choose another with --save-dir."
        return fault("runs", f"{path} cannot be written to ({error.strerror})", fix)
    free = shutil.disk_usage(existing).free
    text = f"{path} can be written to, {free / 2**30:,.1f} GiB free, locks work"
    if free < _SMALL_DISK:
        return warning("runs", text, "A run takes some megabytes; make room for long ones.")
    return ok("runs", text)


QUICK: tuple[tuple[str, Callable[[], Check]], ...] = (
    ("versions", versions),
    ("bytecode", bytecode),
    ("cores", cores),
    ("threads", threads),
    ("memory", memory),
    ("shared memory", shared_memory),
    ("processes", processes),
    ("display", display),
    ("video", video),
    ("cache", cache_directory),
)
