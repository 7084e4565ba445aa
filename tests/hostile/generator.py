"""Malformed files, made from good ones: agents, run directories with their files, presets, crash reports.

Each `Hostile` has a kind, a name and a function that makes it in an empty folder. The same number gives the
same files. Those that would run code leave a mark if they do: see `MARK`.
"""

import json
import os
import random
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archives import archives, members_of, npy_files, write_members

OLD_RUN = Path(__file__).parents[1] / "references" / "old_run"
CHECKPOINT = "checkpoints/step-000000003955.zip"
MARK = "A3C_TEST_MARK"
"""The environment variable with the path of a file that is there once foreign code has run."""
CANARY = f"import os\nopen(os.environ[{MARK!r}], 'a').write(__name__)\n"
"""A module that leaves the mark when it is imported."""
ENV_ID = "CartPole-v1"


@dataclass(frozen=True)
class Hostile:
    """One malformed file or run directory.

    Attributes:
        kind: `agent`, `run`, `preset` or `report`.
        name: What is wrong with it.
        make: Makes it in an empty folder. Returns its path.
    """

    kind: str
    name: str
    make: Callable[[Path], Path]

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


# -- what a value, a text and bytes are replaced by ---------------------------------------------------------

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "negative": -1,
    "fraction": 0.5,
    "infinite": float("inf"),
    "NaN": float("nan"),
    "huge": 10**300,
    "text": "text",
    "escapes": "\x1b]0;title\x07\x1b[2J\x1b[31mred\r\nsecond line\x00",
    "long": "x" * 500_000,
    "list": [],
    "deep list": json.loads("[" * 100 + "]" * 100),
    "table": {},
    "number of an array": {"$array": -1},
    "module": "canary:Thing",
    "path": "../../../../../../etc/passwd",
}
RAW = {
    "empty": b"",
    "nonsense": b"\x00\xff\xfe nonsense " * 100,
    "no UTF-8": b'{"format": "\xff\xfe"}',
    "nested": b"[" * 200_000,
    "nested tables": b'{"a":' * 100_000,
    "long number": b"9" * 1_000_000,
    "a list": b"[1, 2, 3]",
    "a number": b"1e999",
}
NESTED_TOML = b"a = " + b"[" * 100_000


def damaged(content: bytes, number: int) -> bytes:
    """`content` cut off, with bytes changed, doubled or taken out, as `number` says."""
    generator = random.Random(number)
    at, length = generator.randrange(len(content)), generator.randrange(1, 64)
    ways = (
        content[:at],
        content[:at] + generator.randbytes(length) + content[at + length :],
        content[:at] + content[at + length :],
        content + content[at:],
    )
    return ways[number % len(ways)]


def paths_of(tree: Any, path: tuple = ()) -> list[tuple]:
    """The places of a JSON tree, each as the keys that lead there."""
    nodes = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(found for key, value in nodes for found in paths_of(value, (*path, key)))]


def changed(tree: Any, path: tuple, value: Any) -> Any:
    """A copy of `tree` with another value at one place; `...` takes it out."""
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    if value is ... and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(tree[path[0]], path[1:], value)
    return copy


def changed_trees(tree: Any, count: int, seed: int) -> Iterator[tuple[str, Any]]:
    """So many trees that differ from `tree` in one place, each with what was done."""
    generator, places = random.Random(seed), paths_of(tree)
    for number in range(count):
        path = generator.choice(places)
        name, value = generator.choice([*VALUES.items(), ("none", ...), ("none", ...)])
        if value is ... and not path:
            continue
        yield f"{'.'.join(map(str, path))[-40:] or 'all'} is {name} ({number})", changed(tree, path, value)


# -- agents -------------------------------------------------------------------------------------------------


