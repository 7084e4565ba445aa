"""Zip archives and NumPy files with tricks, for `generator.py`."""

import hashlib
import io
import json
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

MIB = 2**20
BOMB = 400 * MIB
"""Bytes that a small archive would unpack to."""


def members_of(path: Path) -> dict[str, bytes]:
    """What an archive holds, by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path: Path, members: dict[str, bytes], manifest: bool = False) -> Path:
    """An archive; one with a `manifest` has the checksums of a checkpoint, all of them right."""
    with zipfile.ZipFile(path, "w") as archive:
        if manifest:
            sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
            archive.writestr("manifest.json", json.dumps({"format": 1, "written": "", "sha256": sums}))
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def archives(members: dict[str, bytes]) -> dict[str, Callable[[Path], Path]]:
    """Ways to write an archive of `members` that its reader does not expect, by what is done."""
    first = next(iter(members))
    largest = max(members, key=lambda name: len(members[name]))

    def extended(*more: tuple[str, bytes], kind: int = zipfile.ZIP_STORED) -> Callable[[Path], Path]:
        def write(path: Path) -> Path:
            write_members(path, members)
            with zipfile.ZipFile(path, "a", kind) as archive:
                for name, content in more:
                    archive.writestr(zipfile.ZipInfo(name), content, kind)
            return path

        return write

    def patched(signature: bytes, offset: int, value: bytes) -> Callable[[Path], Path]:
        """With a field of each header changed."""

        def write(path: Path) -> Path:
            content = bytearray(write_members(path, members).read_bytes())
            at = content.find(signature)
            while at >= 0:
                content[at + offset : at + offset + len(value)] = value
                at = content.find(signature, at + 4)
            path.write_bytes(content)
            return path

        return write

    def with_link(path: Path) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                info = zipfile.ZipInfo(name)
                if name == largest:
                    info.external_attr, content = (stat.S_IFLNK | 0o777) << 16, b"/etc/passwd"
                archive.writestr(info, content)
        return path

    def bomb(name: str, kind: int, size: int = BOMB) -> Callable[[Path], Path]:
        def write(path: Path) -> Path:
            with zipfile.ZipFile(path, "w", kind, compresslevel=1) as archive:
                for other, content in members.items():
                    if other != name:
                        archive.writestr(other, content)
                with archive.open(name, "w") as file:
                    for _ in range(size // MIB):
                        file.write(bytes(MIB))
            return path

        return write

    central, local = b"PK\x01\x02", b"PK\x03\x04"
    ways: dict[str, Callable[[Path], Path]] = {
        "a name twice": extended((first, b"{}")),
        "absolute name": extended(("/tmp/a3c-test-outside", b"outside")),
        "name above": extended(("../../outside", b"outside")),
        "name with escapes": extended(("\x1b[2J\x07", b"x")),
        "many members": extended(*((f"m{i}", b"") for i in range(70_000))),
        "a link": with_link,
        "encrypted": patched(central, 8, struct.pack("<H", 1)),
        "unknown compression": patched(central, 10, struct.pack("<H", 77)),
        "wrong sum": patched(central, 16, b"\0\0\0\0"),
        "larger than it is": patched(central, 20, struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)),
        "wrong place": patched(central, 42, struct.pack("<I", 0x7FFFFFFF)),
        "no local header": patched(local, 0, b"XXXX"),
        "deflated bomb": bomb(largest, zipfile.ZIP_DEFLATED),
        "bzip2 bomb": bomb(first, zipfile.ZIP_BZIP2, 80 * MIB),
    }
    for left_out in list(members)[:4]:
        rest = {name: content for name, content in members.items() if name != left_out}
        ways[f"without {left_out}"] = partial(write_members, members=rest)
    return ways


class _RunsCode:
    """What unpickling it does is to leave the mark."""

    def __reduce__(self) -> tuple:
        return exec, ("import os; open(os.environ['A3C_TEST_MARK'], 'a').write('pickle')",)


def npy_files() -> dict[str, bytes]:
    """Files that are no array of numbers of a sensible size, or not only."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([_RunsCode()], dtype=object), allow_pickle=True)

    def with_header(text: str, content: bytes = b"\0" * 64) -> bytes:
        header = text.encode("latin1").ljust(118) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content

    def described(dtype: str, shape: str) -> bytes:
        return with_header(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}")

    return {
        "pickled objects": buffer.getvalue(),
        "a pickle": pickle.dumps(_RunsCode()),
        "of a huge shape": described("'<f8'", f"({2**40},)"),
        "of a shape that overflows": described("'<f8'", f"({2**62}, {2**62})"),
        "of a negative shape": described("'<f8'", "(-1,)"),
        "of many dimensions": described("'<f8'", "(1,) * 70"),
        "of records": described("[('a', '<f8'), ('b', 'O')]", "(1,)"),
        "of texts": described("'<U1000000000'", "(1,)"),
        "of empty items": described("'V0'", f"({2**60},)"),
        "an expression": with_header("__import__('os').system('touch pwned')"),
        "of NaN": described("'<f8'", "(8,)")[:-64] + np.full(8, np.nan).tobytes(),
        "cut off": described("'<f8'", "(8,)")[:-8],
        "of another version": b"\x93NUMPY\x09\x00" + bytes(100),
    }
