"""`a3c resume`: go on with a run that was stopped, from its newest checkpoint."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from a3c import __version__
from a3c.cli import parsing, train
from a3c.config import RESUMABLE
from a3c.training import lookup, run_directory
from a3c.utils.console import say

COMMAND = parsing.Command(
    "resume",
    """Go on with a run that was stopped or killed, from its newest whole checkpoint.

A serial run goes on exactly where it stood, bit for bit. With parallel workers nothing before the checkpoint
is lost; episodes under way begin anew. Settings are those of the run, but for what is typed here.""",
    [
        parsing.positional("run", "A run directory, or an environment id (default: the newest run)."),
        *parsing.setting_arguments(only=(*RESUMABLE, "save_dir")),
        parsing.TRUST,
        parsing.JSON,
        parsing.QUIET,
    ],
)


def run(argv: list[str]) -> int:
    """Parse, find the run, train on. Returns the exit code."""
    arguments = COMMAND.parse(argv)
    given = arguments.typed
    directory = lookup.find_run(arguments.run, given.pop("save_dir", "runs"))
    return resume(directory, given, [arguments.run], arguments)


def resume(directory: Path, given: dict[str, Any], typed: Sequence[str | None], arguments: Any) -> int:
    """Go on with a run.

    Args:
        directory: The run directory.
        given: Settings to change.
        typed: Names that the user has typed: modules among them may be imported.
        arguments: `json`, `quiet` and `trust`, as they were typed.

    Returns:
        The exit code.
    """
    as_json, quiet = arguments.json, arguments.quiet
    config = run_directory.read_config(directory).replace(**given)
    run_directory.check_names(directory, config, typed, arguments.trust)
    stream = sys.stderr if as_json else sys.stdout
    if run_directory.is_over(directory) and not given:
        result = run_directory.read_result(directory)
        if not quiet:
            how = "solved its environment" if result["ended"] == "solved" else "reached its limit"
            say(
                f"{directory} has ended: it {how} after {result['steps']:,} steps. To go on, raise what it "
                f"reached: a3c resume {directory} --max-steps {2 * result['steps']} --stop-return …",
                stream,
            )
        if as_json:
            print(json.dumps(result))
        return 0
    if not quiet:
        say(f"a3c {__version__}: going on with {directory} …", stream)
    return train.carry_out(config, as_json, quiet, stream, directory)
