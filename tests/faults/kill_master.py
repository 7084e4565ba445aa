"""Kill the master of each of many runs at a random moment, then resume the run: nothing may be left or lost.

python tests/faults/kill_master.py --runs 40
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

FREQUENT = ("--checkpoint-seconds", "0.1")


def kill_and_resume(cwd: Path, seed: int, delay: float, *more: str) -> dict:
    """One run, killed `delay` seconds after its directory is there, and resumed until it ends."""
    before = harness.shared_memory()
    run = harness.start(*harness.TRAIN, *FREQUENT, "--seed", str(seed), *more, cwd=cwd)
    directory = harness.wait_for(lambda: harness.run_directory(cwd), run)
    time.sleep(delay)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    killed_after = sorted(path.name for path in directory.glob("checkpoints/step-*.zip"))
    ended = (directory / "result.json").exists()
    harness.await_end(run.pid)
    assert harness.shared_memory() <= before
    run.communicate()
    resumed = harness.start("resume", str(directory), "--json", cwd=cwd)
    output, errors = resumed.communicate(timeout=harness.DEADLINE)
    assert resumed.returncode == 0, errors
    summary = json.loads(output.splitlines()[-1])
    harness.check_files(directory, summary)
    steps = harness.event_steps(directory)
    assert steps == sorted(steps), "TensorBoard's curves overlap"
    assert summary["solved"], summary
    harness.await_end(resumed.pid)
    return dict(
        seed=seed,
        delay=round(delay, 3),
        ended_before=ended,
        checkpoint=killed_after[-1] if killed_after else None,
        solved=summary["solved"],
        steps=summary["steps"],
        train_seconds=summary["train_seconds"],
    )


def main() -> None:
    """Run it as often as asked, and print a line each and the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=2000)
    parser.add_argument("--longest", type=float, default=2.5, help="latest moment, seconds after the start")
    arguments = parser.parse_args()
    outcomes = []
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        delay = random.Random(seed).uniform(0, arguments.longest)
        with tempfile.TemporaryDirectory() as directory:
            outcomes.append(kill_and_resume(Path(directory), seed, delay))
        print(json.dumps(outcomes[-1]), flush=True)
    middle = sum(o["checkpoint"] not in (None, "step-000000000000.zip") for o in outcomes)
    sums = {name: sum(o[name] for o in outcomes) for name in ("ended_before", "solved")}
    print(json.dumps(dict(runs=len(outcomes), from_the_middle=middle, **sums)))


if __name__ == "__main__":
    main()
