"""The process engine: workers in processes of their own, around a store in shared memory.

Workers are forked from a server that has imported Keras but started nothing; where that is missing they
are spawned. They end by themselves when the main process is gone, however it ended.
"""

import atexit
import contextlib
import ctypes
import gc
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from a3c import backend
from a3c.backend import cache
from a3c.engines.stores.memory import SharedFlag
from a3c.engines.supervision import PATIENCE, Event, RunListener, Supervisor
from a3c.errors import RunError, describe_stack
from a3c.utils.user_modules import SAFE_START, end_safe_start

_FOLDER = "a3c-fork-server-"
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def prepare() -> None:
    """Start the server that workers are forked from; it imports Keras while the main process does the same.

    Raises:
        RunError: in a worker that is re-importing a main script which trains without a guard.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunError(
            "Training began while a worker was importing your script: put it under if __name__ == '__main__':"
        )
    if _METHOD == "forkserver":
        from multiprocessing import forkserver

        _tidy_sockets()
        multiprocessing.get_context(_METHOD).set_forkserver_preload(["a3c.engines.preload"])
        with _environment(backend.IN_WORKERS | SAFE_START):
            forkserver.ensure_running()


def _tidy_sockets() -> None:
    """Have the fork server's socket in a folder that names its owner; remove those of owners now gone."""
    config = multiprocessing.process.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") is not None:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
    config["tempdir"] = folder = tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables meanwhile, for processes started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class ProcessEngine:
    """Starts worker processes and listens to them; see `engines.Engine` and `supervision.WorkerPool`."""

    def __init__(self, worker_spec: Any, network: Any, contents: Any):
        from a3c.engines.stores.factory import make_shared_store, prepare_learner

        prepare()
        config = worker_spec.config
        self.store: Any = make_shared_store(worker_spec, network, contents)
        self._spec, self._compiled = worker_spec, SharedFlag()
        self._context: Any = multiprocessing.get_context(_METHOD)
        self._processes: dict[int, Any] = {}
        self._ends: dict[int, Connection] = {}
        self._begun: set[int] = set()
        self._heard: list[Event] = []
        self._supervision: Supervisor | None = None
        self.store.pause(True)  # until somebody watches, who may need longer to be ready than they do
        try:
            for worker in range(config.workers):
                self.start(worker, 0)
            if self.store.central:
                prepare_learner(worker_spec, backend.load(), network, self.store)
        except BaseException:
            self.close()
            raise

    @property
    def training_started(self) -> float | None:
        """`time.monotonic()` when the first worker began; None before."""
        return self._supervision and self._supervision.training_started

    def run(self, listener: RunListener) -> None:
        """Train until the store is stopped or reaches a limit, and every worker has left."""
        self._supervision = Supervisor(self, self.store, self._spec.config, listener)
        if self.store.place and not self.store.place.startswith("/dev/shm"):
            listener.on_event(f"/dev/shm has no room for the parameters; they are kept in {self.store.place}")
        self.store.pause(False)
        self._supervision.run()

    def close(self) -> None:
        """Stop the workers, and end those that do not leave in time."""
        self.store.stop()
        deadline = time.monotonic() + PATIENCE
        for end in self._ends.values():
            end.close()
        for worker, process in self._processes.items():
            if worker in self._begun:  # one that is still compiling has nothing to lose
                process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def sampler_state(self) -> None:
        """Workers in other processes tell nothing of their environments."""

    def kill(self) -> None:
        """End every worker now."""
        for process in self._processes.values():
            process.kill()

    # -- the worker pool -----------------------------------------------------------------------------------

    def start(self, worker: int, restart: int) -> None:
        """Start a process for `worker`."""
        ours, theirs = self._context.Pipe()
        with _environment(backend.IN_WORKERS | SAFE_START):
            process = self._context.Process(
                target=_main,
                args=(self._spec, self.store.client(), self._compiled, theirs, worker, restart),
                name=f"a3c-worker-{worker}",
                daemon=True,
            )
            process.start()
        theirs.close()
        self._processes[worker], self._ends[worker] = process, ours
        self._begun.discard(worker)

    def listen(self, seconds: float) -> list[Event]:
        """What was heard, waiting for so long if there is nothing."""
        workers = {end: worker for worker, end in self._ends.items()}
        for ready in connection.wait(list(workers), timeout=0 if self._heard else seconds):
            assert isinstance(ready, Connection)
            self._hear(workers[ready], ready)
        heard, self._heard = self._heard, []
        return heard

    def _hear(self, worker: int, end: Connection) -> str | None:
        """Take in one message; returns it if it is the answer to a question."""
        kind: Any
        content: Any
        try:
            kind, content = end.recv()
        except (EOFError, OSError):
            kind, content = "lost", (self._obituary(worker), "")
        if kind == "where":
            return content
        if kind == "ready":
            self._begun.add(worker)
        elif kind in ("lost", "left"):
            self._ends.pop(worker).close()
        self._heard.append(Event(kind, worker, content))
        return None

    def stack_of(self, worker: int) -> str:
        """What a silent worker is doing: it is asked, and a thread of its own answers if it can."""
        end = self._ends.get(worker)
        try:
            if end is not None:
                end.send("where")
                if end.poll(1.0) and (answer := self._hear(worker, end)) is not None:
                    return answer
        except OSError:
            return "it is gone"
        return "it does not answer: stopped, or in code that holds Python's lock"

    def lock_holder(self) -> int | None:
        """The worker that holds the lock, if one does: others wait for it."""
        holder = self.store.lock_holder()
        return next((w for w, process in self._processes.items() if process.pid == holder), None)

    def terminate(self, worker: int) -> None:
        """Kill a hanging worker."""
        if end := self._ends.pop(worker, None):
            end.close()
        self._processes[worker].kill()
        self._processes[worker].join(PATIENCE)

    def _obituary(self, worker: int) -> str:
        """What became of a worker that left without a word."""
        process = self._processes[worker]
        process.join(PATIENCE)
        code = process.exitcode
        if code is not None and code < 0:
            return f"worker {worker} killed (signal {-code})"
        return f"worker {worker} ended unexpectedly (exit code {code})"


