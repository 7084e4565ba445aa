"""The examples do what they say."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def examples_at_hand(tmp_path):
    for path in EXAMPLES.glob("*.py"):
        shutil.copy(path, tmp_path)


def test_an_environment_of_ones_own(cli, call, tmp_path):
    outcome = cli("train", "custom_environment:Corridor-v0", "--json", "--seed", "3", "--max-steps", "300000")
    assert outcome.code == 0, outcome.err
    assert outcome.json["env_id"] == "custom_environment:Corridor-v0"
    assert outcome.json["solved"], outcome.json
    assert outcome.json["evaluation"]["mean"] == pytest.approx(1 - 0.05 * 3), "the best return there is"
    outcome = call("evaluate", "custom_environment:Corridor-v0", "--json", "--episodes", "20")
    assert outcome.json["solved"] is True
    outcome = call("play", "--video", "corridor.gif")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "corridor.gif").exists()


def test_a_model_of_ones_own_from_the_command_line(cli, call):
    outcome = cli(
        "train", "CartPole-v1", "--model", "custom_model:Residual", "--json", "--max-steps", "100000"
    )
    assert outcome.code == 0, outcome.err
    outcome = call("evaluate", "--json", "--episodes", "10")
    assert outcome.code == 0, outcome.err
    assert outcome.json["evaluation"]["mean"] > 30


def test_a_model_of_ones_own_with_a_memory(cli, call):
    flags = ("--model", "recurrent_model:Remembering", "--stop-return", "0.9", "--engine", "serial")
    outcome = cli("train", "a3c.envs.probes:probe/Recall-v0", *flags, "--seed", "3", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["solved"]
    outcome = call("evaluate", "--json", "--episodes", "20")
    assert outcome.code == 0, outcome.err
    assert outcome.json["evaluation"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("script", "expected"), [("custom_model.py", "evaluation:"), ("library.py", "by hand:")]
)
def test_scripts(script, expected, tmp_path):
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert float(done.stdout.strip().splitlines()[-1].split()[-1]) > 300


def test_callbacks(tmp_path):
    done = subprocess.run([sys.executable, "callbacks.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, summary = map(json.loads, done.stdout.strip().splitlines())
    assert summary["ended"] == "stopped"
    assert summary["evaluation"]["mean"] > 100
