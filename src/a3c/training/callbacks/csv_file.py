"""`episodes.csv`: a row for every episode."""

import csv
import io
from collections.abc import Iterable

from a3c.training.callbacks.files import FileCallback
from a3c.training.metrics import EPISODE_COLUMNS
from a3c.training.run import Run
from a3c.types import Report


class EpisodesCsv(FileCallback):
    """Writes the rows that came since the last time."""

    def __init__(self) -> None:
        super().__init__("episodes.csv")
        self._rows: list[tuple] = []

    def on_report(self, run: Run, report: Report) -> None:
        """Keep its episodes until they are written."""
        self._rows += run.metrics.latest

    def first_piece(self) -> bytes:
        return _lines([EPISODE_COLUMNS])

    def piece(self, run: Run, seconds: float) -> bytes:
        return _lines(self._rows)

    def written(self) -> None:
        self._rows.clear()


def _lines(rows: Iterable[tuple]) -> bytes:
    buffer = io.StringIO(newline="")
    cells = (["" if v is None else round(v, 4) if isinstance(v, float) else v for v in row] for row in rows)
    csv.writer(buffer).writerows(cells)
    return buffer.getvalue().encode()
