"""What is written goes nowhere, or lacks characters: the work goes on and is saved."""

import json
import os
import subprocess
import sys
import warnings

import harness
import pytest

from a3c.training.plotting import learning_curve

A3C = [sys.executable, "-P", "-m", "a3c"]
TRAIN = [*A3C, "train", "CartPole-v1", "--engine", "serial", "--seed", "1", "--max-steps", "4000"]


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_reader_that_has_gone_ends_no_run(tmp_path, closed):
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writing}
    command = [*TRAIN, "--evaluation-episodes", "2", *(["--json"] if closed == "stderr" else [])]
    done = subprocess.run(command, cwd=tmp_path, timeout=harness.DEADLINE, **streams)
    os.close(writing)
    assert done.returncode == 0, done.stderr
    [run] = tmp_path.glob("runs/*/*")
    result = json.loads((run / "result.json").read_text())
    assert (result["ended"], result["steps"] >= 4000) == ("limit", True)
    assert list((run / "checkpoints").glob(f"step-*{result['steps']}.zip"))


def test_characters_that_an_encoding_lacks_are_replaced(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    for arguments in (["train", "--help"], ["train", "Kartpöle-v1"], ["random", "--episodes", "2"]):
        done = subprocess.run([*A3C, *arguments], cwd=tmp_path, env=environment, capture_output=True)
        assert done.returncode == (2 if "Kartpöle-v1" in arguments else 0), done.stderr
        assert b"Traceback" not in done.stderr


def test_a_name_is_no_formula_in_a_picture(tmp_path):
    """Where a dollar begins one, matplotlib refuses what it cannot typeset."""
    episodes = {name: [1.0] for name in ("steps", "return", "moving_average", "mean_return_100")}
    path = tmp_path / "curve.png"
    with warnings.catch_warnings(action="error"):
        learning_curve([(r"$\bad{$", episodes), ("环境-v0", episodes)], path, title=r"$\frac$")
    assert path.stat().st_size > 1000
