"""What a setting is: a dataclass field with its help and its range, and how its values are checked.

`config.py` puts the settings of a run together; each algorithm has its own in its own file. No Keras import.
"""

import dataclasses
import decimal
import math
import typing
import unicodedata
from typing import Any, Literal

from a3c.errors import SettingError


def setting(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    note: str = "",
    aliases: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that carries its help, its range, and other spellings of its flag.

    Args:
        default: The default of a3c. `Algorithm.defaults` has those of other algorithms that differ.
        help: What `a3c train --help` says. Where not every algorithm has the setting, their names are added.
        at_least: The smallest value.
        above: What values must be larger than.
        at_most: The largest value.
        choices: The values of a text, where its type does not list them.
        note: What an error adds to the range.
        aliases: The tutorial's spellings of the flag.
    """
    metadata = dict(help=help, at_least=at_least, above=above, at_most=at_most, note=note, aliases=aliases)
    return dataclasses.field(default=default, metadata={**metadata, "choices": choices})


def choices_of(f: dataclasses.Field) -> tuple[str, ...]:
    """The values that a setting may have, where they can be listed; else none."""
    return f.metadata["choices"] or (typing.get_args(f.type) if typing.get_origin(f.type) is Literal else ())


def may_be_none(f: dataclasses.Field) -> bool:
    """Whether None is a value of the setting."""
    return type(None) in typing.get_args(f.type)


def check(f: dataclasses.Field, value: Any) -> None:
    """Raise `SettingError` where `value` is not of the field's type or outside its range."""
    if value is None and may_be_none(f):
        return
    expected = _expectation(f)
    if choices := choices_of(f):
        good = isinstance(value, str) and value in choices
    elif is_tuple(f):
        good = isinstance(value, tuple) and all(_is_number(v, int) and _in_range(f, v) for v in value)
    elif scalar_type(f) in (int, float):
        good = _is_number(value, scalar_type(f)) and _in_range(f, value)
    else:
        good = isinstance(value, scalar_type(f)) and value != ""
    if isinstance(value, str) and not is_clean(value):
        expected, good = "a text without control characters, in UTF-8", False
    if type(value) is int and abs(value) >= _TOO_LARGE:
        expected += ", of 64 bits"
    if not good:
        raise SettingError(f.name, presentable(value), expected)


def from_plain(f: dataclasses.Field, value: Any) -> Any:
    """One setting as TOML or a user gave it, in the type that `Config` keeps.

    Lists and NumPy's arrays become tuples, its scalars Python's, whole numbers integers or floats as they
    belong (1e5 steps), a single number a tuple of one, and "none" None, which TOML lacks.
    """
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if is_tuple(f):
        if type(value) in (int, float):
            value = (value,)
        if isinstance(value, (list, tuple)):
            return tuple(_whole(number) for number in value)
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str):
        return None if value == "none" and may_be_none(f) else value
    if scalar_type(f) is float and type(value) is int and _is_number(value, float):
        return float(value)
    return _whole(value) if scalar_type(f) is int else value


def _whole(value: Any) -> Any:
    """A float that is a whole number as an integer; anything else as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def to_integer(text: str) -> int:
    """The integer that was typed: 100000, 100_000, 1e5.

    Raises:
        ValueError: for anything else.
    """
    try:
        return int(text)
    except ValueError:
        number = decimal.Decimal(text) if len(text) < _SHOWN else decimal.Decimal("nan")
        if not number.is_finite() or number.adjusted() > 30 or number != number.to_integral_value():
            raise
        return int(number)


def is_clean(text: str) -> bool:
    """Whether `text` can be shown in one line, be part of a path, and be written to a file in UTF-8."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def presentable(value: Any) -> Any:
    """`value`, or what it looks like where it would break or flood an error message."""
    if isinstance(value, str):
        return _shortened(value if is_clean(value) else repr(value)[1:-1])
    try:
        text = repr(value)
        plain = not isinstance(value, tuple) or all(isinstance(v, (int, float)) for v in value)
        return value if plain and len(text) <= _SHOWN and is_clean(text) else _shortened(text)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints, or a cycle
        return f"{type(value).__name__} too long to show"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_TOO_LARGE = 2**63  # for an integer in TOML
_SHOWN = 200  # characters of a value in an error message


def scalar_type(f: dataclasses.Field) -> type:
    """The type of a field without `None`."""
    kinds = [t for t in typing.get_args(f.type) if t is not type(None)]
    return kinds[0] if kinds else typing.cast(type, f.type)


def is_tuple(f: dataclasses.Field) -> bool:
    """Whether the setting is a row of integers."""
    return typing.get_origin(scalar_type(f)) is tuple


def _is_number(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return False
    if kind is int or not isinstance(value, (int, float)):
        return isinstance(value, int) and abs(value) < _TOO_LARGE
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _in_range(f: dataclasses.Field, value: Any) -> bool:
    at_least, above, at_most = (f.metadata[k] for k in ("at_least", "above", "at_most"))
    return (
        (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
    )


def kind_of(f: dataclasses.Field) -> str:
    """The type of a setting's values in words."""
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
    return words.get(scalar_type(f), "integers")


def _expectation(f: dataclasses.Field) -> str:
    """The sentence that an error gives for this field: its type and range in words."""
    if choices := choices_of(f):
        return "one of " + ", ".join(choices)
    low, above, high = (f.metadata[k] for k in ("at_least", "above", "at_most"))
    bounds = " and".join(
        f" {phrase} {bound:g}"
        for phrase, bound in (("of at least", low), ("above", above), ("at most", high))
        if bound is not None
    )
    note = f" ({f.metadata['note']})" if f.metadata["note"] else ""
    return kind_of(f) + bounds + note
