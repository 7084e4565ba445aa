"""End, move or remove what a run depends on, at random moments: each run is saved and can be resumed.

    python tests/faults/ended_outside.py --runs 12

`reader`: as with `a3c train | head`. `terminal`: it is closed. `moved`, `removed`, `replaced`: its directory.
"""

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import harness

A3C = [sys.executable, "-P", "-m", "a3c"]
STEPS = 150_000


def reader(cwd: Path, seed: int, share: float) -> Path:
    """A run whose reader goes after some lines."""
    command = _command(seed, STEPS)
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(int(4 * share)):
            process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b""), errors
    return _only(cwd)


def terminal(cwd: Path, seed: int, share: float) -> Path:
    """A run on a terminal that is closed."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        _command(seed, 10**9),
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    at = 1 + int(40 * share)  # pieces of the live table
    while at > 0:
        at -= b"steps/s" in os.read(ours, 65536)
    os.close(ours)
    assert process.wait(harness.DEADLINE) == 130
    harness.await_end(process.pid)
    return _only(cwd)


def directory(cwd: Path, seed: int, share: float, what: str) -> Path:
    """A run whose directory is moved, removed or replaced by a file, and which is stopped after that."""
    run = harness.start(*_command(seed, 10**9)[4:], "--json", "--quiet", cwd=cwd, code=harness.PATIENT)
    harness.wait_for(lambda: harness.updates(cwd) > 500 * share, run)
    before = _only(cwd)
    if what == "moved":
        before.rename(cwd / "moved")
    else:
        while before.exists():  # the run may write into it meanwhile
            shutil.rmtree(before, ignore_errors=True)
            if what == "replaced":
                before.touch()
                break
    harness.wait_for(lambda: list(cwd.rglob("step-*.zip")), run)
    run.send_signal(signal.SIGINT)
    out, errors = run.communicate(timeout=harness.DEADLINE)
    assert run.returncode == 130, errors
    harness.await_end(run.pid)
    return cwd / json.loads(out.splitlines()[-1])["run_dir"]


def _command(seed: int, steps: int) -> list[str]:
    limits = ["--max-steps", str(steps), "--stop-return", "1e9", "--evaluation-episodes", "2"]
    return [*A3C, "train", "CartPole-v1", *limits, "--workers", "2", "--seed", str(seed)]


def _only(cwd: Path) -> Path:
    run = harness.run_directory(cwd)
    assert run is not None
    return run


def check(cwd: Path, run: Path) -> dict:
    """The run is whole, and goes on. Returns its steps before and after."""
    result = json.loads((run / "result.json").read_text())
    harness.check_files(run, result)
    assert all(harness.arrays(run / name) for name in ("best.keras", "last.keras"))
    limit = str(result["steps"] + 20_000)
    outcome = harness.run(cwd, "resume", str(run), "--max-steps", limit, "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.json["steps"] > result["steps"]
    harness.check_files(run, outcome.json)
    return dict(steps=result["steps"], resumed_to=outcome.json["steps"])


def main() -> None:
    """Run it as often as asked, a line each, and print how many of each kind were saved."""
    parser = argparse.ArgumentParser(description="End what a run depends on; see the top of this file.")
    parser.add_argument("--runs", type=int, default=12, help="of each kind")
    parser.add_argument("--seed", type=int, default=3000)
    a = parser.parse_args()
    saved = dict.fromkeys(("reader", "terminal", "moved", "removed", "replaced"), 0)
    for seed in range(a.seed, a.seed + a.runs):
        for kind in saved:
            share = random.Random(f"{seed} {kind}").random()
            with tempfile.TemporaryDirectory() as folder:
                cwd = Path(folder)
                act = {"reader": reader, "terminal": terminal}.get(kind)
                run = act(cwd, seed, share) if act else directory(cwd, seed, share, kind)
                outcome = check(cwd, run)
            saved[kind] += 1
            print(json.dumps(dict(kind=kind, seed=seed, share=round(share, 3), **outcome)), flush=True)
    print(json.dumps(saved))


if __name__ == "__main__":
    main()
