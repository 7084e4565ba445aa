"""Whatever ends a run, each last file is written on its own, and what is said to be saved is there."""

import errno
import json
from pathlib import Path

import pytest

import a3c
from a3c import engines
from a3c.engines.serial import SerialEngine
from a3c.engines.supervision import Supervisor
from a3c.training import checkpoint, ending, resumption
from a3c.training.callbacks import agents
from a3c.training.callbacks.checkpoints import WriteCheckpoints
from a3c.training.callbacks.hints import NothingToLearnFrom
from a3c.training.callbacks.jsonl import MetricsJsonl
from a3c.training.loop import TrainingLoop
from a3c.training.metrics import TrainingMetrics

SETTINGS = dict(
    engine="serial", seed=1, preset="none", algorithm="a3c", evaluation_episodes=2, max_steps=3000
)
FILES = ("last.keras", "best.keras", "result.json", "checkpoints", "episodes.csv")
NO_FILES = OSError(errno.EMFILE, "Too many open files")


def train(tmp_path, error=a3c.RunError, **settings):
    """A run that fails: its directory, and what it says."""
    agent = a3c.Agent("CartPole-v1", save_dir=str(tmp_path), **{**SETTINGS, **settings})
    with pytest.raises(error) as caught:
        agent.fit(verbose=0, stop_return=1e9)
    return next(tmp_path.rglob("config.toml")).parent, str(caught.value)


def failing(error, times=10**9, after=0):
    """A function that raises, some of the times that it is called."""
    calls = 0

    def fail(*_, **more):
        nonlocal calls
        calls += 1
        if after < calls <= after + times:
            raise error

    return fail


def patched(monkeypatch, owner, name, error, **when):
    """Have a function raise before it does what it does."""
    plain, fail = getattr(owner, name), failing(error, **when)

    def function(*arguments, **more):
        fail()
        return plain(*arguments, **more)

    monkeypatch.setattr(owner, name, function)


def check_saved(directory, told, but=()):
    """All is there, except what is said not to be."""
    for name in FILES:
        there = bool(list(directory.glob(f"{name}/step*"))) or (directory / name).is_file()
        assert there == (name not in but), name
    if "result.json" not in but:
        result = json.loads((directory / "result.json").read_text())
        assert (result["ended"], result["steps"] > 0) == ("failed", True)
    assert f"go on with: a3c resume {directory}" in told


@pytest.mark.parametrize(
    ("owner", "name", "error", "when"),
    [
        pytest.param(NothingToLearnFrom, "on_tick", MemoryError(), {"after": 3}, id="memory"),
        pytest.param(MetricsJsonl, "on_tick", KeyError("a bug"), {"after": 3}, id="bug"),
        pytest.param(TrainingMetrics, "add", NO_FILES, {"after": 3}, id="files"),
        pytest.param(TrainingLoop, "on_tick", SystemExit(3), {"after": 3}, id="exit"),
        pytest.param(SerialEngine, "close", RuntimeError("close"), {}, id="close"),
    ],
)
def test_an_error_that_nobody_has_foreseen_costs_no_file(tmp_path, monkeypatch, owner, name, error, when):
    patched(monkeypatch, owner, name, error, **when)
    directory, told = train(tmp_path, max_steps=10**9 if when else 3000)
    check_saved(directory, told)
    assert "What was learned until then is saved in" in told
    assert (getattr(error, "strerror", None) or str(error)) in told
    trace = (directory / "error.txt").read_text()
    assert f"Where it happened is in {directory / 'error.txt'}" in told
    assert type(error).__name__ in trace
    assert "Traceback" in trace
    assert "Traceback" not in told


def test_last_reports_that_cannot_be_read_cost_no_file(tmp_path, monkeypatch):
    plain = SerialEngine.close

    def close(self):
        plain(self)
        self.store.reports = failing(ValueError("torn"), times=1)

    monkeypatch.setattr(SerialEngine, "close", close)
    directory, told = train(tmp_path)
    check_saved(directory, told)
    assert "ValueError: torn" in told


