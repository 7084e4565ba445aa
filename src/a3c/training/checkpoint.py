"""Checkpoints: all that a run needs to go on, in a file that is whole or not there, and without pickle.

A checkpoint is a zip file: `state.json`, the arrays it refers to in NumPy's format, and `manifest.json` with
the SHA-256 of each. Called by the main process.
"""

import hashlib
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from a3c.errors import UsageError, first_line
from a3c.utils import serialization
from a3c.utils.files import open_plain, replacing

FORMAT = 1
FOLDER = "checkpoints"
BEST = "best.zip"
_NAME = re.compile(r"step-(\d{12})\.zip")


class Damaged(Exception):
    """A checkpoint that cannot be trusted; says why."""


@dataclass(frozen=True)
class Files:
    """The checkpoints of one run.

    Attributes:
        folder: Where they lie.
        keep: How many of the newest are kept.
    """

    folder: Path
    keep: int

    def write(self, steps: int, state: dict[str, Any], best: bool) -> Path:
        """Write a checkpoint, then remove the oldest ones.

        Args:
            steps: Environment steps taken so far; gives it its name and its place.
            state: A plain tree.
            best: Whether to keep it as the best as well.

        Raises:
            OSError: if it cannot be written; the ones before are still there then.
        """
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"step-{steps:012d}.zip"
        write(path, state)
        if best:
            _link(path, self.folder / BEST)
        for old in list(self)[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def __iter__(self) -> Iterator[Path]:
        """The numbered ones, newest first."""
        found = [path for path in self.folder.glob("step-*.zip") if _NAME.fullmatch(path.name)]
        return iter(sorted(found, reverse=True))


def write(path: Path, state: dict[str, Any]) -> None:
    """Write `state`, a plain tree, to `path`: a temporary file, to the disk, then renamed.

    Raises:
        OSError: if that fails; `path` is what it was then.
    """
    skeleton, arrays = serialization.pack(state)
    members = {"state.json": json.dumps(skeleton).encode()}
    members |= {f"arrays/{i}.npy": serialization.to_bytes(array) for i, array in enumerate(arrays)}
    manifest = {
        "format": FORMAT,
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    }
    with replacing(path, to_disk=True) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest, indent=1))
        for name, content in members.items():
            archive.writestr(name, content)


def read(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, every byte of it checked.

    Raises:
        Damaged: if it is truncated, changed, or of another format.
    """
    try:
        with open(open_plain(path, os.O_RDONLY), "rb") as file, zipfile.ZipFile(file) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            if manifest["format"] != FORMAT:
                raise Damaged(f"its format is {manifest['format']}, this a3c reads {FORMAT}")
            members = {name: archive.read(name) for name in manifest["sha256"]}
        for name, content in members.items():
            if hashlib.sha256(content).hexdigest() != manifest["sha256"][name]:
                raise Damaged(f"the checksum of {name} is wrong")
        arrays = [serialization.from_bytes(members[f"arrays/{i}.npy"]) for i in range(len(members) - 1)]
        return serialization.unpack(json.loads(members["state.json"]), arrays)
    except Damaged:
        raise
    except Exception as error:  # whatever a damaged file leads to in a reader
        raise Damaged(f"{type(error).__name__}: {first_line(error)}") from error


def newest_steps(folder: Path) -> int | None:
    """The steps of the newest checkpoint, by its name; None where there is none."""
    newest = next(iter(Files(folder, 1)), None)
    return None if newest is None else int(newest.stem.removeprefix("step-"))


def newest(files: Files) -> tuple[Path | None, dict[str, Any], list[str]]:
    """The newest checkpoint that is whole, its state, and what is to be said of those that are not.

    Raises:
        UsageError: if there are checkpoints, but every one is damaged.
    """
    problems = []
    best = files.folder / BEST
    candidates = [*files, *([best] if best.exists() else [])]
    for path in candidates:
        try:
            state = read(path)
        except Damaged as damage:
            problems.append(f"checkpoint {path} is damaged ({damage})")
            continue
        if problems:
            problems.append(f"going on from the one before, {path.name}")
        return path, state, problems
    if candidates:
        agents = "best.keras and last.keras, where they are there, are files of their own"
        fix = f"{problems[0]}, and so is every other one. {agents}: a3c evaluate."
        raise UsageError(f"run {files.folder.parent}", "one with a whole checkpoint", fix)
    return None, {}, []


def differences(saved: dict[str, Any], present: dict[str, Any]) -> list[str]:
    """What of two descriptions differs, a line each: `name: saved → present`."""
    names = [*saved, *(name for name in present if name not in saved)]
    return [
        f"{name}: {saved.get(name)} in the checkpoint, {present.get(name)} now"
        for name in names
        if _plain(saved.get(name)) != _plain(present.get(name))
    ]


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value, default=lambda v: np.asarray(v).tolist()))


def _link(source: Path, target: Path) -> None:
    """Make `target` a second name of `source`, or a copy where the file system has no links."""
    with replacing(target) as temporary:
        temporary.unlink(missing_ok=True)  # else a copy would be written through an older link
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
