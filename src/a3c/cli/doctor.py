"""`a3c doctor`: check this machine, an environment and a model, and say what to fix."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from a3c.cli import parsing
from a3c.doctor import Check, examine, fault
from a3c.errors import SettingError, UsageError

Arguments = dataclasses.make_dataclass(
    "Arguments",
    [
        parsing.positional("env_id", "An environment to check as well, as a3c train takes it."),
        parsing.option("model", str | None, None, "Your own model as module:Class; needs an environment."),
        parsing.switch("resume", "Try out whether a stopped serial run of the environment goes on exactly."),
        parsing.option("backend", str, "auto", "Keras backend: auto, jax or tensorflow."),
        parsing.option("save_dir", str, "runs", "Where runs would be made."),
        parsing.option("seed", int, 0, "Seed of what is played."),
        parsing.switch("json", "Print the result as one JSON object, the last line of standard output."),
    ],
)
Arguments.__doc__ = """Check this machine, an environment and a model, and say what to fix.

A line per check: ok, warning or fault. Exit code 1 if there is a fault."""

_STYLES = {"ok": "\x1b[32m", "warning": "\x1b[33m", "fault": "\x1b[31m"}


def run(argv: list[str]) -> int:
    """Parse, check, report. Returns the exit code."""
    arguments = parsing.parse(Arguments, "doctor", argv)
    if arguments.seed < 0:
        raise SettingError("seed", arguments.seed, "an integer of at least 0")
    if arguments.env_id is None and (arguments.model or arguments.resume):
        flag = "--model" if arguments.model else "--resume"
        raise UsageError(flag, "an environment with it", f"a3c doctor ENV_ID {flag} …")
    if arguments.backend not in ("auto", "jax", "tensorflow"):
        raise SettingError("backend", arguments.backend, "one of auto, jax, tensorflow")
    stream = sys.stderr if arguments.json else sys.stdout
    found = []
    for check in _all(arguments):
        found.append(check)
        _show(check, stream)
    counts = {status: sum(check.status == status for check in found) for status in ("fault", "warning")}
    how_many = [f"{n} {status}{'s' if n != 1 else ''}" for status, n in counts.items() if n]
    print(f"{len(found)} checks: {', '.join(how_many) or 'all is well'}", file=stream)
    if arguments.json:
        print(json.dumps(_document(found, counts)))
    return 1 if counts["fault"] else 0


def _show(check: Check, stream: TextIO) -> None:
    begin, end = (_STYLES[check.status], "\x1b[0m") if stream.isatty() else ("", "")
    print(f"{begin}{check.status:8}{end}{check.name}: {check.text}", file=stream, flush=True)
    if check.fix:
        print(f"        {check.fix}", file=stream, flush=True)


def _document(found: list[Check], counts: dict[str, int]) -> dict[str, Any]:
    from a3c import runs

    checks = [dataclasses.asdict(check) for check in found]
    return dict(checks=checks, faults=counts["fault"], warnings=counts["warning"], versions=runs.versions())


def _all(arguments: Any) -> Iterator[Check]:
    """Every check that was asked for, each when its line is wanted."""
    from a3c.doctor import system

    for name, look in system.QUICK:
        yield from examine(name, look)
    yield from examine("runs", system.save_directory, Path(arguments.save_dir))
    yield from examine("backend", system.backends, arguments.backend)
    if arguments.env_id is not None:
        yield from _of_environment(arguments)


def _of_environment(arguments: Any) -> Iterator[Check]:
    from a3c import backend
    from a3c.config import make_config
    from a3c.doctor import environment as look

    settings = {} if arguments.model is None else {"model": arguments.model}
    try:
        chosen = backend.select(arguments.backend)
        config = make_config(env_id=arguments.env_id, backend=chosen, engine="serial", **settings)
        from a3c.setup import settle

        config, environment = settle(dataclasses.replace(config, seed=arguments.seed, workers=1))
    except UsageError as error:
        yield fault("environment", f"{error.received}: expected {error.expected}", error.fix)
        return
    yield look.described(environment)
    yield from examine("check_env", look.gymnasium_check, environment)
    yield look.vector(environment)
    yield look.threshold(environment)
    yield from _of_play(environment, arguments.seed)
    if arguments.resume:
        yield from examine("resume", look.continuity, environment, arguments.seed)
    yield from _of_model(config, environment, arguments.seed)


def _of_play(environment: Any, seed: int) -> Iterator[Check]:
    from a3c.doctor import environment as look

    plays: list[look.Play] = []
    yield from examine("random play", lambda: plays.append(look.Play(environment, seed)) or [])
    for play in plays:
        yield from examine("ends", look.ends, environment, play)
        yield from examine("observations", look.observations, play)
        yield from examine("rewards", look.rewards, play)
        yield look.speed(play)
        yield from examine("seed", look.determinism, environment, seed)


def _of_model(config: Any, environment: Any, seed: int) -> Iterator[Check]:
    """The checks of the model, made once for all of them."""
    from a3c.imports import import_keras

    import_keras(plotting=False)
    from a3c.doctor import model

    made: list[Any] = []
    yield from examine("model", lambda: made.extend(model.checks(config, environment, seed)) or [])
    for name, look in made:
        yield from examine(name, look)
