"""A signal at any moment of a command: exit code 130, no traceback; a run that began to train is saved."""

import gc
import os
import signal
import sys

import harness
import pytest

from a3c import cli, engines
from a3c.backend import cache
from a3c.cli import train
from a3c.cli.stopping import Stop
from a3c.evaluation.evaluator import Evaluator
from a3c.training import ending, resolve, run_directory, trainer
from a3c.training.callbacks.agents import SaveAgents
from a3c.training.callbacks.checkpoints import WriteCheckpoints
from a3c.training.callbacks.evaluation import EvaluateCandidates
from a3c.training.loop import TrainingLoop
from a3c.training.run import Run

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="POSIX")
QUICK = ("--engine", "serial", "--seed", "1", "--max-steps", "2000", "--evaluation-episodes", "2")
BEFORE = [
    (train, "make_config"),
    (resolve, "resolve_config"),
    (cache, "find"),
    (trainer, "make_model"),
    (run_directory, "create"),
    (engines, "start"),
    (EvaluateCandidates, "setup"),
    (WriteCheckpoints, "on_train_begin"),
]
WHILE = [
    (TrainingLoop, "on_tick"),
    (TrainingLoop, "on_report"),
    (Evaluator, "evaluate"),
    (SaveAgents, "on_train_end"),
    (Run, "teardown"),
    (ending, "write_whole"),
]
SIGNALS = ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.long_faults)]
SIGNALS += [pytest.param("SIGHUP", marks=pytest.mark.long_faults)]


def signalled(monkeypatch, owner, name, number):
    """Have a signal come when a function is called for the first time."""
    plain, sent = getattr(owner, name), []

    def function(*arguments, **more):
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return plain(*arguments, **more)

    monkeypatch.setattr(owner, name, function)
    return sent


def names(value):
    return getattr(value, "__name__", value)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("owner", "name"), BEFORE, ids=names)
def test_before_the_training_there_is_nothing_to_save(call, monkeypatch, owner, name, number):
    sent = signalled(monkeypatch, owner, name, getattr(signal, number))
    outcome = call("train", "CartPole-v1", *QUICK)
    assert sent
    assert (outcome.code, outcome.err) == (130, "a3c: stopped\n")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("owner", "name"), WHILE, ids=names)
def test_a_run_is_saved(call, tmp_path, monkeypatch, owner, name, number):
    sent = signalled(monkeypatch, owner, name, getattr(signal, number))
    outcome = call("train", "CartPole-v1", *QUICK, "--json")
    assert sent
    assert outcome.code == 130, outcome.err
    assert "Traceback" not in outcome.err
    run = harness.run_directory(tmp_path)
    assert run is not None
    harness.check_files(run, outcome.json)
    assert outcome.json["steps"] > 0 or name in ("on_tick", "evaluate")
    for file in ("best.keras", "last.keras"):
        assert harness.arrays(run / file)
    assert list(run.glob(f"checkpoints/step-*{outcome.json['steps']}.zip"))


@pytest.mark.parametrize("command", ["doctor", "random", "evaluate", "play", "plot", "scaling", "reproduce"])
@pytest.mark.parametrize("number", SIGNALS)
def test_other_commands_say_that_they_were_stopped(call, monkeypatch, command, number):
    import importlib

    module = importlib.import_module(f"a3c.cli.{command}")
    sent = signalled(monkeypatch, module.COMMAND.__class__, "parse", getattr(signal, number))
    outcome = call(command)
    assert sent
    assert (outcome.code, outcome.err) == (130, "a3c: stopped\n")


IMPORTED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


def test_while_modules_are_imported(call, tmp_path):
    (tmp_path / "mine.py").write_text(IMPORTED + "raise ImportError('by the signal')\n")
    for command in (("random", "mine:Env-v0"), ("train", "mine:Env-v0")):
        outcome = call(*command)
        assert (outcome.code, outcome.err) == (130, "a3c: stopped\n")


def test_an_error_that_a_signal_leads_to_is_no_error(call, tmp_path):
    text = f"try:\n    {IMPORTED.splitlines()[0]}; {IMPORTED.splitlines()[1]}\nexcept BaseException:\n"
    (tmp_path / "mine.py").write_text(text + "    raise ImportError('initialised in part')\n")
    outcome = call("random", "mine:Env-v0")
    assert (outcome.code, outcome.err) == (130, "a3c: stopped\n")


@pytest.mark.parametrize("where", ["collection", "destructor"])
def test_a_signal_that_python_ignores_is_not_lost(call, monkeypatch, where):
    """Exceptions in a callback of the garbage collection, or in a destructor, come to nothing."""
    ignored = []

    def interrupt():
        if not ignored:
            ignored.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    class Dies:
        def __del__(self):
            interrupt()

    def run(argv):
        if where == "collection":
            gc.callbacks.append(lambda *_: interrupt())
            gc.collect()
        else:
            Dies()
        while True:  # until it is interrupted once more
            signal.sigtimedwait([], 0.01)

    monkeypatch.setattr("a3c.cli.random.run", run)
    callbacks = list(gc.callbacks)
    try:
        outcome = call("random")
    finally:
        gc.callbacks[:] = callbacks
    assert ignored
    assert (outcome.code, outcome.err) == (130, "a3c: stopped\n")


def test_handlers_are_what_they_were_after_a_command():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    hook = sys.unraisablehook
    assert cli.main(["--version"]) == 0
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert sys.unraisablehook is hook


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
