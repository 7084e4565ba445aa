"""Checkpoints and resuming, from the command line and from Python."""

import functools
import json
import shutil
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import harness
import keras
import numpy as np
import pytest

from a3c import Agent
from a3c.config import Config
from a3c.errors import UsageError
from a3c.training import checkpoint, run_directory

QUICK = ("--max-steps", "3000", "--evaluation-episodes", "5", "--stop-return", "1e9")
SETTINGS = dict(max_steps=3000, evaluation_episodes=5, stop_return=1e9, engine="serial", seed=7)


def train(cli, *more):
    outcome = cli("train", "CartPole-v1", *QUICK, "--json", *more)
    assert outcome.code == 0, outcome.err
    return outcome.json


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A serial run that has reached its limit, and what came of it."""
    home = tmp_path_factory.mktemp("ended")
    summary = train(functools.partial(harness.run, home), "--engine", "serial", "--seed", "7")
    return home / summary["run_dir"], summary


@pytest.fixture
def run(ended, tmp_path):
    """A copy of it, to be taken further."""
    return Path(shutil.copytree(ended[0], tmp_path / ended[1]["run_dir"]))


def state_of(run):
    files = checkpoint.Files(run / "checkpoints", 3)
    return checkpoint.newest(files)[1]


# -- files --------------------------------------------------------------------------------------------------


def test_the_newest_are_kept_and_the_best(tmp_path):
    files = checkpoint.Files(tmp_path / "checkpoints", keep=2)
    for step in range(5):
        files.write(step, {"step": step}, best=step == 1)
    assert [path.name for path in files] == ["step-000000000004.zip", "step-000000000003.zip"]
    assert checkpoint.read(tmp_path / "checkpoints" / "best.zip") == {"step": 1}


# -- the command line ---------------------------------------------------------------------------------------


def test_a_run_that_has_ended_says_so_and_can_be_taken_further(call, cli, tmp_path):
    first = train(cli, "--seed", "3")
    run = tmp_path / first["run_dir"]
    again = call("resume", "--json")
    assert again.code == 0
    assert again.json == first
    assert "has ended" in again.err
    further = cli("resume", str(run), "--max-steps", "6000", "--json")
    assert further.code == 0, further.err
    assert "resumed at step" in further.err
    summary = further.json
    assert summary["steps"] >= 6000
    assert summary["updates"] > first["updates"]
    assert summary["train_seconds"] > first["train_seconds"]
    document = tomllib.loads((run / "config.toml").read_text())
    assert document["settings"]["max_steps"] == 6000
    assert document["run"]["resumed"] == 1
    numbers = [int(line.split(",")[0]) for line in (run / "episodes.csv").read_text().splitlines()[1:]]
    assert numbers == list(range(1, summary["episodes"] + 1))


@pytest.mark.parametrize(
    "more",
    [(), pytest.param(("--preset", "none", "--exploration", "rnd"), marks=pytest.mark.thorough)],
    ids=["preset", "rnd"],
)
def test_a_serial_run_taken_further_equals_the_longer_run(cli, run, tmp_path, more):
    serial = ("--engine", "serial", "--seed", "7", *more)
    run = tmp_path / train(cli, *serial)["run_dir"] if more else run
    outcome = cli("resume", str(run), "--max-steps", "9000", "--json")
    assert "exactly where it stood" in outcome.err
    whole = tmp_path / train(cli, *serial, "--max-steps", "9000")["run_dir"]
    first, second = state_of(run)["store"], state_of(whole)["store"]
    np.testing.assert_array_equal(first["weights"], second["weights"])
    for kind, vector in first["optimizer"].items():
        np.testing.assert_array_equal(vector, second["optimizer"][kind])
    assert first["updates"] == second["updates"]


def test_who_is_taken_further_does_not_explore_anew(call, tmp_path):
    """ε falls over a twentieth of the steps that the run was begun with."""
    serial = ("--engine", "serial", "--seed", "7", "--algorithm", "n-step-q", "--preset", "none")
    run = tmp_path / train(call, *serial)["run_dir"]
    steps = tomllib.loads((run / "config.toml").read_text())["settings"]
    assert steps["epsilon_steps"] == steps["max_steps"] // 20 > 0
    assert call("resume", str(run), "--max-steps", "9000").code == 0
    after = tomllib.loads((run / "config.toml").read_text())["settings"]
    assert (after["max_steps"], after["epsilon_steps"]) == (9000, steps["epsilon_steps"])


def test_auto_takes_up_what_is_unfinished_and_begins_where_nothing_is(call, tmp_path):
    auto = ("train", "CartPole-v1", *QUICK, "--engine", "serial", "--resume", "auto", "--json")
    outcome = call(*auto, "--seed", "4")
    assert outcome.code == 0, outcome.err
    run = tmp_path / outcome.json["run_dir"]
    (run / "result.json").unlink()  # as if it had been killed at the end
    again = call(*auto, "--seed", "4")
    assert "going on with" in again.err
    assert again.json["run_dir"] == outcome.json["run_dir"]
    (run / "result.json").unlink()
    other = call(*auto, "--seed", "5")
    assert other.json["run_dir"] != outcome.json["run_dir"], "it has another seed"


def test_help_lists_no_setting_that_cannot_change(call):
    """That they are refused, and a run that another process trains, is among `faults/test_inputs.py`."""
    assert "--gamma" not in call("resume", "--help").out


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="POSIX")
@pytest.mark.parametrize(
    "how",
    ["SIGINT", "SIGTERM", "twice", pytest.param("SIGHUP", marks=pytest.mark.thorough)],
)
def test_signals(how, tmp_path):
    process = harness.start(*harness.TRAIN, *harness.ENDLESS, cwd=tmp_path, code=harness.PATIENT)
    harness.wait_for(lambda: harness.updates(tmp_path), process)
    process.send_signal(signal.SIGINT if how == "twice" else getattr(signal, how))
    if how == "twice":
        process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=harness.DEADLINE)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    [run] = tmp_path.glob("runs/*/*")
    if how == "twice" and not (run / "result.json").exists():
        assert "left at once" in errors
        return
    result = json.loads((run / "result.json").read_text())
    assert result["ended"] == "interrupted"
    assert result == json.loads(out.strip().splitlines()[-1])
    assert (run / "learning_curve.png").exists()
    assert (run / "last.keras").exists()
    assert state_of(run)["store"]["steps"] > 0


def test_a_signal_while_training_waits_for_a_verdict(tmp_path):
    """The serial engine's only thread is in an evaluation that may end the run, and has to end it."""
    code = """
        import os, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from a3c.evaluation import evaluator
        from a3c.cli import main

        evaluated = evaluator.Evaluator.evaluate
        def interrupted(self, weights, mode, *rest):
            if mode != "random":
                os.kill(os.getpid(), signal.SIGINT)
            return evaluated(self, weights, mode, *rest)
        evaluator.Evaluator.evaluate = interrupted
        flags = "--engine serial --workers 1 --quiet --seed 1 --stop-return 30"
        sys.exit(main(["train", "jax/CartPole-v1", *flags.split()]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path, timeout=harness.DEADLINE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    [run] = tmp_path.glob("runs/*/*")
    assert json.loads((run / "result.json").read_text())["ended"] == "interrupted"


# -- Python -------------------------------------------------------------------------------------------------


def functional_model():
    x = keras.Input((4,))
    y = keras.layers.Dense(8, "relu")(x)
    return keras.Model(x, [keras.layers.Dense(2)(y), keras.layers.Dense(1)(y)])


def test_models_and_optimizers_of_ones_own_are_found_again(call, tmp_path):
    optimizer = keras.optimizers.Nadam(keras.optimizers.schedules.ExponentialDecay(1e-3, 100, 0.9))
    agent = Agent(
        "CartPole-v1", model=functional_model(), optimizer=optimizer, save_dir=str(tmp_path), **SETTINGS
    )
    run = agent.fit(verbose=0).summary["run_dir"]
    outcome = call("resume", run, "--max-steps", "6000", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["steps"] >= 6000
    assert state_of(Path(run))["about"]["optimizer"] == "Nadam"


def test_fit_goes_on_with_a_run(run, tmp_path):
    agent = Agent("CartPole-v1", save_dir=str(tmp_path), **SETTINGS)
    for kind in ("png", "keras", "json"):
        (run / f".killed.1.tmp.{kind}").write_text("half of it")
    history = agent.fit(verbose=0, resume=str(run), max_steps=6000)
    assert not list(run.glob(".killed*")), "what a writer that was killed left is swept up"
    assert history.summary["run_dir"] == str(run)
    assert history.summary["steps"] >= 6000
    assert len(history.history["return"]) == history.summary["episodes"], "the whole run's episodes"


def test_a_higher_goal_is_still_to_be_reached(tmp_path):
    agent = Agent("CartPole-v1", save_dir=str(tmp_path), **{**SETTINGS, "max_steps": 50_000})
    solved = agent.fit(verbose=0, stop_return=10.0).summary
    assert solved["ended"] == "solved"
    more = dict(stop_return=1e9, max_steps=solved["steps"] + 1000)
    further = agent.fit(verbose=0, resume=solved["run_dir"], **more).summary
    assert (further["solved"], further["ended"]) == (False, "limit")


def test_another_network_is_refused_with_the_difference(run, tmp_path):
    files = (run / "episodes.csv", run / "config.toml")
    before = [file.read_bytes() for file in files]
    with pytest.raises(UsageError, match=r"\[4, 32\] in the checkpoint, \[4, 8\] now") as caught:
        Agent("CartPole-v1", hidden_units=(8,), save_dir=str(tmp_path), **SETTINGS).fit(
            verbose=0, resume=str(run)
        )
    assert "checkpoint" in str(caught.value)
    assert [file.read_bytes() for file in files] == before


def test_settings_that_break_off_anywhere_are_refused(tmp_path):
    """A file that ends between two lines is good TOML, and would go on with defaults."""
    config = Config(seed=3, backend="jax", workers=2, save_dir=str(tmp_path), stop_return=400.0)
    directory = run_directory.create(config, ["a3c", "train"])
    content, whole = (directory / "config.toml").read_bytes(), 0
    for length in (*range(0, len(content), 3), len(content)):
        (directory / "config.toml").write_bytes(content[:length])
        try:
            assert run_directory.read_config(directory) == config
            whole += 1
        except UsageError:
            assert length < len(content)
    assert whole


def test_runs_from_before_a_setting_keep_what_they_were_made_with(tmp_path):
    """Until there was a choice, the deviation of continuous actions depended on the state."""
    config = Config(env_id="Pendulum-v1", seed=3, backend="jax", workers=2, save_dir=str(tmp_path))
    directory = run_directory.create(config, ["a3c"])
    assert not run_directory.read_config(directory).state_dependent_deviation
    path = directory / "config.toml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("state_dependent_deviation")))
    assert run_directory.read_config(directory).state_dependent_deviation


OLD_RUN = Path(__file__).parents[1] / "references" / "old_run"
"""A serial run of CartPole-v1 made by version 0.1.0, when one loop had what callbacks have now."""


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="its checkpoint says JAX")
def test_a_run_of_an_earlier_version_is_evaluated_and_goes_on(tmp_path, cli):
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "runs" / "CartPole-v1" / "old"))
    before = (run / "episodes.csv").read_text()
    outcome = cli("evaluate", str(run / "best.keras"), "--episodes", "3", "--seed", "1", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["evaluation"]["mean"] == pytest.approx(233.3333), "as that version said"
    outcome = cli("resume", str(run), "--max-steps", "6000", "--json")
    assert outcome.code == 0, outcome.err
    assert "episodes under way begin anew: they were saved by another version" in outcome.err
    assert outcome.json["steps"] >= 6000
    assert (run / "episodes.csv").read_text().startswith(before)
