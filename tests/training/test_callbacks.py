"""Callbacks: what they are told, in which order, what they may ask for, and what becomes of their errors."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import a3c
from a3c.evaluation import evaluator
from a3c.evaluation.evaluator import VectorPlayer
from a3c.networks.parameters import parameters_of
from a3c.training import checkpoint
from a3c.training.callbacks.agents import SaveAgents
from a3c.training.callbacks.csv_file import EpisodesCsv
from a3c.training.metrics import EPISODE_COLUMNS, EpisodeHistory, TrainingMetrics
from a3c.types import Episode, Report

SERIAL = dict(engine="serial", seed=1, preset="none", algorithm="a3c")


class Recorder(a3c.Callback):
    """Keeps the names of the hooks in the order of their calls, and what it is given."""

    def __init__(self):
        self.calls, self.messages, self.summary = [], [], {}

    def setup(self, run):
        self.calls.append("setup")

    def on_train_begin(self, run):
        self.calls.append("on_train_begin")

    def on_report(self, run, report):
        assert run.metrics.steps >= report.steps
        assert len(run.metrics.latest) == len(report.episodes)
        self.calls.append("on_report")

    def on_evaluation_begin(self, run, candidate):
        self.calls.append("on_evaluation_begin")

    def on_evaluation_end(self, run, outcome, is_best):
        self.calls.append("on_evaluation_end")
        assert not is_best or run.best is outcome

    def on_checkpoint(self, run, path):
        assert path.exists()
        self.calls.append("on_checkpoint")

    def on_message(self, run, level, text):
        self.messages.append((level, text))

    def on_train_end(self, run):
        self.calls.append("on_train_end")
        self.summary = run.summary()

    def teardown(self, run):
        self.calls.append("teardown")


def train(tmp_path, *callbacks, **settings):
    agent = a3c.Agent("CartPole-v1", save_dir=str(tmp_path), **SERIAL)
    return agent, agent.fit(verbose=0, callbacks=callbacks, **{"max_steps": 4000, **settings})


def run_directory(tmp_path):
    return next(tmp_path.rglob("config.toml")).parent


@pytest.mark.parametrize("engine", [dict(engine="serial"), dict(engine="processes", workers=2)])
def test_hooks_come_in_order_on_every_engine(tmp_path, engine):
    callback = Recorder()
    _, history = train(tmp_path, callback, **engine)
    calls = callback.calls
    assert calls[:2] == ["setup", "on_train_begin"]
    assert [name for name in calls if name in ("on_train_end", "teardown")] == ["on_train_end", "teardown"]
    assert calls.count("on_evaluation_begin") == calls.count("on_evaluation_end") >= 1
    assert calls.index("on_evaluation_begin") < calls.index("on_evaluation_end")
    assert "on_report" in calls[2:]
    assert "on_checkpoint" in calls
    assert callback.summary["steps"] == history.summary["steps"] >= 4000
    assert callback.summary["evaluation"] == history.summary["evaluation"]


class StopAt(a3c.Callback):
    def __init__(self, steps):
        self.steps = steps

    def on_report(self, run, report):
        if run.metrics.steps >= self.steps:
            run.message("far enough", "note")
            run.stop("far enough")


def test_a_callback_may_stop_the_run(tmp_path):
    recorder = Recorder()
    _, history = train(tmp_path, StopAt(1000), recorder, max_steps=100_000)
    assert 1000 <= history.summary["steps"] < 2000
    assert history.summary["ended"] == "stopped"
    assert json.loads((run_directory(tmp_path) / "result.json").read_text())["ended"] == "stopped"
    assert ("note", "far enough") in recorder.messages
    assert "far enough" in (run_directory(tmp_path) / "log.txt").read_text()


def failing(hook):
    def fail(*_):
        raise ZeroDivisionError("my own fault")

    return type("Failing", (a3c.Callback,), {hook: fail})()


@pytest.mark.parametrize(
    "hook", ["on_report", "on_tick", "on_train_begin", "on_evaluation_end", "on_train_end"]
)
def test_what_a_callback_raises_comes_out_after_the_run_is_saved(tmp_path, hook):
    recorder = Recorder()
    with pytest.raises(ZeroDivisionError, match="my own fault"):
        train(tmp_path, failing(hook), recorder, max_steps=50_000)
    assert recorder.calls[-1] == "teardown"
    assert recorder.calls.count("on_train_end") == 1
    directory = run_directory(tmp_path)
    for name in ("best.keras", "last.keras", "result.json", "episodes.csv"):
        assert (directory / name).exists(), name
    assert list((directory / "checkpoints").glob("step-*.zip"))
    assert json.loads((directory / "result.json").read_text())["ended"] == "failed"
    assert "worker 0 failed" not in (directory / "log.txt").read_text()


class Unsaved(a3c.Callback):
    """Fails from the second checkpoint on."""

    def __init__(self, hook, error):
        self._hook, self._error, self._count = hook, error, 0

    def on_snapshot(self, run):
        self._count += 1
        self._fail_in("on_snapshot")

    def state_dict(self):
        self._fail_in("state_dict")
        return {"count": object() if self._error is None and self._count > 1 else self._count}

    def _fail_in(self, hook):
        if self._hook == hook and self._count > 1 and self._error is not None:
            raise self._error


@pytest.mark.parametrize(
    ("hook", "error"),
    [("on_snapshot", ValueError("mine")), ("state_dict", ValueError("mine")), ("state_dict", None)],
)
def test_a_callback_that_cannot_be_saved_ends_the_run_and_all_else_is_saved(tmp_path, hook, error):
    with pytest.raises(
        ValueError if error else TypeError, match="mine" if error else "Unsaved cannot be saved"
    ):
        train(tmp_path, Unsaved(hook, error), max_steps=10**9, checkpoint_seconds=0.1)
    files = checkpoint.Files(run_directory(tmp_path) / checkpoint.FOLDER, 3)
    _, state, _ = checkpoint.newest(files)
    result = json.loads((run_directory(tmp_path) / "result.json").read_text())
    assert state["store"]["steps"] == result["steps"] > 0
    assert state["callbacks"][f"{Unsaved.__module__}.Unsaved"] == {"count": 1}, "the last one that was whole"
    assert result["ended"] == "failed"


def test_an_error_while_setting_up_ends_before_the_training(tmp_path):
    class Broken(a3c.Callback):
        def setup(self, run):
            raise ZeroDivisionError("not set up")

    recorder = Recorder()
    with pytest.raises(ZeroDivisionError, match="not set up"):
        train(tmp_path, Broken(), recorder)
    assert recorder.calls == ["setup", "teardown"]


def test_environments_of_evaluations_are_closed_where_another_callback_is_not_set_up(tmp_path, monkeypatch):
    class Counted(VectorPlayer):
        opened = 0

        def __init__(self, *arguments):
            super().__init__(*arguments)
            Counted.opened += 1

        def close(self):
            super().close()
            Counted.opened -= 1

    monkeypatch.setattr(evaluator, "VectorPlayer", Counted)
    with pytest.raises(ZeroDivisionError, match="my own fault"):
        train(tmp_path, failing("setup"))
    assert Counted.opened == 0


class Interrupted(a3c.Callback):
    """Raises what Ctrl-C raises, in one hook."""

    def __init__(self, hook):
        self.hook = hook

    def on_report(self, run, report):
        self.interrupt("on_report")

    def on_train_end(self, run):
        self.interrupt("on_train_end")

    def teardown(self, run):
        self.interrupt("teardown")

    def interrupt(self, hook):
        if hook == self.hook:
            raise KeyboardInterrupt


@pytest.mark.parametrize("hook", ["on_report", "on_train_end", "teardown"])
def test_every_callback_is_torn_down_once_whatever_is_raised(tmp_path, hook):
    before, after = Recorder(), type("Other", (Recorder,), {})()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, before, Interrupted(hook), after, max_steps=1000)
    for recorder in (before, after):
        assert recorder.calls.count("teardown") == 1
        assert recorder.calls[-1] == "teardown"


class Counter(a3c.Callback):
    """Counts reports, over resumptions as well."""

    def __init__(self):
        self.count, self.loaded = 0, None

    def on_report(self, run, report):
        self.count += 1

    def state_dict(self):
        return {"count": self.count, "array": np.arange(3)}

    def load_state_dict(self, state):
        self.count = self.loaded = state["count"]
        np.testing.assert_array_equal(state["array"], np.arange(3))


def test_its_state_is_in_checkpoints(tmp_path):
    first, second = Counter(), Counter()
    agent, _ = train(tmp_path, first)
    agent.fit(verbose=0, resume=run_directory(tmp_path), callbacks=[second], max_steps=6000)
    assert second.loaded == first.count > 0
    assert second.count > first.count


def test_a_pause_lasts_until_all_who_asked_for_it_have_ended_it(tmp_path):
    held = []

    class Pauses(a3c.Callback):
        def on_train_begin(self, run):
            pause = run.engine.store.pause
            run.engine.store.pause = lambda now: (held.append(now), pause(now))
            for change in (run.pause, run.resume):
                for owner in ("one", "other"):
                    change(owner)

    train(tmp_path, Pauses())
    assert held[:4] == [True, True, True, False]


def test_what_is_no_callback_is_refused_before_the_training(tmp_path):
    with pytest.raises(a3c.UsageError, match=r"callback str: expected an a3c\.Callback"):
        train(tmp_path, "early stopping")
    with pytest.raises(a3c.UsageError, match="state_key"):
        train(tmp_path, Counter(), Counter())


def test_saving_an_agent_leaves_the_users_model_as_it_was(tmp_path):
    """Only the end of the run puts the best weights into it."""
    seen = []

    class Looks(a3c.Callback):
        def on_train_begin(self, run):
            seen.append(parameters_of(run.model))

        def on_train_end(self, run):
            seen.append(parameters_of(run.model))
            seen.append(run.best_weights())

    agent, _ = train(tmp_path, Looks())
    first, last, best = seen
    np.testing.assert_array_equal(first, last)
    np.testing.assert_array_equal(parameters_of(agent.network), best)
    assert not np.array_equal(first, best)


def test_agents_are_saved_in_any_order(tmp_path, monkeypatch):
    """The agent has the best weights also where `last.keras` is the file that was written last."""
    from a3c.training.callbacks import agents

    saved, save = [], agents._save

    def reversed_order(run, name, weights, evaluation):
        saved.append((run, name, weights, evaluation))
        if name == "best.keras" and evaluation is run.evaluation:
            for each in reversed(saved[-2:]):
                save(*each)

    monkeypatch.setattr(agents, "_save", reversed_order)
    agent, _ = train(tmp_path)
    run = saved[-1][0]
    np.testing.assert_array_equal(parameters_of(agent.network), run.best_weights())
    assert SaveAgents().state_dict() is None


def test_no_episode_is_missing_where_the_file_has_lost_rows(tmp_path):
    agent, _ = train(tmp_path)
    directory = run_directory(tmp_path)
    path = directory / "episodes.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-5]))
    history = agent.fit(verbose=0, resume=directory, max_steps=8000)
    numbers = [int(line.split(b",")[0]) for line in path.read_bytes().splitlines()[1:]]
    before = len(lines) - 1
    assert numbers == [*range(1, before - 4), *range(before + 1, history.summary["episodes"] + 1)]
    assert "episodes before the checkpoint" in (directory / "log.txt").read_text()


# -- memory -------------------------------------------------------------------------------------------------


def test_the_history_is_every_kth_episode(tmp_path):
    history = EpisodeHistory(capacity=8)
    for number in range(1, 101):
        history.add((number,))
    numbers = [row[0] for row in history.rows]
    assert len(numbers) <= 8
    assert set(np.diff(numbers)) == {16}
    assert numbers[0] == 1


def test_the_steps_of_episodes_are_those_of_the_whole_run():
    metrics = TrainingMetrics()
    for report_steps in ([2, 5], [3, 7]):
        metrics.add(Report(0, 1, 0, 10, [Episode(1.0, 1)] * 2, report_steps, {}, 0.0), 1.0)
    assert [row[EPISODE_COLUMNS.index("steps")] for row in metrics.history.rows] == [2, 5, 13, 17]


def test_metrics_do_not_grow_with_episodes():
    metrics = TrainingMetrics(history=EpisodeHistory(capacity=10))
    episodes = [Episode(1.0, 1)] * 1000
    for _ in range(5):
        metrics.add(Report(0, 1, 0, 1000, episodes, list(range(1, 1001)), {}, 0.0), 1.0)
    assert metrics.episodes == 5000
    assert len(metrics.history.rows) <= 10
    assert len(metrics.latest) == 1000


def test_rows_of_many_episodes_are_written_before_it_is_time(tmp_path):
    """The seconds between two pieces grow with the run: kept until then, they would fill the memory."""
    file, many = EpisodesCsv(), 20_000
    metrics, resumed = TrainingMetrics(), SimpleNamespace(callbacks={})
    run = SimpleNamespace(metrics=metrics, directory=tmp_path, seconds=1.0, resumed=resumed)
    file.setup(run)
    path = tmp_path / "episodes.csv"
    report = Report(0, 1, 0, many, [Episode(1.0, 1)] * many, list(range(1, many + 1)), {}, 0.0)
    metrics.add(report, 1.0)
    file.on_report(run, report)
    assert len(path.read_bytes().splitlines()) == 1 + many
    few = Report(0, 1, 0, 1, [Episode(1.0, 1)], [1], {}, 0.0)
    metrics.add(few, 1.0)
    file.on_report(run, few)
    assert len(path.read_bytes().splitlines()) == 1 + many
    file.on_snapshot(run)
    assert len(path.read_bytes().splitlines()) == 2 + many


def test_a_history_that_is_read_is_the_one_that_was_kept(tmp_path):
    path, kept = tmp_path / "episodes.csv", EpisodeHistory(capacity=16)
    rows = [(i, 2 * i, 0.5, 0, float(i), 3, 1.5, None if i < 100 else 2.5) for i in range(1, 301)]
    with open(path, "w") as file:
        file.write(",".join(EPISODE_COLUMNS) + "\r\n")
        for row in rows:
            kept.add(row)
            file.write(",".join("" if v is None else str(v) for v in row) + "\r\n")
    read = EpisodeHistory(capacity=16)
    assert read.read(path, path.stat().st_size) == 300
    assert read.rows == kept.rows
    whole = EpisodeHistory()
    end = path.read_bytes().index(b"\r\n200,") + 2
    assert whole.read(Path(path), end) == 199
