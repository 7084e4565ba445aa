"""The master: sets a run up or picks one up, watches the workers, judges, and decides when to stop.

Called by the command line and by `Agent.fit`.
"""

import contextlib
import dataclasses
import gc
import sys
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from a3c import backend, engines
from a3c.algorithms.optimizers import make_optimizer
from a3c.backend import cache
from a3c.config import Config
from a3c.engines.supervision import Diverged, HeartbeatMonitor, format_seconds
from a3c.envs import Environment
from a3c.envs.faults import Fault
from a3c.errors import RunError, UsageError
from a3c.evaluation.evaluator import Abandoned
from a3c.training import checkpoint, resumption, run_directory
from a3c.training.display import Display, QuietDisplay
from a3c.training.interrupts import Interrupts
from a3c.training.metrics import FEWEST, MetricsSnapshot, TrainingMetrics
from a3c.training.recorder import Recorder
from a3c.training.resolve import make_model, resolve_config
from a3c.training.resumption import Resumed
from a3c.types import Report

if TYPE_CHECKING:
    from a3c.engines.spec import WorkerSpec

Ending = Literal["solved", "limit", "interrupted", "failed"]


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    summary: dict[str, Any]
    """The keys of `--json`; see `docs/json.md`."""
    statistics: TrainingMetrics
    model: Any
    """The network with the best weights: a `keras.Model`."""
    interrupted: bool


def train(
    config: Config,
    *,
    environment: Environment | None = None,
    model: Any = None,
    optimizer: Any = None,
    display: Display | None = None,
    process_started: float | None = None,
    resume: Path | None = None,
) -> Result:
    """Train as `config` says until the environment is solved or a limit is reached.

    Args:
        config: The settings.
        environment: What `config` was settled for; default: settle it here.
        model: A `keras.Model` of the user's own; default: what the settings describe.
        optimizer: A `keras.optimizers.Optimizer`; default: what the settings describe.
        display: Shows the progress; default: nothing.
        process_started: `time.monotonic()` from which `solved_seconds` and `wall_seconds` count;
            default: now.
        resume: The directory of a run to go on with; default: make a new one.

    Raises:
        UsageError: for settings that cannot be carried out; nothing has been started then.
        RunError: after more faults than the settings allow; what was learned until then is saved.
    """
    started = time.monotonic() if process_started is None else process_started
    if environment is None:
        config, environment = resolve_config(config)
    engines.prepare(config)
    display = display or QuietDisplay()
    kept = cache.directory() if config.cache else None
    if config.cache and kept is None:
        display.note("Compiled programs are not kept: the cache directory cannot be written to (--no-cache).")
    framework = backend.load(engines.compute_threads(config), kept, engines.accelerated(config))
    from a3c.engines.spec import WorkerSpec

    if resume is not None and model is None:
        model = resumption.load_model(resume, config)
    network = make_model(config, environment, model)
    if resume is not None and optimizer is None:
        optimizer = resumption.load_optimizer(resume)
    worker_spec = WorkerSpec.of(
        config, environment, network, make_optimizer(config) if optimizer is None else optimizer
    )
    directory = run_directory.create(config, sys.argv) if resume is None else resume
    with contextlib.ExitStack() as stack:
        stack.callback(display.close)
        stack.enter_context(run_directory.locked(directory))
        start = resumption.begin if resume is None else resumption.load
        resumed = start(directory, worker_spec, network, optimizer)
        worker_spec = dataclasses.replace(worker_spec, resumed=resumed.count)
        run = _Run(worker_spec, framework, network, directory, display, started, resumed)
        stack.enter_context(run.interrupts)
        return run.execute()


_HOPELESS_STEPS, _HOPELESS_SECONDS = 200_000, 45.0
"""When it is told that all episodes were the same."""
_STATUS_INTERVAL = 0.05  # seconds
_WRITE_INTERVAL = 0.5
_FIRST_PLOT = 30.0
"""Seconds of training before the first picture: it imports Matplotlib, which takes a second."""
_BEST_INTERVAL = 1.0
_CHECKPOINT_SHARE = 0.01
"""How much of the time copying the state for checkpoints may take: where it is much, they come less often."""


