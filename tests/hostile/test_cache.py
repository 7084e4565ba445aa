"""Compiled programs are code: none are taken from another user, and none that were damaged or swapped."""

import os
import subprocess
import sys

import pytest

from a3c.backend import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The directory of the cache, with one whole entry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "a3c" / "xla"
    assert cache.find() == (folder, "")
    for kind in ("cache", "atime"):
        (folder / f"jit_run-1-{kind}").write_bytes(b"x")
    return folder


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX")
@pytest.mark.parametrize("whose", ["a3c", "xla"])
def test_a_directory_of_another_user_is_refused(folder, monkeypatch, whose):
    monkeypatch.setattr(cache, "is_own", lambda path: path.name != whose)
    path, wrong = cache.find()
    assert path is None
    assert "belongs to another user" in wrong
    assert whose in wrong


def test_others_may_not_write_to_it(folder):
    folder.chmod(0o777)
    assert cache.directory() == folder
    assert folder.stat().st_mode & 0o077 == 0


def test_entries_of_another_user_are_removed(folder, monkeypatch):
    assert cache.directory() == folder
    assert (folder / "jit_run-1-cache").exists()
    monkeypatch.setattr(cache, "is_own", lambda path: not path.name.startswith("jit_run-1"))
    assert cache.directory() == folder
    assert not (folder / "jit_run-1-cache").exists()


def test_owners_are_those_of_the_system(folder):
    assert cache.is_own(folder)
    if os.getuid() == 0:
        os.chown(folder, 12345, -1)
        assert not cache.is_own(folder)
        assert cache.find()[0] is None


def test_what_is_no_plain_file_is_removed(folder):
    (folder / "jit_run-1-cache").unlink()
    (folder / "jit_run-1-cache").symlink_to(folder / "jit_run-1-atime")
    assert cache.directory() == folder
    assert not (folder / "jit_run-1-cache").is_symlink()


class Entries:
    """A cache as JAX has it: an entry that is there is never replaced."""

    def __init__(self, folder):
        self._path = folder

    def get(self, key):
        path = self._path / f"{key}-cache"
        return path.read_bytes() if path.exists() else None

    def put(self, key, value):
        path = self._path / f"{key}-cache"
        if not path.exists():
            path.write_bytes(value)


DAMAGE = {
    "cut off": lambda content, other: content[:-1],
    "a byte": lambda content, other: bytes([content[0] ^ 1]) + content[1:],
    "empty": lambda content, other: b"",
    "swapped": lambda content, other: other,
    "without checksum": lambda content, other: content[:-32],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_removed_and_kept_anew(folder, damage):
    entries = cache.CheckedEntries(Entries(folder))
    for key in ("good", "other"):
        entries.put(key, key.encode() * 100)
    path, other = folder / "good-cache", folder / "other-cache"
    assert entries.get("good") == b"good" * 100
    path.write_bytes(DAMAGE[damage](path.read_bytes(), other.read_bytes()))
    assert entries.get("good") is None
    assert not path.exists()
    entries.put("good", b"anew")
    assert entries.get("good") == b"anew"
    assert entries.get("other") == b"other" * 100


RUN = """
import os, warnings, sys, pathlib
from a3c import backend
backend.select("jax")
framework = backend.load(cache_directory=pathlib.Path(sys.argv[1]))
import numpy as np
import jax
warnings.simplefilter("error")
for function in (lambda x: x + 1, lambda x: x * 3):
    print(float(jax.jit(function)(np.float32(1))))
"""


def test_jax_reads_no_damaged_or_swapped_program(folder):
    def run():
        line = [sys.executable, "-c", RUN, str(folder)]
        done = subprocess.run(
            line, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True
        )
        assert done.stdout == "2.0\n3.0\n", done.stderr
        return {path: path.read_bytes() for path in folder.glob("jit__lambda*-cache")}

    first = run()
    one, other = first
    one.write_bytes(first[other])
    other.write_bytes(first[other][:-40] + bytes(8) + first[other][-32:])
    assert run().keys() == first.keys()
    entries = cache.CheckedEntries(Entries(folder))
    for path in first:
        assert entries.get(path.name.removesuffix("-cache")), "made anew"
