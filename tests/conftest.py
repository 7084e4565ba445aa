"""What every test shares: the backend, chosen before Keras is imported, and a place to run commands."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from a3c.utils.lazy_imports import import_keras

import_keras()


def pytest_collection_modifyitems(items):
    """The longest test first, so that it does not run on alone at the end of a suite on several cores."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/test_tensorflow.py"))


@dataclass
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """The last line of standard output."""
        return json.loads(self.out.strip().splitlines()[-1])


@pytest.fixture
def cli(tmp_path):
    """Run `a3c ARGUMENTS` as a user does, in a process of its own and an empty directory."""

    def run(*arguments: str, timeout: float = 180, environment: dict[str, str] | None = None) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "a3c", *arguments],
            cwd=tmp_path,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run
