"""The newest run is the one that began last, by what runs say; to find it among many takes no time."""

import datetime
import os
import shutil
import tomllib
from pathlib import Path

import pytest

from a3c.errors import UsageError
from a3c.training import lookup
from a3c.training.lookup import find_model, find_run, find_unfinished, list_runs, newest_runs

OLD_RUN = Path(__file__).parents[1] / "references" / "old_run"


def make(tmp_path, name, started=None, env="CartPole-v1", mtime=None, **changed):
    run = tmp_path / env / name
    run.mkdir(parents=True)
    text = (OLD_RUN / "config.toml").read_text()
    if started is not None:
        before = next(line for line in text.splitlines() if line.startswith("started = "))
        text = text.replace(before, f"started = {started}")
    for key, value in changed.items():
        before = next(line for line in text.splitlines() if line.startswith(f"{key} = "))
        text = text.replace(f"{before}\n", f"{key} = {value}\n")
    (run / "config.toml").write_text(text)
    if mtime is not None:
        os.utime(run / "config.toml", (mtime, mtime))
    return run


def test_times_of_files_decide_nothing(tmp_path):
    first = make(tmp_path, "20260101-120000-a3c-s1", mtime=2e9)
    last = make(tmp_path, "20260301-120000-a3c-s1", mtime=1e9)
    middle = make(tmp_path, "20260201-120000-a3c-s1", env="Acrobot-v1", mtime=3e9)
    assert list_runs(str(tmp_path)) == [last, middle, first]
    assert list_runs(str(tmp_path), "CartPole-v1") == [last, first]
    assert find_run(None, str(tmp_path)) == last
    (middle / "best.keras").write_text("")
    (first / "best.keras").write_text("")
    assert find_model(None, str(tmp_path)) == middle / "best.keras"


def test_of_two_that_began_in_one_second_the_second_is_newer(tmp_path):
    names = ["20260101-120000-a3c-s1", "20260101-120000-a3c-s1-2", "20260101-120000-a3c-s1-10"]
    runs = [make(tmp_path, name) for name in names]
    assert list_runs(str(tmp_path)) == runs[::-1]


def test_a_run_that_was_renamed_says_itself_when_it_began(tmp_path):
    zone = datetime.datetime(2026, 2, 1).astimezone().strftime("%z")
    zone = f"{zone[:3]}:{zone[3:]}"
    older = make(tmp_path, "20260101-120000-a3c-s1")
    named = make(tmp_path, "good", started=f"2026-02-01T12:00:00{zone}", mtime=1e9)
    newer = make(tmp_path, "20260301-120000-a3c-s1")
    silent = make(tmp_path, "silent", started='"soon"', mtime=1e9)  # only the file has a time
    assert list_runs(str(tmp_path)) == [newer, named, older, silent]


def test_a_run_from_the_future_hides_no_other(tmp_path):
    now = datetime.datetime(2026, 6, 1, 12).timestamp()
    wrong = make(tmp_path, "20990101-120000-a3c-s1")
    today = make(tmp_path, "20260601-115900-a3c-s1")
    other_zone = make(tmp_path, "20260602-010000-a3c-s1")
    assert list(newest_runs(str(tmp_path), now=now)) == [other_zone, today, wrong]


def test_what_is_no_run_is_passed_over(tmp_path):
    (tmp_path / "CartPole-v1" / "20260101-120000-a3c-s1").mkdir(parents=True)
    (tmp_path / "CartPole-v1" / "20260102-120000-a3c-s1").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert list_runs(str(tmp_path)) == list_runs(str(tmp_path / "none")) == []
    with pytest.raises(UsageError, match="a run: expected"):
        find_run(None, str(tmp_path))


def test_among_many_runs_few_are_read(tmp_path, monkeypatch):
    """Which are finished, or have other settings, is found without parsing what they are made with."""
    settings = tomllib.loads((OLD_RUN / "config.toml").read_text())["settings"]
    wanted = make(tmp_path, "20260101-120000-a3c-s1")
    for day in range(2, 28):
        make(tmp_path, f"202601{day:02}-120000-a3c-s7", seed=7, t_max=day)
    parsed, read_config = [], lookup.read_config

    def read(directory):
        parsed.append(directory)
        return read_config(directory)

    monkeypatch.setattr(lookup, "read_config", read)
    given = {name: settings[name] for name in ("seed", "t_max", "algorithm")}
    assert find_unfinished("CartPole-v1", str(tmp_path), given) == wanted
    assert parsed == [wanted]
    assert find_unfinished("CartPole-v1", str(tmp_path), {"t_max": 27}).name[:8] == "20260127"
    shutil.copy(OLD_RUN / "result.json", wanted) if (OLD_RUN / "result.json").exists() else None
    assert find_unfinished("CartPole-v1", str(tmp_path), {"seed": 12345}) is None
