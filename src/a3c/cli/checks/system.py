"""What `a3c doctor` asks of this machine: packages, backends, cores, memory, files.

What is heavy is imported where it is needed, so that the first lines come at once.
"""

import contextlib
import fcntl
import functools
import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from a3c import backend
from a3c.backend import cache
from a3c.cli.checks import Check, Checks, describe, examine, fault, ok, warning
from a3c.errors import UsageError
from a3c.utils import versions as packages

_SMALL_SHARED = 64 * 2**20  # bytes; what containers have unless told otherwise
_SMALL_DISK = 2**30
_WORKER_MEMORY = 150 * 2**20  # of each worker, beside what it shares with the others
_MASTER_MEMORY = 400 * 2**20
_PATIENCE = 120  # seconds for a backend to be imported and to compute
_THREADS = ("PJRT_NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_THREADS += ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def checks(wanted: str, save_dir: str) -> Checks:
    """The checks of this machine, the quick ones first."""
    yield "versions", versions
    yield "bytecode", bytecode
    yield "cores", cores
    yield "threads", threads
    yield "memory", memory
    yield "shared memory", shared_memory
    yield "processes", processes
    yield "display", display
    yield "video", video
    yield "cache", cache_directory
    yield "runs", functools.partial(save_directory, Path(save_dir))
    yield "backend", functools.partial(chosen_backend, wanted)
    yield "backend", functools.partial(other_backends, wanted)


def versions() -> Check:
    """What is installed."""
    return ok(", ".join(f"{name} {version}" for name, version in packages.versions().items()))


def bytecode() -> Check:
    """Whether Python keeps what it compiles."""
    if os.environ.get("PYTHONDONTWRITEBYTECODE") or sys.dont_write_bytecode:
        fix = "Unset PYTHONDONTWRITEBYTECODE, unless everything was compiled at its installation."
        return warning("Python does not keep it: each start may take five times as long", fix)
    return ok("is kept between starts")


# -- backends -----------------------------------------------------------------------------------------------


def chosen_backend(wanted: str) -> Iterator[Check]:
    """Whether the backend that would be used computes, in this process."""
    name = backend.select(wanted)
    yield from examine(f"backend {name}", _compute_here, name)


def other_backends(wanted: str) -> Iterator[Check]:
    """Whether each other backend that is installed computes, in a process of its own."""
    chosen = None
    with contextlib.suppress(UsageError):  # `chosen_backend` has told of it
        chosen = backend.select(wanted)
    for name in backend.NAMES:
        if name != chosen:
            yield from examine(f"backend {name}", _compute_elsewhere, name)


def _compute_here(name: str) -> Check:
    try:
        return ok(f"is the one used here; computes on {compute()}")
    except Exception as error:
        return _broken(name, f"cannot compute: {describe(error)}")


def compute() -> str:
    """Have the selected backend compile and compute a product of matrices, and name the devices that it sees.

    Raises:
        ArithmeticError: if the result is wrong.
    """
    from a3c.utils.lazy_imports import import_keras

    import_keras(plotting=False)
    import keras
    import numpy as np

    square = backend.load().compile_function(lambda matrix: keras.ops.matmul(matrix, matrix))
    matrix = np.arange(9, dtype=np.float32).reshape(3, 3)
    if not np.allclose(square(matrix), matrix @ matrix, rtol=1e-3):
        raise ArithmeticError("a product of matrices comes out wrong")
    return ", ".join(keras.distribution.list_devices())


def _compute_elsewhere(name: str) -> Check:
    if name not in backend.installed():
        return ok("is not installed")
    environment = {**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3"}
    line = [sys.executable, "-P", "-c", "from a3c.cli.checks.system import compute; print(compute())"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return _broken(name, f"computes nothing within {_PATIENCE} seconds")
    last = (done.stderr if done.returncode else done.stdout).strip().splitlines()[-1:]
    if done.returncode == 0 and last:
        return ok(f"computes on {last[0]}")
    said = last[0] if last else f"its process ended with {done.returncode}"
    return _broken(name, f"cannot compute: {said}")


def _broken(name: str, text: str) -> Check:
    return fault(
        text, f"Install {name} anew, or uninstall it. See what is wrong with: python -c 'import {name}'"
    )


# -- cores and memory ---------------------------------------------------------------------------------------


def cores() -> Check:
    """How many workers there would be."""
    from a3c import engines

    usable, all_of_them = engines.usable_cores(), os.cpu_count() or 1
    limited = f" of {all_of_them} (affinity or quota)" if usable < all_of_them else ""
    quota = cpu_quota()
    if quota is not None and quota < usable:
        fix = f"Give --workers {max(1, int(quota))}, or the container more."
        return warning(f"{usable} usable{limited}, but a quota of {quota:.2g} cores' time", fix)
    if usable == 1:
        return ok(f"1 usable{limited}: one worker by default, since more would only take turns")
    return ok(f"{usable} usable{limited}; as many workers by default")


def cpu_quota(root: Path = _CONTROL_GROUPS) -> float | None:
    """How many cores' time the control group grants, in its second version or its first; None: any."""
    first = [root / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
    try:
        files = [root / "cpu.max"] if (root / "cpu.max").exists() else first
        quota, period = " ".join(file.read_text() for file in files).split()
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError):
        return None


def threads() -> Check:
    """Whether the environment sets thread counts. Worker processes have one each, whatever it says."""
    from a3c import engines

    told = {name: os.environ[name] for name in _THREADS if os.environ.get(name)}
    if not told:
        return ok("one per worker, as a3c sets it")
    listed, usable = ", ".join(f"{name}={value}" for name, value in told.items()), engines.usable_cores()
    fix = ""
    if wrong := [name for name, value in told.items() if not value.isdecimal() or int(value) < 1]:
        fix = f"Unset {', '.join(wrong)}: not a number of threads."
    elif many := [name for name, value in told.items() if int(value) > usable]:
        fix = f"Unset {', '.join(many)}: more threads than the {usable} usable cores compete for them."
    elif int(told.get("PJRT_NPROC", usable)) < usable:
        fix = "Unset PJRT_NPROC: with --engine threads, no more workers than that compute at a time."
    return warning(listed, fix) if fix else ok(listed)


def memory() -> Check:
    """How much memory there is for the workers."""
    from a3c import engines

    available, workers = available_memory(), engines.usable_cores()
    if available is None:
        return ok("the system does not tell")
    text = f"{available / 2**30:.1f} GiB available"
    if available < _MASTER_MEMORY + workers * _WORKER_MEMORY:
        fix = f"Each worker takes about {_WORKER_MEMORY // 2**20} MiB: start fewer with --workers."
        return warning(f"{text}, little for {workers} workers", fix)
    return ok(text)


def available_memory(root: Path = _CONTROL_GROUPS, system: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that are free, in the machine and in the control group; None where neither tells."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        lines = system.read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # no such control groups, or no limit: "max"
            found.append(int((root / limit).read_text()) - int((root / used).read_text()))
    return max(0, min(found)) if found else None


# -- what workers need --------------------------------------------------------------------------------------


def shared_memory() -> Check:
    """Where parallel workers would keep the parameters, and whether the lock around them works."""
    from a3c.engines.stores.memory import SharedFile

    file = SharedFile(2**20)
    try:
        with file:
            pass
    except OSError as error:
        fix = "Train with --engine serial, or mount /dev/shm as tmpfs."
        return fault(f"{file.place}: no locks ({error.strerror})", fix)
    free = shutil.disk_usage(file.place).free
    text = f"{file.place} has {free / 2**20:,.0f} MiB free, locks work"
    fix = "Make /dev/shm larger: docker run --shm-size=1g, or mount -o remount,size=1g /dev/shm."
    small = free < _SMALL_SHARED or not file.place.startswith("/dev/shm")
    return warning(text, fix) if small else ok(text)


def processes() -> Check:
    """How worker processes are started."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        return ok("forked from a server that has imported everything")
    return ok("each worker imports everything by itself: this system has no fork server")


# -- what people see, and what is kept ----------------------------------------------------------------------


def display() -> Check:
    """Whether a window could open."""
    from a3c.evaluation import play

    if play.has_display():
        return ok("there is one: a3c play opens a window")
    return ok("there is none: a3c play --video play.gif makes a film")


def video() -> Check:
    """Whether films can be written."""
    if importlib.util.find_spec("av"):
        return ok(".gif and .mp4")
    return ok(".gif; for .mp4: pip install 'a3c[video]'")


def cache_directory() -> Check:
    """Where compiled programs would be kept."""
    path, wrong = cache.find()
    if path is None:
        fix = "Set XDG_CACHE_HOME to a directory of yours that can be written, or pass --no-cache."
        return warning(f"{wrong}: compiled programs cannot be kept, each start compiles anew", fix)
    return ok(f"compiled programs are kept in {path}")


def save_directory(path: Path) -> Check:
    """Whether runs can be made in `path`, or in what it would be made in."""
    existing = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # what keeps two from training in one run
            except OSError as error:
                fix = "Choose another with --save-dir, on a file system that has locks."
                return fault(f"{path}: no file locks there ({error.strerror})", fix)
    except OSError as error:
        fix = "Choose another with --save-dir."
        return fault(f"{path} cannot be written to ({error.strerror})", fix)
    free = shutil.disk_usage(existing).free
    text = f"{path} can be written to, {free / 2**30:,.1f} GiB free, locks work"
    if free < _SMALL_DISK:
        return warning(text, "A run takes some megabytes; make room for long ones.")
    return ok(text)
