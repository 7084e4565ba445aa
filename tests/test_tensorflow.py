"""The tests of everything that depends on the backend, run once more on TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.environ["KERAS_BACKEND"] == "tensorflow", reason="this is that run")
def test_the_same_tests_pass_on_tensorflow():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "both_backends and not slow and not long_faults and not thorough",
            str(Path(__file__).parent),
        ],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    print(done.stdout[-8000:], done.stderr[-2000:])
    assert done.returncode == 0
    assert " passed" in done.stdout
