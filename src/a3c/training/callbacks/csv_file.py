"""`episodes.csv`: a row for every episode."""

import csv
import io
from collections.abc import Iterable

from a3c.training.callbacks.files import FileCallback
from a3c.training.metrics import EPISODE_COLUMNS
from a3c.training.run import Run
from a3c.types import Report

_PIECE = 2**18
"""Bytes that do not wait until it is time: with very short episodes they would fill the memory."""


class EpisodesCsv(FileCallback):
    """Writes the rows that came since the last time."""

    def __init__(self) -> None:
        super().__init__("episodes.csv")
        self._waiting, self._due = bytearray(), _PIECE

    def on_report(self, run: Run, report: Report) -> None:
        """Keep its episodes until it is time to write them, or they are many."""
        if run.metrics.latest:
            self._waiting += _lines(run.metrics.latest)
        if len(self._waiting) >= self._due:
            self.flush(run, run.seconds)
            self._due = len(self._waiting) + _PIECE

    def first_piece(self) -> bytes:
        return _lines([EPISODE_COLUMNS])

    def piece(self, run: Run, seconds: float) -> bytes:
        return bytes(self._waiting)

    def written(self) -> None:
        self._waiting.clear()


def _lines(rows: Iterable[tuple]) -> bytes:
    buffer = io.StringIO(newline="")
    cells = (["" if v is None else round(v, 4) if isinstance(v, float) else v for v in row] for row in rows)
    csv.writer(buffer).writerows(cells)
    return buffer.getvalue().encode()
