"""The process that workers are forked from, and the folder with its socket.

Each main process has its own, in the directory for temporary files that all users share. The folder is held
by a lock, which dies with the main process: only folders that nobody holds are removed.
"""

import atexit
import contextlib
import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from a3c.errors import UsageError
from a3c.utils.files import is_own

_PREFIX = "a3c-server-"
_LONGEST = 60  # bytes: a socket's path with all its folders may have some hundred
_SHORT = "/tmp"
_FILES, _FILES_EACH = 20, 3  # open files of the main process, and for each worker


def ensure_running() -> str:
    """Start the server. It imports Keras meanwhile.

    Returns:
        What is to be told, if there was one before that is gone or cannot be reached any more; else empty.

    Raises:
        OSError: if it cannot be started.
    """
    from multiprocessing import forkserver

    before, cut_off = pid(), False
    if _renew_folder() or not _is_reachable():
        cut_off = before is not None
        _forget()
    multiprocessing.get_context("forkserver").set_forkserver_preload(["a3c.engines.preload"])
    forkserver.ensure_running()
    if cut_off:
        return "the folder of the process that starts workers was removed; another one was started"
    if before not in (None, pid()):
        return "the process that starts workers was gone; another one was started"
    return ""


def ensure_files(workers: int) -> None:
    """Have as many files as so many workers need, where this process may open more than it does.

    Raises:
        UsageError: where it may not.
    """
    import resource

    needed = _FILES + _FILES_EACH * workers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = float("inf") if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if allowed < needed:
        fix = "Set it with ulimit -n, or choose fewer --workers."
        raise UsageError(f"a limit of {hard} open files", f"at least {needed} for {workers} workers", fix)
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def pid() -> int | None:
    """The number of the server's process; None while there is none."""
    return getattr(_server(), "_forkserver_pid", None)


def _server() -> Any:
    from multiprocessing import forkserver

    return getattr(forkserver, "_forkserver", None)


def _is_reachable() -> bool:
    """Whether its socket is where it was made."""
    address = getattr(_server(), "_forkserver_address", None)
    return address is None or os.path.exists(address)


def _forget() -> None:
    """Have another server started. The one before goes on, since its workers would end with it."""
    server = _server()
    for name in ("_forkserver_address", "_forkserver_alive_fd", "_forkserver_pid"):
        if hasattr(server, name):  # its pipe stays open, and keeps it alive
            setattr(server, name, None)


def _renew_folder() -> bool:
    """Have a folder for the socket. Returns whether there was one before that is gone."""
    config = multiprocessing.process.current_process()._config  # type: ignore[attr-defined]
    before = config.get("tempdir")
    if before is not None and os.path.isdir(before):
        return False
    if before is None:
        sweep(_parent())
    config["tempdir"] = folder = make_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return before is not None


def _parent() -> Path:
    """The directory for temporary files, or another one if its path is too long for a socket."""
    usual = tempfile.gettempdir()
    is_short = len(os.fsencode(usual)) <= _LONGEST or not os.access(_SHORT, os.W_OK)
    return Path(usual if is_short else _SHORT)


def make_folder() -> str:
    """A new folder, which this process holds as long as it lives, and no other user can read."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=_parent())
        fd = _lock(folder)
        if fd is None or _is(folder, fd):
            return folder  # the descriptor stays open
        os.close(fd)  # somebody has taken it for one that nobody holds, before it was locked


def sweep(parent: Path) -> None:
    """Remove those folders of this user that nobody holds: their main process is gone."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or not is_own(folder):
                continue
            if (fd := _lock(str(folder))) is not None:
                try:
                    shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(fd)


def _lock(folder: str) -> int | None:
    """A descriptor that holds `folder`; None if another process does, or it cannot be held."""
    import fcntl

    fd = None
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if fd is not None:
            os.close(fd)
        return None
    return fd


def _is(folder: str, fd: int) -> bool:
    """Whether `folder` is still what was opened."""
    try:
        return os.path.samestat(os.stat(folder), os.fstat(fd))
    except OSError:
        return False
