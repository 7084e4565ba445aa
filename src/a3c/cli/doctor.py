"""`a3c doctor`: check this machine, an environment and a model, and say what to fix."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from a3c.cli import parsing
from a3c.cli.checks import Check, Checks, describe, examine, failure
from a3c.errors import UsageError
from a3c.utils.console import printable
from a3c.utils.versions import versions

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
    if hasattr(stream, "reconfigure"):  # what other people's code says may not fit its encoding
        stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]
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
        print(json.dumps(dict(checks=checks, faults=faults, warnings=warnings, versions=versions())))
    return 1 if faults else 0


def _show(check: Check, console: Console) -> None:
    text = printable(f"{check.name}: {check.text}")
    line = Text.assemble((f"{check.status:8}", _STYLES[check.status]), text)
    console.print(line)
    if check.fix:
        console.print(Text("\n".join(f"        {printable(part)}" for part in check.fix.splitlines())))
    console.file.flush()


def _all(arguments: Any) -> Iterator[Check]:
    """Every check that was asked for, each when its line is wanted."""
    from a3c.cli.checks import system

    yield from _examine_all(system.checks(arguments.backend, arguments.save_dir))
    if arguments.env_id is None:
        return
    from a3c.cli.checks import environment as looks

    try:
        config, environment = looks.prepare(
            arguments.env_id, arguments.model, arguments.backend, arguments.seed
        )
    except (Exception, SystemExit) as error:  # there is nothing more to check
        yield failure("environment", error)
        return
    yield from _examine_all(looks.checks(environment, arguments.seed, arguments.resume))
    try:
        from a3c.cli.checks import model
    except Exception as error:  # whatever Keras raises without a backend; its own check has told of it
        text = f"was not checked: {describe(error)}"
        yield Check("model", "warning", text, "See the lines on backends: a network needs one.")
        return
    try:
        subject = model.Subject(config, environment, arguments.seed)
    except (Exception, SystemExit) as error:
        yield failure("model", error)
        return
    yield from _examine_all(model.checks(subject))


def _examine_all(checks: Checks) -> Iterator[Check]:
    for name, look in checks:
        yield from examine(name, look)
