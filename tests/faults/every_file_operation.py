"""Lets each file operation of a command fail in turn, and looks at what is left; see docs/reliability.md.

python tests/faults/every_file_operation.py                  # all of them: an hour on two cores
python tests/faults/every_file_operation.py --some 5         # five of each, chosen by --seed
python tests/faults/every_file_operation.py --only train once 17   # one again, with its output
python tests/faults/every_file_operation.py --disk           # truly full disks (by root: it mounts them)
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
import harness
from file_faults import MODES, FileFaults
from forking import forked, preload

TINY = {
    "engine": "serial", "seed": 1, "max-steps": 400, "t-max": 5, "envs-per-worker": 8,
    "evaluation-episodes": 1, "checkpoint-seconds": 1000,
}  # fmt: skip
FURTHER = ("--max-steps=800", "--json")
COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("train", "CartPole-v1", "--json", *(f"--{name}={value}" for name, value in TINY.items())),
    "resume": ("resume", "CartPole-v1", *FURTHER),
    "evaluate": ("evaluate", "CartPole-v1", "--episodes=1", "--json"),
    "play": ("play", "CartPole-v1", "--video=film.gif"),
}
DISK, SIZES = "disk", range(4, 200, 12)
"""A disk that has so many KiB in all."""


@dataclass
class Case:
    """One command with faults in its file operations."""

    command: str
    mode: str
    at: int
    operation: str

    def __str__(self) -> str:
        return f"{self.command} {self.mode} {self.at} ({self.operation})"


def look(case: Case, base: Path, show: bool = False) -> list[str]:
    """Carry out a case in a folder of its own. Returns what is wrong, or nothing."""
    with _place(case) as cwd:
        if case.command != "train":
            shutil.copytree(base / "runs", cwd / "runs")
        faults = FileFaults(cwd, 0 if case.mode == DISK else case.at, case.mode)

        def begin() -> None:
            tempfile.tempdir = str(cwd.parent / "temporary")  # where nothing fails
            faults.install()

        outcome = forked(cwd, COMMANDS[case.command], begin).outcome
        if case.mode == DISK:
            _mount(cwd, "remount,size=100m")
        if show:
            print(outcome.code, outcome.out, outcome.err, sep="\n")
        wrong = list(_wrong_with(outcome))
        if case.command in ("train", "resume"):
            wrong += _wrong_with_run(cwd, outcome, show)
        elif case.command == "play":
            wrong += _wrong_with_film(cwd, outcome, case.mode)
        return wrong


@contextlib.contextmanager
def _place(case: Case) -> Iterator[Path]:
    """A folder for a case; a disk of so many KiB for those of that kind."""
    with tempfile.TemporaryDirectory() as place:
        cwd, beside = Path(place) / "work", Path(place) / "temporary"
        cwd.mkdir()
        beside.mkdir()
        if case.mode != DISK:
            yield cwd
            return
        _mount(cwd, f"size={case.at}k")
        try:
            yield cwd
        finally:
            subprocess.run(["umount", str(cwd)], check=True)


def _mount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=True)


def _wrong_with(outcome: harness.Outcome) -> list[str]:
    wrong = []
    if "Traceback" in outcome.out + outcome.err:
        wrong.append(f"traceback: {(outcome.out + outcome.err).strip().splitlines()[-1]}")
    if outcome.code not in (0, 1, 2):
        wrong.append(f"exit code {outcome.code}")
    if outcome.code and not outcome.err.strip():
        wrong.append("failed without a word")
    return wrong


def _wrong_with_run(cwd: Path, outcome: harness.Outcome, show: bool) -> list[str]:
    """Whether what the command called saved is there, and whether the run goes on without faults.

    A run whose directory cannot be written to any more is saved elsewhere, and says where.
    """
    run = harness.run_directory(cwd)
    if outcome.code == 0:
        run = cwd / outcome.json["run_dir"]
    if run is None:
        return []
    wrong = []
    if outcome.code == 0:
        wrong += [
            f"exit code 0, but no whole {name}"
            for name in ("best.keras", "last.keras")
            if not _whole(run / name)
        ]
        with contextlib.suppress(OSError, ValueError):
            wrong += [] if json.loads((run / "result.json").read_text()) else ["result.json is empty"]
        if not (run / "result.json").exists():
            wrong.append("exit code 0, but no result.json")
    saved = re.search(r"^Saved in|is saved in", outcome.out + outcome.err, re.MULTILINE)
    checkpoints = [path for path in run.glob("checkpoints/*.zip") if _whole(path)]
    if saved and not (checkpoints or _whole(run / "last.keras")):
        wrong.append("it says that it saved, but nothing is there")
    further = forked(cwd, ("resume", str(run), *FURTHER)).outcome
    if show:
        print("resumed:", further.code, further.out, further.err, sep="\n")
    wrong += [f"resumed: {what}" for what in _wrong_with(further)]
    if further.code == 0:
        try:
            harness.check_files(run, further.json)
        except Exception as error:
            wrong.append(f"resumed: {type(error).__name__} {str(error).splitlines()[:1]}")
    elif checkpoints:
        wrong.append(f"there is a whole checkpoint, but it cannot be resumed: {further.err.strip()[-200:]}")
    if left := list(cwd.glob("runs/*/.new-*")):
        wrong.append(f"left behind: {left[0].name}")
    return wrong


def _wrong_with_film(cwd: Path, outcome: harness.Outcome, mode: str) -> list[str]:
    films = [path.name for path in cwd.iterdir() if path.is_file()]
    if mode == "read-only":  # then nothing can be removed either
        films = [name for name in films if not name.startswith(".")]
    expected = ["film.gif"] if outcome.code == 0 else []
    return [] if films == expected else [f"exit code {outcome.code}, files left: {films}"]


def _whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def prepare(base: Path, commands: list[str]) -> dict[str, list[str]]:
    """A finished run in `base`, and the operations of each of these commands without faults."""
    operations = {}
    for name, arguments in COMMANDS.items():
        if name not in ("train", *commands):
            continue
        with tempfile.TemporaryDirectory() as place:
            cwd = base if name == "train" else Path(place)
            if name != "train":
                shutil.copytree(base / "runs", cwd / "runs")
            counted = Path(place) / "counted"
            outcome = forked(cwd, arguments, partial(FileFaults(cwd).install, counted)).outcome
            assert outcome.code == 0, outcome
            operations[name] = counted.read_text().splitlines()
    return operations


def cases(operations: dict[str, list[str]], modes: list[str], some: int, seed: int) -> list[Case]:
    """Every number of every command in every mode that it makes a difference in, or `some` of them each."""
    chosen, generator = [], random.Random(seed)
    for command, done in operations.items():
        for mode in MODES if command in ("train", "resume", "play") else ("once",):
            if mode not in modes:
                continue
            numbers = range(1, len(done) + 1)
            picked = sorted(generator.sample(numbers, min(some, len(numbers)))) if some else numbers
            chosen += [Case(command, mode, n, done[n - 1]) for n in picked]
    return chosen


def shared_out(work: list[Case], jobs: int, base: Path) -> list[tuple[Case, list[str]]]:
    """Look at all cases, in `jobs` processes side by side."""
    shards = []
    for job in range(jobs):
        result = base / f"results-{job}"
        sys.stdout.flush()  # else what waits there is printed by each
        pid = os.fork()
        if pid == 0:
            with open(result, "w") as file:
                for number in range(job, len(work), jobs):
                    wrong = look(work[number], base)
                    print(json.dumps([number, wrong]), file=file, flush=True)
                    if wrong:
                        print(work[number], *wrong, sep="\n    ", flush=True)
            os._exit(0)
        shards.append((pid, result))
    found = {}
    for pid, result in shards:
        os.waitpid(pid, 0)
        found.update(json.loads(line) for line in result.read_text().splitlines())
    return [(case, found.get(number, ["not looked at"])) for number, case in enumerate(work)]


def main(report: Callable[[str], None] = print) -> int:
    """Returns the exit code: whether something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--some", type=int, default=0, help="so many of each command and mode; 0: every one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--only", nargs=3, metavar=("COMMAND", "MODE", "NUMBER"))
    parser.add_argument("--disk", action="store_true")
    options = parser.parse_args()
    preload()
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        operations = prepare(base, options.commands)
        operations = {name: operations[name] for name in options.commands}
        if options.only:
            command, mode, number = options.only
            print(*look(Case(command, mode, int(number), "?"), base, show=True), sep="\n")
            return 0
        report("operations: " + ", ".join(f"{name} {len(done)}" for name, done in operations.items()))
        work = cases(operations, options.modes, options.some, options.seed)
        if options.disk:
            work = [Case("train", DISK, size, "a disk of so many KiB") for size in SIZES]
        looked = shared_out(work, options.jobs, base)
    counts = Counter((case.command, case.mode, bool(wrong)) for case, wrong in looked)
    for command in operations:
        for mode in (*MODES, DISK):
            good, bad = counts[command, mode, False], counts[command, mode, True]
            if good + bad:
                report(f"{command:10} {mode:10} {good} of {good + bad} as promised")
    return int(any(wrong for _, wrong in looked))


if __name__ == "__main__":
    raise SystemExit(main())
