"""The speed-up table of Mnih et al. (2016, Table 2): from the summaries of runs to rows, CSV and Markdown.

Pure: what is run, and how, is the command's business. A summary is what `a3c train --json` prints.
"""

import csv
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """What so many workers came to: medians over seeds."""

    workers: int
    runs: int
    steps_per_second: float
    speedup: float | None
    """In steps/s, relative to the first row."""
    solved: int
    """Runs that reached the threshold; the next three are of these alone, None without one."""
    steps_to_threshold: float | None
    seconds_to_threshold: float | None
    time_speedup: float | None
    """In seconds of training to the threshold, relative to the first row."""
    more_than_cores: bool
    """Whether there are more workers than cores to run them on."""


def by_workers(summaries: Sequence[Summary], key: str, solved: bool = False) -> dict[int, list[float]]:
    """`key` of every run, or of every `solved` one, by number of workers, in the order of the runs."""
    values: dict[int, list[float]] = {summary["workers"]: [] for summary in summaries}
    for summary in summaries:
        if summary["solved"] or not solved:
            values[summary["workers"]].append(summary[key])
    return values


def table(summaries: Sequence[Summary], cores: int) -> list[Row]:
    """One row per number of workers; the first in `summaries` is the one the others are compared with."""
    speeds = by_workers(summaries, "steps_per_second")
    steps = by_workers(summaries, "steps", solved=True)
    seconds = by_workers(summaries, "train_seconds", solved=True)
    first = next(iter(speeds), 0)
    return [
        Row(
            workers=workers,
            runs=len(speeds[workers]),
            steps_per_second=round(statistics.median(speeds[workers]), 1),
            speedup=_ratio(_median(speeds[workers]), _median(speeds[first])),
            solved=len(steps[workers]),
            steps_to_threshold=_median(steps[workers]),
            seconds_to_threshold=_median(seconds[workers]),
            time_speedup=_ratio(_median(seconds[first]), _median(seconds[workers])),
            more_than_cores=workers > cores,
        )
        for workers in speeds
    ]


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 4) if values else None


def _ratio(above: float | None, below: float | None) -> float | None:
    return round(above / below, 3) if above is not None and below else None


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line per row, with the columns of `Row`; what is not known is empty."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Row)])
        writer.writeheader()
        writer.writerows(map(dataclasses.asdict, rows))


def markdown(rows: Sequence[Row], threshold: float | None, cores: int) -> str:
    """The rows as a Markdown table that also reads well on a terminal.

    Args:
        rows: At least one.
        threshold: The return that counts as solved; None where there is no such thing.
        cores: The cores that the workers ran on.
    """
    goal = "threshold" if threshold is None else f"{threshold:g}"
    columns = {
        "workers": [_workers(row, cores) for row in rows],
        "steps/s": [f"{row.steps_per_second:,.0f}" for row in rows],
        "speed-up in steps/s": [_format(row.speedup, ".2f") for row in rows],
        "solved": ["–" if threshold is None else f"{row.solved} of {row.runs}" for row in rows],
        f"steps to {goal}": [_format(row.steps_to_threshold, ",.0f") for row in rows],
        f"seconds to {goal}": [_format(row.seconds_to_threshold, ",.2f") for row in rows],
        "speed-up in seconds": [_format(row.time_speedup, ".2f") for row in rows],
    }
    padded = []
    for name, cells in columns.items():
        width = max(map(len, [name, *cells]))
        padded.append([name.rjust(width), "-" * (width - 1) + ":", *(cell.rjust(width) for cell in cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*padded, strict=True))


def _workers(row: Row, cores: int) -> str:
    return f"{row.workers} (more than the {cores} cores here)" if row.more_than_cores else str(row.workers)


def _format(value: float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)
