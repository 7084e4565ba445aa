"""Learning curves as pictures. Draws on a canvas of its own: no window, no state shared with pyplot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Curve:
    """The training episodes of one run."""

    label: str
    episodes: Mapping[str, Sequence[float]]
    """Columns `steps`, `return`, `moving_average`, `mean_return_100`."""


def learning_curve(
    curves: Sequence[Curve],
    path: Path,
    title: str,
    threshold: float | None = None,
    baseline: float | None = None,
) -> None:
    """Draw returns over environment steps to a PNG (or any format that the ending of `path` names).

    One run: each episode as a dot, the tutorial's moving average and the mean of the last 100. Several:
    the mean of the last 100 of each.

    Args:
        curves: One or more runs.
        path: Where the picture is written.
        title: Its headline.
        threshold: The return that counts as solved.
        baseline: The mean return of random actions.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if len(curves) == 1:
        _draw_one(axes, curves[0])
    else:
        for curve in curves:
            axes.plot(*_columns(curve, "steps", "mean_return_100"), label=curve.label, linewidth=1.5)
    if threshold is not None:
        axes.axhline(threshold, color="0.3", linestyle="--", linewidth=1, label=f"solved ({threshold:g})")
    if baseline is not None:
        axes.axhline(baseline, color="0.6", linestyle=":", linewidth=1.2, label=f"random ({baseline:.1f})")
    axes.set(title=title, xlabel="environment steps", ylabel="episode return")
    axes.xaxis.set_major_formatter(
        lambda x, _: f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x else "0"
    )
    axes.grid(alpha=0.25)
    columns = 5 if len(curves) == 1 else 2  # labels of single runs are long
    figure.legend(frameon=False, fontsize="small", loc="outside lower center", ncols=columns)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _draw_one(axes, curve: Curve) -> None:
    steps, returns = _columns(curve, "steps", "return")
    axes.plot(steps, returns, ".", markersize=2, color="tab:blue", alpha=0.25, label="episode")
    axes.plot(
        *_columns(curve, "steps", "moving_average"), color="tab:orange", linewidth=1.5, label="moving average"
    )
    axes.plot(
        *_columns(curve, "steps", "mean_return_100"), color="tab:blue", linewidth=2, label="mean of last 100"
    )


def _columns(curve: Curve, *names: str) -> list[np.ndarray]:
    return [np.asarray(curve.episodes[name], float) for name in names]
