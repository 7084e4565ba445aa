"""`a3c reproduce`: play again, from a crash report, how an environment failed."""

import json
import sys

from a3c.cli import parsing
from a3c.errors import UsageError
from a3c.utils.console import printable

COMMAND = parsing.Command(
    "reproduce",
    """Play again, from a crash report, how an environment failed.

Exit code 1 if it fails again, with its own traceback; 0 if it does not; 2 if the report cannot be played, or
does not fit the environment.""",
    [
        parsing.positional("card", "The crash report, a file that a run of a3c train wrote."),
        parsing.TRUST,
        parsing.JSON,
    ],
)


def run(argv: list[str]) -> int:
    """Parse, play, report. Returns the exit code."""
    from a3c.envs import faults
    from a3c.envs.reproduce import reproduce

    arguments = COMMAND.parse(argv)
    if arguments.card is None:
        raise UsageError("no crash report", "a file", "a3c reproduce CARD")
    report = faults.read_crash_report(arguments.card, arguments.trust)
    played = reproduce(report)
    violation = played.violation
    if violation is not None and violation.traceback:
        print(printable(violation.traceback, lines=True), file=sys.stderr, end="")
    if violation is None:
        print(f"Not reproduced: {played.steps} steps passed without a fault")
    else:
        how = "Reproduced" if played.same else "Reproduced with a difference"
        print(printable(f"{how}: {played.summary}"))
    if violation is None or not played.same:
        print(printable(f"The report's fault: {report['summary']}"))
    if arguments.json:
        told = {"reproduced": violation is not None, "same": played.same, "steps": played.steps}
        print(json.dumps(told | {"summary": played.summary, "card": report["summary"]}))
    return 0 if violation is None else 1
