"""What a run measures while it trains, and the files it writes it to. Called by the master alone."""

import csv
import io
import json
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable, Mapping
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
class MetricsSnapshot:
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
    skipped: int = 0
    """Updates that were not applied, because a loss or a gradient was not finite."""
    best: float | None = None
    """Mean return of the best evaluation."""
    baseline: float | None = None
    """Mean return of random actions."""
    seconds_left: float | None = None
    """Until a limit is reached at the present speed, if there is a limit."""


FEWEST = 20
"""Episodes, before it is said that all are the same."""


@dataclass
class TrainingMetrics:
    """Running figures over the reports of all workers."""

    steps: int = 0
    updates: int = 0
    skipped: int = 0
    episodes: int = 0
    moving_average: float | None = None
    lag: float = 0.0
    lowest: float | None = None
    """The smallest return of an episode so far, and `highest` the largest."""
    highest: float | None = None
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
        self.skipped += report.skipped
        if report.updates:
            self.lag, self.losses = report.lag, report.losses

    def _add_episode(self, episode: Episode, worker: int, steps: int, seconds: float) -> None:
        value = episode.episode_return
        old = self.moving_average
        self.moving_average = value if old is None else 0.99 * old + 0.01 * value
        self._recent.append(value)
        self.lowest = value if self.lowest is None else min(self.lowest, value)
        self.highest = value if self.highest is None else max(self.highest, value)
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

    def nothing_to_learn_from(self) -> str | None:
        """A sentence, where no episode so far was better or worse than any other."""
        if self.episodes < FEWEST or self.lowest is None or self.lowest != self.highest:
            return None
        return (
            f"all {self.episodes:,} episodes of the first {self.steps:,} steps returned {self.lowest:g}: "
            "while none is better or worse, there is nothing to learn from. More exploration may find one "
            "(--exploration rnd, --entropy-coefficient 0.05), or more time (--max-steps); surer is a reward "
            "for every step towards the goal (gymnasium.wrappers.TransformReward)"
        )

    def status(self, seconds: float, **more: Any) -> MetricsSnapshot:
        """The figures of this moment; `more` fills in what only the master knows."""
        return MetricsSnapshot(
            seconds=seconds,
            steps=self.steps,
            updates=self.updates,
            episodes=self.episodes,
            steps_per_second=self.steps / seconds if seconds > 0 else 0.0,
            moving_average=self.moving_average,
            mean_return_100=self.mean_return_100,
            lag=self.lag,
            losses=self.losses,
            skipped=self.skipped,
            **more,
        )

    def state(self) -> dict[str, Any]:
        """Everything but the rows, as a plain tree."""
        names = ("steps", "updates", "skipped", "episodes", "moving_average", "lag", "lowest", "highest")
        plain = {name: getattr(self, name) for name in names}
        return {**plain, "losses": dict(self.losses), "recent": list(self._recent)}

    @classmethod
    def restored(cls, state: Mapping[str, Any], rows: list[tuple]) -> "TrainingMetrics":
        """The figures whose `state` that was, with the rows that were written until then."""
        plain = dict(state)
        recent = deque(plain.pop("recent"), maxlen=100)
        returns = [row[EPISODE_COLUMNS.index("return")] for row in rows]
        if "lowest" not in plain and returns:  # checkpoints of before it was counted
            plain |= dict(lowest=min(returns), highest=max(returns))
        return cls(**plain, rows=rows, _recent=recent)


