"""The command line: `a3c train | resume | play | …`.

This file says the first word, dispatches, and turns errors into sentences and exit codes; one file beside
it per command. Exit codes: 0 done, 1 a fault in the run, 2 unusable arguments, 130 stopped by a
signal, such as Ctrl-C.
"""

import errno
import importlib
import os
import sys

from a3c import __version__
from a3c.cli.stopping import Stop
from a3c.errors import A3CError, SettingError, UsageError
from a3c.utils.console import SafeOutput, printable, safe_output
from a3c.utils.user_modules import close_library_path

COMMANDS = {
    "train": "Train an agent until its environment is solved.",
    "resume": "Go on with a run that was stopped, from its newest checkpoint.",
    "doctor": "Check this machine, an environment and a model, and say what to fix.",
    "random": "Play random actions: the baseline that every score is shown beside.",
    "play": "Watch the best agent of a run play one episode.",
    "evaluate": "Evaluate an agent on whole episodes of its own.",
    "plot": "Draw the learning curves of one or several runs.",
    "scaling": "Measure how much faster more workers are, on this machine.",
    "reproduce": "Play again, from a crash report, how an environment failed.",
}


_SAVE = ("train", "resume", "scaling")
"""Commands whose results are in files: they have succeeded even if nobody could be told."""
_NOBODY = (errno.EPIPE, errno.EIO)
"""Errors by which a reader or a terminal that has gone shows."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; `arguments` default to those of the process. Returns the exit code."""
    argv = sys.argv[1:] if arguments is None else arguments
    close_library_path()
    stop = Stop()
    with stop, safe_output() as output:
        try:
            code = _shown(argv, _outcome(argv, stop), output)
        except KeyboardInterrupt:  # another signal, while that of the first was told
            code = 130
    if arguments is None:
        stop.leave_with(code)
    return code


def _shown(argv: list[str], code: int, output: SafeOutput) -> int:
    """The exit code: another one if the result could not be shown, and is nowhere else."""
    output.flush()
    lost = output.lost
    if lost is None or lost.errno in _NOBODY or code != 0 or argv[:1] in [[name] for name in _SAVE]:
        return code
    return _complain(f"standard output: {lost.strerror or lost}", 1)


def _outcome(argv: list[str], stop: Stop) -> int:
    """Run a command, and turn errors into sentences and exit codes."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return _complain("stopped", 130)
    except Exception as error:
        if stop.requested:  # an import that is interrupted may raise anything
            return _complain("stopped", 130)
        if isinstance(error, UsageError):
            text = error.as_flag() if isinstance(error, SettingError) else _text_of(error)
            return _complain(text, 2)
        if isinstance(error, A3CError):
            return _complain(str(error), 1)
        if isinstance(error, OSError):
            return _complain(f"{error.filename or 'a file'}: {error.strerror or error}", 1)
        raise


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"a3c {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        typed = " ".join(argv[0].split())[:80]
        raise UsageError(f"command {typed}", f"one of {', '.join(COMMANDS)}", "See a3c --help.")
    try:
        os.getcwd()
    except OSError as error:
        received = f"the working directory ({error.strerror})"
        raise UsageError(received, "one that exists", "Go to another one: cd.") from error
    return importlib.import_module(f"a3c.cli.{argv[0]}").run(argv[1:])


def _text_of(error: UsageError) -> str:
    """What it says, each part on a line of its own."""
    parts = f"{error.received}: expected {error.expected}", error.fix
    return "\n".join(printable(part) for part in parts if part)


def _complain(text: str, code: int) -> int:
    print(f"a3c: {printable(text, lines=True)}", file=sys.stderr)
    return code


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  a3c {name:{width}}  {text}" for name, text in COMMANDS.items())
    return (
        f"a3c {__version__}: asynchronous advantage actor-critic on Keras 3 and Gymnasium\n\n{lines}\n\n"
        "a3c COMMAND --help says more; a3c --version tells the version."
    )
