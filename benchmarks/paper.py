"""The papers' figures at this size: one command each.

    python benchmarks/paper.py efficiency   # Mnih et al. 2016, figures 3 and 4 and table 2
    python benchmarks/paper.py lag          # what lag costs (as Espeholt et al. 2018 asked)
    python benchmarks/paper.py lag --table  # the picture and the table alone, from what is recorded

*efficiency*: the paper's four methods on CartPole-v1 with 1, 2, 4 and 8 workers. How much they have learned
after so many steps of all workers together (data efficiency), and after so many seconds; and how much sooner
n workers come to a score than one does. Beyond the number of cores, more workers are no faster here.

*lag*: LunarLander-v3. How far behind the parameters are that were acted on, in updates, and what the best
agent earns: IMPALA by the length of its queue, A3C and APPO by the number of workers.

Each run is recorded in a file of its own in `benchmarks/results/paper/`, so that this can be stopped and
started again. Writes `docs/paper-efficiency.png` or `docs/paper-lag.png`, and prints a table.
"""

import argparse
import datetime
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from algorithms import DOCS, train
from defaults import write
from solve import RESULTS, machine

RECORDS = RESULTS / "paper"
SCORE = 195.0  # mean return of training episodes that the table of times asks for


@dataclass(frozen=True)
class Line:
    """A curve of a figure: one method, by some number.

    Attributes:
        label: In the picture.
        algorithm: What trains.
        by: The flag that is varied.
        values: What it is given.
    """

    label: str
    algorithm: str
    by: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Figure:
    """What one command makes."""

    env_id: str
    max_steps: int
    lines: tuple[Line, ...]


METHODS = ("one-step-q", "one-step-sarsa", "n-step-q", "a3c")
WORKERS = (1, 2, 4, 8)
FIGURES = {
    "efficiency": Figure(
        "CartPole-v1", 150_000, tuple(Line(name, name, "--workers", WORKERS) for name in METHODS)
    ),
    "lag": Figure(
        "LunarLander-v3",
        1_000_000,
        (
            Line("IMPALA, by its queue", "impala", "--queue-rollouts", (2, 8, 32, 128, 512)),
            Line("A3C, by workers", "a3c", "--workers", (1, 2, 4, 8, 16, 32)),
            Line("APPO, by workers", "appo", "--workers", (1, 2, 4, 8, 16, 32)),
        ),
    ),
}


# -- runs ----------------------------------------------------------------------------------------------------


def path_of(name: str, line: Line, value: int, seed: int) -> Path:
    """The record of one run."""
    return RECORDS / name / f"{line.algorithm}-{value}-{seed}.json"


def fill(name: str, seeds: range) -> None:
    """Run what is not recorded yet, the first seed of everything first."""
    from a3c.utils.versions import versions

    figure = FIGURES[name]
    for seed in seeds:
        for line in figure.lines:
            for value in line.values:
                path = path_of(name, line, value, seed)
                if path.exists():
                    continue
                flags = [line.by, str(value)]
                found = train(figure.env_id, line.algorithm, seed, figure.max_steps, flags)
                about = {
                    "date": datetime.date.today().isoformat(),
                    "machine": machine(),
                    "versions": versions(),
                }
                write(path, {"arguments": " ".join(flags), **found, **about})


def runs_of(name: str, line: Line, value: int) -> list[dict[str, Any]]:
    """All recorded runs of a point."""
    paths = sorted((RECORDS / name).glob(f"{line.algorithm}-{value}-*.json"))
    return [json.loads(path.read_text()) for path in paths]


# -- pictures ------------------------------------------------------------------------------------------------


