"""Kill workers of one run again and again while they use rollouts several times: every count must agree.

python tests/faults/kill_many.py --kills 200
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


def kill_many(cwd: Path, kills: int, seed: int, algorithm: str = "appo") -> dict:
    """A run that is stopped after so many of its workers were killed; what it came to."""
    endless = (*harness.ENDLESS, "--max-restarts", str(kills + 10))
    how = ("--preset", "none", "--algorithm", algorithm, "--evaluation-episodes", "1")
    run = harness.start(*harness.TRAIN, *how, *endless, "--seed", str(seed), "--workers", "2", cwd=cwd)
    chance, killed = random.Random(seed), set()
    while len(killed) < kills:
        harness.await_episodes(run, cwd)
        time.sleep(chance.uniform(0.0, 0.1))
        [victim] = chance.sample([process.pid for process in harness.await_workers(run, 2)], 1)
        os.kill(victim, signal.SIGKILL)
        killed.add(victim)
    harness.await_episodes(run, cwd)
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=harness.DEADLINE)
    assert run.returncode == 130, errors
    summary = json.loads(output.splitlines()[-1])
    directory = cwd / summary["run_dir"]
    harness.check_files(directory, summary)
    harness.await_end(run.pid)
    restarts = (directory / "log.txt").read_text().count("killed (signal 9)")
    assert restarts >= kills, restarts
    names = ("steps", "updates", "episodes", "skipped_updates", "wall_seconds")
    return dict(algorithm=algorithm, killed=len(killed), told=restarts, **{n: summary[n] for n in names})


def main() -> None:
    """One run, and a line of what it came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=3000)
    parser.add_argument("--algorithm", default="appo")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(kill_many(Path(directory), arguments.kills, arguments.seed, arguments.algorithm)))


if __name__ == "__main__":
    main()
