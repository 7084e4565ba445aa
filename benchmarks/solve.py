"""Train with several fresh seeds, judge each best agent once more, and record everything as JSON.

    python benchmarks/solve.py cartpole --seeds 101-110 -- CartPole-v1

writes `benchmarks/results/cartpole.json`: each run's `--json` summary, an evaluation of its `best.keras`
by `a3c evaluate` with seeds of its own, medians, machine and versions. Runs go one after the other, from
compiled bytecode; with `--cold` each begins with an empty cache of compiled programs.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
MEDIANS = ("steps", "train_seconds", "solved_seconds", "wall_seconds", "steps_per_second", "episodes")


def command(*arguments: str, **variables: str) -> dict:
    """Run `a3c ARGUMENTS --json` and return what it printed last."""
    line = [sys.executable, "-m", "a3c", *arguments, "--json"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(line, capture_output=True, text=True, env={**environment, **variables})
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(line)} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def one_run(seed: int, arguments: list[str], save_dir: str, cold: bool) -> dict:
    """Train once and judge the best agent again."""
    variables = {"XDG_CACHE_HOME": f"{save_dir}/cache-{seed}"} if cold else {}
    summary = command(
        "train", *arguments, "--seed", str(seed), "--save-dir", save_dir, "--quiet", **variables
    )
    judged = command("evaluate", f"{summary['run_dir']}/best.keras", "--backend", summary["backend"])
    fresh = {k: judged[k] for k in ("seed", "evaluation", "sampled", "threshold", "solved")}
    del summary["run_dir"]
    line = {k: summary[k] for k in ("seed", "solved", *MEDIANS)}
    print(
        json.dumps({**line, "fresh": fresh["evaluation"]["mean"], "sampled": fresh["sampled"]["mean"]}),
        flush=True,
    )
    return {**summary, "fresh": fresh}


def solved_again(verdicts: list[bool | None]) -> str | None:
    """How many agents reached the environment's own threshold once more; None: it has none."""
    return None if None in verdicts else f"{sum(map(bool, verdicts))} of {len(verdicts)}"


def machine() -> dict:
    """What the figures were taken on."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {"cores": len(os.sched_getaffinity(0)), "cpu": model, "system": platform.system()}


def main() -> None:
    """Parse, run, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="name of the record")
    parser.add_argument("--seeds", default="101-110", help="first-last")
    parser.add_argument("--cold", action="store_true", help="compile everything anew in each run")
    own, _, rest = " ".join(sys.argv[1:]).partition(" -- ")
    given = parser.parse_args(own.split())
    given.arguments = rest.split()
    first, last = map(int, given.seeds.split("-"))
    with tempfile.TemporaryDirectory() as save_dir:
        runs = [one_run(seed, given.arguments, save_dir, given.cold) for seed in range(first, last + 1)]
    from a3c.utils.versions import versions

    medians = {
        key: statistics.median(values)
        for key in MEDIANS
        if (values := [run[key] for run in runs if run[key] is not None])
    }
    record = {
        "command": "a3c train " + " ".join(given.arguments),
        "cold": given.cold,
        "seeds": given.seeds,
        "solved": f"{sum(run['solved'] for run in runs)} of {len(runs)}",
        "fresh_evaluation_solved": solved_again([run["fresh"]["solved"] for run in runs]),
        "medians": medians,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "runs": runs,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{given.name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({k: record[k] for k in ("solved", "fresh_evaluation_solved", "medians")}, indent=1))


if __name__ == "__main__":
    main()
