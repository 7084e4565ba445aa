"""What a person sees while a run goes on: a live panel on a terminal, otherwise a line now and then."""

import sys
import time
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from a3c.training.metrics import MetricsSnapshot
from a3c.utils.console import say


class Display(Protocol):
    """What the master needs of a display."""

    def note(self, text: str) -> None:
        """Tell something once."""
        ...

    def warn(self, text: str) -> None:
        """Tell something that must not go unseen."""
        ...

    def show(self, status: MetricsSnapshot, final: bool = False) -> None:
        """Show the present state; called often, shown as often as makes sense."""
        ...

    def close(self) -> None:
        """Leave the screen tidy."""
        ...


class QuietDisplay:
    """Shows no progress; what must not go unseen goes to standard error."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def warn(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)

    def show(self, status: MetricsSnapshot, final: bool = False) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines:
    """One line per interval: every second at first, every ten seconds later."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._next = 0.0

    def note(self, text: str) -> None:
        """Print a line."""
        say(text, self._stream)

    warn = note

    def show(self, status: MetricsSnapshot, final: bool = False) -> None:
        """Print the state, if it is time."""
        if final or status.seconds >= self._next:
            self._next = status.seconds + (1 if status.seconds < 20 else 10)
            self.note("  ".join(f"{name} {value}" for name, value in describe(status)))

    def close(self) -> None:
        """Nothing is left to tidy."""


class LiveDisplay:
    """A live table on a terminal."""

    def __init__(self, stream: TextIO):
        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=8, transient=False)
        self._started = False
        self._next = 0.0

    def note(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(text, markup=False, soft_wrap=True)

    warn = note

    def show(self, status: MetricsSnapshot, final: bool = False) -> None:
        """Redraw the table."""
        now = time.monotonic()
        if not final and now < self._next:
            return
        self._next = now + 0.1
        if not self._started:
            self._live.start()
            self._started = True
        self._live.update(self._table(status), refresh=final)

    def close(self) -> None:
        """Leave the last table on the screen."""
        if self._started:
            self._live.stop()

    def _table(self, status: MetricsSnapshot) -> Table:
        table = Table.grid(padding=(0, 2))
        for _ in range(4):
            table.add_column(style="dim")
            table.add_column(justify="right", min_width=8)
        cells = list(describe(status))
        for start in range(0, len(cells), 4):
            table.add_row(*[text for cell in cells[start : start + 4] for text in cell])
        return table


def choose(stream: TextIO, quiet: bool) -> Display:
    """The display that fits `stream`."""
    if quiet:
        return QuietDisplay()
    return LiveDisplay(stream) if stream.isatty() else Lines(stream)


def describe(status: MetricsSnapshot) -> list[tuple[str, str]]:
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
