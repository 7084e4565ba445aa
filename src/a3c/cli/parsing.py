"""Flags: made from dataclasses by tyro, with its boxed errors turned into one sentence."""

import contextlib
import dataclasses
import io
import itertools
import re
from typing import Annotated, Any, Literal, TypeVar, get_args

import tyro

from a3c import algorithms
from a3c.config import FIELDS
from a3c.errors import UsageError
from a3c.settings import choices_of, is_clean

T = TypeVar("T")


def parse(cls: type[T], command: str, argv: list[str]) -> T:
    """Parse `argv` into `cls`, whose docstring is the description.

    Raises:
        UsageError: for arguments that do not fit, in one sentence.
        SystemExit: after `--help`.
    """
    for argument in argv:
        if not is_clean(argument):
            expected = "a text without control characters, in UTF-8"
            raise UsageError(f"argument {argument!a}", expected, f"See a3c {command} --help.")
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                cls, prog=f"a3c {command}", args=_spelled(argv), config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise UsageError(*_sentence(errors.getvalue(), command)) from None


def _spelled(argv: list[str]) -> list[str]:
    """`none` as Python spells it, for settings that may be None: in presets it is written so as well."""
    spelled = list(argv)
    for k, (flag, value) in enumerate(itertools.pairwise(argv), 1):
        setting = FIELDS.get(flag.removeprefix("--").replace("-", "_"))
        kinds = () if setting is None else get_args(setting.type)
        if value == "none" and type(None) in kinds and not {str, bool} & set(kinds):
            spelled[k] = "None"
    return spelled


def _sentence(box: str, command: str) -> tuple[str, str, str]:
    """What tyro's box says, as what was received, what was expected, and where to look."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│ ").strip() for line in box.splitlines()]
    first = []
    for line in lines[1:]:
        if line.startswith(("─", "╰")):
            break
        first.append(line)
    text = " ".join(first)
    see = f"See a3c {command} --help."
    if unknown := re.match(r"Unrecognized options: (\S+?),?( |$)", text):
        close = re.search(_CLOSE, " ".join(lines))
        hint = f"Did you mean {_long(close[1].replace(', ', '/'))}? " if close else ""
        return f"{unknown[1]}", "an option of this command", hint + see
    if choice := re.match(r"invalid choice '(.*?)' for argument '(.*?)'. Expected one of \((.*?),?\)", text):
        return f"{choice[2]} {choice[1]}", f"one of {choice[3]}".replace("'", ""), see
    if union := re.match(
        r"Error parsing (\S+): no type matching {None}\|(.+?) could .*? from \[(.*?)\]", text
    ):
        given = union[3].replace("'", "").replace(",", "")
        return f"{_long(union[1])} {given}", _KINDS.get(union[2], "a value of its type") + ", or none", see
    if number := re.match(r"Error parsing (\S+): (?:invalid literal|could not convert).*: '(.*)'", text):
        kind = "a number" if "float" in text else "an integer"
        return f"{_long(number[1])} {number[2]}", kind, see
    if wrong := re.match(r"Error parsing (.*?): .*\['(.*)'\]", text):
        return f"{_long(wrong[1])} {wrong[2]}", "a value of its type", see
    return text.rstrip("."), "arguments as a3c understands them", see


_KINDS = {"INT": "an integer", "FLOAT": "a number", "{[INT [INT ...]]}": "integers"}
_CLOSE = r"(?:Perhaps you meant|Arguments similar to \S+): +(--[a-z0-9-]+(?:, --[a-z0-9-]+)*)"


def _long(names: str) -> str:
    """The main name among `--lr/--learning-rate`, the one that is a setting's own."""
    options = names.split("/")
    own = [name for name in options if name.strip("-").replace("-", "_") in FIELDS]
    return (own or options)[0]


_METAVARS = {int | None: "INT", float | None: "FLOAT", str | None: "TEXT", str: "TEXT"}  # None is "not given"

Field = tuple[str, Any, Any]
"""Name, type and `dataclasses.field`, as `dataclasses.make_dataclass` takes them."""


def positional(name: str, help: str) -> Field:
    """An optional argument without a flag; None where it is not given."""
    argument = tyro.conf.arg(help=help, metavar=f"[{name.upper()}]", help_behavior_hint="")
    return name, Annotated[tyro.conf.Positional[str | None], argument], dataclasses.field(default=None)


def switch(name: str, help: str) -> Field:
    """A flag that is off unless it is given."""
    argument = tyro.conf.arg(help=help, help_behavior_hint="")
    return name, Annotated[bool, tyro.conf.FlagCreatePairsOff, argument], dataclasses.field(default=False)


def option(name: str, kind: Any, default: Any, help: str) -> Field:
    """A flag with a value."""
    return (
        name,
        Annotated[kind, tyro.conf.arg(help=help, metavar=_METAVARS.get(kind))],
        dataclasses.field(default=default),
    )


def setting_arguments(skip: tuple[str, ...] = (), only: tuple[str, ...] = tuple(FIELDS)) -> list[Field]:
    """The settings of `Config` as flags, with help, range, defaults and the tutorial's spellings."""
    return [
        _setting_argument(field) for field in FIELDS.values() if field.name in only and field.name not in skip
    ]


def _setting_argument(field: dataclasses.Field) -> Field:
    kind, default = field.type, field.default
    if field.name == "algorithm":  # what it stands for is found out when the preset is known
        kind, default = Literal["auto", *choices_of(field)], "auto"
    elif bool in get_args(kind):  # --x and --no-x; None is "not given"
        kind, default = bool, False
    argument = tyro.conf.arg(
        help=_help(field),
        aliases=field.metadata["aliases"],
        metavar=_METAVARS.get(kind),
        help_behavior_hint=_defaults(field),
    )
    return field.name, Annotated[kind, argument], dataclasses.field(default=default)


def _help(field: dataclasses.Field) -> str:
    """What a setting is for, after the algorithms that have it where not all have, and before its range."""
    owners = algorithms.owners(field.name)
    return (f"{owners}: " if owners else "") + field.metadata["help"] + _range(field)


def _defaults(field: dataclasses.Field) -> str | None:
    """The defaults of a setting by algorithm; None where it has the one that is shown anyway."""
    others = algorithms.other_defaults(field.name)
    if bool not in get_args(field.type) and not others:
        return None
    return f"(default: {field.default}{''.join(f'; {who}: {value}' for value, who in others.items())})"


def _range(field: dataclasses.Field) -> str:
    """The range of a setting in signs."""
    low, above, high = (field.metadata[k] for k in ("at_least", "above", "at_most"))
    signs = [
        f"{sign} {bound:g}" for sign, bound in (("≥", low), (">", above), ("≤", high)) if bound is not None
    ]
    return f" [{', '.join(signs)}]" if signs else ""


def typed_settings(arguments: Any, argv: list[str]) -> dict[str, Any]:
    """The settings that were typed, as opposed to left at their defaults, which a preset may fill."""
    aliases = {alias: f.name for f in FIELDS.values() for alias in f.metadata["aliases"]}
    typed = {}
    for token in itertools.takewhile(lambda token: token != "--", argv):  # only positionals follow
        if not token.startswith("--"):
            continue
        flag = token.split("=")[0].replace("_", "-")
        name = aliases.get(flag, flag.removeprefix("--").replace("-", "_"))
        if name not in FIELDS:
            name = name.removeprefix("no_")
        if name in FIELDS:
            typed[name] = getattr(arguments, name)
    return typed
