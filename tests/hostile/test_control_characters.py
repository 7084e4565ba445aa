"""Texts from others reach no terminal with signs that steer it: files, errors of environments, names."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from a3c.envs.faults import Fault, write_crash_report
from a3c.errors import RunError, UsageError
from a3c.training.callbacks.display import LineDisplay, LiveDisplay
from a3c.utils import console
from a3c.utils.console import printable

OLD_RUN = Path(__file__).parents[1] / "references" / "old_run"
STEERING = "\x1b[31m\x07\x9b2J\x00\x7f\u202e\u2066\u2028\ud800"


def is_clean(text):
    return not any(sign in STEERING.replace("[31m", "").replace("2J", "") or sign == "\r" for sign in text)


ORDINARY = ["CartPole-v1", "用户环境-v0", "Über-v0", "بيئة", "बीजगणित", "👩\u200d🚀", "U\u0308", "μ ± σ, ≤ 3"]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_letters_stay(text):
    assert printable(text) == text == printable(text, lines=True)


def test_what_steers_is_written_out():
    assert printable("a\x1b[31mb") == "a\\x1b[31mb"
    assert printable("\x9b\u202e\u2069\u2028\ud800\x7f\r") == "\\x9b\\u202e\\u2069\\u2028\\ud800\\x7f\\r"
    assert printable("one\ntwo\tthree") == "one\\ntwo\\tthree"
    assert printable("one\ntwo\tthree\x1b", lines=True) == "one\ntwo\tthree\\x1b"


@pytest.mark.parametrize("error", [UsageError, RunError])
def test_errors_are_printed_clean(call, monkeypatch, error):
    from a3c.cli import random

    def fail(argv):
        texts = [f"{name}\n{STEERING}" for name in ("received", "expected", "fix")]
        raise UsageError(*texts) if error is UsageError else RunError("".join(texts))

    monkeypatch.setattr(random, "run", fail)
    outcome = call("random")
    assert is_clean(outcome.err)
    assert "\\x1b[31m" in outcome.err
    if error is UsageError:
        assert len(outcome.err.splitlines()) == 2, "one for what is wrong, one for how to fix it"


@pytest.mark.parametrize("make", [LineDisplay, LiveDisplay])
def test_displays_are_clean(make):
    stream = io.StringIO()
    display = make(stream)
    if make is LiveDisplay:
        display._console = Console(file=stream, force_terminal=False)
    display.note(f"worker 0: {STEERING}")
    display.warn(f"worker 1: {STEERING}")
    assert is_clean(stream.getvalue())
    assert stream.getvalue().count("\\x1b[31m") == 2


def test_lines_are_printed_clean():
    stream = io.StringIO()
    console.say(f"one\ntwo {STEERING}", stream)
    assert is_clean(stream.getvalue())
    assert stream.getvalue().count("\n") == 2


FAILS = """
import gymnasium

class Loud(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (4,))
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample() * 0, {}

    def step(self, action):
        Loud.steps += 1
        if Loud.steps == 2000:
            raise ZeroDivisionError("\\x1b[31m\\x9b\\u202e in red")
        return self.observation_space.sample() * 0, 1.0, self.steps % 10 == 0, False, {}

gymnasium.register("Loud-v0", Loud)
"""


def test_errors_of_environments_are_told_clean(call, tmp_path):
    (tmp_path / "loud_here.py").write_text(FAILS)
    quick = ("--engine", "serial", "--max-steps", "3000", "--evaluation-episodes", "1", "--seed", "1")
    outcome = call("train", "loud_here:Loud-v0", *quick, "--stop-return", "1e9", "--hidden-units", "4")
    assert outcome.code == 0, outcome.err
    [log] = tmp_path.glob("runs/*/*/log.txt")
    for text in (outcome.out, outcome.err, log.read_text()):
        assert is_clean(text)
    assert "\\x1b[31m\\x9b\\u202e in red" in log.read_text()


def test_summaries_and_tracebacks_of_crash_reports_are_shown_clean(call, tmp_path):
    (tmp_path / "loud_there.py").write_text(FAILS.replace("2000", "1").replace("Loud", "Shrill"))
    start = {"seed": 3, "state": None, "globals": _globals()}
    replay = {"compiled": False, "start": start, "actions": np.zeros((1, 1), np.uint8), "steps": 1}
    report = dict(summary=STEERING, kind="x", env_id="loud_there:Shrill-v0", worker=0, copies=1)
    report |= dict(vectorized=False, seed=3, when="step", copy=0, note="", replay=replay)
    write_crash_report(Fault("it", "", report), tmp_path / "card.json")
    outcome = call("reproduce", "card.json", "--trust", "--json")
    assert outcome.code == 1, outcome
    assert is_clean(outcome.out + outcome.err)
    assert "\\x1b[31m\\x9b\\u202e in red" in outcome.err
    assert outcome.err.count("\n") > 3, "a traceback has lines"
    assert outcome.json["card"] == STEERING, "JSON has its own way to write them"


def _globals():
    from a3c.envs import generators

    return generators.global_states()


def test_names_in_cards_and_settings_are_shown_clean(call, tmp_path):
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace('"CartPole-v1"', json.dumps("x\u202ey")))
    outcome = call("plot", "run")
    assert outcome.code == 0, outcome.err
    outcome = call("resume", "run", "--max-steps", "9000")
    assert outcome.code == 2
    assert is_clean(outcome.out + outcome.err)
    assert "x\\u202ey" in outcome.err


def test_signs_of_dollars_in_a_name_are_no_formula(call, tmp_path):
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace('"CartPole-v1"', json.dumps("$\\frac$")))
    outcome = call("plot", "run", "run")
    assert outcome.code == 0, outcome.err