def agents(count: int, seed: int) -> Iterator[Hostile]:
    """Agents: damaged bytes, archives with tricks, changed cards and configurations of models."""
    good = (OLD_RUN / "best.keras").read_bytes()
    members = members_of(OLD_RUN / "best.keras")

    def of_bytes(name: str, content: bytes) -> Hostile:
        return Hostile("agent", name, lambda folder: _written(folder / "agent.keras", content))

    def of_member(name: str, file: str, content: bytes) -> Hostile:
        new = members | {file: content}
        return Hostile("agent", name, lambda folder: write_members(folder / "agent.keras", new))

    for number in range(count):
        yield of_bytes(f"damaged bytes {number}", damaged(good, seed * 1000 + number))
    for name, content in RAW.items():
        yield of_bytes(f"file: {name}", content)
        yield of_member(f"card: {name}", "a3c.json", content)
        yield of_member(f"model: {name}", "config.json", content)
        yield of_member(f"weights: {name}", "model.weights.h5", content)
    for file in ("a3c.json", "config.json", "metadata.json"):
        for name, tree in changed_trees(json.loads(members[file]), count, seed):
            yield of_member(f"{file}: {name}", file, json.dumps(tree).encode())
    for name, write in archives(members).items():
        yield Hostile("agent", f"archive: {name}", lambda folder, write=write: write(folder / "agent.keras"))


# -- run directories ----------------------------------------------------------------------------------------


def runs(count: int, seed: int) -> Iterator[Hostile]:
    """Run directories in which one file is malformed, or is none."""
    yield from _runs_with_texts(count, seed)
    yield from _runs_with_checkpoints(count, seed)
    names = (
        "config.toml",
        "result.json",
        "optimizer.json",
        "episodes.csv",
        "best.keras",
        CHECKPOINT,
        ".lock",
    )
    for name in (*names, "checkpoints", "learning_curve.png"):
        for way, put in NOT_PLAIN.items():
            yield _run(f"{name} is {way}", lambda run, name=name, put=put: put(run / name))


def make_run(folder: Path, change: Callable[[Path], object]) -> Path:
    """A good run directory, and then a change of it."""
    run = folder / "runs" / ENV_ID / "20261128-000000-appo-s3"
    shutil.copytree(OLD_RUN, run)
    change(run)
    return run


def _run(name: str, change: Callable[[Path], object]) -> Hostile:
    return Hostile("run", name, lambda folder: make_run(folder, change))