class _Run:
    """One run under way: the master's state, and the `RunListener` of its engine."""

    def __init__(
        self,
        worker_spec: "WorkerSpec",
        framework: ModuleType,
        model: Any,
        directory: Path,
        display: Display,
        started: float,
        resumed: Resumed,
    ):
        from a3c.networks.functional import Network
        from a3c.networks.parameters import non_trainable_of

        self._spec, self._config, self._environment, self._model = (
            worker_spec,
            worker_spec.config,
            worker_spec.environment,
            model,
        )
        self._display, self._started, self._framework = display, started, framework
        self._network = Network(
            model, non_trainable_of(model), worker_spec.environment.observations, worker_spec.normaliser
        )
        self._resumed = resumed
        self._statistics = resumed.statistics
        self._baseline, self._reached_seconds = resumed.baseline, resumed.reached_seconds
        self._solved = resumed.solved
        self._recorder = Recorder(directory, worker_spec.config, display.warn)
        self._engine: engines.Engine | None = None
        self._trained: float | None = None
        self._baseline_future: Future[Any] | None = None
        self._evaluating: Future[Any] | None = None
        self._monitor = HeartbeatMonitor(1, worker_spec.config.hang_seconds)
        self._next_status = self._next_write = 0.0
        self._next_plot = resumed.seconds + _FIRST_PLOT
        self._next_checkpoint = resumed.seconds + worker_spec.config.checkpoint_seconds
        self._best_is_new = self._cannot_save_environment = self._told_not_finite = False
        self._looked_for_signal = False
        self.interrupts = Interrupts(self._end_at_once)

    # -- the course of a run --------------------------------------------------------------------------------

    def execute(self) -> Result:
        """Train, then judge and save."""
        for problem in self._resumed.notes:
            self._recorder.event(problem)
        failure = None
        try:
            engine = self._prepare()
            try:
                self._begin_judgement()
                gc.freeze()  # else collections walk all of Keras again and again, with every thread waiting
                engine.run(self)
            except RunError as error:
                failure = error
        finally:
            self._trained = self._seconds()
            gc.unfreeze()
            if self._engine is not None:
                self._engine.close()
        return self._finish(failure)

    def _prepare(self) -> engines.Engine:
        """Start the workers; meanwhile set up what watches them."""
        from a3c.evaluation.evaluator import make_evaluator
        from a3c.evaluation.selection import ModelSelector

        config, resumed = self._config, self._resumed
        assert config.seed is not None
        weights = resumed.contents.weights
        self._engine = engines.start(self._spec, self._network, resumed.contents, resumed.sampler)
        if self._solved:
            self._engine.store.stop()
        self._selector = ModelSelector(
            evaluator=make_evaluator(
                self._environment,
                self._network,
                config.evaluation_episodes,
                self._spec.algorithm.values,
                config.eager,
            ),
            explores=self._spec.algorithm.values,
            threshold=config.stop_return,
            seed=config.seed,
            # Eager code runs Keras itself, which is not for two threads at once.
            concurrent=config.engine != "serial" and not config.eager,
            max_failures=config.max_restarts,
            tell=self._recorder.event,
            mode=config.evaluation_mode,
        )
        self._recorder.open(resumed.files, self._statistics.episodes)
        if resumed.files is None:
            self._checkpoint()  # from the first moment on there is something to go on from
        self._selector.warm_up(weights)
        self.interrupts.defer(self._selector.abandon)
        return self._engine

    def _begin_judgement(self) -> None:
        """Have random play judged, and what was under judgement when the run was stopped."""
        resumed = self._resumed
        if self._baseline is None:
            self._baseline_future = self._selector.baseline(resumed.contents.weights)
        if resumed.selector is not None:
            self._selector.restore(resumed.selector)
            self._take_verdict()

    def _finish(self, failure: RunError | None) -> Result:
        """Save where the run stands, choose and judge the best parameters, and sum the run up."""
        assert self._engine is not None
        for report in self._engine.store.reports():
            self._statistics.add(report, self._seconds())
        last = self._engine.store.weights()
        if isinstance(failure, Diverged):
            last = self._last_good(last)
        else:
            self._checkpoint()
        evaluation = None
        try:
            evaluation = None if failure else self._judge_at_the_end(last)
        except RunError as error:
            failure = error
        self._selector.close()
        best = self._selector.best
        interrupted = self.interrupts.requested
        summary = self._summary(evaluation, _ending(self._solved, interrupted, failure))
        try:
            self._recorder.finish_checkpoint()
            self._recorder.write(self._statistics, self._status(self._seconds()))
            self._recorder.save("last.keras", self._model, last, self._card(None))
            chosen = last if best is None else best.candidate.weights
            self._recorder.save("best.keras", self._model, chosen, self._card(evaluation))
            self._plot()
            self._recorder.result(summary)
        except OSError as error:
            failure = failure or RunError(f"The agent cannot be saved: {error.strerror or error}.")
        self._recorder.close()
        self._display.show(self._status(self._seconds()), final=True)
        if failure:
            directory = self._recorder.directory
            saved = f"What was learned until then is saved in {directory}; go on with: a3c resume {directory}"
            raise RunError(f"{failure}\n{saved}") from failure
        return Result(summary, self._statistics, self._model, interrupted)

    def _judge_at_the_end(self, last: np.ndarray) -> Any:
        """Let the last parameters compete with the best so far, then evaluate the best with fresh seeds."""
        if self.interrupts.requested:
            return None
        self._await_verdict()
        if not self._solved:
            self._submit(last)
            self._await_verdict()
        best = self._selector.best
        self._take_baseline(wait=True)
        final = self._selector.final(last if best is None else best.candidate.weights)
        with contextlib.suppress(Abandoned):
            return self._await(final)
        return None

    def _await_verdict(self) -> None:
        while self._selector.pending:
            self._take_verdict()
            self._look_after_judge()
            time.sleep(0.001)

    def _await(self, future: "Future[Any]") -> Any:
        """The result of an evaluation, as long as that does not hang."""
        self._evaluating = future
        while not future.done():
            self._look_after_judge()
            time.sleep(0.001)
        return future.result()

    def _look_after_judge(self) -> None:
        """Tell of an evaluation that hangs, and give up on it.

        Raises:
            RunError: after `hang_seconds`.
        """
        futures = (self._baseline_future, self._evaluating)
        busy = self._selector.pending or any(f is not None and not f.done() for f in futures)
        tell, end = self._monitor.look([self._selector.beat], [0] if busy else [])
        if not busy:
            self._monitor.forget(0)
        for seconds in [*tell.values(), *end.values()]:
            text = f"an evaluation has not moved for {format_seconds(seconds)}; {self._selector.stack_of()}"
            if end:
                raise RunError(text)
            self._recorder.event(text)

    def _last_good(self, last: np.ndarray) -> np.ndarray:
        """The parameters of the newest checkpoint, where the present ones lead nowhere."""
        self._recorder.finish_checkpoint()
        with contextlib.suppress(UsageError):
            _, state, _ = checkpoint.newest(self._recorder.checkpoints)
            if state:
                return state["store"]["weights"]
        return last

    def _end_at_once(self) -> None:
        """End the workers without waiting for anything."""
        from a3c.engines.processes import ProcessEngine

        if isinstance(self._engine, ProcessEngine):
            self._engine.kill()

    # -- while the workers train ----------------------------------------------------------------------------

    def on_report(self, report: Report) -> None:
        """Take in what a worker has done, and have the judge look at the parameters when it is time."""
        assert self._engine is not None
        statistics = self._statistics
        statistics.add(report, self._seconds())
        if self.interrupts.requested:
            self._engine.store.stop()
            return
        due = self._selector.due(statistics.steps, statistics.mean_return_100)
        if (due or self._selector.pending) and self._selector.reached(statistics.mean_return_100):
            self._engine.store.pause(True)  # training waits for a verdict that may end it
        if due:
            self._submit(self._engine.store.weights())
            if self._spec.algorithm.gathers == "gradients":
                self._await_verdict()  # in step, what is decided must not depend on how long that takes
            self._take_verdict()

    def on_event(self, text: str) -> None:
        """Tell the user, and the log."""
        self._recorder.event(text)

    def on_fault(self, worker: int, fault: Fault) -> Path:
        """Keep the card of an environment's fault."""
        return self._recorder.card(worker, fault)

    def beat(self) -> int:
        """Grows while an evaluation moves."""
        return self._selector.beat

    def on_tick(self) -> None:
        """Do what is due: verdicts, checkpoints, the display, files, the picture."""
        assert self._engine is not None
        if self.interrupts.requested:
            self._engine.store.stop()
            return
        self._take_verdict()
        self._take_baseline(wait=False)
        self._look_after_judge()
        seconds = self._seconds()
        self._look_for_signal(seconds)
        if seconds >= self._next_checkpoint and not self._recorder.busy:
            self._checkpoint()
            seconds = self._seconds()
        if seconds < self._next_status:
            return
        self._next_status = seconds + _STATUS_INTERVAL
        self._display.show(self._status(seconds))
        if seconds >= self._next_write:
            self._recorder.write(self._statistics, self._status(seconds))
            self._next_write = seconds + max(_WRITE_INTERVAL, 0.02 * seconds)
        if seconds >= self._next_plot:
            before = time.monotonic()
            self._plot()
            self._next_plot = seconds + 100 * (time.monotonic() - before)  # a hundredth of the time

    def _look_for_signal(self, seconds: float) -> None:
        """Say once, and early, where there has been nothing to learn from."""
        statistics = self._statistics
        early = statistics.steps < _HOPELESS_STEPS and seconds < _HOPELESS_SECONDS
        if self._looked_for_signal or early or statistics.episodes < FEWEST:
            return
        self._looked_for_signal = True
        if (sentence := statistics.nothing_to_learn_from()) is not None:
            self._recorder.event(sentence)

    def _submit(self, weights: np.ndarray) -> None:
        """Have the judge evaluate `weights`."""
        from a3c.evaluation.selection import Candidate

        reached = self._selector.decides(self._statistics.mean_return_100)
        if reached:
            self._reached_seconds = self._wall_seconds()
        self._selector.submit(Candidate(weights, self._statistics.steps, reached))

    def _take_verdict(self) -> None:
        assert self._engine is not None
        if not self._selector.pending:
            return
        if (outcome := self._selector.outcome()) is not None:
            self._heed(outcome)
        if not self._selector.pending:  # or was given up, by a signal: who waits must see the end
            self._engine.store.pause(False)

    def _heed(self, outcome: Any) -> None:
        """End the training, or keep the best agent so far."""
        assert self._engine is not None
        if self._selector.solves(outcome):
            self._solved = True
            self._engine.store.stop()
        elif outcome is self._selector.best:
            card = self._card(outcome.evaluation)
            self._recorder.try_to_save("best.keras", self._model, outcome.candidate.weights, card)
            self._best_is_new = True
            self._next_checkpoint = min(self._next_checkpoint, self._seconds() + _BEST_INTERVAL)

    def _take_baseline(self, wait: bool) -> None:
        future = self._baseline_future
        if self._baseline is None and future is not None and (wait or future.done()):
            with contextlib.suppress(Abandoned):
                self._baseline = self._await(future).mean

    def _checkpoint(self) -> None:
        """Save where the run stands: what was counted, and what was learned from exactly that."""
        assert self._engine is not None
        before = time.monotonic()
        reports, contents = self._engine.store.snapshot()
        for report in reports:
            self._statistics.add(report, self._seconds())
        seconds = self._seconds()
        finite = resumption.is_finite(contents)
        if not (finite or self._told_not_finite):
            self._told_not_finite = True
            self._recorder.event("parameters that are no numbers are not kept: no checkpoints from here on")
        if self._recorder.write(self._statistics, self._status(seconds)) and finite:
            state = dict(
                about=resumption.describe(self._spec, self._model),
                store=contents.as_tree(),
                statistics=self._statistics.state(),
                selector=self._selector.state(),
                sampler=self._sampler_state(),
                seconds=seconds,
                wall_seconds=self._wall_seconds(),
                baseline=self._baseline,
                reached_seconds=self._reached_seconds,
                solved=self._solved,
                goal=self._config.stop_return,
                count=self._resumed.count,
            )
            self._recorder.checkpoint(contents.steps, state, self._best_is_new)
            self._best_is_new = False
        cost = time.monotonic() - before
        self._next_checkpoint = seconds + max(self._config.checkpoint_seconds, cost / _CHECKPOINT_SHARE)

    def _sampler_state(self) -> Any:
        """Where the serial engine's worker stands, or None where that cannot be told."""
        from a3c.engines.serial import SerialEngine
        from a3c.envs.state import Unsaveable

        if not isinstance(self._engine, SerialEngine) or self._cannot_save_environment:
            return None
        try:
            return self._engine.sampler_state()
        except Unsaveable as reason:
            self._cannot_save_environment = True
            self._recorder.event(f"{reason}: if this run is resumed, its episodes begin anew")
            return None

    # -- figures --------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        """Seconds of training so far, or until it ended."""
        if self._trained is not None:
            return self._trained
        started = None if self._engine is None else self._engine.training_started
        return self._resumed.seconds + (0.0 if started is None else time.monotonic() - started)

    def _wall_seconds(self) -> float:
        """Seconds since the process started, and those of the processes before it."""
        return self._resumed.wall_seconds + time.monotonic() - self._started

    def _status(self, seconds: float) -> MetricsSnapshot:
        best = self._selector.best
        return self._statistics.status(
            seconds,
            best=None if best is None else best.mean,
            baseline=self._baseline,
            seconds_left=self._seconds_left(seconds),
        )

    def _seconds_left(self, seconds: float) -> float | None:
        """Until the first limit is reached, at the mean speed so far."""
        config, statistics = self._config, self._statistics
        progress = [
            done / limit
            for done, limit in (
                (statistics.steps, config.max_steps),
                (statistics.episodes, config.max_episodes),
            )
            if limit is not None
        ]
        if not progress or max(progress) <= 0:
            return None
        return seconds * max(0.0, 1 / max(progress) - 1)

    def _plot(self) -> None:
        title = f"{self._config.algorithm.upper()} on {self._environment.id}"
        self._recorder.plot(self._statistics, title, self._config.stop_return, self._baseline)

    def _card(self, evaluation: Any) -> dict[str, Any]:
        from a3c.networks import saved_model

        return saved_model.describe(
            self._config, self._model, evaluation, self._statistics.steps, self._baseline
        )

    def _summary(self, evaluation: Any, ended: Ending) -> dict[str, Any]:
        config, statistics = self._config, self._statistics
        mean = statistics.mean_return_100
        seconds = self._seconds()
        reached = self._reached_seconds if self._solved else None
        return dict(
            run_dir=str(self._recorder.directory),
            env_id=config.env_id,
            algorithm=config.algorithm,
            backend=config.backend,
            engine=config.engine,
            workers=config.workers,
            seed=config.seed,
            solved=self._solved,
            episodes=statistics.episodes,
            steps=statistics.steps,
            updates=statistics.updates,
            train_seconds=round(seconds, 4),
            solved_seconds=None if reached is None else round(reached, 4),
            wall_seconds=round(self._wall_seconds(), 4),
            steps_per_second=round(statistics.steps / seconds, 1) if seconds else 0.0,
            mean_return_100=None if mean is None else round(mean, 4),
            evaluation=None if evaluation is None else evaluation.as_dict(),
            random_baseline=None if self._baseline is None else round(self._baseline, 4),
            ended=ended,
            skipped_updates=statistics.skipped,
        )


def _ending(solved: bool, interrupted: bool, failure: RunError | None) -> Ending:
    if failure:
        return "failed"
    return "solved" if solved else "interrupted" if interrupted else "limit"
