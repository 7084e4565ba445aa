"""The master: sets a run up, watches the workers, judges, decides when to stop, and writes everything down.

Called by the command line and by `Agent.fit`.
"""

import dataclasses
import gc
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from a3c import backend, engines, runs
from a3c.backend import cache
from a3c.config import Config
from a3c.display import Display, Silent
from a3c.envs import Environment
from a3c.errors import RunError
from a3c.metrics import Statistics, Status, Writer
from a3c.setup import make_model, make_optimizer, settle
from a3c.types import Report

if TYPE_CHECKING:
    from a3c.engines.job import Job


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    summary: dict[str, Any]
    """The keys of `--json`; see `docs/json.md`."""
    statistics: Statistics
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

    Raises:
        UsageError: for settings that cannot be carried out; nothing has been started then.
        RunError: when a worker failed; what was learned until then is saved.
    """
    started = time.monotonic() if process_started is None else process_started
    if environment is None:
        config, environment = settle(config)
    engines.prepare(config)
    display = display or Silent()
    kept = cache.directory() if config.cache else None
    if config.cache and kept is None:
        display.note("Compiled programs are not kept: the cache directory cannot be written to (--no-cache).")
    framework = backend.load(engines.compute_threads(config), kept)
    from a3c.engines.job import Job

    network = make_model(config, environment, model)
    job = Job.of(config, environment, network, make_optimizer(config) if optimizer is None else optimizer)
    directory = runs.create(config, sys.argv)
    try:
        return _Run(job, framework, network, directory, display, started).execute()
    finally:
        display.close()


_STATUS_INTERVAL = 0.05  # seconds
_WRITE_INTERVAL = 0.5
_FIRST_PLOT = 30.0
"""Seconds of training before the first picture: it imports Matplotlib, which takes a second."""


class _Run:
    """One run under way: the master's state."""

    def __init__(
        self,
        job: "Job",
        framework: ModuleType,
        model: Any,
        directory: Path,
        display: Display,
        started: float,
    ):
        from a3c.flat import Network, fixed_of, parameters_of

        self._job, self._config, self._environment, self._model = job, job.config, job.environment, model
        self._directory, self._display, self._started = directory, display, started
        self._framework = framework
        self._first_weights = parameters_of(model)
        self._network = Network(model, fixed_of(model))
        self._statistics = Statistics()
        self._baseline: float | None = None
        self._reached_seconds: float | None = None
        self._solved = False
        self._next_status = self._next_write = 0.0
        self._next_plot = _FIRST_PLOT

    # -- the course of a run --------------------------------------------------------------------------------

    def execute(self) -> Result:
        """Train, then judge and save."""
        self._engine = engines.start(self._job, self._network, self._first_weights)
        interrupted, failure = False, None
        try:
            self._prepare_judgement()
            gc.freeze()  # else collections walk all of Keras again and again, with every thread waiting
            try:
                self._engine.run(self._on_report, self._on_tick)
            except KeyboardInterrupt:
                interrupted = True
                self._engine.drain(self._on_last_report)
        except RunError as error:
            failure = error
        finally:
            self._train_seconds = self._seconds()
            gc.unfreeze()
            self._engine.close()
        return self._finish(interrupted, failure)

    def _prepare_judgement(self) -> None:
        """Set up, while the workers do the same, what watches them."""
        from a3c.evaluate import make_evaluator
        from a3c.judge import Judge

        config = self._config
        assert config.seed is not None
        self._judge = Judge(
            evaluator=make_evaluator(
                self._environment, self._network, config.evaluation_episodes, config.eager
            ),
            threshold=config.stop_return,
            seed=config.seed,
            # Eager code runs Keras itself, which is not for two threads at once.
            concurrent=config.engine != "serial" and not config.eager,
        )
        self._judge.warm_up(self._first_weights)
        self._baseline_future = self._judge.baseline(self._first_weights)
        self._writer = Writer(self._directory)

    def _finish(self, interrupted: bool, failure: RunError | None) -> Result:
        """Save the last parameters, choose and judge the best ones, and sum the run up."""
        last = self._engine.store.weights()
        if not (interrupted or failure):
            self._judge_last(last)
        best = self._judge.best
        self._save("last.keras", last, None)
        weights = last if best is None else best.candidate.weights
        evaluation = None if interrupted or failure else self._judge.final(weights)
        self._save("best.keras", weights, evaluation)
        if not (interrupted or failure):
            self._take_baseline(wait=True)
        self._judge.close()
        self._write()
        self._writer.close()
        self._plot()
        summary = self._summary(evaluation)
        (self._directory / "result.json").write_text(json.dumps(summary, indent=2) + "\n")
        self._display.show(self._status(self._train_seconds), final=True)
        if failure:
            raise RunError(
                f"{failure}\nWhat was learned until then is saved in {self._directory}."
            ) from failure
        return Result(summary, self._statistics, self._model, interrupted)

    def _judge_last(self, last: np.ndarray) -> None:
        """Let the last parameters compete with the best so far, unless the run ended because it solved."""
        self._await_verdict()
        if not self._solved:
            self._submit(last)
            self._await_verdict()

    def _await_verdict(self) -> None:
        while self._judge.pending:
            self._take_verdict()
            time.sleep(0.001)

    # -- while the workers train ----------------------------------------------------------------------------

    def _on_report(self, report: Report) -> None:
        statistics = self._statistics
        statistics.add(report, self._seconds())
        due = self._judge.due(statistics.steps, statistics.mean_return_100)
        if (due or self._judge.pending) and self._judge.reached(statistics.mean_return_100):
            self._engine.store.hold(True)  # training waits for a verdict that may end it
        if due:
            self._submit(self._engine.store.weights())
            self._take_verdict()

    def _on_last_report(self, report: Report) -> None:
        """Take in what workers still had to say when the run was stopped."""
        self._statistics.add(report, self._seconds())

    def _submit(self, weights: np.ndarray) -> None:
        """Have the judge evaluate `weights`."""
        from a3c.judge import Candidate

        reached = self._judge.reached(self._statistics.mean_return_100)
        if reached:
            self._reached_seconds = time.monotonic() - self._started
        self._judge.submit(Candidate(weights, self._statistics.steps, reached))

    def _on_tick(self) -> None:
        self._take_verdict()
        self._take_baseline(wait=False)
        seconds = self._seconds()
        if seconds < self._next_status:
            return
        self._next_status = seconds + _STATUS_INTERVAL
        self._display.show(self._status(seconds))
        if seconds >= self._next_write:
            self._write()
            self._next_write = seconds + max(_WRITE_INTERVAL, 0.02 * seconds)
        if seconds >= self._next_plot:
            before = time.monotonic()
            self._plot()
            self._next_plot = seconds + 100 * (time.monotonic() - before)  # a hundredth of the time

    def _take_verdict(self) -> None:
        verdict = self._judge.verdict()
        if verdict is None:
            return
        if self._judge.solves(verdict):
            self._solved = True
            self._engine.store.stop()
        elif verdict is self._judge.best:
            self._save("best.keras", verdict.candidate.weights, verdict.evaluation)
        self._engine.store.hold(False)

    def _take_baseline(self, wait: bool) -> None:
        if self._baseline is None and (wait or self._baseline_future.done()):
            self._baseline = self._baseline_future.result().mean

    def _seconds(self) -> float:
        """Seconds of training so far."""
        started = self._engine.training_started
        return 0.0 if started is None else time.monotonic() - started

    def _status(self, seconds: float) -> Status:
        best = self._judge.best
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

    # -- files ----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        self._writer.write(self._statistics, self._status(self._seconds()))

    def _plot(self) -> None:
        from a3c.metrics import EPISODE_COLUMNS
        from a3c.plotting import Curve, learning_curve

        rows = [[float("nan") if v is None else v for v in row] for row in self._statistics.rows]
        if rows:
            columns = {name: column for name, *column in zip(EPISODE_COLUMNS, *rows, strict=True)}
            curve = Curve(self._directory.name, columns)
            title = f"{self._config.algorithm.upper()} on {self._environment.id}"
            path = self._directory / "learning_curve.png"
            learning_curve([curve], path, title, self._config.stop_return, self._baseline)

    def _save(self, name: str, weights: np.ndarray, evaluation: Any) -> None:
        from a3c import checkpoint
        from a3c.flat import assign_parameters

        assign_parameters(self._model, weights)
        checkpoint.save_model(self._directory / name, self._model, self._card(evaluation))

    def _card(self, evaluation: Any) -> dict[str, Any]:
        return agent_card(self._config, self._model, evaluation, self._statistics.steps, self._baseline)

    def _summary(self, evaluation: Any) -> dict[str, Any]:
        config, statistics = self._config, self._statistics
        mean = statistics.mean_return_100
        seconds = self._train_seconds
        return dict(
            run_dir=str(self._directory),
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
            solved_seconds=round(self._reached_seconds, 4)
            if self._solved and self._reached_seconds
            else None,
            wall_seconds=round(time.monotonic() - self._started, 4),
            steps_per_second=round(statistics.steps / seconds, 1) if seconds else 0.0,
            mean_return_100=None if mean is None else round(mean, 4),
            evaluation=None if evaluation is None else evaluation.as_dict(),
            random_baseline=None if self._baseline is None else round(self._baseline, 4),
        )


def agent_card(
    config: Config, model: Any, evaluation: Any, steps: int, baseline: float | None
) -> dict[str, Any]:
    """What an agent's file says of itself."""
    cls = type(model)
    own = not cls.__module__.startswith(("a3c.", "keras."))
    return dict(
        env_id=config.env_id,
        algorithm=config.algorithm,
        steps=steps,
        model=f"{cls.__module__}:{cls.__qualname__}" if own else None,
        settings={k: v for k, v in dataclasses.asdict(config).items() if v is not None},
        versions=runs.versions(),
        evaluation=None if evaluation is None else evaluation.as_dict(),
        random_baseline=baseline,
    )
