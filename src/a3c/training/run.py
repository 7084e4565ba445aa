"""One run under way, as callbacks see it: its settings and figures, and what they may ask of it."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from a3c.config import Config
from a3c.engines.stores import StoreState
from a3c.engines.supervision import Diverged
from a3c.envs import Environment
from a3c.errors import A3CError, RunError, describe
from a3c.training.callbacks.base import Callback, Level
from a3c.training.interrupts import Interrupts
from a3c.training.place import Place
from a3c.utils.console import printable
from a3c.utils.serialization import check_plain

if TYPE_CHECKING:
    from a3c.engines import Engine
    from a3c.engines.spec import WorkerSpec
    from a3c.evaluation.evaluator import Evaluation
    from a3c.evaluation.selection import EvaluationOutcome
    from a3c.networks.functional import Network
    from a3c.training.metrics import TrainingMetrics
    from a3c.training.resumption import Resumed

Ending = Literal["solved", "limit", "stopped", "interrupted", "failed"]


class Run:
    """What there is to know of a run, and what may be asked of it, on the loop's thread.

    Attributes:
        config: The settings, with everything decided.
        environment: What it trains on.
        metrics: What was counted and measured so far.
        model: The `keras.Model` that agents are saved with. Its weights are not those that are trained:
            see `weights`.
        best: The best evaluation so far, with its parameters; None before the first.
        evaluation: The last one, of the best parameters with fresh seeds; None before the end.
        reason: Why the training was stopped; None: it was not, or by a limit.
        error: What ended it before its time.
        unsaved: A sentence for each of the last files that could not be written.
        begun: Whether its workers may have trained.
        raised_by_user: Whether `error` is from a callback of the user's.
    """

    def __init__(
        self,
        worker_spec: "WorkerSpec",
        network: "Network",
        directory: Path,
        resumed: "Resumed",
        callbacks: list[Callback],
        interrupts: Interrupts,
        started: float,
    ):
        self.spec, self.network, self.place = worker_spec, network, Place(directory, self.message)
        self.config: Config = worker_spec.config
        self.environment: Environment = worker_spec.environment
        self.model = network.model
        self.resumed, self.callbacks, self.interrupts = resumed, callbacks, interrupts
        self.metrics: TrainingMetrics = resumed.metrics
        self.metrics.max_steps, self.metrics.max_episodes = self.config.max_steps, self.config.max_episodes
        self.metrics.baseline = resumed.baseline
        self.engine: Engine | None = None
        self.best: EvaluationOutcome | None = None
        self.evaluation: Evaluation | None = None
        self.reason: str | None = "solved" if resumed.solved else None
        self.reached_seconds: float | None = resumed.reached_seconds
        self.error: BaseException | None = None
        self.raised_by_user = self.begun = False
        self.unsaved: list[str] = []
        self.last_weights: np.ndarray | None = None
        self.checkpoint_by: float | None = None
        self.failed: set[Callback] = set()
        self.result: dict[str, Any] = {}
        self._started, self._ended = started, None
        self._paused_by: set[object] = set()
        self._thread = threading.get_ident()
        self._messages: queue.SimpleQueue[tuple[Level, str]] = queue.SimpleQueue()
        self._overriding: dict[str, list[Callback]] = {}
        keys = [callback.state_key for callback in callbacks]
        self._states = {key: state for key, state in resumed.callbacks.items() if key in keys}

    # -- the state of things --------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where its files lie: also after somebody moved, removed or replaced the directory."""
        return self.place.path

    @property
    def diverged(self) -> bool:
        """Whether it ended by losses that were not finite."""
        return isinstance(self.error, Diverged)

    @property
    def solved(self) -> bool:
        """Whether the environment counts as solved."""
        return self.reason == "solved"

    @property
    def interrupted(self) -> bool:
        """Whether a signal asked the run to end."""
        return self.interrupts.requested

    @property
    def seconds(self) -> float:
        """Seconds of training so far, or until it ended."""
        if self._ended is not None:
            return self._ended
        started = None if self.engine is None else self.engine.training_started
        return self.resumed.seconds + (0.0 if started is None else time.monotonic() - started)

    @property
    def wall_seconds(self) -> float:
        """Seconds since the process started, and those of the processes before it."""
        return self.resumed.wall_seconds + time.monotonic() - self._started

    def weights(self) -> np.ndarray:
        """The global parameters of now, [P] float32."""
        assert self.engine is not None
        return self.engine.store.weights()

    def best_weights(self) -> np.ndarray:
        """The parameters of the best evaluation, [P] float32; without one, the last ones."""
        chosen = self.last_weights if self.best is None else self.best.candidate.weights
        return self.weights() if chosen is None else chosen

    def snapshot(self) -> StoreState:
        """Parameters, optimizer and counts of one moment; all that led to them is in `metrics` then."""
        assert self.engine is not None
        reports, state = self.engine.store.snapshot()
        for report in reports:
            self.add(report)
        return state

    # -- what may be asked of it ----------------------------------------------------------------------------

    def pause(self, owner: object) -> None:
        """Let the workers wait, until everybody who paused them has called `resume`."""
        self._paused_by.add(owner)
        self._hold()

    def resume(self, owner: object) -> None:
        """Let the workers go on, as far as `owner` is concerned."""
        self._paused_by.discard(owner)
        self._hold()

    def stop(self, reason: str) -> None:
        """End the training, but for what is under way. `solved` as a reason means what it says."""
        self.reason = self.reason or reason
        if self.engine is not None:
            self.engine.store.stop()

    def request_checkpoint(self, within: float = 0.0) -> None:
        """Have a checkpoint written in at most so many seconds."""
        by = self.seconds + within
        self.checkpoint_by = by if self.checkpoint_by is None else min(self.checkpoint_by, by)

    def message(self, text: str, level: Level = "warning") -> None:
        """Tell the user something. May be called from any thread."""
        text = printable(text, lines=True)
        here = threading.get_ident() == self._thread
        for callback in self._with("on_message"):
            if callback.any_thread:
                callback.on_message(self, level, text)
        self._messages.put((level, text))
        if here:
            self.deliver_messages()

    # -- for the loop ---------------------------------------------------------------------------------------

    def deliver_messages(self) -> None:
        """Hand messages to those callbacks that want them on the loop's thread."""
        while not self._messages.empty():
            level, text = self._messages.get()
            self._call([c for c in self._with("on_message") if not c.any_thread], "on_message", (level, text))

    def add(self, report: Any) -> None:
        """Take in a worker's report, and tell the callbacks."""
        self.metrics.add(report, self.seconds)
        self.tell("on_report", report)

    def tell(self, hook: str, *arguments: Any) -> None:
        """Call a hook of every callback. One that raises ends the run, and is called no more but to end."""
        self._call(self._with(hook), hook, arguments)

    def callback_states(self) -> dict[str, Any]:
        """The states of the callbacks for a checkpoint, after `on_snapshot`; if one fails, its last state.

        Raises:
            OSError: if a callback cannot bring to the disk what its state builds on.
        """
        for callback in self.callbacks:
            if callback in self.failed:
                continue
            try:
                callback.on_snapshot(self)
                state = callback.state_dict()
                check_plain(state, f"the state of callback {callback.state_key}")
            except OSError:
                raise
            except Exception as error:
                self._fail(callback, error)
            else:
                self._states[callback.state_key] = state
        return {key: state for key, state in self._states.items() if state is not None}

    def teardown(self) -> None:
        """Call `teardown` of every callback, also where one of them raises `KeyboardInterrupt`."""
        with contextlib.ExitStack() as stack:
            for callback in reversed(self._with("teardown")):  # the stack begins with the last one
                stack.callback(self._call, [callback], "teardown", ())

    def _with(self, hook: str) -> list[Callback]:
        """The callbacks that have this hook: those that override it."""
        if hook not in self._overriding:
            default = getattr(Callback, hook)
            self._overriding[hook] = [c for c in self.callbacks if getattr(type(c), hook) is not default]
        return self._overriding[hook]

    def _call(self, callbacks: list[Callback], hook: str, arguments: tuple) -> None:
        ending = hook in ("on_exception", "on_train_end", "teardown")
        for callback in callbacks:
            if callback in self.failed and not ending:
                continue
            try:
                getattr(callback, hook)(self, *arguments)
            except Exception as error:
                self._fail(callback, error)
            except BaseException as error:  # from then on, no signal raises one
                if not self.interrupts.deferred or hook == "teardown":
                    raise
                self._fail(callback, error)

    def _fail(self, callback: Callback, error: BaseException) -> None:
        self.failed.add(callback)
        if self.error is None:
            self.raised_by_user = not type(callback).__module__.startswith("a3c.training.")
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the training for this reason, if there was none before."""
        self.error = self.error or error
        with contextlib.suppress(Exception):  # a store that failed itself
            self.stop("failed")

    def attempt(self, step: Callable[[], Any]) -> None:
        """Carry out a step of the run; an error ends the training, but not what comes after the step."""
        try:
            step()
        except Exception as error:
            self.fail(error)

    @contextlib.contextmanager
    def saving(self, what: str) -> Iterator[None]:
        """Write one of the last files: an error ends the run as a failed one, but costs no other file."""
        try:
            yield
        except Exception as error:
            known = str(error) if isinstance(error, A3CError) else describe(error)
            why = (error.strerror or str(error)) if isinstance(error, OSError) else known
            self.unsaved.append(f"{what} cannot be saved: {why}.")
            failure = RunError(self.unsaved[-1])
            failure.__cause__ = error
            self.fail(failure)

    def end_clock(self) -> None:
        """From now on the seconds of training stay what they are."""
        self._ended = self.seconds

    def _hold(self) -> None:
        if self.engine is not None:
            self.engine.store.pause(bool(self._paused_by))

    # -- what it came to ------------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """The keys of `--json`; see `docs/json.md`."""
        config, metrics, seconds = self.config, self.metrics, self.seconds
        mean, reached = metrics.mean_return_100, self.reached_seconds if self.solved else None
        return dict(
            run_dir=str(self.directory),
            env_id=config.env_id,
            algorithm=config.algorithm,
            backend=config.backend,
            engine=config.engine,
            workers=config.workers,
            seed=config.seed,
            solved=self.solved,
            episodes=metrics.episodes,
            steps=metrics.steps,
            updates=metrics.updates,
            train_seconds=round(seconds, 4),
            solved_seconds=None if reached is None else round(reached, 4),
            wall_seconds=round(self.wall_seconds, 4),
            steps_per_second=round(metrics.steps / seconds, 1) if seconds else 0.0,
            mean_return_100=None if mean is None else round(mean, 4),
            evaluation=None if self.evaluation is None else self.evaluation.as_dict(),
            random_baseline=None if metrics.baseline is None else round(metrics.baseline, 4),
            ended=self._ending(),
            skipped_updates=metrics.skipped,
        )

    def _ending(self) -> Ending:
        if self.error is not None:
            return "failed"
        if self.solved or self.interrupted:
            return "solved" if self.solved else "interrupted"
        return "limit" if self.reason is None else "stopped"
