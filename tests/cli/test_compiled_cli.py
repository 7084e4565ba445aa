"""Compiled environments from the command line, as a user meets them."""

import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_cartpole_is_solved_played_and_judged(cli, call, tmp_path):
    outcome = cli("train", "jax/CartPole-v1", "--json", "--seed", "5")
    assert outcome.code == 0, outcome.err
    summary = outcome.json
    assert summary["engine"] == "threads"
    assert summary["solved"], summary
    assert summary["evaluation"]["mean"] >= 475
    assert 15 < summary["random_baseline"] < 30
    rows = (Path(tmp_path) / summary["run_dir"] / "episodes.csv").read_text().splitlines()
    assert len(rows) == summary["episodes"] + 1
    judged = call("evaluate", "--json")
    assert judged.json["solved"] is True
    played = call("play", "--video", "film.gif")
    assert played.code == 0, played.err
    assert (tmp_path / "film.gif").stat().st_size > 10_000


@pytest.mark.thorough
def test_tensorflow_steps_the_same_environment_from_outside(cli):
    outcome = cli("train", "jax/CartPole-v1", "--backend", "tensorflow", "--max-steps", "20000", "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["engine"], outcome.json["backend"]) == ("processes", "tensorflow")
    assert outcome.json["evaluation"]["mean"] > 30


@pytest.mark.parametrize("engine", [pytest.param("processes", marks=pytest.mark.thorough), "threads"])
def test_any_engine_will_do(engine, cli):
    outcome = cli("train", "jax/CartPole-v1", "--engine", engine, "--max-steps", "30000", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["engine"] == engine
    assert outcome.json["steps"] >= 30_000


@pytest.mark.thorough
def test_an_environment_of_ones_own(cli, tmp_path):
    shutil.copy(EXAMPLES / "compiled_environment.py", tmp_path)
    outcome = cli("train", "compiled_environment:Catch", "--json", "--seed", "3")
    assert outcome.code == 0, outcome.err
    assert outcome.json["solved"], outcome.json
    assert outcome.json["evaluation"]["mean"] == pytest.approx(1.0)
    played = cli("play", "--video", "catch.gif")
    assert played.code == 0, played.err


def test_threads_are_refused_on_tensorflow(cli):
    outcome = cli("train", "jax/CartPole-v1", "--backend", "tensorflow", "--engine", "threads", "--quiet")
    assert outcome.code == 2
    assert "--engine threads" in outcome.err
    assert "--engine processes" in outcome.err
