"""The process engine: workers in processes of their own, around a store in shared memory.

Workers are forked from a server that has imported Keras but started nothing; where that is missing they
are spawned. They end by themselves when the main process is gone, however it ended.
"""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from a3c import backend
from a3c.backend import cache
from a3c.engines.stores.memory import SharedFlag
from a3c.engines.supervision import PATIENCE, Event, RunListener, Supervisor
from a3c.errors import RunError, describe, describe_stack
from a3c.utils.user_modules import SAFE_START, end_safe_start

_TRIES = 3  # to start a worker
_UNKNOWN = 255  # the exit code of a worker whose server could not tell it any more
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def prepare(workers: int = 1) -> str:
    """Start the server that workers are forked from; it imports Keras while the main process does the same.

    Args:
        workers: How many there will be.

    Returns:
        What is to be told, if there was one before that is gone; else empty.

    Raises:
        UsageError: where not enough files may be open.
        RunError: in a worker that is re-importing a main script which trains without a guard; and where the
            server cannot be started.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunError(
            "Training began while a worker was importing your script: put it under if __name__ == '__main__':"
        )
    if _METHOD != "forkserver":
        return ""
    from a3c.engines import fork_server

    fork_server.ensure_files(workers)
    try:
        with _environment(backend.IN_WORKERS | SAFE_START):
            return fork_server.ensure_running()
    except OSError as error:
        raise RunError(f"Worker processes cannot be started: {error.strerror or error}.") from error


def _server() -> int | None:
    """The process that workers are forked from."""
    if _METHOD != "forkserver":
        return None
    from a3c.engines import fork_server

    return fork_server.pid()


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

        self._notes = [prepare()]
        self._tell: Callable[[str], None] = self._notes.append  # until somebody listens
        config = worker_spec.config
        self.store: Any = make_shared_store(worker_spec, network, contents)
        self._spec, self._compiled = worker_spec, SharedFlag()
        self._context: Any = multiprocessing.get_context(_METHOD)
        self._processes: dict[int, Any] = {}
        self._ends: dict[int, Connection] = {}
        self._begun: set[int] = set()
        self._servers: dict[int, int | None] = {}
        self._lost_servers: set[int | None] = set()
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
        self._tell = listener.on_event
        for note in filter(None, self._notes):
            listener.on_event(note)
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
        """Start a process for `worker`.

        Raises:
            RunError: if it cannot be started.
        """
        ours, theirs = self._context.Pipe()
        arguments = (self._spec, self.store.client(), self._compiled, theirs, worker, restart)
        with theirs:
            self._processes[worker] = self._forked(worker, arguments)
        self._ends[worker], self._servers[worker] = ours, _server()
        self._begun.discard(worker)

    def _forked(self, worker: int, arguments: tuple) -> Any:
        """A process for `worker` that was started, on another server if need be."""
        for left in reversed(range(_TRIES)):
            name = f"a3c-worker-{worker}"
            process = self._context.Process(target=_main, args=arguments, name=name, daemon=True)
            if note := prepare():
                self._tell(note)
            try:
                with _environment(backend.IN_WORKERS | SAFE_START):
                    process.start()
                return process
            except (OSError, EOFError) as error:  # the server may have ended at this moment
                if not left:
                    raise RunError(f"Worker {worker} cannot be started: {describe(error)}.") from error

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
            kind, content = "lost", self._obituary(worker)
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

    def _obituary(self, worker: int) -> tuple[str, str, bool]:
        """What became of a worker that left without a word, no traceback, and whether it is a fault more."""
        process = self._processes[worker]
        process.join(PATIENCE)
        code = process.exitcode
        if code is not None and code < 0:
            return f"worker {worker} killed (signal {-code})", "", True
        if code == _UNKNOWN and (note := prepare()):
            self._lost_servers.add(self._servers[worker])
            self._tell(note)
            return f"worker {worker} ended with it", "", True
        if code == _UNKNOWN and self._servers[worker] in self._lost_servers:
            return f"worker {worker} ended with it", "", False  # one fault, however many workers
        return f"worker {worker} ended unexpectedly (exit code {code})", "", True


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
