"""The command line: `a3c train | resume | play | …`.

This file says the first word, dispatches, and turns errors into sentences and exit codes; one file beside
it per command. Exit codes: 0 done, 1 a fault in the run, 2 unusable arguments, 130 stopped by Ctrl-C.
"""

import importlib
import os
import signal
import sys

from a3c import __version__
from a3c.errors import A3CError, SettingError, UsageError
from a3c.utils.console import printable, show_all_characters
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


def main(arguments: list[str] | None = None) -> int:
    """Run one command; `arguments` default to those of the process. Returns the exit code."""
    argv = sys.argv[1:] if arguments is None else arguments
    sys.stdout, sys.stderr = (s or open(os.devnull, "w") for s in (sys.stdout, sys.stderr))  # noqa: SIM115
    show_all_characters()
    close_library_path()
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"a3c {__version__}")
        return 0
    try:
        return _run(argv)
    except SettingError as error:
        return _complain(error.as_flag(), 2)
    except UsageError as error:
        parts = f"{error.received}: expected {error.expected}", error.fix
        return _complain("\n".join(printable(part) for part in parts if part), 2)
    except A3CError as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: not a fault
        return 0
    except OSError as error:
        return _complain(f"{error.filename or 'a file'}: {error.strerror or error}", 1)


def _run(argv: list[str]) -> int:
    if argv[0] not in COMMANDS:
        typed = " ".join(argv[0].split())[:80]
        raise UsageError(f"command {typed}", f"one of {', '.join(COMMANDS)}", "See a3c --help.")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _stop)
    return importlib.import_module(f"a3c.cli.{argv[0]}").run(argv[1:])


def _stop(*_: object) -> None:
    """SIGTERM and SIGHUP end a command as Ctrl-C does."""
    raise KeyboardInterrupt


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
