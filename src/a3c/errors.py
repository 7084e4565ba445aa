"""The errors a user can meet: each says what was received, what was expected, and how to fix it.

Raised everywhere; the command line turns them into one or two lines and an exit code.
"""

import traceback


class A3CError(Exception):
    """Base of every error this package raises on purpose."""


class UsageError(A3CError):
    """The request cannot be carried out as made. Exit code 2.

    Args:
        received: What was given, as the user would recognise it.
        expected: What would have been acceptable.
        fix: What to do about it, if `expected` does not already say so.
    """

    def __init__(self, received: str, expected: str, fix: str = ""):
        self.received, self.expected, self.fix = received, expected, fix
        super().__init__(f"{received}: expected {expected}" + (f"\n{fix}" if fix else ""))


class SettingError(UsageError):
    """A setting with a value outside its type or range. `as_flag` spells it as on the command line."""

    def __init__(self, name: str, value: object, expected: str, fix: str = ""):
        self.name, self.value = name, value
        super().__init__(f"{name}={value!r}", expected, fix)

    def as_flag(self) -> str:
        """The same message with the setting written as the flag that the user typed."""
        flag = "--" + self.name.replace("_", "-")
        value = " ".join(map(str, self.value)) if isinstance(self.value, tuple) else self.value
        return f"{flag} {value}: expected {self.expected}" + (f"\n{self.fix}" if self.fix else "")


class RunError(A3CError):
    """A fault while a run was under way, such as a worker that died. Exit code 1."""


def describe(error: BaseException) -> str:
    """What `error` is and says, in one line; a syntax error with its place."""
    if isinstance(error, ImportError):
        return first_line(error)
    return f"{type(error).__name__}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """What `error` says in its first line, or its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def describe_stack(stack: traceback.StackSummary) -> str:
    """Where a stack is, in the user's terms: the innermost function that has a file of its own."""
    frames = [f for f in stack if not f.filename.startswith("<")]
    own = [f for f in frames if "/a3c/" not in f.filename and "/gymnasium/" not in f.filename]
    frame = (own or frames)[-1]
    return f"it is in {frame.name} ({frame.filename}, line {frame.lineno})"
