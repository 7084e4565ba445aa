"""Kill processes of a run at random moments: nothing may be left or lost.

    python tests/faults/kills.py worker --runs 60
    python tests/faults/kills.py server --runs 40 --seed 4000
    python tests/faults/kills.py master --runs 40 --longest 2.5 --seed 2000
    python tests/faults/kills.py writing --runs 50 --longest 2.5 --seed 5000
    python tests/faults/kills.py many --runs 200

`server` is the process that workers are forked from; `writing` kills the main process while it writes a file;
`many` kills as many workers of one run, while they use rollouts several times: every count must agree.
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

UNDER_WAY = ".*.tmp*"
"""Files that are being written."""


def kill_worker(cwd: Path, seed: int, delay: float, server: bool = False) -> dict:
    """One run, a worker of which is killed `delay` seconds after the workers were started; it must solve.

    With `server`, it is the process that they were forked from.
    """
    before = harness.shared_memory()
    run = harness.start(*harness.TRAIN, "--seed", str(seed), "--workers", "2", cwd=cwd)
    harness.await_workers(run, 2)
    time.sleep(delay)
    found = harness.servers(run.pid) if server else harness.workers(run.pid)
    if found:
        os.kill(random.Random(seed).choice(found).pid, signal.SIGKILL)
    summary = ended(run, cwd)
    assert summary["solved"], summary
    assert harness.shared_memory() <= before
    log = cwd / summary["run_dir"] / "log.txt"
    told = log.read_text() if log.exists() else ""
    return dict(
        seed=seed,
        delay=round(delay, 3),
        killed=bool(found),
        restarted=("another one was started" if server else "killed (signal 9); restarted 1/5") in told,
        **{name: summary[name] for name in ("solved", "updates", "wall_seconds")},
    )


def kill_master(cwd: Path, seed: int, delay: float, writing: bool = False) -> dict:
    """One run, killed `delay` seconds after its directory is there, and resumed until it ends.

    With `writing`, it is killed as soon after as a file is being written.
    """
    before = harness.shared_memory()
    often = ("--checkpoint-seconds", "0.1")
    run = harness.start(*harness.TRAIN, *often, "--seed", str(seed), cwd=cwd)
    directory = harness.wait_for(lambda: harness.run_directory(cwd), run)
    time.sleep(delay)
    while writing and run.poll() is None and not list(directory.rglob(UNDER_WAY)):
        pass
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    halves = len(list(directory.rglob(UNDER_WAY)))
    checkpoints = sorted(path.name for path in directory.glob("checkpoints/step-*.zip"))
    over = (directory / "result.json").exists()
    harness.await_end(run.pid)
    assert harness.shared_memory() <= before
    run.communicate()
    summary = ended(harness.start("resume", str(directory), "--json", cwd=cwd), cwd)
    steps = harness.event_steps(directory)
    assert steps == sorted(steps), "TensorBoard's curves overlap"
    assert summary["solved"], summary
    assert not list(directory.rglob(UNDER_WAY)), "half a file is left"
    return dict(
        seed=seed,
        delay=round(delay, 3),
        killed=not writing or halves > 0,
        half_files=halves,
        ended_before=over,
        from_the_middle=checkpoints[-1:] not in ([], ["step-000000000000.zip"]),
        **{name: summary[name] for name in ("solved", "steps", "train_seconds")},
    )


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
    summary = ended(run, cwd, code=130)
    restarts = (cwd / summary["run_dir"] / "log.txt").read_text().count("killed (signal 9)")
    assert restarts >= kills, restarts
    names = ("steps", "updates", "episodes", "skipped_updates", "wall_seconds")
    return dict(algorithm=algorithm, killed=len(killed), told=restarts, **{n: summary[n] for n in names})


def ended(run, cwd: Path, code: int = 0) -> dict:
    """The summary of a run when it and all its processes have ended; its files are whole."""
    output, errors = run.communicate(timeout=harness.DEADLINE)
    assert run.returncode == code, errors
    summary = json.loads(output.splitlines()[-1])
    harness.check_files(cwd / summary["run_dir"], summary)
    harness.await_end(run.pid)
    return summary


KINDS = {
    "worker": (kill_worker, False),
    "server": (kill_worker, True),
    "master": (kill_master, False),
    "writing": (kill_master, True),
}


def main() -> None:
    """Run it as often as asked, and print a line each and the sums."""
    parser = argparse.ArgumentParser(description="Kill processes of runs; see the top of this file.")
    parser.add_argument("what", choices=["worker", "server", "master", "writing", "many"])
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--longest", type=float, default=1.0, help="latest moment, seconds after the start")
    parser.add_argument("--algorithm", default="appo")
    a = parser.parse_args()
    outcomes, seed = [], a.seed
    while sum(outcome["killed"] for outcome in outcomes) < a.runs:
        delay = random.Random(seed).uniform(0, a.longest)
        with tempfile.TemporaryDirectory() as directory:
            if a.what == "many":
                outcomes.append(kill_many(Path(directory), a.runs, seed, a.algorithm))
            else:
                kill, special = KINDS[a.what]
                outcomes.append(kill(Path(directory), seed, delay, special))
        print(json.dumps(outcomes[-1]), flush=True)
        seed += 1
    names = [name for name, value in outcomes[0].items() if isinstance(value, bool)]
    print(json.dumps(dict(runs=len(outcomes), **{n: sum(o[n] for o in outcomes) for n in names})))


if __name__ == "__main__":
    main()
