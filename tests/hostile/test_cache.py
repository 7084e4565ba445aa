"""Compiled programs are code: none are taken from a directory or a file of another user."""

import os

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
