"""What checkpoints, supervision and the guards against faults cost: training with them and without.

    python benchmarks/reliability.py --without PATH

PATH is a checkout of the version before they were built (commit 24104f7). Both train the same in turn, so
that a noisy hour hits both; the ratio is that of each pair. Writes `benchmarks/results/reliability.json`.
"""

import argparse
import datetime
import json
import os
import statistics
import tempfile
from pathlib import Path

from solve import RESULTS, command, machine
from throughput import NEVER

CASES = {  # name: environment and settings
    "vector code, t_max 20": ("CartPole-v1", "--t-max", "20", "--max-steps", "10000000"),
    "vector code, the preset's t_max 10": ("CartPole-v1", "--max-steps", "8000000"),
    "single copies in turn, t_max 20": (
        "sync_cartpole:SyncCartPole-v1", "--preset", "CartPole-v1", "--t-max", "20", "--max-steps", "1500000",
    ),
    "compiled": ("jax/CartPole-v1", "--max-steps", "20000000"),
}  # fmt: skip


def train(source: Path, arguments: tuple[str, ...]) -> float:
    """Training steps per second of the version in `source`."""
    sizes = ("--workers", "2", "--envs-per-worker", "64")
    with tempfile.TemporaryDirectory() as runs:
        summary = command(
            "train", *arguments, *sizes, *NEVER, "--save-dir", runs, PYTHONPATH=str(source / "src")
        )
    return summary["steps_per_second"]


def case(name: str, without: Path, rounds: int) -> dict:
    """Both versions in turn, each first in every other round."""
    pairs = []
    for number in range(rounds):
        order = [Path(__file__).parent.parent, without]
        speeds = {source: train(source, CASES[name]) for source in (order if number % 2 else order[::-1])}
        now, before = (speeds[source] for source in order)
        pairs.append({"with": round(now), "without": round(before), "ratio": round(now / before, 3)})
        print(name, json.dumps(pairs[-1]), flush=True)
    medians = {key: statistics.median(pair[key] for pair in pairs) for key in pairs[0]}
    return {"arguments": " ".join(CASES[name]), "medians": medians, "rounds": pairs}


def main() -> None:
    """Parse, measure, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--without", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    os.chdir(os.path.dirname(os.path.abspath(__file__)))  # where sync_cartpole is found
    from a3c.utils.versions import versions

    record: dict = {name: case(name, given.without.resolve(), given.rounds) for name in CASES}
    record |= {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
    }
    (RESULTS / "reliability.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
