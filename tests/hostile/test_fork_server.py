"""The process that workers are forked from is killed, or its folder removed: the run goes on."""

import fcntl
import os
import shutil
import signal
import tempfile
from pathlib import Path

import harness
import pytest

from a3c.engines import fork_server
from a3c.engines.processes import _METHOD

pytestmark = pytest.mark.skipif(_METHOD != "forkserver" or not os.path.isdir("/proc"), reason="Linux")


def start(tmp_path, *more):
    """A run with two workers at work."""
    flags = (*harness.ENDLESS, "--workers", "2", "--seed", "1", "--evaluation-episodes", "1", *more)
    run = harness.start(*harness.TRAIN, *flags, cwd=tmp_path)
    harness.await_episodes(run, tmp_path)
    return run


def end(run, tmp_path):
    """Stop the run. Returns its log."""
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=harness.DEADLINE)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    harness.await_end(run.pid)
    directory = harness.run_directory(tmp_path)
    assert directory is not None
    return (directory / "log.txt").read_text()


def test_one_that_is_killed_is_replaced(tmp_path, monkeypatch):
    """All workers end with it, which counts as one fault. Paths may be too long for a socket."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 100)))
    (tmp_path / ("x" * 100)).mkdir()
    run = start(tmp_path, "--max-restarts", "1")
    [server] = harness.servers(run.pid)
    os.kill(server.pid, signal.SIGKILL)
    harness.await_episodes(run, tmp_path)
    log = end(run, tmp_path)
    assert log.count("the process that starts workers was gone; another one was started") == 1
    for worker in range(2):
        assert f"worker {worker} ended with it; restarted 1/1" in log


def test_one_whose_folder_is_removed_is_replaced(tmp_path, monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="a3c-test-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    run = start(tmp_path)
    [socket] = folder.glob("a3c-server-*")
    assert socket.stat().st_mode & 0o077 == 0, "others may read it"
    shutil.rmtree(socket)
    first, second = harness.await_workers(run, 2)
    os.kill(first.pid, signal.SIGKILL)
    harness.await_episodes(run, tmp_path)
    assert second.pid in [p.pid for p in harness.session(run.pid)], "the other worker has gone on"
    log = end(run, tmp_path)
    assert "the folder of the process that starts workers was removed; another one was started" in log
    assert "killed (signal 9); restarted 1/5" in log
    assert not list(folder.glob("a3c-server-*"))
    shutil.rmtree(folder)


@pytest.fixture
def parent(tmp_path, monkeypatch):
    monkeypatch.setattr(fork_server, "_parent", lambda: tmp_path)
    return tmp_path


def test_a_folder_is_kept_as_long_as_somebody_holds_it(parent):
    """By its lock: the number of a process says nothing where others have numbers of their own."""
    held = Path(fork_server.make_folder())
    fork_server.sweep(parent)
    assert held.is_dir()
    left = parent / "a3c-server-1"  # such a process is always there
    left.mkdir()
    (left / "listener").write_text("")
    fork_server.sweep(parent)
    assert held.is_dir()
    assert not left.exists()


def test_what_is_of_others_is_kept(parent):
    (parent / "target").mkdir()
    (parent / "a3c-server-link").symlink_to(parent / "target")
    (parent / "a3c-server-file").write_text("")
    (parent / "a3c-fork-server-1-of-an-earlier-version").mkdir()
    if os.getuid() == 0:
        (parent / "a3c-server-other").mkdir()
        os.chown(parent / "a3c-server-other", 12345, -1)
    before = sorted(parent.iterdir())
    fork_server.sweep(parent)
    assert sorted(parent.iterdir()) == before


def test_a_folder_that_was_swept_before_it_was_locked_is_made_again(parent, monkeypatch):
    plain, swept = fcntl.flock, []

    def flock(fd, how):
        if not swept:
            swept.extend(parent.glob("a3c-server-*"))
            os.rmdir(swept[0])
        plain(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    folder = Path(fork_server.make_folder())
    assert folder.is_dir()
    assert folder not in swept
