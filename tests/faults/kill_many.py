"""Kill workers of one run again and again while they use rollouts several times: every count must agree.

python tests/faults/kill_many.py --kills 200
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness


def kill_many(cwd: Path, kills: int, seed: int, algorithm: str = "appo") -> dict:
    """A run that is stopped after so many of its workers were killed; what it came to."""
    endless = ("--max-steps", "1000000000", "--stop-return", "1e9", "--max-restarts", str(kills + 10))
    how = ("--preset", "none", "--algorithm", algorithm, "--evaluation-episodes", "1")
    run = harness.start(*harness.TRAIN, *how, *endless, "--seed", str(seed), "--workers", "2", cwd=cwd)
    chance, killed = random.Random(seed), set()
    while len(killed) < kills:
        await_episodes(run, cwd)
        time.sleep(chance.uniform(0.0, 0.1))
        [victim] = chance.sample([process.pid for process in harness.await_workers(run, 2)], 1)
        os.kill(victim, signal.SIGKILL)
        killed.add(victim)
    await_episodes(run, cwd)
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 130, errors
    summary = json.loads(output.splitlines()[-1])
    directory = cwd / summary["run_dir"]
    harness.check_files(directory, summary)
    assert not (left := harness.left_behind(run.pid)), left
    restarts = (directory / "log.txt").read_text().count("killed (signal 9)")
    assert restarts >= kills, restarts
    names = ("steps", "updates", "episodes", "skipped_updates", "wall_seconds")
    return dict(algorithm=algorithm, killed=len(killed), told=restarts, **{n: summary[n] for n in names})


def await_episodes(run: subprocess.Popen, cwd: Path, seconds: float = 120.0) -> None:
    """Wait until both workers have ended further episodes: whoever is killed then was at work."""
    deadline, before = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        assert run.poll() is None, run.communicate()
        now = episodes_of_workers(cwd)
        before = before or now
        if len(now) == 2 and all(now[worker] > before[worker] for worker in now):
            return
        time.sleep(0.02)
    raise AssertionError("a worker ends no more episodes")


def episodes_of_workers(cwd: Path) -> Counter[str]:
    """How many episodes each worker has ended, by the run's table."""
    directory = harness.run_directory(cwd)
    if directory is None or not (path := directory / "episodes.csv").exists():
        return Counter()
    with open(path, newline="") as file:
        return Counter(row["worker"] for row in csv.DictReader(file) if row["worker"])


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
