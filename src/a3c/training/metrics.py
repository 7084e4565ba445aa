"""What a run measures while it trains. Its memory does not grow with the number of episodes."""

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from a3c.types import Episode, Report
from a3c.utils.files import open_plain
from a3c.utils.schema import LARGEST

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
_WHOLE = tuple(map(EPISODE_COLUMNS.index, ("episode", "steps", "worker", "length")))

_LONGEST_LINE = 4096

FEWEST = 20
"""Episodes, before it is said that all are the same."""


class EpisodeHistory:
    """Every k-th episode's row, in `EPISODE_COLUMNS`; k doubles whenever `capacity` rows are there."""

    def __init__(self, capacity: int = 50_000):
        self.rows: list[tuple] = []
        self._capacity, self._every, self._seen = capacity, 1, 0

    def add(self, row: tuple) -> None:
        """Take in the next episode."""
        if self._seen % self._every == 0:
            if len(self.rows) == self._capacity:
                del self.rows[1::2]
                self._every *= 2
            if self._seen % self._every == 0:
                self.rows.append(row)
        self._seen += 1

    def read(self, path: Path, end: int) -> int:
        """Take in the rows in the first `end` bytes of an `episodes.csv`. Returns how many there are.

        Raises:
            OSError: if it cannot be read.
            ValueError: for a row that is none.
        """
        with open(open_plain(path, os.O_RDONLY), "rb") as file:
            position = len(file.readline(_LONGEST_LINE))
            while line := file.readline(_LONGEST_LINE):
                position += len(line)
                if position > end:
                    break
                wanted = self._seen % self._every == 0
                self.add(_row(line) if wanted else ())
        return self._seen


def _row(line: bytes) -> tuple:
    cells = line.decode().strip().split(",")
    if len(cells) != len(EPISODE_COLUMNS):
        raise ValueError(f"{len(cells)} cells")
    numbers = [float(cell) if cell else None for cell in cells]
    if not all((count := numbers[i]) is not None and 0 <= count <= LARGEST for i in _WHOLE):
        raise ValueError("a count that is none")
    return tuple(int(v) if i in _WHOLE and v is not None else v for i, v in enumerate(numbers))


@dataclass
class TrainingMetrics:
    """Running figures over the reports of all workers."""

    steps: int = 0
    updates: int = 0
    skipped: int = 0
    """Updates that were not applied, because a loss or a gradient was not finite."""
    episodes: int = 0
    moving_average: float | None = None
    """The tutorial's: 0.99 of the old value and 0.01 of each new return."""
    lag: float = 0.0
    lowest: float | None = None
    """The smallest return of an episode so far, and `highest` the largest."""
    highest: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    history: EpisodeHistory = field(default_factory=EpisodeHistory)
    latest: list[tuple] = field(default_factory=list)
    """The rows of the last report's episodes, in `EPISODE_COLUMNS`."""
    best: float | None = None
    """Mean return of the best evaluation so far."""
    baseline: float | None = None
    """Mean return of random actions, once it is known."""
    max_steps: int | None = None
    max_episodes: int | None = None
    seconds: float = 0.0
    """Of a snapshot: since the first worker began to train."""
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def mean_return_100(self) -> float | None:
        """Mean return of the last 100 episodes; None before there are 100."""
        return sum(self._recent) / 100 if len(self._recent) == 100 else None

    def snapshot(self, seconds: float) -> "TrainingMetrics":
        """The figures after `seconds` of training: a copy; later reports change its history alone."""
        return replace(self, seconds=seconds, _recent=self._recent.copy())

    @property
    def steps_per_second(self) -> float:
        """Of a snapshot: the mean since the start."""
        return self.steps / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Of a snapshot: until the first limit is reached at the mean speed so far; None without a limit."""
        limits = ((self.steps, self.max_steps), (self.episodes, self.max_episodes))
        progress = max((done / limit for done, limit in limits if limit is not None), default=0.0)
        return self.seconds * max(0.0, 1 / progress - 1) if progress > 0 else None

    def figures(self) -> dict[str, float | None]:
        """Of a snapshot: what files of figures hold, by the names that they have there."""
        return {
            "seconds": self.seconds,
            "steps": self.steps,
            "updates": self.updates,
            "episodes": self.episodes,
            "steps_per_second": self.steps_per_second,
            "moving_average": self.moving_average,
            "mean_return_100": self.mean_return_100,
            "best_evaluation": self.best,
            "lag": self.lag,
            "skipped_updates": self.skipped,
            **self.losses,
        }

    def add(self, report: Report, seconds: float) -> None:
        """Take in one report, received `seconds` after training began."""
        self.latest = []
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
        averages = self.moving_average, self.mean_return_100
        row = (self.episodes, steps, seconds, worker, value, episode.length, *averages)
        self.history.add(row)
        self.latest.append(row)

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

    def state(self) -> dict[str, Any]:
        """Everything but the history, as a plain tree."""
        names = ("steps", "updates", "skipped", "episodes", "moving_average", "lag", "lowest", "highest")
        plain = {name: getattr(self, name) for name in names}
        return {**plain, "losses": dict(self.losses), "recent": list(self._recent)}

    @classmethod
    def restored(cls, state: Mapping[str, Any], history: EpisodeHistory) -> "TrainingMetrics":
        """The figures whose `state` that was, with the episodes until then."""
        plain = dict(state)
        recent = deque(plain.pop("recent"), maxlen=100)
        returns = [row[EPISODE_COLUMNS.index("return")] for row in history.rows]
        if "lowest" not in plain and returns:  # checkpoints of before it was counted
            plain |= dict(lowest=min(returns), highest=max(returns))
        return cls(**plain, history=history, _recent=recent)


def read_episodes(path: Path) -> dict[str, list[float]]:
    """The columns of an `episodes.csv`, of a long one every k-th row; empty cells are NaN.

    Raises:
        OSError: if it cannot be read, or is no plain file.
        ValueError: for a row that is none.
    """
    history = EpisodeHistory()
    history.read(path, path.lstat().st_size)
    return columns(history.rows)


def columns(rows: list[tuple]) -> dict[str, list[float]]:
    """The rows by the names of their columns; what is unknown is NaN."""
    filled = [[float("nan") if v is None else v for v in row] for row in rows]
    by_column = zip(*filled, strict=True) if filled else [()] * len(EPISODE_COLUMNS)
    return {name: list(column) for name, column in zip(EPISODE_COLUMNS, by_column, strict=True)}