# -- in the worker process --------------------------------------------------------------------------------


def _main(
    worker_spec: Any, store: Any, compiled: SharedFlag, end: Connection, worker: int, restart: int
) -> None:
    """The life of a worker process.

    Args:
        worker_spec: What it does.
        store: As workers see it.
        compiled: Set by the first worker whose programs lie in the cache, for the others to find.
        end: Of the pipe to the main process.
        worker: Its number.
        restart: How often it was started before.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group; the main process decides
    end_safe_start()
    _die_with_the_server()
    link = _Link(end)
    threading.Thread(target=_leave_with_the_main_process, daemon=True).start()
    threading.Thread(target=link.answer, args=(threading.get_ident(),), daemon=True).start()
    try:
        from a3c.engines.programs import make_program
        from a3c.engines.updates import make_update, warm_up
        from a3c.engines.worker import work

        kept = cache.directory() if worker_spec.config.cache else None
        framework = backend.load(cache_directory=kept, accelerated=False)
        network = worker_spec.make_network()
        if worker > 0 and framework.FUSES and kept is not None:
            compiled.wait()  # then everything is in the cache: compiled once, not per worker
        # Before anything is traced, which leaves its marks on variables that were never initialised.
        update = None
        if not store.central:
            update, state = make_update(worker_spec, framework, network)
            warm_up(worker_spec, update, store.weights(), state)
        worker_program = make_program(worker_spec, framework, network, store.weights())
        store.attach(worker, update)
        sampler = worker_program.make_sampler(worker, restart, partial(link.send, "fault"), store.show_life)
        worker_program.wait()
        compiled.set()
        gc.freeze()  # else collections walk all of Keras again and again
        link.send("ready", None)
        work(store, sampler, worker_program.learn)
        link.send("left", None)
        sampler.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the main process stopped listening: it is ending the run
    except Exception:
        with contextlib.suppress(OSError):
            link.send("lost", (f"worker {worker} failed", traceback.format_exc()))


class _Link:
    """The worker's end of the pipe, for its two threads."""

    def __init__(self, end: Connection):
        self._end, self._lock = end, threading.Lock()

    def send(self, kind: str, content: Any) -> None:
        """Tell the main process something."""
        with self._lock:
            self._end.send((kind, content))

    def answer(self, thread: int) -> None:
        """Tell the main process, each time that it asks, where `thread` is."""
        with contextlib.suppress(OSError, EOFError):
            while True:
                self._end.recv()
                stack = traceback.extract_stack(sys._current_frames()[thread])
                self.send("where", describe_stack(stack))


def _die_with_the_server() -> None:
    """Have Linux kill this process when the fork server is gone, which leaves with the main process.

    The thread below does that sooner, but not in a process that is stopped, or whose environment hangs in C
    code. The server stays as long as others hold one end of a pipe; this process has no use for it.
    """
    if _METHOD == "forkserver" and sys.platform == "linux":
        from multiprocessing import forkserver

        with contextlib.suppress(AttributeError, TypeError, OSError):
            os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_with_the_main_process() -> None:
    """Wait for the main process' end, whatever the reason, and end this process with it."""
    main = multiprocessing.parent_process()
    assert main is not None
    connection.wait([main.sentinel])
    os._exit(1)
