"""Learning curves as pictures. Draws on figures of its own: no window, no state shared with pyplot."""

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Episodes = Mapping[str, Sequence[float]]
"""Training episodes of one run: columns `steps`, `return`, `moving_average`, `mean_return_100`."""


def learning_curve(
    runs: Sequence[tuple[str, Episodes]],
    path: Path,
    title: str,
    threshold: float | None = None,
    baseline: float | None = None,
) -> None:
    """Draw returns over environment steps to a PNG (or any format that the ending of `path` names).

    One run: each episode as a dot, the tutorial's moving average and the mean of the last 100. Several:
    the mean of the last 100 of each.

    Args:
        runs: One or more, each with its label.
        path: Where the picture is written.
        title: Its headline.
        threshold: The return that counts as solved.
        baseline: The mean return of random actions.
    """
    figure = _new_figure(8, 4.5)
    axes = figure.add_subplot()
    if len(runs) == 1:
        _draw_one(axes, runs[0][1])
    else:
        for label, episodes in runs:
            axes.plot(episodes["steps"], episodes["mean_return_100"], label=label, linewidth=1.5)
    if threshold is not None:
        axes.axhline(threshold, color="0.3", linestyle="--", linewidth=1, label=f"solved ({threshold:g})")
    if baseline is not None:
        axes.axhline(baseline, color="0.6", linestyle=":", linewidth=1.2, label=f"random ({baseline:.1f})")
    axes.set(title=title, xlabel="environment steps", ylabel="episode return")
    axes.title.set_parse_math(False)  # a name may have signs of dollars
    axes.xaxis.set_major_formatter(_thousands)
    axes.grid(alpha=0.25)
    columns = 5 if len(runs) == 1 else 2  # labels of single runs are long
    legend = figure.legend(frameon=False, fontsize="small", loc="outside lower center", ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _new_figure(width: float, height: float) -> Any:
    """A `matplotlib.figure.Figure` of so many inches.

    Importing matplotlib reads a `matplotlibrc` of the working directory, which may be somebody else's: it
    can have every text typeset by LaTeX, which runs commands. Here that file is not there; the user's own in
    the home directory is read.
    """
    if "matplotlib" not in sys.modules:
        exists = os.path.exists
        os.path.exists = lambda path: path != "matplotlibrc" and exists(path)
        try:
            import matplotlib  # noqa: F401
        finally:
            os.path.exists = exists
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    """Write the picture; characters that its font lacks are boxes, without a warning for each."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        figure.savefig(path)


def _draw_one(axes, episodes: Episodes) -> None:
    def draw(column: str, style: str, **how: Any) -> None:
        axes.plot(episodes["steps"], episodes[column], style, **how)

    draw("return", ".", markersize=2, color="tab:blue", alpha=0.25, label="episode")
    draw("moving_average", "-", color="tab:orange", linewidth=1.5, label="moving average")
    draw("mean_return_100", "-", color="tab:blue", linewidth=2, label="mean of last 100")


def scaling_curves(
    speeds: Mapping[int, Sequence[float]],
    steps: Mapping[int, Sequence[float]],
    path: Path,
    title: str,
    threshold: float | None,
    cores: int,
) -> None:
    """Draw speed and steps to the threshold over the number of workers: medians as lines, runs as dots.

    Args:
        speeds: Steps per second of each run, by number of workers; the first is where the ideal line starts.
        steps: Steps to the threshold of each run that reached it.
        path: Where the picture is written.
        title: Its headline.
        threshold: The return that counts as solved, if there is one.
        cores: More workers than these share them, which is shaded.
    """
    figure = _new_figure(10, 4.2)
    figure.suptitle(title, parse_math=False)
    left, right = figure.subplots(1, 2)
    first = next(iter(speeds))
    ends = np.array([min(speeds), max(speeds)])
    ideal = ends / first * np.median(speeds[first])
    left.plot(ends, ideal, color="0.4", linestyle="--", linewidth=1, label="ideal")
    _draw_points(left, speeds)
    left.set(title="speed", ylabel="environment steps per second")
    _draw_points(right, steps)
    goal = "the threshold" if threshold is None else f"a mean return of {threshold:g}"
    right.set(title="data efficiency", ylabel=f"environment steps to {goal}")
    if not any(steps.values()):
        why = "no threshold" if threshold is None else "no run reached it"
        right.text(0.5, 0.5, why, transform=right.transAxes, ha="center", color="0.4")
    for axes in (left, right):
        _dress_for_workers(axes, sorted(speeds), cores)
    left.legend(frameon=False, fontsize="small", loc="upper left")
    _save(figure, path)


def _draw_points(axes, values: Mapping[int, Sequence[float]]) -> None:
    """Every run a dot, the medians a line."""
    runs = [(workers, value) for workers in sorted(values) for value in values[workers]]
    if runs:
        medians = {workers: float(np.median(values[workers])) for workers, _ in runs}
        axes.plot(medians.keys(), medians.values(), "o-", color="tab:blue", markersize=5, label="median")
        axes.plot(*zip(*runs, strict=True), "o", color="tab:orange", markersize=4, alpha=0.7, label="one run")


def _dress_for_workers(axes, workers: Sequence[int], cores: int) -> None:
    margin = 0.08 * (workers[-1] - workers[0]) or 0.5
    axes.set(xlabel="workers", xlim=(workers[0] - margin, workers[-1] + margin), xticks=workers)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(_thousands)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if workers[-1] > cores:
        start = max(cores, axes.get_xlim()[0])
        axes.axvspan(start, axes.get_xlim()[1], color="0.93", zorder=0, label=f"more than {cores} cores")


def _thousands(value: float, _: object = None) -> str:
    """4000 as 4k, 2500000 as 2.5M."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"
