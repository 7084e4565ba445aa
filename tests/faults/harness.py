"""What the fault scripts share: starting runs, finding their processes, checking what they leave behind."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TRAIN = ("train", "CartPole-v1", "--json", "--quiet")


@dataclass(frozen=True)
class Process:
    """A line of the process table."""

    pid: int
    parent: int
    command: str


def start(*arguments: str, cwd: Path) -> subprocess.Popen:
    """`a3c ARGUMENTS` in a session of its own, so that all its processes can be found."""
    return subprocess.Popen(
        [sys.executable, "-m", "a3c", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hear_signals,
    )


def _hear_signals() -> None:
    """A background job of a shell ignores Ctrl-C, and what it starts does too."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def session(leader: int) -> list[Process]:
    """Processes in the session of `leader` that are not zombies."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            with open(f"/proc/{entry}/cmdline", errors="replace") as file:
                command = file.read().replace("\0", " ")
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(Process(int(entry), int(fields[1]), command))
    return found


def workers(leader: int) -> list[Process]:
    """The worker processes of a run: the children of its fork server."""
    processes = session(leader)
    servers = {p.pid for p in processes if "forkserver" in p.command and p.parent == leader}
    return [p for p in processes if p.parent in servers]


def await_workers(run: subprocess.Popen, count: int, seconds: float = 60.0) -> list[Process]:
    """The workers, as soon as there are `count` of them; fewer if the run ends before."""
    deadline = time.monotonic() + seconds
    while run.poll() is None and time.monotonic() < deadline:
        if len(found := workers(run.pid)) >= count:
            return found
        time.sleep(0.01)
    return []


def left_behind(leader: int, seconds: float = 2.0) -> list[Process]:
    """Processes of the session that are still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while (found := session(leader)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def shared_memory() -> set[str]:
    """Names in shared memory that could be of a run."""
    names = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    return {name for name in names if not name.startswith("sem.")}  # other programs' semaphores come and go


def run_directory(cwd: Path) -> Path | None:
    """The only run directory under `cwd`, if there is one yet."""
    found = [path.parent for path in cwd.glob("runs/*/*/config.toml") if not path.parent.name.startswith(".")]
    assert len(found) <= 1, found
    return found[0] if found else None


def check_files(run: Path, summary: dict) -> None:
    """Whether the figures of a finished run are without a gap, a duplicate or a half line."""
    text = (run / "episodes.csv").read_bytes()
    assert text.endswith(b"\n"), "half a line in episodes.csv"
    rows = list(csv.reader(text.decode().splitlines()))
    assert all(len(row) == len(rows[0]) for row in rows), "half a line in episodes.csv"
    numbers = [int(row[0]) for row in rows[1:]]
    assert numbers == list(range(1, len(numbers) + 1)), "a gap or a duplicate in episodes.csv"
    assert len(numbers) == summary["episodes"], (len(numbers), summary["episodes"])
    average = None
    for row in rows[1:]:
        average = float(row[4]) if average is None else 0.99 * average + 0.01 * float(row[4])
        assert abs(float(row[6]) - average) < 1e-2, "an episode is missing in the moving average"
    lines = (run / "metrics.jsonl").read_text()
    assert lines.endswith("\n"), "half a line in metrics.jsonl"
    metrics = [json.loads(line) for line in lines.splitlines()]
    for name in ("steps", "updates", "episodes", "seconds"):
        values = [row[name] for row in metrics]
        assert values == sorted(values), f"{name} goes back in metrics.jsonl"
    for name in ("steps", "updates", "episodes"):
        assert metrics[-1][name] == summary[name], (name, metrics[-1][name], summary[name])
    assert not list(run.glob(".*.tmp")) + list(run.glob("checkpoints/.*")), "temporary files are left"


def event_steps(run: Path) -> list[int]:
    """The steps of one scalar in all of a run's TensorBoard files, in the order of the files."""
    from tensorboardX.proto.event_pb2 import Event

    steps = []
    for path in sorted(run.glob("events.out.tfevents*"), key=lambda p: p.stat().st_mtime):
        content, at = path.read_bytes(), 0
        while at < len(content):
            length = int.from_bytes(content[at : at + 8], "little")
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            steps += [event.step for value in event.summary.value if value.tag == "run/updates"]
        assert at == len(content), f"{path} ends in the middle of a record"
    return steps
