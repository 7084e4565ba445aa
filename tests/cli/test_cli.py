"""The command line, run as a user runs it."""

import csv
import functools
import json
import os
import pty
import re
import subprocess
import sys
import tomllib
import zipfile

import harness
import keras
import pytest

import a3c.networks  # noqa: F401 - its class is registered with Keras on import
from references import record_interface

RECORDED = json.loads(record_interface.KEYS.read_text())
QUICK = ("--max-steps", "3000", "--evaluation-episodes", "10")


def train_quickly(run, *more):
    outcome = run("train", *QUICK, "--json", *more)
    assert outcome.code == 0, outcome.err
    return outcome.json


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What came of a run, and its directory: for all that only look at one."""
    home = tmp_path_factory.mktemp("trained")
    outcome = harness.run(home, "train", "CartPole-v1", *QUICK, "--json", "--seed", "5")
    assert outcome.code == 0, outcome.err
    return outcome, home / outcome.json["run_dir"]


def test_train_leaves_a_whole_run_directory(trained):
    outcome, run = trained
    summary = outcome.json
    assert record_interface.keys_of(summary) == RECORDED
    assert summary["seed"] == 5
    assert summary["steps"] >= 3000
    assert summary["solved"] is False
    assert summary["solved_seconds"] is None
    assert 10 < summary["random_baseline"] < 40
    assert "a3c " in outcome.err.splitlines()[0], "progress goes to standard error"
    assert len(outcome.out.strip().splitlines()) == 1
    assert run.parent.parts[-2:] == ("runs", "CartPole-v1")
    assert re.fullmatch(r"\d{8}-\d{6}-a3c-s5", run.name)
    models, figures = {"best.keras", "last.keras"}, {"episodes.csv", "metrics.jsonl", "learning_curve.png"}
    assert {"config.toml"} | models | figures <= {path.name for path in run.iterdir()}
    assert len(list(run.glob("events.out.tfevents*"))) == 1
    harness.check_files(run, summary)
    assert tomllib.loads((run / "config.toml").read_text())["settings"]["seed"] == 5
    assert json.loads((run / "result.json").read_text()) == summary


def test_the_mean_return_is_that_of_a_hundred_episodes(trained):
    """That the moving average is the tutorial's is one of `harness.check_files`."""
    with open(trained[1] / "episodes.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["mean_return_100"] for row in rows[:99]} == {""}
    for end, row in enumerate(rows[99:], 100):
        recent = [float(r["return"]) for r in rows[end - 100 : end]]
        assert float(row["mean_return_100"]) == pytest.approx(sum(recent) / 100, abs=1e-3)


@pytest.mark.thorough
def test_serial_runs_with_one_seed_are_identical(cli, tmp_path):
    runs = [
        tmp_path / train_quickly(cli, "--engine", "serial", "--seed", "7", "--max-steps", "20000")["run_dir"]
        for _ in range(2)
    ]
    assert runs[0] != runs[1]
    first, second = map(harness.episodes, runs)
    assert first == second
    for name in ("last.keras", "best.keras"):
        first, second = (keras.models.load_model(run / name).get_weights() for run in runs)
        assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_the_tutorials_spellings_are_valid(call):
    spelled = "--lr 1e-3 --update-freq 7 --gamma 0.9 --max-eps 20 --workers 1"
    summary = train_quickly(call, *spelled.split())
    assert 20 <= summary["episodes"] < 60
    assert summary["steps"] < 3000


def test_random_is_about_22(call):
    """`--algorithm random` needs no other flag; in the tutorial it played a trained model."""
    for arguments in (
        ["random", "--episodes", "4000"],
        ["train", "--algorithm", "random", "--max-eps", "4000"],
    ):
        outcome = call(*arguments, "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.json["evaluation"]["episodes"] == 4000
        assert 21 < outcome.json["evaluation"]["mean"] < 23.5
    assert "random actions earn 2" in call("random", "--seed", "3").out


def test_evaluate_play_and_plot_a_run(trained):
    home, first = trained[1].parents[2], trained[0].json
    call, no_display = functools.partial(harness.call, home), {"DISPLAY": "", "WAYLAND_DISPLAY": ""}
    second = train_quickly(call, "--seed", "2")
    outcome = call("evaluate", "--episodes", "20", "--json", "--seed", "4")
    assert outcome.code == 0, outcome.err
    assert outcome.json["model"].startswith(second["run_dir"]), "the newest run by default"
    assert outcome.json["evaluation"]["mode"] == "greedy"
    assert outcome.json["sampled"]["mode"] == "sampled"
    assert list(outcome.json["sampled"]) == RECORDED["evaluation"]
    assert outcome.json["threshold"] == 475
    again = call(
        "evaluate", f"{second['run_dir']}/best.keras", "--episodes", "20", "--json", "--seed", "4"
    ).json
    assert again["evaluation"] == outcome.json["evaluation"]
    text = call("evaluate", first["run_dir"], "--episodes", "10").out
    assert "greedy" in text
    assert "random actions earn" in text

    outcome = call("play", "CartPole-v1", "--video", "film.gif", environment=no_display)
    assert outcome.code == 0, outcome.err
    assert re.search(r"^step 1  reward 1  action [01]$", outcome.out, re.M)
    assert (home / "film.gif").stat().st_size > 1000
    outcome = call("play", "--quiet", "--video", "film.mp4")
    assert outcome.code == 0, outcome.err
    assert (home / "film.mp4").stat().st_size > 1000
    outcome = call("play", "--sampled", environment=no_display)
    assert "There is no display here" in outcome.out

    outcome = call("plot", first["run_dir"], second["run_dir"], "--output", "both.png")
    assert outcome.code == 0, outcome.err
    assert (home / "both.png").read_bytes()[:4] == b"\x89PNG"


def test_the_first_line_comes_before_anything_heavy_is_imported(tmp_path):
    code = (
        "import sys, builtins, a3c.cli\n"
        "def first(*a, **k): print('FIRST', [m for m in ('keras', 'jax', 'gymnasium', 'matplotlib') "
        "if m in sys.modules], file=sys.stderr); raise SystemExit(0)\n"
        "builtins.print, print = first, print\n"
        "a3c.cli.main(['train'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.strip() == "FIRST []"


def test_a_terminal_gets_a_live_panel(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "a3c", "train", *QUICK]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    assert process.wait(timeout=harness.DEADLINE) == 0
    shown = text.decode()
    for word in ("steps/s", "episodes", "moving avg", "mean 100", "policy lag", "best eval", "left"):
        assert word in shown
    assert "random" in shown
    assert "\x1b[" in shown


def test_runs_are_never_overwritten(call):
    runs = {train_quickly(call, "--seed", "1", "--max-steps", "200")["run_dir"] for _ in range(2)}
    assert len(runs) == 2


def test_a_plain_keras_model_can_be_judged(call, tmp_path):
    x = keras.Input((4,))
    keras.Model(x, [keras.layers.Dense(2)(x), keras.layers.Dense(1)(x)]).save(tmp_path / "plain.keras")
    assert call("evaluate", "plain.keras").code == 2
    outcome = call("evaluate", "plain.keras", "--env-id", "CartPole-v1", "--episodes", "5", "--json")
    assert outcome.code == 0, outcome.err


def test_an_agents_file_is_a_keras_file_with_a_card(trained):
    path = trained[1] / "best.keras"
    with zipfile.ZipFile(path) as archive:
        card = json.loads(archive.read("a3c.json"))
    assert card["env_id"] == "CartPole-v1"
    assert card["evaluation"]["mean"] > 0
    assert keras.models.load_model(path).count_params() > 0


@pytest.mark.parametrize(
    "command", ["train", "resume", "random", "play", "evaluate", "plot", "reproduce", "doctor"]
)
def test_help(command, call):
    outcome = call(command, "--help")
    assert outcome.code == 0
    assert "usage: a3c " + command in outcome.out


def test_help_of_train_lists_every_setting_with_its_range(call):
    text = call("train", "--help", environment={"COLUMNS": "200"}).out
    from a3c.config import FIELDS

    for name in FIELDS:
        assert name == "env_id" or f"--{name.replace('_', '-')}" in text
    for expected in ("--lr", "--update-freq", "--max-eps", "[≥ 1", "[> 0]", "--json", "--quiet"):
        assert expected in text


def test_help_of_train_is_as_it_was_recorded(call):
    """A change that is meant is recorded anew: python tests/references/record_interface.py"""
    text = call("train", "--help", environment={"COLUMNS": "112"}).out
    assert record_interface.words_of(text) == record_interface.words_of(record_interface.HELP.read_text())


def test_towers_and_layers_can_be_given(call, tmp_path):
    quick = "--max-steps 2000 --stop-return 1e9 --engine serial --evaluation-episodes 2 --json --quiet"
    outcome = call("train", "--shared-tower", "--hidden-units", "8", "4", *quick.split())
    assert outcome.code == 0, outcome.err
    model = keras.models.load_model(tmp_path / outcome.json["run_dir"] / "last.keras")
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert sorted(layer.units for layer in dense) == [1, 2, 4, 8], "one tower, and two heads"
