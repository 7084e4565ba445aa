"""What a plain tree has to look like: a description of it in data, and one function that compares.

For state that comes from a file: a checkpoint, a crash report, the card of an agent. A description is one of
the classes below, or a dict of descriptions: a table with exactly these keys.
"""

import math
from dataclasses import dataclass
from typing import Any

from a3c.utils.lazy_imports import np

LARGEST = 2**53
"""Of a whole number: larger ones are not exact as floats. No count of a run comes near it."""


@dataclass(frozen=True)
class Whole:
    """An integer."""

    at_least: int = 0
    at_most: int = LARGEST


@dataclass(frozen=True)
class Number:
    """An integer or a float; one that is finite unless `finite` is not set."""

    at_least: float = -math.inf
    at_most: float = math.inf
    finite: bool = True


@dataclass(frozen=True)
class Text:
    """A text; one of `choices` if there are any."""

    choices: tuple[str, ...] = ()
    longest: int = 10_000


@dataclass(frozen=True)
class Truth:
    """True or false."""


@dataclass(frozen=True)
class Anything:
    """Whatever a plain tree may hold."""


@dataclass(frozen=True)
class Array:
    """An array of numbers.

    Attributes:
        shape: Of it; None in place of a size: any.
        dtypes: Names or kinds (as in NumPy) that it may have; empty: any.
        finite: Whether all of its numbers have to be.
        at_least: How many numbers it has to have.
    """

    shape: tuple[int | None, ...] | None = None
    dtypes: tuple[str, ...] = ()
    finite: bool = False
    at_least: int = 0


@dataclass(frozen=True)
class Maybe:
    """None, or what is described; as an entry of a table, it must still be there."""

    of: Any


@dataclass(frozen=True)
class Absent:
    """An entry of a table that may be missing."""

    of: Any


@dataclass(frozen=True)
class Rows:
    """A list."""

    of: Any
    at_most: int | None = None


@dataclass(frozen=True)
class Table:
    """A table with any texts as keys, and values of one kind.

    Attributes:
        of: What the values are.
        known: What those of some keys are; those that are not `Absent` must be there.
    """

    of: Any
    known: dict[str, Any] | None = None


def find_wrong(tree: Any, expected: Any, name: str = "it") -> str:
    """What of `tree` is not as described, as a sentence without its end; empty: nothing.

    Args:
        tree: A plain tree.
        expected: A description.
        name: What to call the tree.
    """
    match expected:
        case Anything():
            return ""
        case Maybe(of) | Absent(of):
            return "" if tree is None and isinstance(expected, Maybe) else find_wrong(tree, of, name)
        case dict():
            return _of_table(tree, expected, name)
        case Table(of, known):
            others = dict.fromkeys(tree, of) if isinstance(tree, dict) else {}
            return _of_table(tree, others | (known or {}), name)
        case Rows(of, at_most):
            if isinstance(tree, list) and (at_most is None or len(tree) <= at_most):
                return next((w for i, x in enumerate(tree) if (w := find_wrong(x, of, f"{name}[{i}]"))), "")
            limit = "" if at_most is None else f" of at most {at_most}"
            return f"{name} is {_shown(tree)}, not a list{limit}"
        case Array():
            return _of_array(tree, expected, name)
        case _:
            return "" if _is_scalar(tree, expected) else f"{name} is {_shown(tree)}, not {_words(expected)}"


def like(example: Any, skip: str) -> Any:
    """The description of trees with the same keys, types and shapes as `example`.

    Args:
        example: A plain tree. Where it has None or a list, anything may be.
        skip: Under this key anything may be, too.
    """
    match example:
        case dict():
            return {key: Anything() if key == skip else like(value, skip) for key, value in example.items()}
        case bool():
            return Truth()
        case int():
            return Whole(-(2**200), 2**200)
        case float():
            return Number(finite=False)
        case str():
            return Text()
    return Array(example.shape, (example.dtype.name,)) if isinstance(example, np.ndarray) else Anything()


def _of_table(tree: Any, expected: dict[str, Any], name: str) -> str:
    if not isinstance(tree, dict):
        return f"{name} is {_shown(tree)}, not a table"
    missing = [key for key, of in expected.items() if key not in tree and not isinstance(of, Absent)]
    if missing:
        return f"{name} lacks {', '.join(missing)}"
    if unknown := [str(key) for key in tree if key not in expected]:
        return f"{name} has the unknown part {_shown(unknown[0])}"
    prefix = "" if name == "it" else f"{name}."
    return next((w for key, x in tree.items() if (w := find_wrong(x, expected[key], f"{prefix}{key}"))), "")


def _of_array(tree: Any, expected: Array, name: str) -> str:
    if not isinstance(tree, np.ndarray):
        return f"{name} is {_shown(tree)}, not an array"
    if expected.dtypes and not {tree.dtype.name, tree.dtype.kind} & set(expected.dtypes):
        return f"{name} is an array of {tree.dtype.name}"
    if (shape := expected.shape) is not None:
        same = len(shape) == tree.ndim and all(a in (None, b) for a, b in zip(shape, tree.shape, strict=True))
        if not same:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            return f"{name} is an array of shape {tree.shape}, not ({wanted})"
    if tree.size < expected.at_least:
        return f"{name} is an array of {tree.size} numbers"
    if expected.finite and not np.isfinite(tree).all():
        return f"{name} has numbers that are not finite"
    return ""


def _is_scalar(tree: Any, expected: Any) -> bool:
    match expected:
        case Whole(low, high):
            return type(tree) is int and low <= tree <= high
        case Number(low, high, finite):
            known = type(tree) is float or (type(tree) is int and abs(tree) <= LARGEST)
            return known and ((low <= tree <= high and math.isfinite(tree)) or not finite)
        case Text(choices, longest):
            return type(tree) is str and (tree in choices if choices else len(tree) <= longest)
        case Truth():
            return type(tree) is bool
    raise TypeError(f"{expected!r} describes nothing")


def _words(expected: Any) -> str:
    match expected:
        case Whole(low, high):
            return f"an integer from {low} to {high}"
        case Number(low, high, _):
            return "a number" + (f" from {low:g} to {high:g}" if low > -math.inf else "")
        case Text(choices, longest):
            return f"one of {', '.join(choices)}" if choices else f"a text of at most {longest:,} characters"
    return "true or false"


def _shown(tree: Any) -> str:
    """A value in a few characters."""
    if isinstance(tree, (dict, list)) or hasattr(tree, "shape"):
        return {dict: "a table", list: "a list"}.get(type(tree), "an array")
    try:
        text = repr(tree)
    except ValueError:  # an integer of more digits than Python prints
        return "an integer of too many digits"
    return text if len(text) <= 40 else f"{text[:40]}…"
