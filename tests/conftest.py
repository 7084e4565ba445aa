"""What every test shares: the backend, chosen before Keras is imported, and a place to run commands."""

import functools
import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from a3c.utils.lazy_imports import import_keras

import_keras()

import harness  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard():
    """Ctrl-C, which a background job of a shell ignores, and all that it starts: tests send it."""
    with harness.signals_heard():
        yield


@pytest.fixture(scope="session", autouse=True)
def _state_directory(tmp_path_factory):
    """The user's key is none of the tests'."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def cli(tmp_path):
    """Run `a3c ARGUMENTS` as a user does, in a process of its own and an empty directory."""
    return functools.partial(harness.run, tmp_path)


@pytest.fixture
def call(tmp_path):
    """Run `a3c ARGUMENTS` in this process and an empty directory, which takes a fraction of the time."""
    return functools.partial(harness.call, tmp_path)
