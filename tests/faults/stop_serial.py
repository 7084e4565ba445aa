"""Stop a serial run at a random update, resume it, and compare it with the run that was never stopped.

python tests/faults/stop_serial.py --runs 5 --env-id CartPole-v1 --backend jax --how SIGINT
"""

import argparse
import json
import random
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness


def compare(cwd: Path, env_id: str, backend: str, how: str, seed: int, max_steps: int, runs: int) -> dict:
    """One run to its end, and others with the same seed that are stopped once and resumed."""
    whole = _run(cwd / "whole", env_id, backend, seed, max_steps)
    generator, stopped_at = random.Random(seed), []
    for number in range(runs):
        directory = cwd / str(number)
        at = _stop(directory, env_id, backend, how, seed, max_steps, generator.uniform(0.05, 0.9))
        stopped_at.append(at)
        run = harness.run_directory(directory)
        assert run is not None
        resumed = harness.start("resume", str(run), "--json", cwd=directory)
        output, errors = resumed.communicate(timeout=harness.DEADLINE)
        assert resumed.returncode == 0, errors
        summary = json.loads(output.splitlines()[-1])
        harness.check_files(run, summary)
        _check_same(whole, run)
    return dict(env_id=env_id, backend=backend, how=how, stopped_at=stopped_at)


def _command(env_id: str, backend: str, seed: int, max_steps: int) -> tuple[str, ...]:
    limits = ("--max-steps", str(max_steps), "--stop-return", "1e9", "--evaluation-episodes", "10")
    how = ("--engine", "serial", "--backend", backend, "--seed", str(seed), "--checkpoint-seconds", "0.1")
    return ("train", *env_id.split(), *how, *limits, "--json", "--quiet")


def _run(cwd: Path, env_id: str, backend: str, seed: int, max_steps: int) -> Path:
    cwd.mkdir()
    run = harness.start(*_command(env_id, backend, seed, max_steps), cwd=cwd)
    errors = run.communicate(timeout=harness.DEADLINE)[1]
    assert run.returncode == 0, errors
    directory = harness.run_directory(cwd)
    assert directory is not None
    return directory


def _stop(cwd: Path, env_id: str, backend: str, how: str, seed: int, max_steps: int, share: float) -> int:
    """Start a run that stops itself after the first update past this share of its steps; returns them."""
    cwd.mkdir()
    code = _STOPPING.format(at=share * max_steps, how=how)
    run = harness.start(*_command(env_id, backend, seed, max_steps), cwd=cwd, code=code)
    errors = run.communicate(timeout=harness.DEADLINE)[1]
    assert run.returncode in (130, -signal.SIGKILL), errors
    return int(share * max_steps)


_STOPPING = """
import os, signal, sys
from a3c.cli import main
from a3c.engines.stores.local import LocalStore

plain, at = LocalStore.push, {at}

def push(store, *arguments):
    global at
    plain(store, *arguments)
    if store.steps >= at:
        at = float("inf")
        os.kill(os.getpid(), signal.{how})

LocalStore.push = push
"""


def _check_same(whole: Path, other: Path) -> None:
    """Whether the episodes, the curves and the weights of two runs are the same, to the last bit."""
    episodes = [harness.episodes(run) for run in (whole, other)]
    assert episodes[0] == episodes[1], "episodes differ"
    for name in ("last.keras", "best.keras"):
        both = (harness.arrays(run / name).items() for run in (whole, other))
        first, second = ({key: array.tobytes() for key, array in arrays} for arrays in both)
        assert first == second, f"{name} differs"


def main() -> None:
    """Run it as asked, and print what was compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--env-id", default="CartPole-v1", help="settings of the run may follow it")
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--how", default="SIGINT")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--max-steps", type=int, default=500_000)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        outcome = compare(Path(directory), a.env_id, a.backend, a.how, a.seed, a.max_steps, a.runs)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
