"""Few open files, no working directory, a pipe as a run's settings: a sentence and the right exit code."""

import json
import os
import shutil
import sys
from pathlib import Path

import harness
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
OLD_RUN = Path(__file__).parents[1] / "references" / "old_run"
A3C = f"{sys.executable} -P -m a3c"
QUICK = "--seed 1 --max-steps 2000 --evaluation-episodes 2 --quiet"


@pytest.mark.parametrize("engine", ["serial", "processes --workers 2"])
@pytest.mark.parametrize(
    "limit", [16, 64, *(pytest.param(n, marks=pytest.mark.long_faults) for n in (8, 12, 20, 32))]
)
def test_few_open_files(tmp_path, limit, engine):
    line = f"ulimit -n {limit}; {A3C} train CartPole-v1 --engine {engine} {QUICK}"
    outcome = harness.command(tmp_path, ["bash", "-c", line])
    assert "Traceback" not in outcome.err
    if outcome.code == 2:
        assert f"a limit of {limit} open files: expected at least 26 for 2 workers" in outcome.err
    elif outcome.code == 1:
        assert "Too many open files" in outcome.err
        assert limit < 26
    else:
        assert outcome.code == 0, outcome.err
    assert outcome.code == 0 or limit != 64


def test_a_limit_that_may_be_raised_is_raised(tmp_path):
    line = f"ulimit -S -n 20; {A3C} train CartPole-v1 --engine processes --workers 2 {QUICK}"
    outcome = harness.command(tmp_path, ["bash", "-c", line])
    assert outcome.code == 0, outcome.err


COMMANDS = ["train", "resume", "doctor", "random", "play", "evaluate", "plot x", "scaling", "reproduce x"]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_working_directory(tmp_path, command):
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd {gone}; rmdir {gone}; {A3C} {command}; code=$?; cd {tmp_path}; exit $code"
    outcome = harness.command(tmp_path, ["bash", "-c", line])
    assert outcome.code == 2, outcome.err
    expected = "the working directory (No such file or directory): expected one that exists\nGo to another"
    assert outcome.err.count("a3c: ") == 1
    assert expected in outcome.err


@pytest.mark.parametrize(
    "command",
    ["resume run", "train --resume run", "evaluate run", "play run", "plot run", "train --resume auto"],
)
def test_a_pipe_as_settings_is_refused_at_once(call, tmp_path, command):
    for run in (tmp_path / "run", tmp_path / "runs" / "CartPole-v1" / "20200101-000000-a3c-s1"):
        shutil.copytree(OLD_RUN, run)
        (run / "config.toml").unlink()
        os.mkfifo(run / "config.toml")
    more = QUICK.split() if command.endswith("auto") else []  # begins a new run
    outcome = call(*command.split(), *more)
    assert outcome.code == (0 if more else 2), outcome.err
    assert "Traceback" not in outcome.err
    assert more or "run" in outcome.err


@pytest.mark.parametrize(
    "content", ["[]", "3", '"adam"', "{}", "null", '{"class_name": "Nothing"}', "[" * 9999]
)
def test_what_is_no_optimizer_is_refused(call, tmp_path, content):
    shutil.copytree(OLD_RUN, tmp_path / "run")
    (tmp_path / "run" / "optimizer.json").write_text(content)
    outcome = call("resume", "run", "--max-steps", "4100")
    assert outcome.code == 2, outcome.err
    assert "optimizer in run/optimizer.json: expected one that Keras can make again" in outcome.err


def test_an_object_of_keras_that_is_no_optimizer_is_refused(call, tmp_path):
    shutil.copytree(OLD_RUN, tmp_path / "run")
    layer = dict(module="keras.layers", class_name="Dense", config={"units": 3}, registered_name=None)
    (tmp_path / "run" / "optimizer.json").write_text(json.dumps(layer))
    outcome = call("resume", "run", "--max-steps", "4100")
    assert (outcome.code, "something else than an optimizer" in outcome.err) == (2, True), outcome.err
