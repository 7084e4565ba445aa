"""Malformed files: each is refused in words or read, runs no code, writes nothing elsewhere, takes little.

The files are those of `generator.py`. `tests/faults/hostile_files.py` gives some to real commands.
"""

import contextlib
import hashlib
import os
import random
import resource
import signal
import sys
import tracemalloc
import warnings
from pathlib import Path

import generator
import keras
import pytest

from a3c.errors import A3CError
from a3c.training import checkpoint, lookup, run_directory

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or keras.backend.backend() != "jax", reason="pipes and limits; made with JAX"
)
FEW = generator.everything(2, seed=1)
MANY = generator.everything(5, seed=2)
SPARE = 3 * 2**30
"""Bytes of memory more than at its start that a test may ask for: it only ends what has no bound."""
BOUND = 300 * 2**20
"""Bytes that reading one of these files, of a few KiB, may take."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a module in it that nobody has named, and a folder beside it."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "canary.py").write_text(generator.CANARY)
    (tmp_path / "given").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv(generator.MARK, str(tmp_path / "mark"))
    sys.modules.pop("canary", None)
    return tmp_path


@contextlib.contextmanager
def bounds():
    """End what waits for ever, or asks for memory without end."""

    def give_up(*_):
        pytest.fail("it waits for something")  # which no `except Exception` of a reader catches

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[5]) * resource.getpagesize()
    kept = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(100)
    resource.setrlimit(resource.RLIMIT_DATA, (used + SPARE, before[1]))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, kept)
        resource.setrlimit(resource.RLIMIT_DATA, before)


def tree(folder):
    """All below a folder, with what is in the files."""

    def content(path):
        if path.is_symlink():
            return os.readlink(path)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else path.lstat().st_mode

    return {path: content(path) for path in sorted(folder.rglob("*"))}


def read(kind, path):
    """Everything that reads such a file, one after the other."""
    from a3c.envs import faults, reproduce
    from a3c.networks import saved_model
    from a3c.presets import load_preset

    readers = {
        "agent": [saved_model.read_card, saved_model.load_model],
        "run": [
            run_directory.read_config,
            run_directory.read_result,
            run_directory.is_over,
            lambda run: lookup.list_runs(str(run.parents[1])),
            lambda run: lookup.find_model(str(run), "runs"),
            lambda run: checkpoint.newest(checkpoint.Files(run / checkpoint.FOLDER, 3)),
        ],
        "preset": [lambda file: load_preset(str(file), generator.ENV_ID)],
        "report": [lambda file: reproduce.reproduce(faults.read_crash_report(file))],
    }
    for reader in readers[kind]:
        with contextlib.suppress(A3CError), warnings.catch_warnings(action="ignore"):
            reader(path)


def check_readers(hostile, place):
    path = hostile.make(place / "given")
    before = tree(place)
    measured = any(word in hostile.name for word in ("bomb", "huge", "long", "larger", "endless"))
    if measured:
        tracemalloc.start()
    try:
        with bounds():
            read(hostile.kind, path)
        peak = tracemalloc.get_traced_memory()[1] if measured else 0
    finally:
        tracemalloc.stop()
    assert not (place / "mark").exists(), "it ran code of the file, or of the working directory"
    assert tree(place) == before
    assert not Path("/tmp/a3c-test-outside").exists()
    assert peak < BOUND


@pytest.mark.parametrize("hostile", FEW, ids=str)
def test_readers_refuse_or_read(hostile, place):
    check_readers(hostile, place)


@pytest.mark.long_faults
@pytest.mark.parametrize("hostile", MANY, ids=str)
def test_readers_refuse_or_read_many(hostile, place):
    check_readers(hostile, place)


def commands(hostile, path):
    """What a user might do with it."""
    return {
        "agent": [("evaluate", path, "--episodes=1"), ("play", path, "--video=film.gif")],
        "run": [
            ("evaluate", path, "--episodes=1"),
            ("resume", path, "--max-steps=4000", "--evaluation-episodes=1"),
            ("plot", path),
        ],
        "preset": [("train", "CartPole-v1", "--preset", path, "--max-steps=40", "--engine=serial")],
        "report": [("reproduce", path)],
    }[hostile.kind]


def check_commands(hostile, place, call):
    path = hostile.make(place / "given")
    precious = {
        name: content for name, content in tree(place).items() if name.name in ("precious", "canary.py")
    }
    for line in commands(hostile, str(path)):
        with bounds():
            outcome = call(*line)
        assert outcome.code in (0, 1, 2), outcome
        assert "Traceback" not in outcome.err, outcome.err
        assert outcome.code == 0 or outcome.err.startswith("a3c:") or "\na3c:" in outcome.err, outcome
        assert not (set(outcome.out + outcome.err) & set("\x1b\x07\x00")), "it writes to the terminal"
    assert not (place / "mark").exists(), "it ran code of the file, or of the working directory"
    assert precious.items() <= tree(place).items()


@pytest.mark.parametrize("hostile", random.Random(3).sample(FEW, 8), ids=str)
def test_commands_refuse_or_read(hostile, place, call):
    check_commands(hostile, place, call)


@pytest.mark.long_faults
@pytest.mark.parametrize("hostile", random.Random(4).sample(MANY, 100), ids=str)
def test_commands_refuse_or_read_many(hostile, place, call):
    check_commands(hostile, place, call)
