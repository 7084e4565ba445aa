"""Looking for trouble before it happens: the machine, an environment, a model. Called by `a3c doctor`.

A check is a function that says what it found. `system.py`: this machine. `environment.py`: an environment.
`model.py`: a network, its losses and gradients. Nothing heavy is imported here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from a3c.errors import A3CError, UsageError, first_line

Status = Literal["ok", "warning", "fault"]
_LONGEST = 300  # characters of what an exception says


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    status: Status
    text: str
    fix: str = ""
    """What to do about it, for a warning or a fault."""


def ok(name: str, text: str) -> Check:
    """Nothing to do."""
    return Check(name, "ok", text)


def warning(name: str, text: str, fix: str) -> Check:
    """Something works, but worse than it could."""
    return Check(name, "warning", text, fix)


def fault(name: str, text: str, fix: str) -> Check:
    """Something will not work."""
    return Check(name, "fault", text, fix)


Found = Check | Iterable[Check]
Step = tuple[str, Callable[[], Found]]
"""A check that is yet to be made, and its name in case that it breaks down."""


def examine(name: str, look: Callable[..., Found], *arguments: Any) -> Iterator[Check]:
    """What `look(*arguments)` finds; if it breaks down itself, that is a fault called `name`."""
    try:
        found = look(*arguments)
        yield from [found] if isinstance(found, Check) else found
    except UsageError as error:
        yield fault(name, f"{error.received}: expected {error.expected}", error.fix)
    except A3CError as error:
        text, _, fix = str(error).partition("\n")
        yield fault(name, text, fix)
    except (Exception, SystemExit) as error:  # other people's code is run here: it may do anything
        yield fault(name, f"this could not be checked ({describe(error)})", "Try what it stands for by hand.")


def describe(error: BaseException) -> str:
    """The type of an exception and the first line of what it says."""
    name, said = type(error).__name__, first_line(error)[:_LONGEST]
    return name if said == name else f"{name}: {said}"
