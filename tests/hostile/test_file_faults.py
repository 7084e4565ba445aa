"""File operations that fail: no traceback, what is called saved is there, and the run goes on afterwards.

A few of them, always the same; `tests/faults/every_file_operation.py` tries every one.
"""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "faults" / "every_file_operation.py"


@pytest.mark.skipif(sys.platform != "linux", reason="forks processes that have imported a framework")
@pytest.mark.parametrize(
    ("commands", "some"),
    [
        ("train", 1),
        pytest.param("train resume evaluate play", 1, marks=pytest.mark.thorough),
        pytest.param("train resume evaluate play", 6, marks=pytest.mark.long_faults),
    ],
)
def test_commands_survive_file_operations_that_fail(commands, some):
    chosen = ["--commands", *commands.split(), "--some", str(some), "--seed", "7", "--jobs", "1"]
    line = [sys.executable, str(SCRIPT), *chosen]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