def test_the_supervisor_is_no_exception(tmp_path, monkeypatch):
    add, look_after, seen = TrainingMetrics.add, Supervisor._look_after, []

    def look(self):
        if seen:
            raise RuntimeError("a bug")
        look_after(self)

    monkeypatch.setattr(TrainingMetrics, "add", lambda *told: seen.append(add(*told)))
    monkeypatch.setattr(Supervisor, "_look_after", look)
    directory, told = train(tmp_path, engine="processes", workers=2, max_steps=10**9)
    check_saved(directory, told)
    assert "RuntimeError: a bug" in told


@pytest.mark.parametrize(
    ("owner", "name", "when", "lost", "says"),
    [
        (agents, "_save", {"times": 1}, "last.keras", "last.keras cannot be saved: broken."),
        (agents, "_save", {"after": 1}, "best.keras", "best.keras cannot be saved: broken."),
        (ending.json, "dumps", {}, "result.json", "result.json cannot be saved: broken."),
    ],
)
def test_a_last_file_that_fails_costs_no_other(tmp_path, monkeypatch, owner, name, when, lost, says):
    if owner is ending.json:
        monkeypatch.setattr(ending, "json", type("Json", (), {"dumps": failing(OSError(5, "broken"))}))
    else:
        monkeypatch.setattr(agents.SaveAgents, "on_evaluation_end", lambda *_: None)
        patched(monkeypatch, owner, name, OSError(5, "broken"), **when)
    directory, told = train(tmp_path)
    check_saved(directory, told, but=[lost])
    assert says in told


def test_an_older_checkpoint_is_not_called_the_last(tmp_path, monkeypatch):
    plain = checkpoint.Files.write

    def write(self, steps, *rest):
        if steps > 0:
            raise OSError(5, "Input/output error")
        return plain(self, steps, *rest)

    monkeypatch.setattr(checkpoint.Files, "write", write)
    directory, told = train(tmp_path)
    check_saved(directory, told)
    assert "The last checkpoint cannot be saved: Input/output error." in told
    assert "What was learned until step 0 of 3,0" in told


def test_without_a_checkpoint_none_is_promised(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Files, "write", failing(OSError(5, "Input/output error")))
    directory, told = train(tmp_path)
    assert f"Only best.keras and last.keras could be saved in {directory}" in told
    assert "It has no checkpoint to go on from" in told
    assert "a3c resume" not in told


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        (engines, "start", NO_FILES),
        (WriteCheckpoints, "setup", OSError(5, "Input/output error")),
        (NothingToLearnFrom, "load_state_dict", KeyError("best")),
    ],
)
def test_where_nothing_was_trained_this_is_said(tmp_path, monkeypatch, owner, name, error):
    agent = a3c.Agent("CartPole-v1", save_dir=str(tmp_path), **SETTINGS)
    before = Path(agent.fit(verbose=0, max_steps=1000).summary["run_dir"])
    result = (before / "result.json").read_text()
    plain = resumption.load

    def load(*arguments):
        resumed = plain(*arguments)
        resumed.callbacks["a3c.training.callbacks.hints.NothingToLearnFrom"] = {}
        return resumed

    monkeypatch.setattr(resumption, "load", load)
    monkeypatch.setattr(owner, name, failing(error))
    with pytest.raises(a3c.RunError, match="Nothing was trained since it began; go on with: a3c resume"):
        agent.fit(verbose=0, resume=before, max_steps=2000)
    assert (before / "result.json").read_text() == result, "what it came to before is kept"
    monkeypatch.undo()
    assert agent.fit(verbose=0, resume=before, max_steps=2000).summary["steps"] >= 2000


def test_what_a_callback_raises_to_end_the_process_ends_only_the_run(tmp_path):
    class Leaves(a3c.Callback):
        def on_report(self, run, report):
            raise SystemExit(7)

    agent = a3c.Agent("CartPole-v1", save_dir=str(tmp_path), **SETTINGS)
    with pytest.raises(SystemExit):
        agent.fit(verbose=0, max_steps=3000, callbacks=[Leaves()])
    directory = next(tmp_path.rglob("config.toml")).parent
    check_saved(directory, (directory / "log.txt").read_text())
