"""Runs are looked up by what a user types; what is read there are plain files, of that environment."""

import os
import shutil
from pathlib import Path

import keras
import pytest

from a3c.config import Config
from a3c.errors import UsageError
from a3c.training import lookup, run_directory
from a3c.training.lookup import list_runs
from a3c.training.metrics import read_episodes
from a3c.training.run_directory import folder_name

OLD_RUN = Path(__file__).parents[1] / "references" / "old_run"


@pytest.fixture
def runs(tmp_path):
    """Make a run of an environment, and say where it is."""
    save_dir = str(tmp_path / "runs")

    def make(env_id):
        config = Config(env_id=env_id, seed=1, backend="jax", workers=1, save_dir=save_dir)
        return run_directory.create(config, ["a3c"])

    make.save_dir = save_dir
    return make


def test_two_environments_in_one_folder_are_told_apart(runs):
    first, second = runs("jax/CartPole-v1"), runs("jax CartPole-v1")
    assert first.parent == second.parent
    assert list_runs(runs.save_dir, "jax/CartPole-v1") == [first]
    assert list_runs(runs.save_dir, "jax CartPole-v1") == [second]
    assert set(list_runs(runs.save_dir)) == {first, second}
    with pytest.raises(UsageError, match="There is none"):
        lookup.find_run("jax*CartPole-v1", runs.save_dir)


def test_modules_are_told_apart_where_both_are_named(runs):
    first, second = runs("one:Env-v0"), runs("two:Env-v0")
    assert list_runs(runs.save_dir, "one:Env-v0") == [first]
    assert set(list_runs(runs.save_dir, "Env-v0")) == {first, second}


@pytest.mark.parametrize("env_id", ["用户环境-v0", "Über-v0", "بيئة-v0"])
def test_letters_of_every_script_stay(runs, env_id):
    run = runs(env_id)
    assert run.parent.name == env_id == folder_name(env_id)
    assert list_runs(runs.save_dir, env_id) == [run]


def test_one_letter_written_in_two_ways_is_one_letter(runs):
    run = runs("U\u0308ber-v0")
    assert run.parent.name == "\u00dcber-v0"
    assert list_runs(runs.save_dir, "\u00dcber-v0") == [run]


def test_runs_of_before_letters_stayed_are_found(runs):
    run = runs("用户环境-v0")
    older = run.parent.with_name("--v0")
    run.parent.rename(older)
    assert list_runs(runs.save_dir, "用户环境-v0") == [older / run.name]


def test_a_run_whose_settings_cannot_be_read_is_not_passed_over(runs):
    """Who looks for it is told what is wrong with it."""
    run = runs("CartPole-v1")
    (run / "config.toml").write_text("[settings")
    assert list_runs(runs.save_dir, "CartPole-v1") == [run]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_settings_that_are_no_plain_file(call, tmp_path, kind):
    path = tmp_path / "mine.toml"
    {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": lambda path: path.mkdir(),
    }[kind](path)
    outcome = call("train", "--preset", "mine.toml")
    assert (outcome.code, "not a plain file" in outcome.err) == (2, True), outcome.err


def test_settings_behind_a_link_that_the_user_names(call, tmp_path):
    (tmp_path / "theirs.toml").write_text("t_max = -1\n")
    (tmp_path / "mine.toml").symlink_to(tmp_path / "theirs.toml")
    assert "t_max=-1" in call("train", "--preset", "mine.toml").err


def test_settings_and_results_that_are_very_long(call, tmp_path):
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    (run / "result.json").write_bytes(b"[" * 2**19)
    assert run_directory.read_result(run) == {}
    (run / "config.toml").write_bytes(b"#" * 2**19)
    (tmp_path / "mine.toml").write_bytes(b"#" * 2**19)
    for arguments in (("resume", "run"), ("train", "--preset", "mine.toml")):
        outcome = call(*arguments)
        assert (outcome.code, "more than 262,144 bytes" in outcome.err) == (2, True), outcome.err


@pytest.mark.parametrize("run", ["run = 5\n", "[run]\nresumed = 'x'\n", ""])
def test_how_often_a_run_was_resumed_may_be_anything(runs, run):
    directory = runs("CartPole-v1")
    config = run_directory.read_config(directory)
    text = (directory / "config.toml").read_text()
    (directory / "config.toml").write_text(run + text[text.index("[settings]") :])
    run_directory.record_resumption(directory, config)
    assert "resumed = 1\n" in (directory / "config.toml").read_text()


# -- episodes.csv -------------------------------------------------------------------------------------------

HEADER = "episode,steps,seconds,worker,return,length,moving_average,mean_return_100\n"


@pytest.mark.parametrize(
    "row",
    [
        "1,2,3.0,0,5.0,inf,6.0,",
        "1,nan,3.0,0,5.0,2,6.0,",
        "1,1e300,3.0,0,5.0,2,6.0,",
        "-1,2,3.0,0,5.0,2,6.0,",
        ",2,3.0,0,5.0,2,6.0,",
        "1,2",
        "x" * 10_000,
        "\0,2,3.0,0,5.0,2,6.0,",
    ],
)
def test_rows_that_no_run_writes(call, tmp_path, row):
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    (run / "episodes.csv").write_text(HEADER + row + "\n")
    with pytest.raises(ValueError, match=r"."):
        read_episodes(run / "episodes.csv")
    outcome = call("plot", "run")
    assert (outcome.code, "readable episodes.csv" in outcome.err) == (2, True), outcome.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_episodes_that_are_no_plain_file(call, tmp_path):
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()):
        path = run / "episodes.csv"
        path.rmdir() if path.is_dir() else path.unlink()
        make(path)
        outcome = call("plot", "run")
        assert (outcome.code, "not a plain file" in outcome.err) == (2, True), outcome.err


# -- what is cut at the position of a checkpoint ------------------------------------------------------------


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="made with JAX")
@pytest.mark.parametrize("name", ["model.keras", "events.out.tfevents.1795835806.vm.32735.0"])
def test_links_in_a_run_directory_lead_nowhere(cli, tmp_path, name):
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    (tmp_path / "precious").write_bytes(b"x" * 10_000)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(tmp_path / "precious")
    outcome = cli("resume", "run", "--max-steps", "4100")
    assert outcome.code in (1, 2), outcome.err
    assert "Traceback" not in outcome.err
    assert " link" in outcome.err
    assert (tmp_path / "precious").read_bytes() == b"x" * 10_000
