"""The whole family on one environment, as in the paper's figures 1 and 2: one picture, made by one command.

    python benchmarks/algorithms.py CartPole-v1 --seeds 101-103 --max-steps 400000

Each algorithm trains with each seed to the same number of steps, nobody stops early. Writes
`benchmarks/results/algorithms-ENV.json` and `docs/algorithms-ENV.png`: returns of training episodes over
steps and over seconds, and of the best agents. Q-learning and Sarsa explore to the end, which costs them
returns while they train; the greedy agent that they leave is judged like the others.
"""

import argparse
import csv
import datetime
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np

from solve import RESULTS, command, machine

ALGORITHMS = ("a3c", "a2c", "impala", "one-step-q", "one-step-sarsa", "n-step-q")
POINTS = 200
DOCS = Path(__file__).parent.parent / "docs"


def train(env_id: str, algorithm: str, seed: int, max_steps: int, rest: list[str]) -> dict:
    """One run: its curve on a grid of steps and on one of seconds, and its summary."""
    with tempfile.TemporaryDirectory() as runs:
        summary = command(
            "train", env_id, "--algorithm", algorithm, "--seed", str(seed), "--max-steps", str(max_steps),
            "--stop-return", "1e9", "--save-dir", runs, "--quiet", *rest,
        )  # fmt: skip
        with open(Path(summary["run_dir"]) / "episodes.csv") as file:
            rows = [
                (float(row["steps"]), float(row["seconds"]), float(row["moving_average"]))
                for row in csv.DictReader(file)
            ]
        metrics = Path(summary["run_dir"], "metrics.jsonl").read_text().splitlines()
        lags = [row["lag"] for row in map(json.loads, metrics) if row["steps"]]
    steps, seconds, returns = (np.array(column) for column in zip(*rows, strict=True))
    grids = np.linspace(0, max_steps, POINTS), np.linspace(0, summary["train_seconds"], POINTS)
    print(f"{algorithm} seed {seed}: {summary['evaluation']['mean']:.1f}", flush=True)
    return {
        "seed": seed,
        "evaluation": summary["evaluation"],
        "random": summary["random_baseline"],
        "train_seconds": summary["train_seconds"],
        "lag": float(np.mean(lags)) if lags else 0.0,
        "over_steps": np.interp(grids[0], steps, returns).round(2).tolist(),
        "over_seconds": np.interp(grids[1], seconds, returns).round(2).tolist(),
    }


def draw(record: dict, path: Path) -> None:
    """Medians over seeds as lines, all seeds as bands."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    by_steps, by_seconds = figure.subplots(1, 2, sharey=True)
    for number, (name, runs) in enumerate(record["algorithms"].items()):
        curves = np.array([run["over_steps"] for run in runs])
        steps = np.linspace(0, record["max_steps"], curves.shape[1])
        best = statistics.median(run["evaluation"]["mean"] for run in runs)
        label = f"{name} (best agents: {best:.0f})"
        by_steps.plot(steps, np.median(curves, 0), color=f"C{number}", label=label)
        by_steps.fill_between(
            steps, curves.min(0), curves.max(0), color=f"C{number}", alpha=0.12, linewidth=0
        )
        curves = np.array([run["over_seconds"] for run in runs])
        seconds = np.linspace(0, statistics.median(run["train_seconds"] for run in runs), curves.shape[1])
        by_seconds.plot(seconds, np.median(curves, 0), color=f"C{number}")
    by_steps.set(xlabel="environment steps", ylabel="return of training episodes (moving average)")
    by_steps.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g} k")
    by_seconds.set(xlabel="seconds of training")
    for axes in (by_steps, by_seconds):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{record['env_id']}, medians and range of {len(next(iter(record['algorithms'].values())))} seeds"
    )
    figure.legend(frameon=False, fontsize="small", loc="outside lower center", ncols=3)
    figure.savefig(path)


def main() -> None:
    """Parse, run, record, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("env_id")
    parser.add_argument("--seeds", default="101-103", help="first-last")
    parser.add_argument("--max-steps", type=int, default=400_000)
    given, rest = parser.parse_known_args()
    first, last = map(int, given.seeds.split("-"))
    from a3c.utils.versions import versions

    record = {
        "env_id": given.env_id,
        "max_steps": given.max_steps,
        "arguments": " ".join(rest),
        "algorithms": {
            name: [train(given.env_id, name, seed, given.max_steps, rest) for seed in range(first, last + 1)]
            for name in ALGORITHMS
        },
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
    }
    name = given.env_id.replace("/", "-").replace(":", "-")
    (RESULTS / f"algorithms-{name}.json").write_text(json.dumps(record) + "\n")
    draw(record, DOCS / f"algorithms-{name}.png")


if __name__ == "__main__":
    main()
