"""The tests of everything that depends on the backend, run once more on TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENGINES = str(HERE / "test_engines.py")


@pytest.mark.skipif(os.environ["KERAS_BACKEND"] == "tensorflow", reason="this is that run")
@pytest.mark.parametrize(
    "where",
    [
        pytest.param((str(HERE), f"--ignore={ENGINES}"), id="mathematics and learning"),
        pytest.param((ENGINES,), id="engines", marks=pytest.mark.thorough),
    ],
)
def test_the_same_tests_pass_on_tensorflow(where):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "both_backends and not slow and not long_faults and not thorough",
            *where,
        ],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    print(done.stdout[-8000:], done.stderr[-2000:])
    assert done.returncode == 0
    assert " passed" in done.stdout
