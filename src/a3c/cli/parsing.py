"""Arguments of the commands: settings and a few more, read by argparse, with errors in one sentence."""

import argparse
import dataclasses
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from a3c import algorithms
from a3c.config import FIELDS
from a3c.errors import UsageError
from a3c.settings import (
    check,
    choices_of,
    is_clean,
    is_tuple,
    kind_of,
    may_be_none,
    scalar_type,
    setting,
    to_integer,
)


class Argument(NamedTuple):
    """One argument of a command.

    Attributes:
        field: Its name, type, default, help and range.
        names: Its flags; its name alone where it has none.
        options: What argparse's `add_argument` takes beside these.
    """

    field: dataclasses.Field
    names: tuple[str, ...]
    options: dict[str, Any]

    @property
    def valued(self) -> bool:
        """Whether it is a flag with a value."""
        return self.names[0].startswith("-") and "action" not in self.options


def positional(name: str, help: str, many: bool = False) -> Argument:
    """An argument without a flag; None where it is not given, and of `many` none at all."""
    field = _field(name, str | None, () if many else None, help)
    return Argument(field, (name,), dict(help=help, nargs="*" if many else "?", metavar=name.upper()))


def switch(name: str, help: str) -> Argument:
    """A flag that is off unless it is given."""
    return Argument(_field(name, bool, False, help), (_flag(name),), dict(help=help, action="store_true"))


def option(name: str, kind: Any, default: Any, help: str, **limits: Any) -> Argument:
    """A flag with a value of a type and in a range, which is given as for `settings.setting`."""
    return _option(_field(name, kind, default, help, **limits))


def setting_arguments(skip: tuple[str, ...] = (), only: tuple[str, ...] = tuple(FIELDS)) -> list[Argument]:
    """The settings of `Config` as flags, with help, range, defaults and the tutorial's spellings."""
    return [_option(field) for name, field in FIELDS.items() if name in only and name not in skip]


def _field(name: str, kind: Any, default: Any, help: str, **limits: Any) -> dataclasses.Field:
    field = setting(default, help, **limits)
    field.name, field.type = name, kind
    return field


def _option(field: dataclasses.Field) -> Argument:
    if field is FIELDS["algorithm"]:  # what auto stands for is found out when the preset is known
        choices = ("auto", *choices_of(field))
        field = _field("algorithm", str, "auto", field.metadata["help"], choices=choices)
    options: dict[str, Any] = dict(dest=field.name, help=_help(field))
    if scalar_type(field) is bool:
        options["action"] = argparse.BooleanOptionalAction  # --x and --no-x
    elif choices := choices_of(field):
        options["metavar"] = "{" + ",".join(choices) + "}"
    else:
        options["metavar"] = {int: "INT", float: "FLOAT", str: "TEXT"}[_kind(field)]
        options["nargs"] = "*" if is_tuple(field) else None
    return Argument(field, (_flag(field.name), *field.metadata["aliases"]), options)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _help(field: dataclasses.Field) -> str:
    """What it is for; first whose it is, where not all algorithms have it; range and defaults last."""
    text, others = field.metadata["help"], {}
    if _is_setting(field):
        text = (f"{owners}: " if (owners := algorithms.owners(field.name)) else "") + text
        others = algorithms.other_defaults(field.name)
    limits = [("≥", "at_least"), (">", "above"), ("≤", "at_most")]
    signs = [f"{sign} {field.metadata[k]:g}" for sign, k in limits if field.metadata[k] is not None]
    text += f" [{', '.join(signs)}]" if signs else ""
    return f"{text} (default: {field.default}{''.join(f'; {who}: {x}' for x, who in others.items())})"


def _is_setting(field: dataclasses.Field) -> bool:
    return FIELDS.get(field.name) is field


def _kind(field: dataclasses.Field) -> type:
    """The type of a field, or of each number of a tuple."""
    return str if choices_of(field) else int if is_tuple(field) else scalar_type(field)


_READ: dict[type, Callable[[str], Any]] = {int: to_integer, float: float, str: str}


