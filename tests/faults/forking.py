"""Commands in processes forked from one that has imported everything, but has computed nothing yet.

They start at once that way. To fork from a process with a framework's threads would not be safe.
"""

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness

DEADLINE = 150  # seconds after which a command hangs


@dataclass(frozen=True)
class Measured:
    """What a command left behind, and what it took."""

    outcome: harness.Outcome
    seconds: float
    """Of processor time: others on the machine make no difference."""
    mebibytes: float
    """Most memory that it had."""


def preload() -> None:
    """Import what the commands import, and start nothing."""
    from a3c.utils.lazy_imports import import_keras

    import_keras()

    import a3c.cli.evaluate
    import a3c.cli.play
    import a3c.cli.resume
    import a3c.cli.train
    import a3c.engines.serial
    import a3c.training.plotting  # noqa: F401


def forked(cwd: Path, arguments: tuple[str, ...], before: Callable[[], object] = lambda: None) -> Measured:
    """`a3c ARGUMENTS` in a process of its own; `before` is called there first."""
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place) / name for name in ("out", "err")]
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _carry_out(cwd, arguments, before, files)
        end, done = time.monotonic() + DEADLINE, 0
        while not done:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if not done and time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        out, err = (file.read_text(errors="replace") for file in files)
    outcome = harness.Outcome(os.waitstatus_to_exitcode(status), out, err)
    return Measured(outcome, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _carry_out(
    cwd: Path, arguments: tuple[str, ...], before: Callable[[], object], files: list[Path]
) -> None:
    """Run the command, and end the process."""
    code = 1
    try:
        for number, file in enumerate(files, start=1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(cwd)
        sys.argv = ["a3c", *arguments]
        from a3c.cli import main

        before()
        code = main(list(arguments))
        sys.stdout.flush()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