class Writer:
    """Writes `episodes.csv`, `metrics.jsonl` and TensorBoard events into a run directory.

    Args:
        directory: The run directory.
        positions: Where the files of a checkpoint ended, by name: what is behind is cut off, since the run
            goes on from there. None: begin anew.
        written: How many episodes lie before that.
    """

    def __init__(self, directory: Path, positions: Mapping[str, int] | None = None, written: int = 0):
        at = positions or {}
        for stale in directory.glob(f"{_EVENTS}*"):
            if stale.name in at:
                os.truncate(stale, min(at[stale.name], stale.stat().st_size))
            else:
                stale.unlink()
        name = f"{_EVENTS}.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.{len(at)}"
        self._old_events = {name: end for name, end in at.items() if name.startswith(_EVENTS)}
        self._csv = _Appender(directory / "episodes.csv", at.get("episodes.csv", 0))
        self._jsonl = _Appender(directory / "metrics.jsonl", at.get("metrics.jsonl", 0))
        self._events = _Appender(directory / name, 0)
        self._written = written
        if self._csv.end == 0:
            self._csv.append(_csv_lines([EPISODE_COLUMNS]))
        self._events.append(_record(_event(file_version="brain.Event:2")))

    def write(self, statistics: TrainingMetrics, status: MetricsSnapshot) -> None:
        """Write the episodes since the last call, and one row of figures.

        Raises:
            OSError: if it cannot; the next call tries the same episodes again.
        """
        self._csv.append(_csv_lines(statistics.rows[self._written :]))
        self._written = len(statistics.rows)
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
            "skipped_updates": status.skipped,
            **status.losses,
        }
        rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in figures.items()}
        self._jsonl.append(json.dumps({"time": round(time.time(), 3), **rounded}).encode() + b"\n")
        known = {_tag(name): v for name, v in figures.items() if v is not None and name != "steps"}
        self._events.append(b"".join(_record(_scalar(tag, v, status.steps)) for tag, v in known.items()))

    def positions(self) -> dict[str, int]:
        """Where each file ends now, by name."""
        files = (self._csv, self._jsonl, self._events)
        return {**self._old_events, **{file.path.name: file.end for file in files}}

    def sync(self) -> None:
        """Bring everything to the disk."""
        for file in (self._csv, self._jsonl, self._events):
            file.sync()

    def close(self) -> None:
        """Close every file."""
        for file in (self._csv, self._jsonl, self._events):
            file.close()


_EVENTS = "events.out.tfevents"


class _Appender:
    """A file that only grows, by whole pieces: one that does not fit on the disk leaves no part behind."""

    def __init__(self, path: Path, end: int):
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        self.end = min(end, os.fstat(self._fd).st_size)
        os.ftruncate(self._fd, self.end)

    def append(self, piece: bytes) -> None:
        """Write `piece` at the end.

        Raises:
            OSError: if it cannot be written; the file is what it was then.
        """
        done = 0
        try:
            while done < len(piece):
                done += os.pwrite(self._fd, piece[done:], self.end + done)
        except OSError:
            os.ftruncate(self._fd, self.end)
            raise
        self.end += len(piece)

    def sync(self) -> None:
        """Bring it to the disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def _csv_lines(rows: Iterable[tuple]) -> bytes:
    buffer = io.StringIO(newline="")
    cells = (["" if v is None else round(v, 4) if isinstance(v, float) else v for v in row] for row in rows)
    csv.writer(buffer).writerows(cells)
    return buffer.getvalue().encode()


def _event(**content: Any) -> bytes:
    """One of TensorBoard's events."""
    from tensorboardX.proto.event_pb2 import Event

    return Event(wall_time=time.time(), **content).SerializeToString()


def _scalar(tag: str, value: float, step: int) -> bytes:
    from tensorboardX.proto.summary_pb2 import Summary

    return _event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=float(value))]))


def _record(content: bytes) -> bytes:
    """`content` as TensorBoard reads it from a file: with its length and checksums."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(content))
    return b"".join(
        (length, struct.pack("<I", masked_crc32c(length)), content, struct.pack("<I", masked_crc32c(content)))
    )


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


def read_rows(path: Path, end: int) -> list[tuple]:
    """The rows in the first `end` bytes of an `episodes.csv`, as `TrainingMetrics` keeps them."""
    with open(path, newline="") as file:
        lines = file.read(end).splitlines()
    whole_rows = (row for row in csv.reader(lines[1:]) if len(row) == len(EPISODE_COLUMNS))
    numbers = ((float(cell) if cell else None for cell in row) for row in whole_rows)
    whole = EPISODE_COLUMNS.index("episode"), *map(EPISODE_COLUMNS.index, ("steps", "worker", "length"))
    return [
        tuple(int(v) if i in whole and v is not None else v for i, v in enumerate(row)) for row in numbers
    ]
