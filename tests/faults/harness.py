"""What tests share that run commands: starting and awaiting them, their processes, what they leave behind."""

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

TRAIN = ("train", "CartPole-v1", "--json", "--quiet")
ENDLESS = ("--max-steps", "1000000000", "--stop-return", "1e9")
DEADLINE = 400.0
"""Seconds after which whoever waits gives up: it only ends what hangs, and nothing is judged by it."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """The last line of standard output."""
        return json.loads(self.out.strip().splitlines()[-1])


def run(cwd: Path, *arguments: str, environment: dict[str, str] | None = None) -> Outcome:
    """`a3c ARGUMENTS` as a user runs it, in a process of its own."""
    return command(cwd, [sys.executable, "-P", "-m", "a3c", *arguments], environment)


def command(cwd: Path, argv: list[str], environment: dict[str, str] | None = None) -> Outcome:
    """Any command in a session of its own, all of whose processes must leave when it ends."""
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    await_end(process.pid)
    return Outcome(process.returncode, out, err)


def call(cwd: Path, *arguments: str, environment: dict[str, str] | None = None) -> Outcome:
    """`a3c ARGUMENTS` in this process, which is left as it was: for what needs no Python of its own."""
    from a3c.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with _as_before(cwd, environment or {}), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["a3c", *arguments]
        try:
            code = main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    return Outcome(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


@contextlib.contextmanager
def _as_before(cwd: Path, environment: dict[str, str]) -> Iterator[None]:
    """Be in a directory like a Python started there, and undo what a command changes in this process."""
    import gymnasium

    before = [dict(kept) for kept in (os.environ, sys.modules, gymnasium.registry)]
    here, argv, path = os.getcwd(), sys.argv, list(sys.path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with warnings.catch_warnings():  # they are printed, as outside of pytest
            warnings.resetwarnings()
            for ignored in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", ignored)
            warnings.showwarning = lambda *told: sys.stderr.write(warnings.formatwarning(*told[:4]))
            os.environ.update(environment)
            os.chdir(cwd)
            sys.path.insert(0, str(cwd))
            yield
    finally:
        os.chdir(here)
        sys.argv, sys.path[:] = argv, path
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(before[0])
        # What others registered on import stays, as their modules do: they are not imported again.
        for env_id, spec in list(gymnasium.registry.items()):
            if env_id not in before[2] and _is_below(cwd, spec.entry_point):
                del gymnasium.registry[env_id]
        for name in sys.modules.keys() - before[1].keys():
            if str(getattr(sys.modules[name], "__file__", None)).startswith(str(cwd)):
                del sys.modules[name]


def _is_below(folder: Path, entry_point: Any) -> bool:
    """Whether an environment is made by a module in `folder`."""
    named = entry_point.split(":")[0] if isinstance(entry_point, str) else entry_point.__module__
    return str(getattr(sys.modules.get(named), "__file__", None)).startswith(str(folder))


def wait_for(condition: Callable[[], Any], process: subprocess.Popen | None = None) -> Any:
    """Wait until `condition()` holds, however long it takes; returns what it is then."""
    deadline = time.monotonic() + DEADLINE
    while not (met := condition()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.01)
    return met


@dataclass(frozen=True)
class Process:
    """A line of the process table."""

    pid: int
    parent: int
    command: str


def start(*arguments: str, cwd: Path, code: str = "") -> subprocess.Popen:
    """`a3c ARGUMENTS` in a session of its own, so that all its processes can be found.

    Args:
        code: Carried out before, in the same process; default: nothing.
    """
    module = ["-P", "-m", "a3c"]
    if code:
        (cwd / "main.py").write_text(f"{code}\nif __name__ == '__main__':\n    sys.exit(main())\n")
        module = ["main.py"]
    with signals_heard():
        return subprocess.Popen(
            [sys.executable, *module, *arguments],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


PATIENT = """
import sys
from a3c.cli import main
from a3c.training import interrupts
interrupts._DEADLINE = 1e6
"""
"""Code to carry out before: have SIGTERM and SIGHUP end no run that is slow to save itself."""


@contextlib.contextmanager
def signals_heard() -> Iterator[None]:
    """Ctrl-C, which a background job of a shell ignores, is not ignored by what is started meanwhile."""
    ignored = [n for n in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def session(leader: int) -> list[Process]:
    """Processes in the session of `leader` that are not zombies; none are known where there is no /proc."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
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
    parents = {p.pid for p in servers(leader)}
    return [p for p in session(leader) if p.parent in parents]


def servers(leader: int) -> list[Process]:
    """The process of a run that workers are forked from, if there is one at the moment."""
    return [p for p in session(leader) if "forkserver" in p.command and p.parent == leader]


def await_workers(run: subprocess.Popen, count: int) -> list[Process]:
    """The workers, as soon as there are `count` of them; none if the run ends before."""
    wait_for(lambda: run.poll() is not None or len(workers(run.pid)) >= count)
    return workers(run.pid)


def await_end(leader: int) -> None:
    """Wait until every process of the session has left."""
    wait_for(lambda: not session(leader))


def await_episodes(run: subprocess.Popen, cwd: Path) -> None:
    """Wait until both workers have ended further episodes: whoever is killed then was at work."""
    before = wait_for(lambda: episodes_of_workers(cwd), run)

    def more() -> bool:
        now = episodes_of_workers(cwd)
        return len(now) == 2 and all(now[worker] > before[worker] for worker in now)

    wait_for(more, run)


def episodes_of_workers(cwd: Path) -> Counter[str]:
    """How many episodes each worker has ended, by the run's table."""
    directory = run_directory(cwd)
    if directory is None or not (path := directory / "episodes.csv").exists():
        return Counter()
    with open(path, newline="") as file:
        return Counter(row["worker"] for row in csv.DictReader(file) if row["worker"])


def updates(cwd: Path) -> int:
    """How many updates the run under `cwd` has made, by its figures; 0 while there are none."""
    directory = run_directory(cwd)
    path = directory and directory / "metrics.jsonl"
    lines = path.read_text().rpartition("\n")[0].splitlines() if path and path.exists() else []
    return json.loads(lines[-1])["updates"] if lines else 0


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
    assert not list(run.glob(".*.tmp*")) + list(run.glob("checkpoints/.*")), "temporary files are left"


def episodes(run: Path) -> list[dict[str, str]]:
    """The rows of a run's episodes but for their seconds: what must be the same if it is repeated."""
    with open(run / "episodes.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of a `.keras` file, which must be whole, by its name."""
    found: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, path
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(
                lambda name, node: found.update({name: node[()]}) if hasattr(node, "shape") else None
            )
    assert found, f"{path} has no weights"
    return found


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
