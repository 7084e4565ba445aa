"""The serial engine: one worker in this process. The same seed gives the same run, bit for bit."""

import contextlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import Any

from a3c import backend
from a3c.engines.monitors import HeartbeatMonitor
from a3c.engines.programs import make_program
from a3c.engines.spec import WorkerSpec
from a3c.engines.stores import StoreState
from a3c.engines.stores.factory import make_local_store
from a3c.engines.stores.local import WorkerStore
from a3c.engines.supervision import Faults, RunListener, check_divergence, format_seconds
from a3c.engines.worker import work
from a3c.envs.vector_sampler import Sampler
from a3c.errors import RunError, describe_stack, first_line
from a3c.networks.functional import Network
from a3c.utils.schema import find_wrong, like

_TICK = 0.05  # seconds


class SerialEngine:
    """Runs the worker cycle on the calling thread; see `engines.Engine`."""

    def __init__(
        self, worker_spec: WorkerSpec, network: Network, contents: StoreState, sampler_state: Any = None
    ):
        framework = backend.load()
        self._config = worker_spec.config
        # The worker's program first: it takes longest, and compiles while the rest is made.
        self._program = make_program(worker_spec, framework, network, contents.weights)
        self.store = make_local_store(worker_spec, framework, network, contents)
        self.training_started: float | None = None
        self.sampler: Sampler | None = None
        self._state, self._restarts = sampler_state, 0

    def run(self, listener: RunListener) -> None:
        """Train until the store says that training is over."""
        self._listener, self._faults = listener, Faults(self._config.max_restarts, listener)
        self._next_tick = 0.0
        self._make_sampler()
        self._program.wait()
        self.training_started = time.monotonic()
        with self._monitor():
            while True:
                assert self.sampler is not None
                try:
                    store = WorkerStore(self.store, 0, between=self._tick, after=self._pushed)
                    return work(store, self.sampler, self._program.learn)
                except RunError:
                    raise
                except Exception:
                    self._faults.lost("worker 0 failed", traceback.format_exc())
                self._restarts += 1
                self._make_sampler()

    def sampler_state(self) -> Any:
        """Where the worker stands between two updates, as a plain tree; None before it was started."""
        return None if self.sampler is None else self.sampler.state()

    def kill(self) -> None:
        """The worker ends with the process."""

    def close(self) -> None:
        """Close the environments."""
        self.store.stop()
        if self.sampler is not None:
            self.sampler.close()

    def _make_sampler(self) -> None:
        before, self.sampler = self.sampler, None
        if before is not None:
            with contextlib.suppress(Exception):  # it has failed already
                before.close()
        self.sampler = self._fresh_sampler()
        if self._state is not None:
            state, self._state = self._state, None
            self._listener.on_event(self._take_up(state) or "it goes on exactly where it stood")

    def _fresh_sampler(self) -> Sampler:
        on_fault, on_step = partial(self._faults.environment, 0), partial(self.store.activity.show_life, 0)
        return self._program.make_sampler(0, self._restarts, on_fault, on_step)

    def _take_up(self, state: Any) -> str:
        """Let the sampler go on from `state`, which may come from others; returns as `Sampler.restore`."""
        assert self.sampler is not None
        try:
            if wrong := find_wrong(state, like(self.sampler.state(), skip="environments"), "the sampler"):
                raise ValueError(wrong)
            return self.sampler.restore(state)
        except RunError:
            raise
        except Exception as error:  # whatever a foreign state leads to
            with contextlib.suppress(Exception):
                self.sampler.close()
            self._restarts += 1  # else its random numbers would be those of the beginning
            self.sampler = self._fresh_sampler()
            return f"episodes under way begin anew: their state does not fit ({first_line(error)})"

    def _pushed(self) -> None:
        """Report after every update: what the main process decides then must not depend on the clock."""
        for report in self.store.reports():
            self._listener.on_report(report)
        check_divergence(self.store, self._config)

    def _tick(self) -> None:
        """Let the main process do what is due; a checkpoint is whole only between two rollouts."""
        if (now := time.monotonic()) >= self._next_tick:
            self._listener.on_tick()
            self._next_tick = now + _TICK

    @contextlib.contextmanager
    def _monitor(self) -> Iterator[None]:
        """Watch this very thread from another one, and interrupt it if it hangs."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread can be interrupted
            return
        done, thread = threading.Event(), threading.get_ident()
        monitor = HeartbeatMonitor(1, self._config.hang_seconds)
        told = ""

        def watch() -> None:
            nonlocal told
            while not done.wait(0.5):
                tell, end = monitor.look([self.store.activity.heartbeats()[0] + self._listener.beat()], [0])
                for seconds in [*tell.values(), *end.values()]:
                    where = describe_stack(traceback.extract_stack(sys._current_frames()[thread]))
                    told = f"nothing finished for {format_seconds(seconds)}; {where}"
                    self._listener.on_event(f"worker 0: {told}")
                if end:
                    signal.pthread_kill(thread, signal.SIGALRM)
                    monitor.forget(0)

        def interrupt(number: int, frame: FrameType | None) -> None:
            raise TimeoutError(told)  # in an environment, this is a fault of it like any other

        before = signal.signal(signal.SIGALRM, interrupt)
        watching = threading.Thread(target=watch, name="a3c-watchdog", daemon=True)
        watching.start()
        try:
            yield
        finally:
            done.set()
            watching.join()
            signal.signal(signal.SIGALRM, before)
