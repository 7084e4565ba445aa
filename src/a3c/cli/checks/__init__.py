"""Looking for trouble before it happens: the machine, an environment, a model. Called by `a3c doctor`.

A check is a function that returns what it found: of this machine in `system.py`, of an environment in
`environment.py` and `resuming.py`, of a network in `model.py`. Nothing heavy is imported here.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from a3c.errors import A3CError, UsageError, first_line

_LONGEST = 300  # characters of what an exception says


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    """Empty until `examine` gives it the name of its check."""
    status: Literal["ok", "warning", "fault"]
    text: str
    fix: str = ""
    """What to do about it, for a warning or a fault."""


def ok(text: str) -> Check:
    """Nothing to do."""
    return Check("", "ok", text)


def warning(text: str, fix: str) -> Check:
    """Something works, but worse than it could."""
    return Check("", "warning", text, fix)


def fault(text: str, fix: str) -> Check:
    """Something will not work."""
    return Check("", "fault", text, fix)


Found = Check | Iterable[Check]
Checks = Iterable[tuple[str, Callable[[], Found]]]
"""Checks that are yet to be made, by name."""


def examine(name: str, look: Callable[..., Found], *arguments: Any) -> Iterator[Check]:
    """What `look(*arguments)` finds; if it fails itself, that is a fault."""
    try:
        found = look(*arguments)
        for check in [found] if isinstance(found, Check) else found:
            yield check if check.name else dataclasses.replace(check, name=name)
    except (Exception, SystemExit) as error:  # other people's code is run here: it may do anything
        yield failure(name, error)


def failure(name: str, error: BaseException) -> Check:
    """The fault that the check `name` found by failing."""
    if isinstance(error, UsageError):
        return Check(name, "fault", f"{error.received}: expected {error.expected}", error.fix)
    if isinstance(error, A3CError):
        text, _, fix = str(error).partition("\n")
        return Check(name, "fault", text, fix)
    return Check(name, "fault", f"this could not be checked ({describe(error)})", "Try it by hand.")


def describe(error: BaseException) -> str:
    """The type of an exception and the first line of what it says."""
    name, said = type(error).__name__, first_line(error)[:_LONGEST]
    return name if said == name else f"{name}: {said}"
