"""What a run measures while it trains, and the files it writes it to. Called by the master alone."""

import csv
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from a3c.types import Episode, Report

EPISODE_COLUMNS = (
    "episode",
    "steps",
    "seconds",
    "worker",
    "return",
    "length",
    "moving_average",
    "mean_return_100",
)


@dataclass(frozen=True)
class Status:
    """The state of a run at one moment, for displays and files."""

    seconds: float
    """Since the first worker began to train."""
    steps: int
    updates: int
    episodes: int
    steps_per_second: float
    moving_average: float | None
    """The tutorial's: 0.99 of the old value and 0.01 of each new return."""
    mean_return_100: float | None
    """Mean return of the last 100 training episodes; None before there are 100."""
    lag: float
    losses: Mapping[str, float]
    best: float | None = None
    """Mean return of the best evaluation."""
    baseline: float | None = None
    """Mean return of random actions."""
    seconds_left: float | None = None
    """Until a limit is reached at the present speed, if there is a limit."""


@dataclass
class Statistics:
    """Running figures over the reports of all workers."""

    steps: int = 0
    updates: int = 0
    episodes: int = 0
    moving_average: float | None = None
    lag: float = 0.0
    losses: Mapping[str, float] = field(default_factory=dict)
    rows: list[tuple] = field(default_factory=list)
    """One row per episode, in `EPISODE_COLUMNS`."""
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def mean_return_100(self) -> float | None:
        """Mean return of the last 100 episodes; None before there are 100."""
        return sum(self._recent) / 100 if len(self._recent) == 100 else None

    def add(self, report: Report, seconds: float) -> None:
        """Take in one report, received `seconds` after training began."""
        for episode, steps in zip(report.episodes, report.episode_steps, strict=True):
            self._add_episode(episode, report.worker, self.steps + steps, seconds)
        self.steps += report.steps
        self.updates += report.updates
        self.lag, self.losses = report.lag, report.losses

    def _add_episode(self, episode: Episode, worker: int, steps: int, seconds: float) -> None:
        value = episode.episode_return
        old = self.moving_average
        self.moving_average = value if old is None else 0.99 * old + 0.01 * value
        self._recent.append(value)
        self.episodes += 1
        self.rows.append(
            (
                self.episodes,
                steps,
                seconds,
                worker,
                value,
                episode.length,
                self.moving_average,
                self.mean_return_100,
            )
        )

    def status(self, seconds: float, **more: Any) -> Status:
        """The figures of this moment; `more` fills in what only the master knows."""
        return Status(
            seconds=seconds,
            steps=self.steps,
            updates=self.updates,
            episodes=self.episodes,
            steps_per_second=self.steps / seconds if seconds > 0 else 0.0,
            moving_average=self.moving_average,
            mean_return_100=self.mean_return_100,
            lag=self.lag,
            losses=self.losses,
            **more,
        )


class Writer:
    """Writes `episodes.csv`, `metrics.jsonl` and TensorBoard events into a run directory."""

    def __init__(self, directory: Path):
        from tensorboardX import SummaryWriter

        self._csv_file = open(directory / "episodes.csv", "w", newline="")  # noqa: SIM115 - see close
        self._csv = csv.writer(self._csv_file)
        self._csv.writerow(EPISODE_COLUMNS)
        self._jsonl = open(directory / "metrics.jsonl", "w")  # noqa: SIM115
        self._events = SummaryWriter(str(directory), write_to_disk=True)
        self._written = 0

    def write(self, statistics: Statistics, status: Status) -> None:
        """Write the episodes since the last call, and one row of figures."""
        for row in statistics.rows[self._written :]:
            self._csv.writerow(["" if v is None else round(v, 4) if isinstance(v, float) else v for v in row])
        self._written = len(statistics.rows)
        self._csv_file.flush()
        figures = {
            "seconds": status.seconds,
            "steps": status.steps,
            "updates": status.updates,
            "episodes": status.episodes,
            "steps_per_second": status.steps_per_second,
            "moving_average": status.moving_average,
            "mean_return_100": status.mean_return_100,
            "best_evaluation": status.best,
            "lag": status.lag,
            **status.losses,
        }
        rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in figures.items()}
        self._jsonl.write(json.dumps({"time": round(time.time(), 3), **rounded}) + "\n")
        self._jsonl.flush()
        for name, value in figures.items():
            if value is not None and name != "steps":
                self._events.add_scalar(_tag(name), value, status.steps)

    def close(self) -> None:
        """Flush and close every file."""
        self._csv_file.close()
        self._jsonl.close()
        self._events.close()


_GROUPS = {
    "return": ("moving_average", "mean_return_100", "best_evaluation"),
    "loss": ("loss", "policy_loss", "value_loss", "entropy", "gradient_norm"),
}


def _tag(name: str) -> str:
    """The name of a figure in TensorBoard, with its group before it."""
    group = next((g for g, names in _GROUPS.items() if name in names), "run")
    return f"{group}/{name}"


def read_episodes(path: Path) -> dict[str, list[float]]:
    """The columns of an `episodes.csv`; empty cells are NaN."""
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    header, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    return {name: [float(row[i] or "nan") for row in body] for i, name in enumerate(header)}
