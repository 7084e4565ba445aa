"""The speed-up table: its arithmetic on made-up runs, and the command with real ones."""

import csv
import json
import os
import signal

import harness
import pytest

from a3c.cli import speedup
from a3c.cli.scaling import as_flags, parse_counts
from a3c.errors import SettingError


def summary(workers, speed, seconds, steps=1000, solved=True):
    return dict(workers=workers, steps_per_second=speed, train_seconds=seconds, steps=steps, solved=solved)


RUNS = [
    summary(1, 100.0, 10.0, 1000),
    summary(2, 190.0, 6.0, 1100),
    summary(1, 120.0, 8.0, 900),
    summary(2, 210.0, 99.0, 9999, solved=False),
    summary(1, 80.0, 12.0, 1200),
    summary(2, 200.0, 4.0, 800),
]


def test_rows_are_medians_and_only_solved_runs_count_for_the_threshold():
    one, two = speedup.table(RUNS, cores=1)
    assert (one.workers, one.runs, one.solved, one.speedup, one.time_speedup) == (1, 3, 3, 1.0, 1.0)
    assert (one.steps_per_second, one.steps_to_threshold, one.seconds_to_threshold) == (100.0, 1000, 10.0)
    assert (two.workers, two.runs, two.solved) == (2, 3, 2)
    assert (two.steps_per_second, two.speedup) == (200.0, 2.0)
    assert (two.steps_to_threshold, two.seconds_to_threshold, two.time_speedup) == (950, 5.0, 2.0)
    assert (one.more_than_cores, two.more_than_cores) == (False, True)


def test_what_nobody_reached_is_unknown_not_zero(tmp_path):
    [row] = speedup.table([summary(4, 10.0, 1.0, solved=False)], cores=4)
    assert (row.steps_to_threshold, row.seconds_to_threshold, row.time_speedup) == (None, None, None)
    assert "0 of 1" in speedup.markdown([row], 475.0, 4)
    speedup.write_csv([row], tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as file:
        [read] = csv.DictReader(file)
    assert read["steps_to_threshold"] == ""
    assert read["workers"] == "4"


def test_without_a_threshold_nothing_is_said_of_solving():
    table = speedup.markdown(speedup.table(RUNS, 2), None, 2)
    assert "475" not in table
    assert " of 3" not in table


def test_the_markdown_is_a_table_of_equal_lines():
    lines = speedup.markdown(speedup.table(RUNS, 1), 475.0, 1).splitlines()
    assert len(lines) == 4
    assert len(set(map(len, lines))) == 1
    assert "more than the 1 cores here" in lines[3]


def test_settings_become_the_flags_that_train_reads():
    settings = {"t_max": 5, "cache": False, "anneal": True, "hidden_units": (8, 4), "gamma": 0.5}
    expected = ["--t-max=5", "--no-cache", "--anneal", "--hidden-units", "8", "4", "--gamma=0.5"]
    assert as_flags(settings) == expected


@pytest.mark.parametrize("text", ["", "0", "1,1", "1,,2", "two", "-1", "1.5"])
def test_counts_that_make_no_sense_are_refused(text):
    with pytest.raises(SettingError, match="separated by commas"):
        parse_counts(text)
    assert parse_counts("4, 1,2") == (4, 1, 2)


@pytest.mark.thorough
def test_the_command_writes_table_and_picture(cli, tmp_path):
    outcome = cli(
        "scaling",
        "jax/CartPole-v1",
        *("--workers", "1,2", "--seeds", "2", "--max-steps", "20000", "--envs-per-worker", "4", "--json"),
    )
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert result["complete"]
    assert result["seeds"] == [1, 2]
    assert result["engine"] == "threads"
    assert [row["workers"] for row in result["rows"]] == [1, 2]
    assert [row["runs"] for row in result["rows"]] == [2, 2]
    directory = tmp_path / result["directory"]
    summaries = json.loads((directory / "runs.json").read_text())
    assert [(s["workers"], s["seed"]) for s in summaries] == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert all((tmp_path / s["run_dir"] / "best.keras").is_file() for s in summaries)
    with open(directory / "scaling.csv", newline="") as file:
        assert [row["workers"] for row in csv.DictReader(file)] == ["1", "2"]
    document = (directory / "scaling.md").read_text()
    assert "4 environments per worker" in document
    assert "a3c scaling jax/CartPole-v1" in document
    assert (directory / "scaling.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.thorough
def test_ctrl_c_leaves_a_table_of_the_runs_that_were_finished(tmp_path):
    flags = ("--workers", "1,2", "--seeds", "1000", "--max-steps", "5000")
    process = harness.start("scaling", "jax/CartPole-v1", *flags, cwd=tmp_path)
    harness.wait_for(lambda: len(list(tmp_path.glob("runs/*/*/*/*/*/result.json"))) >= 2, process)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches a whole group: this one
    out, err = process.communicate(timeout=harness.DEADLINE)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "| workers |" in out
    [table] = tmp_path.glob("runs/scaling/*/*/scaling.csv")
    assert table.read_text().count("\n") >= 2
