"""`a3c doctor`: check this machine, an environment and a model, and say what to fix."""

import dataclasses
import io
import json
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from a3c.cli import parsing
from a3c.cli.checks import Check, describe, examine, warning
from a3c.errors import UsageError
from a3c.training import run_directory

COMMAND = parsing.Command(
    "doctor",
    """Check this machine, an environment and a model, and say what to fix.

A line per check: ok, warning or fault. Exit code 1 if there is a fault.""",
    [
        parsing.positional("env_id", "An environment to check as well, as a3c train takes it."),
        parsing.option("model", str | None, None, "Your own model as module:Class; needs an environment."),
        parsing.switch("resume", "Try out whether a stopped serial run of the environment goes on exactly."),
        *parsing.setting_arguments(only=("backend", "save_dir")),
        parsing.option("seed", int, 0, "Seed of what is played and learned.", at_least=0),
        parsing.JSON,
    ],
)

_STYLES = {"ok": "green", "warning": "yellow", "fault": "bold red"}


def run(argv: list[str]) -> int:
    """Parse, check, report. Returns the exit code."""
    arguments = COMMAND.parse(argv)
    if arguments.env_id is None and (arguments.model or arguments.resume):
        flag = f"--model {arguments.model}" if arguments.model else "--resume"
        raise UsageError(flag, "an environment with it", f"a3c doctor ENV_ID {flag}")
    stream = sys.stderr if arguments.json else sys.stdout
    if isinstance(stream, io.TextIOWrapper):  # what other people's code says may not fit its encoding
        stream.reconfigure(errors="backslashreplace")
    console = Console(file=stream, highlight=False, soft_wrap=True)
    found = []
    for check in _all(arguments):
        found.append(check)
        _show(check, console)
    faults, warnings = (sum(check.status == status for check in found) for status in ("fault", "warning"))
    counts = [f"{n} {name}{'s' * (n != 1)}" for n, name in ((faults, "fault"), (warnings, "warning")) if n]
    console.print(Text(f"{len(found)} checks: {', '.join(counts) or 'all is well'}"))
    if arguments.json:
        checks = [dataclasses.asdict(check) for check in found]
        document = dict(checks=checks, faults=faults, warnings=warnings, versions=run_directory.versions())
        print(json.dumps(document))
    return 1 if faults else 0


def _show(check: Check, console: Console) -> None:
    text = _printable(f"{check.name}: {check.text}")
    line = Text.assemble((f"{check.status:8}", _STYLES[check.status]), text)
    console.print(line)
    if check.fix:
        console.print(Text("\n".join(f"        {_printable(part)}" for part in check.fix.splitlines())))
    console.file.flush()


def _printable(text: str) -> str:
    """`text` without what would steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _all(arguments: Any) -> Iterator[Check]:
    """Every check that was asked for, each when its line is wanted."""
    from a3c.cli.checks import system

    for name, look in system.checks(arguments.backend, arguments.save_dir):
        yield from examine(name, look)
    if arguments.env_id is not None:
        yield from _of_environment(arguments)


def _of_environment(arguments: Any) -> Iterator[Check]:
    """The checks of the environment and of the model; none but the first where there is no environment."""
    from a3c.cli.checks import environment as looks

    prepared: list[tuple] = []

    def prepare() -> Check:
        prepared.append(looks.prepare(arguments.env_id, arguments.model, arguments.backend, arguments.seed))
        return looks.described(prepared[0][1])

    yield from examine("environment", prepare)
    for config, environment in prepared:
        for name, look in looks.checks(environment, arguments.seed, arguments.resume):
            yield from examine(name, look)
        yield from _of_model(config, environment, arguments.seed)


def _of_model(config: Any, environment: Any, seed: int) -> Iterator[Check]:
    """The checks of the model; none but the first where it cannot be made."""
    try:
        from a3c.cli.checks import model as looks
    except Exception as error:  # whatever Keras raises where no backend computes, which was told already
        text = f"was not checked: {describe(error)}"
        yield warning("model", text, "See the lines on backends: a network needs one.")
        return
    made: list[looks.Subject] = []

    def make() -> Check:
        made.append(looks.Subject(config, environment, seed))
        return looks.shapes(made[0])

    yield from examine("model", make)
    for subject in made:
        for name, look in looks.checks(subject):
            yield from examine(name, look)
