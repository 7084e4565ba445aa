"""Kill a random worker of each of many runs at a random moment; each must solve its environment all the same.

python tests/faults/kill_worker.py --runs 60
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness


def kill_one(cwd: Path, seed: int, delay: float) -> dict:
    """One run, a worker of which is killed `delay` seconds after the workers have been started."""
    before = harness.shared_memory()
    run = harness.start(*harness.TRAIN, "--seed", str(seed), "--workers", "2", cwd=cwd)
    harness.await_workers(run, 2)
    time.sleep(delay)
    found = harness.workers(run.pid)
    killed = bool(found)
    if found:
        os.kill(random.Random(seed).choice(found).pid, signal.SIGKILL)
    output, errors = run.communicate(timeout=harness.DEADLINE)
    assert run.returncode == 0, errors
    summary = json.loads(output.splitlines()[-1])
    directory = cwd / summary["run_dir"]
    harness.check_files(directory, summary)
    assert summary["solved"], summary
    harness.await_end(run.pid)
    assert harness.shared_memory() <= before
    log = directory / "log.txt"
    told = log.read_text() if log.exists() else ""
    return dict(
        seed=seed,
        delay=round(delay, 3),
        killed=killed,
        restarted="killed (signal 9); restarted 1/5" in told,
        solved=summary["solved"],
        updates=summary["updates"],
        wall_seconds=summary["wall_seconds"],
    )


def main() -> None:
    """Run it as often as asked, and print a line each and the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument(
        "--longest", type=float, default=1.0, help="latest moment, seconds after the workers' start"
    )
    arguments = parser.parse_args()
    outcomes, seed = [], arguments.seed
    while sum(outcome["killed"] for outcome in outcomes) < arguments.runs:
        delay = random.Random(seed).uniform(0, arguments.longest)
        with tempfile.TemporaryDirectory() as directory:
            outcomes.append(kill_one(Path(directory), seed, delay))
        print(json.dumps(outcomes[-1]), flush=True)
        seed += 1
    sums = {name: sum(o[name] for o in outcomes) for name in ("killed", "restarted", "solved")}
    print(json.dumps(dict(runs=len(outcomes), **sums)))


if __name__ == "__main__":
    main()
