"""Checkpoints: all that a run needs to go on, in a file that is whole or not there, and without pickle.

A checkpoint is a zip file: `state.json`, the arrays it refers to in NumPy's format, and `manifest.json` with
the SHA-256 of each. Called by the main process.
"""

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from a3c.errors import UsageError, first_line
from a3c.utils import archives, json_text, serialization
from a3c.utils.files import replacing

FORMAT = 1
FOLDER = "checkpoints"
BEST = "best.zip"
_NAME = re.compile(r"step-(\d{12,19})\.zip")
_LARGEST_MANIFEST = 2**24


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
        """The numbered ones, newest first; none in a folder that is a link, which may lead anywhere."""
        if self.folder.is_symlink():
            return iter(())
        named = [(_NAME.fullmatch(path.name), path) for path in self.folder.glob("step-*.zip")]
        found = [(int(name[1]), path) for name, path in named if name]
        return iter([path for _, path in sorted(found, reverse=True)])


def write(path: Path, state: dict[str, Any]) -> None:
    """Write `state`, a plain tree, to `path`: a temporary file, to the disk, then renamed.

    Raises:
        OSError: if that fails, or `read` would refuse it; `path` is what it was then.
    """
    skeleton, arrays = serialization.pack(state)
    members = {"state.json": json.dumps(skeleton).encode()}
    members |= {f"arrays/{i}.npy": serialization.to_bytes(array) for i, array in enumerate(arrays)}
    manifest = {
        "format": FORMAT,
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    }
    with replacing(path, to_disk=True) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr("manifest.json", json.dumps(manifest, indent=1))
            for name, content in members.items():
                archive.writestr(name, content)
        try:
            json_text.check_json(members["state.json"])
            with archives.opened(temporary):
                pass
        except (ValueError, zipfile.BadZipFile) as error:
            raise OSError(errno.EFBIG, f"Its state is too large: {error}", str(path)) from error


def read(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, every byte of it checked.

    Raises:
        Damaged: if it is truncated, changed, of another format, or too large.
    """
    try:
        with archives.opened(path) as archive:
            manifest = json_text.parse_json(archives.read_member(archive, "manifest.json", _LARGEST_MANIFEST))
            if manifest["format"] != FORMAT:
                raise Damaged(f"its format is {manifest['format']!r:.40}, this a3c reads {FORMAT}")
            checksums = manifest["sha256"]
            state = json_text.parse_json(_member(archive, checksums, "state.json"))
            # One at a time: the bytes of each are gone before the next one is read.
            names = (f"arrays/{i}.npy" for i in range(len(checksums) - 1))
            arrays = [serialization.from_bytes(_member(archive, checksums, name)) for name in names]
        return serialization.unpack(state, arrays)
    except Damaged:
        raise
    except Exception as error:  # whatever a damaged file leads to in a reader
        raise Damaged(f"{type(error).__name__}: {first_line(error)}") from error


def _member(archive: zipfile.ZipFile, checksums: dict[str, str], name: str) -> bytearray:
    content = archives.read_member(archive, name)
    if hashlib.sha256(content).hexdigest() != checksums[name]:
        raise Damaged(f"the checksum of {name} is wrong")
    return content


def newest_steps(folder: Path) -> int | None:
    """The steps of the newest checkpoint, by its name; None where there is none."""
    newest = next(iter(Files(folder, 1)), None)
    return None if newest is None else int(newest.stem.removeprefix("step-"))


def newest(
    files: Files, check: Callable[[dict[str, Any]], dict[str, Any]] = lambda state: state
) -> tuple[Path | None, dict[str, Any], list[str]]:
    """The newest checkpoint that is whole, its state, and what is to be said of those that are not.

    Args:
        files: The checkpoints of a run.
        check: Maps a state to what is made use of. Raises `Damaged` for one that no run has written.

    Raises:
        UsageError: if there are checkpoints, but every one is damaged; and what `check` raises.
    """
    if files.folder.is_symlink():
        raise UsageError(
            f"folder {files.folder}", "a folder of its own, not a link", "Copy what it leads to."
        )
    problems = []
    best = files.folder / BEST
    candidates = [*files, *([best] if os.path.lexists(best) else [])]
    for path in candidates:
        try:
            state = check(read(path))
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
    """What of two descriptions differs, a line each: `name: saved → present`; the first ten."""
    names = [*saved, *(name for name in present if name not in saved)]
    found = (name for name in names if _plain(saved.get(name)) != _plain(present.get(name)))
    return [
        f"{name:.100}: {saved.get(name)!s:.100} in the checkpoint, {present.get(name)!s:.100} now"
        for name in itertools.islice(found, 10)
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
