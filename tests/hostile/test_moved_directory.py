"""The directory of a run is moved, removed or replaced while it trains: all that was learned is kept."""

import errno
import json
import shutil
import sys
import tempfile
from pathlib import Path

import harness
import pytest

import a3c
from a3c.training import place
from a3c.training.place import Place

SETTINGS = dict(engine="serial", seed=1, preset="none", algorithm="a3c", evaluation_episodes=2)


class Once(a3c.Callback):
    """Does something to the run's directory after some steps."""

    def __init__(self, what, steps=1000):
        self.what, self.steps, self.messages = what, steps, []

    def on_report(self, run, report):
        if self.what is not None and run.metrics.steps >= self.steps:
            what, self.what = self.what, None
            run.request_checkpoint()
            what(run.directory)

    def on_message(self, run, level, text):
        self.messages.append(text)


def train(tmp_path, what, **settings):
    callback = Once(what)
    agent = a3c.Agent("CartPole-v1", save_dir=str(tmp_path / "runs"), **{**SETTINGS, **settings})
    history = agent.fit(verbose=0, callbacks=[callback], max_steps=4000, stop_return=1e9)
    return history.summary, "\n".join(callback.messages)


def check_whole(directory, summary):
    """Everything is there, and the run can go on."""
    harness.check_files(directory, summary)
    for name in ("best.keras", "last.keras"):
        assert harness.arrays(directory / name)
    assert json.loads((directory / "result.json").read_text()) == summary
    assert (directory / "learning_curve.png").exists()
    assert list((directory / "checkpoints").glob(f"step-*{summary['steps']}.zip"))
    again = a3c.Agent("CartPole-v1", save_dir=str(directory.parents[1]), **SETTINGS)
    more = again.fit(verbose=0, resume=directory, max_steps=5000)
    assert more.summary["steps"] >= 5000
    harness.check_files(directory, more.summary)


ENGINES = [
    dict(engine="serial"),
    pytest.param(dict(engine="processes", workers=2), marks=pytest.mark.long_faults),
]


def remove_whole(directory):
    """Also if a checkpoint is being written in it."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="its new path is not known elsewhere")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_directory_that_was_moved_is_followed(tmp_path, engine):
    moved = tmp_path / "elsewhere"
    summary, told = train(tmp_path, lambda directory: directory.rename(moved), **engine)
    assert summary["run_dir"] == str(moved)
    assert f"was moved: the run goes on in {moved}" in told
    assert not list((tmp_path / "runs").rglob("*.keras"))
    check_whole(moved, summary)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_directory_that_was_removed_is_made_again(tmp_path, engine):
    before = []

    def remove(directory):
        before.append(directory)
        (directory / "log.txt").write_text("")
        remove_whole(directory)

    summary, told = train(tmp_path, remove, **engine)
    assert "was removed: the run goes on in a new" in told
    assert summary["run_dir"] == str(before[0])
    check_whole(before[0], summary)
    assert "was removed" in (before[0] / "log.txt").read_text()


def test_the_last_checkpoint_is_written_again_if_it_was_removed_after_it(tmp_path):
    class Late(Once):
        def on_evaluation_begin(self, run, candidate):
            if run.metrics.steps >= 4000:  # the last evaluation: agents are written after it
                directory = run.directory
                harness.wait_for(lambda: list(directory.glob("checkpoints/step-00000000[4-9]*.zip")))
                remove_whole(directory)

    agent = a3c.Agent("CartPole-v1", save_dir=str(tmp_path / "runs"), **SETTINGS)
    history = agent.fit(verbose=0, callbacks=[Late(None)], max_steps=4000, stop_return=1e9)
    check_whole(Path(history.summary["run_dir"]), history.summary)


@pytest.mark.parametrize("by", ["a file", "another directory"])
def test_beside_what_replaced_it_the_run_is_saved(tmp_path, by):
    before = []

    def replace(directory):
        before.append(directory)
        remove_whole(directory)
        directory.mkdir() if by == "another directory" else directory.write_text("mine")

    summary, _ = train(tmp_path, replace)
    directory = Path(summary["run_dir"])
    assert directory != before[0]
    assert directory.parent == before[0].parent
    assert directory.name.endswith("-a3c-s1") or "-a3c-s1-" in directory.name
    check_whole(directory, summary)
    assert before[0].is_dir() or before[0].read_text() == "mine"
    assert before[0].is_file() or not list(before[0].iterdir())


@pytest.mark.parametrize("where", ["beside", "among temporary files"])
def test_where_nothing_can_be_written_the_run_is_saved_elsewhere(tmp_path, monkeypatch, where):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    refused = []

    def refuse(directory):
        refused.append(directory if where == "beside" else directory.parent)

    plain, make_new = place.write_whole, place.run_directory.make_new

    def write_whole(path, text):
        if refused and path.is_relative_to(refused[0]):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        plain(path, text)

    def make(save_dir, *arguments):
        if refused and Path(save_dir).is_relative_to(refused[0]):
            raise a3c.UsageError("save-dir", "one that can be written")
        return make_new(save_dir, *arguments)

    monkeypatch.setattr(place, "write_whole", write_whole)
    monkeypatch.setattr(place.run_directory, "make_new", make)
    summary, told = train(tmp_path, refuse)
    directory = Path(summary["run_dir"])
    assert "cannot be written to (Read-only file system): the run is saved in" in told
    assert str(directory) in told
    assert directory.is_relative_to(tmp_path / ("runs" if where == "beside" else "temporary"))
    monkeypatch.undo()
    check_whole(directory, summary)


def test_a_full_disk_moves_nothing(tmp_path, monkeypatch):
    (tmp_path / "config.toml").write_text("")
    told = []
    here = Place(tmp_path, told.append)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(place, "write_whole", full)
    here.ensure_writable()
    assert (here.path, told) == (tmp_path, [])
    here.close()


def test_only_one_process_trains_in_a_directory_that_was_made_again(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    here = Place(directory, lambda text: None)
    directory.rmdir()
    assert here.path == directory
    with (
        pytest.raises(a3c.UsageError, match="no other process"),
        place.run_directory.locked(directory),
    ):
        pass
    here.close()


@pytest.mark.parametrize("name", ["episodes.csv", "config.toml", "checkpoints"])
def test_a_file_that_was_removed_is_written_again(tmp_path, name):
    def remove(directory):
        path = directory / name
        remove_whole(path) if path.is_dir() else path.unlink()

    summary, _ = train(tmp_path, remove)
    check_whole(Path(summary["run_dir"]), summary)
