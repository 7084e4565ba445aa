"""`a3c reproduce`: play again, from a crash report, how an environment failed."""

import json
import sys

from a3c.cli import parsing
from a3c.errors import UsageError

COMMAND = parsing.Command(
    "reproduce",
    """Play again, from a crash report, how an environment failed.

Exit code 1 if it fails again, with its own traceback; 0 if it does not.""",
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
        print(violation.traceback, file=sys.stderr, end="")
    if violation is None:
        print(f"Not reproduced: {played.steps} steps passed without a fault")
        print(f"The report's fault: {report['summary']}")
    elif played.same:
        print(f"Reproduced: {played.summary}")
    else:
        print(f"Reproduced with a difference: {played.summary}")
        print(f"The report's fault: {report['summary']}")
    if arguments.json:
        told = {"reproduced": violation is not None, "same": played.same, "steps": played.steps}
        print(json.dumps(told | {"summary": played.summary, "card": report["summary"]}))
    return 0 if violation is None else 1
