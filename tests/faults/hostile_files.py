"""Gives malformed files to commands, and prints a table of what became of it; see docs/reliability.md.

    python tests/faults/hostile_files.py                 # some two hundred commands: minutes
    python tests/faults/hostile_files.py --count 40 --seed 5

For each kind of file and command: how often it was tried, the most processor seconds and memory above those
of the same command with a good file, how it ended, and what is wrong: a traceback, code that was run, a file
written elsewhere, a command that hung.
"""

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
sys.path.insert(0, str(Path(__file__).parents[1] / "hostile"))
import generator
from forking import Measured, forked, preload

STEPS = ("--max-steps=4000", "--evaluation-episodes=1")
COMMANDS: dict[str, dict[str, tuple[str, ...]]] = {
    "agent": {
        "evaluate": ("evaluate", "FILE", "--episodes=1"),
        "play": ("play", "FILE", "--video=film.gif"),
    },
    "run": {
        "evaluate": ("evaluate", "FILE", "--episodes=1"),
        "play": ("play", "FILE", "--video=film.gif"),
        "resume": ("resume", "FILE", *STEPS),
        "train --resume": ("train", generator.ENV_ID, "--resume=FILE", *STEPS),
        "plot": ("plot", "FILE", "--output=curves.png"),
    },
    "preset": {
        "train --preset": ("train", generator.ENV_ID, "--preset=FILE", "--engine=serial", "--max-steps=40"),
        "doctor": ("doctor", "FILE"),
    },
    "report": {"reproduce": ("reproduce", "FILE")},
}
"""`FILE` stands for the malformed one."""


def good(kind: str) -> generator.Hostile:
    """A file of this kind with nothing wrong."""

    def make(folder: Path) -> Path:
        if kind == "run":
            return generator.make_run(folder, lambda run: None)
        content = {
            "agent": (generator.OLD_RUN / "best.keras").read_bytes(),
            "preset": b'algorithm = "a3c"\n',
            "report": json.dumps(generator.crash_report()).encode(),
        }[kind]
        path = folder / {"agent": "agent.keras", "preset": "preset.toml", "report": "crash.json"}[kind]
        path.write_bytes(content)
        return path

    return generator.Hostile(kind, "nothing", make)


def tried(hostile: generator.Hostile, line: tuple[str, ...]) -> tuple[Measured, list[str]]:
    """Carry out one command with one file. Returns what it took, and what is wrong."""
    with tempfile.TemporaryDirectory() as place:
        work, given = Path(place) / "work", Path(place) / "given"
        for folder in (work, given):
            folder.mkdir()
        (work / "canary.py").write_text(generator.CANARY)
        file = hostile.make(given)
        before = contents(Path(place), but=(work / "runs", file))
        mark = Path(place) / "mark"
        arguments = tuple(word.replace("FILE", str(file)) for word in line)
        measured = forked(work, arguments, lambda: os.environ.update({generator.MARK: str(mark)}))
        outcome, wrong = measured.outcome, []
        if "Traceback" in outcome.out + outcome.err:
            wrong.append("traceback: " + (outcome.out + outcome.err).strip().splitlines()[-1][:100])
        if outcome.code not in (0, 1, 2):
            wrong.append(f"exit code {outcome.code}")
        if mark.exists():
            wrong.append("it ran code: " + mark.read_text()[:40])
        if set(outcome.out + outcome.err) & set("\x1b\x07\x00"):
            wrong.append("characters that steer a terminal")
        after = contents(Path(place), but=(work / "runs", file, mark))
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        if elsewhere := changed - {work / "film.gif", work / "curves.png"}:
            wrong.append(f"written elsewhere: {sorted(map(str, elsewhere))[0]}")
        return measured, wrong


def contents(place: Path, but: tuple[Path, ...]) -> dict[Path, str]:
    """All plain files below a folder, by their checksums, without some files and folders."""
    files = (path for path in place.rglob("*") if path.is_file() and not path.is_symlink())
    kept = [path for path in files if not any(path.is_relative_to(other) for other in but)]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def main() -> int:
    """Returns the exit code: whether something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="files for each command")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    preload()
    files = defaultdict(list)
    for hostile in generator.everything(10, options.seed):
        files[hostile.kind].append(hostile)
    faults = 0
    print("| file | command | tried | seconds more | MiB more | ended |\n|---|---|---|---|---|---|")
    for kind in options.kinds:
        for name, line in COMMANDS[kind].items():
            tried(good(kind), line)  # so that what is compiled is there
            plain, _ = tried(good(kind), line)
            drawn = random.Random(f"{options.seed} {kind} {name}").sample(
                files[kind], min(options.count, len(files[kind]))
            )
            codes, seconds, memory = Counter(), 0.0, 0.0
            for hostile in drawn:
                measured, wrong = tried(hostile, line)
                codes[measured.outcome.code] += 1
                seconds = max(seconds, measured.seconds - plain.seconds)
                memory = max(memory, measured.mebibytes - plain.mebibytes)
                faults += bool(wrong)
                if wrong:
                    print(f"  {name}, {hostile}: {'; '.join(wrong)}", file=sys.stderr, flush=True)
            ended = ", ".join(f"{count} × {code}" for code, count in sorted(codes.items()))
            print(
                f"| {kind} | `{name}` | {len(drawn)} | {seconds:.1f} | {memory:.0f} | {ended} |", flush=True
            )
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main())
