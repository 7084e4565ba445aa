"""The thread engine: workers are threads of this process around one store.

They are parallel where what they do releases the interpreter lock: compiled environments do for the whole
of a worker step, EnvPool's for each environment step. Everything is compiled on the calling thread, once for
all workers; worker threads touch arrays and their own keys only.
"""

import queue
import sys
import threading
import time
import traceback
from functools import partial
from typing import Any

from a3c import backend
from a3c.engines.programs import make_program
from a3c.engines.spec import WorkerSpec
from a3c.engines.stores import StoreState
from a3c.engines.stores.central import WorkerClient
from a3c.engines.stores.factory import make_thread_store
from a3c.engines.stores.local import WorkerStore
from a3c.engines.supervision import PATIENCE, Event, RunListener, Supervisor
from a3c.engines.worker import work
from a3c.envs.vector_sampler import Sampler
from a3c.errors import describe_stack
from a3c.networks.functional import Network


class ThreadEngine:
    """Starts worker threads and listens to them; see `engines.Engine` and `supervision.WorkerPool`."""

    def __init__(self, worker_spec: WorkerSpec, network: Network, contents: StoreState):
        framework = backend.load()
        self._config, self._workers = worker_spec.config, worker_spec.workers
        # The workers' program first: it takes longest, and compiles while the rest is made.
        self._program = make_program(worker_spec, framework, network, contents.weights)
        self.store: Any = make_thread_store(worker_spec, framework, network, contents)
        self._heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._threads: dict[int, threading.Thread] = {}
        self._stores: dict[int, WorkerStore | WorkerClient] = {}
        self._samplers: list[tuple[threading.Thread, Sampler]] = []
        self._supervision: Supervisor | None = None

    @property
    def training_started(self) -> float | None:
        """`time.monotonic()` when the first worker began; None before."""
        return self._supervision and self._supervision.training_started

    def run(self, listener: RunListener) -> None:
        """Train until the store is stopped or reaches a limit, and every worker has left."""
        self._supervision = Supervisor(self, self.store, self._config, listener)
        self._program.wait()
        for worker in range(self._workers):
            self.start(worker, 0)
        self._supervision.run()

    def close(self) -> None:
        """Stop the workers and close their environments; one that is stuck in its environment is left."""
        self.store.stop()
        deadline = time.monotonic() + PATIENCE
        for thread, sampler in self._samplers:
            thread.join(max(0.0, deadline - time.monotonic()))
            if not thread.is_alive():
                sampler.close()

    def sampler_state(self) -> None:
        """Threads are never all between two rollouts."""

    def kill(self) -> None:
        """Threads end with the process."""

    # -- the worker pool -----------------------------------------------------------------------------------

    def start(self, worker: int, restart: int) -> None:
        """Start a thread for `worker`."""
        if self.store.central:
            store = self.store.client().attach(worker)
        else:
            store = WorkerStore(self.store, worker, between=partial(self.store.wait_for_reader, worker))
        self._stores[worker] = store
        thread = self._threads[worker] = threading.Thread(
            target=self._main, args=(worker, restart, store), name=f"a3c-worker-{worker}", daemon=True
        )
        thread.start()

    def listen(self, seconds: float) -> list[Event]:
        """What was heard, waiting for so long if there is nothing."""
        try:
            return [self._heard.get(timeout=seconds)]
        except queue.Empty:
            return []

    def stack_of(self, worker: int) -> str:
        """The function that a silent worker is in."""
        frame = sys._current_frames().get(self._threads[worker].ident or 0)
        return "its thread is gone" if frame is None else describe_stack(traceback.extract_stack(frame))

    def lock_holder(self) -> int | None:
        """None: no thread stops while it holds the lock."""
        return None

    def terminate(self, worker: int) -> None:
        """Leave a hanging worker behind: a thread cannot be ended, but what it still brings is not wanted."""
        self._stores[worker].revoked = True

    # -- in the worker's thread -----------------------------------------------------------------------------

    def _main(self, worker: int, restart: int, store: "WorkerStore | WorkerClient") -> None:
        """The life of a worker thread."""
        try:
            sampler = self._program.make_sampler(
                worker,
                restart,
                lambda fault: self._heard.put(Event("fault", worker, fault)),
                store.show_life,
            )
            self._samplers.append((threading.current_thread(), sampler))
            self._heard.put(Event("ready", worker))
            work(store, sampler, self._program.learn)
            event = Event("left", worker)
        except BaseException:  # also what an environment raises to end a process
            event = Event("lost", worker, (f"worker {worker} failed", traceback.format_exc()))
        if not store.revoked:
            self._heard.put(event)
