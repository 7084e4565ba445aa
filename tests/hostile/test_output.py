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
TRAIN += ["--stop-return", "1e9", "--evaluation-episodes", "2"]


def check_saved(tmp_path, ended="limit"):
    """The run has ended and is saved."""
    [run] = tmp_path.glob("runs/*/*")
    result = json.loads((run / "result.json").read_text())
    assert result["ended"] == ended
    assert ended == "interrupted" or result["steps"] >= 4000
    assert list((run / "checkpoints").glob(f"step-*{result['steps']}.zip"))
    harness.check_files(run, result)


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_reader_that_has_gone_ends_no_run(tmp_path, closed, more):
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writing}
    done = subprocess.run([*TRAIN, *more], cwd=tmp_path, timeout=harness.DEADLINE, **streams)
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in (done.stderr or b"")
    check_saved(tmp_path)


@pytest.mark.parametrize("lines", [1, 3])
def test_a_reader_that_goes_ends_no_run(tmp_path, lines):
    with subprocess.Popen(TRAIN, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")
    check_saved(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_a_full_disk_as_output_ends_no_run_but_loses_a_result(tmp_path):
    for command, code in ((TRAIN, 0), ([*TRAIN, "--json"], 0), ([*A3C, "random", "--episodes", "2"], 1)):
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
    assert done.stderr == "a3c: standard output: No space left on device\n"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="POSIX")
@pytest.mark.parametrize("hangup", [True, False])
def test_a_terminal_that_is_closed_ends_a_run_as_ctrl_c_does(tmp_path, hangup):
    """Where it does not even send a signal, the run goes on to its end."""
    import fcntl
    import termios

    ours, theirs = os.openpty()
    command = [*TRAIN, "--max-steps", "1000000000" if hangup else "40000"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if hangup else None,
    )
    os.close(theirs)
    while b"steps/s" not in os.read(ours, 65536):  # the live table
        pass
    os.close(ours)
    assert process.wait(harness.DEADLINE) == (130 if hangup else 0)
    check_saved(tmp_path, "interrupted" if hangup else "limit")


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
