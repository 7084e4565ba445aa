"""What a person sees while a run goes on: a live table on a terminal, otherwise a line now and then."""

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from a3c.training.callbacks.base import Callback, Level
from a3c.training.metrics import TrainingMetrics
from a3c.training.run import Run
from a3c.utils.console import printable, safe, say


class Display(Callback):
    """Shows no progress. What must not go unseen goes to standard error."""

    any_thread = True

    def note(self, text: str) -> None:
        """Tell something; also before a run begins."""

    def warn(self, text: str) -> None:
        """Tell something that must not go unseen."""
        say(text, sys.stderr)

    def show(self, status: TrainingMetrics, final: bool = False) -> None:
        """Show the figures of now. Called often; a display decides how often it shows them."""

    def on_message(self, run: Run, level: Level, text: str) -> None:
        (self.note if level == "note" else self.warn)(text)

    def on_tick(self, run: Run, seconds: float) -> None:
        self.show(run.metrics.snapshot(seconds))

    def on_train_end(self, run: Run) -> None:
        self.show(run.metrics.snapshot(run.seconds), final=True)


class LineDisplay(Display):
    """One line per interval: every second at first, every ten seconds later."""

    def __init__(self, stream: TextIO):
        self._stream = safe(stream)
        self._next = 0.0

    def note(self, text: str) -> None:
        say(text, self._stream)

    warn = note

    def show(self, status: TrainingMetrics, final: bool = False) -> None:
        if final or status.seconds >= self._next:
            self._next = status.seconds + (1 if status.seconds < 20 else 10)
            self.note("  ".join(f"{name} {value}" for name, value in describe(status)))


class LiveDisplay(Display):
    """A live table on a terminal."""

    def __init__(self, stream: TextIO):
        self._console = Console(file=safe(stream), highlight=False)
        self._live = Live(console=self._console, refresh_per_second=8, transient=False)
        self._next = 0.0

    def note(self, text: str) -> None:
        text = printable(text, lines=True)
        self._console.print(text, markup=False, soft_wrap=True)  # above the table

    warn = note

    def show(self, status: TrainingMetrics, final: bool = False) -> None:
        now = time.monotonic()
        if not final and now < self._next:
            return
        self._next = now + 0.1
        self._live.start()  # does nothing from the second time on
        self._live.update(_table(status), refresh=final)

    def teardown(self, run: Run) -> None:
        """Leave the last table on the screen."""
        self._live.stop()


def _table(status: TrainingMetrics) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        table.add_column(style="dim")
        table.add_column(justify="right", min_width=8)
    cells = describe(status)
    for start in range(0, len(cells), 4):
        table.add_row(*[text for cell in cells[start : start + 4] for text in cell])
    return table


def choose(stream: TextIO, quiet: bool) -> Display:
    """The display that fits `stream`."""
    if quiet:
        return Display()
    return LiveDisplay(stream) if stream.isatty() else LineDisplay(stream)


def describe(status: TrainingMetrics) -> list[tuple[str, str]]:
    """The figures of a status, named and formatted."""
    return [
        ("time", _duration(status.seconds)),
        ("steps", f"{status.steps:,}"),
        ("steps/s", f"{status.steps_per_second:,.0f}"),
        ("episodes", f"{status.episodes:,}"),
        ("updates", f"{status.updates:,}"),
        ("moving avg", _score(status.moving_average)),
        ("mean 100", _score(status.mean_return_100)),
        ("best eval", _score(status.best)),
        ("random", _score(status.baseline)),
        ("policy lag", f"{status.lag:.1f}"),
        ("entropy", f"{status.losses['entropy']:.2f}" if "entropy" in status.losses else "–"),
        ("left", f"≤ {_duration(status.seconds_left)}" if status.seconds_left is not None else "–"),
    ]


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _duration(seconds: float) -> str:
    """Seconds as 4.2 s, 3:07 or 2:14:09."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"