def _runs_with_texts(count: int, seed: int) -> Iterator[Hostile]:
    import tomllib

    import tomli_w

    for file in ("config.toml", "result.json", "episodes.csv", "metrics.jsonl", CHECKPOINT):
        good = (OLD_RUN / file).read_bytes()
        for number in range(max(1, count // 3)):
            content = damaged(good, seed * 1000 + number)
            yield _run(f"{file}: damaged bytes {number}", lambda run, f=file, c=content: _written(run / f, c))
    for file in ("config.toml", "result.json", "optimizer.json", "model.keras", "episodes.csv"):
        for name, content in (RAW | {"nested TOML": NESTED_TOML}).items():
            yield _run(f"{file}: {name}", lambda run, f=file, c=content: _written(run / f, c))
    document = tomllib.loads((OLD_RUN / "config.toml").read_text())
    for name, tree in changed_trees(document, 3 * count, seed):
        try:
            text = tomli_w.dumps(tree).encode()
        except (TypeError, AttributeError, RecursionError):
            continue  # TOML has no null
        yield _run(f"config.toml: {name}", lambda run, c=text: _written(run / "config.toml", c))
    result = json.loads((OLD_RUN / "result.json").read_text())
    for name, tree in changed_trees(result, count, seed):
        text = json.dumps(tree).encode()
        yield _run(f"result.json: {name}", lambda run, c=text: _written(run / "result.json", c))


def _runs_with_checkpoints(count: int, seed: int) -> Iterator[Hostile]:
    """Checkpoints whose checksums are right, but whose content is not."""
    members = members_of(OLD_RUN / CHECKPOINT)
    del members["manifest.json"]
    state = json.loads(members["state.json"])

    def with_members(name: str, new: dict[str, bytes]) -> Hostile:
        return _run(f"checkpoint: {name}", lambda run: write_members(run / CHECKPOINT, new, manifest=True))

    for name, tree in changed_trees(state, 3 * count, seed):
        yield with_members(name, members | {"state.json": json.dumps(tree).encode()})
    for name, content in RAW.items():
        yield with_members(f"state is {name}", members | {"state.json": content})
    for name, content in npy_files().items():
        yield with_members(f"array is {name}", members | {"arrays/0.npy": content})
    for name, write in archives(members_of(OLD_RUN / CHECKPOINT)).items():
        yield _run(f"checkpoint: archive: {name}", lambda run, write=write: write(run / CHECKPOINT))


def _make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path may have a hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _in_its_place(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        make(path)

    return put


NOT_PLAIN: dict[str, Callable[[Path], None]] = {
    "a link out": _in_its_place(lambda path: path.symlink_to(_outside(path))),
    "a link to nothing": _in_its_place(lambda path: path.symlink_to("nothing-there")),
    "a link to itself": _in_its_place(lambda path: path.symlink_to(path.name)),
    "a pipe": _in_its_place(os.mkfifo),
    "a folder": _in_its_place(lambda path: (path / "sub").mkdir(parents=True)),
    "a socket": _in_its_place(_make_socket),
    "endless": _in_its_place(lambda path: path.symlink_to("/dev/zero")),
    "not readable": lambda path: path.chmod(stat.S_IWUSR) if path.exists() else None,
}


def _outside(path: Path) -> Path:
    """A file of the user's beside the run directories, which nothing may change."""
    place = next(parent for parent in path.parents if parent.name == "runs").parent / "precious"
    return _written(place, b"precious")


# -- presets and crash reports ------------------------------------------------------------------------------


def presets(count: int, seed: int) -> Iterator[Hostile]:
    """Presets: damaged bytes, values and tables that there are not."""
    good = b'algorithm = "a3c"\nt_max = 5\nhidden_units = [8]\n[a3c]\nlearning_rate = 0.001\n'
    lines = {
        "a module": b'env_id = "canary:Thing-v0"\nmodel = "canary:Thing"\n',
        "a table": b"[t_max]\na = 1\n",
        "huge": b"t_max = " + b"9" * 5000 + b"\n",
        "infinite": b"learning_rate = inf\n",
        "NaN": b"learning_rate = nan\n",
        "escapes": b'"\\u001b[2J\\u0007" = 1\n',
        "units": b"hidden_units = [999999999999]\n",
        "long": b'algorithm = "' + b"x" * 2_000_000 + b'"\n',
        "nested TOML": NESTED_TOML,
    }
    contents = RAW | lines | {f"damaged bytes {n}": damaged(good, seed * 1000 + n) for n in range(count)}
    for name, content in contents.items():
        yield Hostile("preset", name, lambda folder, c=content: _written(folder / "preset.toml", c))
    for way, put in NOT_PLAIN.items():
        if way != "a link out":
            yield Hostile("preset", f"is {way}", lambda f, put=put: _put(f / "preset.toml", put, good))


def crash_report() -> dict[str, Any]:
    """A good crash report, as JSON."""
    from a3c.utils.serialization import to_json

    start = {"state": None, "globals": None, "seed": 3}
    replay = {"compiled": False, "start": start, "actions": [[0], [1], [0]], "steps": 3, "episodes": None}
    report = {
        "summary": f"{ENV_ID} raised ValueError in step 3", "kind": "exception", "message": "raised",
        "traceback": "", "env_id": ENV_ID, "worker": 0, "copies": 1, "vectorized": False, "seed": 3,
        "when": "step", "step": 3, "copy": 0, "last_actions": [0, 1, 0], "numbers": {}, "note": "",
        "replay": replay,
    }  # fmt: skip
    document = {"format": "a3c crash card", "version": 2, "summary": report["summary"], "traceback": []}
    return {**document, "card": to_json(report)}


def reports(count: int, seed: int) -> Iterator[Hostile]:
    """Crash reports: damaged bytes, and values that do not fit."""
    good = crash_report()
    text = json.dumps(good).encode()
    contents = RAW | {f"damaged bytes {n}": damaged(text, seed * 1000 + n) for n in range(count)}
    contents |= {name: json.dumps(tree).encode() for name, tree in changed_trees(good, 3 * count, seed)}
    module = changed(good, ("card", "tree", "env_id"), "canary:Thing-v0")
    contents["a module"] = json.dumps(module).encode()
    for name, content in contents.items():
        yield Hostile("report", name, lambda folder, c=content: _written(folder / "crash.json", c))
    for way, put in NOT_PLAIN.items():
        if way != "a link out":
            yield Hostile("report", f"is {way}", lambda f, put=put: _put(f / "crash.json", put, text))


def everything(count: int, seed: int) -> list[Hostile]:
    """All of them; `count` says how many of those that are drawn."""
    return [h for make in (agents, runs, presets, reports) for h in make(count, seed)]


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _put(path: Path, put: Callable[[Path], None], content: bytes) -> Path:
    path.write_bytes(content)
    put(path)
    return path