def _read(argument: Argument, given: Any, see: str) -> Any:
    """The value that was typed, in the type of its field.

    Raises:
        UsageError: where it is of another.
    """
    field = argument.field
    if not argument.valued:
        return given
    texts = given if is_tuple(field) else [given]
    received = f"{argument.names[0]} {' '.join(texts)}"
    if is_tuple(field):  # 64 64, 64,64 or [64, 64]
        texts = re.sub(r"[\[\](),]", " ", " ".join(texts)).split()
    if (choices := choices_of(field)) and given not in choices:
        raise UsageError(received, f"one of {', '.join(choices)}", see)
    if may_be_none(field) and texts in (["none"], ["None"]):
        return None
    try:
        values = tuple(_READ[_kind(field)](text) for text in texts)
    except (ValueError, ArithmeticError):
        expected = kind_of(field) + (", or none" if may_be_none(field) else "")
        raise UsageError(received, expected, see) from None
    value = values if is_tuple(field) else values[0]
    if not _is_setting(field):  # those are checked with all others
        check(field, value)
    return value


JSON = switch("json", "Print the result as one JSON object, the last line of standard output.")
QUIET = switch("quiet", "Show no progress.")
TRUST = switch("trust", "Import modules that only a file names, which runs their code: only if you trust it.")


@dataclass(frozen=True)
class Command:
    """A command: its name, what it does in one paragraph and perhaps a second, and its arguments."""

    name: str
    description: str
    arguments: list[Argument]

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """The values of all arguments, and as `typed` those settings that were given.

        Raises:
            UsageError: for arguments that do not fit, in one sentence.
            SystemExit: after `--help`.
        """
        see = f"See a3c {self.name} --help."
        for text in argv:
            if not is_clean(text):
                raise UsageError(f"argument {text!a}", "a text without control characters, in UTF-8", see)
        try:
            found, unknown = self._parser().parse_known_args(self._spelled(argv))
        except argparse.ArgumentError as error:
            expected = "no value" if "ignored" in error.message else "a value"
            raise UsageError((error.argument_name or "").split("/")[0], expected, see) from None
        if unknown:
            flag = unknown[0].split("=")[0]
            flags = [name for a in self.arguments for name in a.names if name.startswith("-")]
            close = difflib.get_close_matches(flag, flags, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise UsageError(flag, "an option of this command", hint + see)
        arguments = {argument.field.name: argument for argument in self.arguments}
        given = {name: _read(arguments[name], text, see) for name, text in vars(found).items()}
        defaults = {name: argument.field.default for name, argument in arguments.items()}
        typed = {name: value for name, value in given.items() if name in FIELDS}
        return argparse.Namespace(**defaults | given, typed=typed)

    def _parser(self) -> argparse.ArgumentParser:
        description, _, more = self.description.partition("\n\n")
        free = [a for a in self.arguments if not a.names[0].startswith("-")]
        usage = [f"[{a.names[0].upper()}{' ...' if a.options['nargs'] == '*' else ''}]" for a in free]
        parser = argparse.ArgumentParser(
            usage=" ".join([f"a3c {self.name} [OPTIONS]", *usage]),
            description=description,
            epilog=more,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
            exit_on_error=False,
        )
        for argument in self.arguments:
            help = argument.options["help"].replace("%", "%%")
            parser.add_argument(*argument.names, **argument.options | {"help": help})
        return parser

    def _spelled(self, argv: list[str]) -> list[str]:
        """Flags with hyphens for underscores; in one piece with a negative number, as argparse needs it.

        A flag of several numbers and what follows `=` are two pieces: more numbers may come.
        """
        spelled: list[str] = []
        valued = {name for a in self.arguments if a.valued for name in a.names}
        several = {name for a in self.arguments if a.valued and is_tuple(a.field) for name in a.names}
        for place, token in enumerate(argv):
            if token == "--":  # only arguments without a flag follow
                return spelled + argv[place:]
            flag, equals, value = token.partition("=")
            if spelled and spelled[-1] in valued and re.match(r"-(\.?\d|inf|nan)", token, re.IGNORECASE):
                spelled[-1] += f"={token}"
            elif not flag.startswith("--"):
                spelled.append(token)
            else:
                name = flag.replace("_", "-")
                apart = equals and name in several and not value.startswith("-")
                spelled += [name, value] if apart else [name + equals + value]
        return spelled