def new_figure(width: float, height: float) -> Any:
    """An empty figure without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing


def tidy(drawing: Any) -> None:
    """Grids, and no frame above and to the right."""
    for axes in drawing.axes:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def draw_efficiency(name: str) -> Any:
    """A column for each method: over steps above, over seconds below."""
    figure = FIGURES[name]
    drawing = new_figure(13, 6)
    grid = drawing.subplots(2, len(figure.lines), sharey=True, squeeze=False)
    for column, line in enumerate(figure.lines):
        for number, value in enumerate(line.values):
            if not (runs := runs_of(name, line, value)):
                continue
            seconds = statistics.median(run["train_seconds"] for run in runs)
            for row, (kind, end) in enumerate((("over_steps", figure.max_steps), ("over_seconds", seconds))):
                curves = np.array([run[kind] for run in runs])
                axes = grid[row, column]
                axes.plot(
                    np.linspace(0, end, curves.shape[1]),
                    np.median(curves, 0),
                    color=f"C{number}",
                    label=f"{value} workers" if value > 1 else "1 worker",
                )
        grid[0, column].set(title=line.label, xlabel="steps of all workers")
        grid[0, column].xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g} k")
        grid[1, column].set(xlabel="seconds of training")
    for axes in grid[:, 0]:
        axes.set(ylabel="return of training episodes")
    grid[0, 0].legend(frameon=False, fontsize="small")
    drawing.suptitle(f"{figure.env_id}, medians over seeds")
    return drawing


def draw_lag(name: str) -> Any:
    """The score by the lag: a point for each setting, with the range of its seeds."""
    figure = FIGURES[name]
    drawing = new_figure(8, 5)
    axes = drawing.subplots()
    for number, line in enumerate(figure.lines):
        points = [(value, runs) for value in line.values if (runs := runs_of(name, line, value))]
        if not points:
            continue
        lags = [statistics.median(run["lag"] for run in runs) for _, runs in points]
        scores = [[run["evaluation"]["mean"] for run in runs] for _, runs in points]
        middle = [statistics.median(one) for one in scores]
        spread = [[m - min(one) for m, one in zip(middle, scores, strict=True)],
                  [max(one) - m for m, one in zip(middle, scores, strict=True)]]  # fmt: skip
        axes.errorbar(lags, middle, spread, fmt="o-", capsize=3, color=f"C{number}", label=line.label)
        for lag, score, (value, _) in zip(lags, middle, points, strict=True):
            axes.annotate(
                str(value), (lag, score), textcoords="offset points", xytext=(4, 5), fontsize="small"
            )
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlabel="lag: updates between acting and learning (median)", ylabel="return of the best agent")
    axes.legend(frameon=False)
    drawing.suptitle(f"{figure.env_id}, medians and range of seeds")
    return drawing


DRAW: dict[str, Callable[[str], Any]] = {"efficiency": draw_efficiency, "lag": draw_lag}


# -- tables --------------------------------------------------------------------------------------------------


def seconds_to(run: dict[str, Any], score: float) -> float | None:
    """When training episodes first returned that much, by the run's curve."""
    curve = np.array(run["over_seconds"])
    reached = np.flatnonzero(curve >= score)
    return float(reached[0] / (len(curve) - 1) * run["train_seconds"]) if len(reached) else None


def print_table(name: str) -> None:
    """Speed-ups by workers, or scores by lag."""
    for line in FIGURES[name].lines:
        alone = None
        for value in line.values:
            if not (runs := runs_of(name, line, value)):
                continue
            scores = [run["evaluation"]["mean"] for run in runs]
            told = f"{line.label:22s} {value:4d}  best agents {statistics.median(scores):7.1f}"
            told += f" ({min(scores):.1f} to {max(scores):.1f}, {len(runs)} seeds)"
            told += f"  lag {statistics.median(run['lag'] for run in runs):6.1f}"
            if name == "efficiency":
                times = [seconds_to(run, SCORE) for run in runs]
                reached = [time for time in times if time is not None]
                if len(reached) == len(times):
                    middle = statistics.median(reached)
                    alone = middle if value == 1 else alone
                    gain = f", {alone / middle:.2f} × one worker's pace" if alone else ""
                    told += f"  {SCORE:.0f} after {middle:.2f} s{gain}"
            print(told)


def main() -> None:
    """Parse, run, record, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("--seeds", default="301-303", help="first-last")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    if not given.table:
        first, last = map(int, given.seeds.split("-"))
        fill(given.figure, range(first, last + 1))
    drawing = DRAW[given.figure](given.figure)
    tidy(drawing)
    drawing.savefig(DOCS / f"paper-{given.figure}.png")
    print_table(given.figure)


if __name__ == "__main__":
    main()
