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
    card = faults.read_card(arguments.card)
    played = reproduce(card)
    finding = played.finding
    if finding is not None and finding.traceback:
        print(finding.traceback, file=sys.stderr, end="")
    if finding is None:
        print(f"Not reproduced: {played.steps} steps passed without a fault")
        print(f"The card's fault: {card['summary']}")
    elif played.same:
        print(f"Reproduced: {played.summary}")
    else:
        print(f"Reproduced with a difference: {played.summary}")
        print(f"The card's fault: {card['summary']}")
    if arguments.json:
        told = {"reproduced": finding is not None, "same": played.same, "steps": played.steps}
        print(json.dumps(told | {"summary": played.summary, "card": card["summary"]}))
    return 0 if finding is None else 1
