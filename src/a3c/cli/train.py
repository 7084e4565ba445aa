"""`a3c train`: train an agent until its environment is solved."""

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from a3c import __version__, algorithms
from a3c.cli import parsing
from a3c.config import RESUMABLE, Config
from a3c.errors import SettingError
from a3c.presets import make_config
from a3c.training import lookup, run_directory
from a3c.utils.console import say

# One dataclass from the settings, so that each is described in one place only.
COMMAND = parsing.Command(
    "train",
    """Train an agent until its environment is solved, or a limit is reached.

Settings that are not typed come from the environment's preset, where there is one, and otherwise are the
algorithm's defaults, shown here. Models, metrics and the learning curve go into a run directory.""",
    [
        parsing.positional(
            "env_id",
            "Gymnasium id, module:EnvId, ALE/…, jax/…, gymnax/…, envpool/… or module:Class of a FuncEnv "
            "(default: CartPole-v1).",
        ),
        *parsing.setting_arguments(skip=("env_id",)),
        parsing.option(
            "resume",
            str | None,
            None,
            "auto: go on with the newest unfinished run that has these settings, if there is one. Or a run "
            "directory.",
        ),
        parsing.TRUST,
        parsing.JSON,
        parsing.QUIET,
    ],
)


def run(argv: list[str]) -> int:
    """Parse, train, report. Returns the exit code."""
    arguments = COMMAND.parse(argv)
    given = arguments.typed
    if given.get("algorithm") == "auto":  # as if it was not typed
        del given["algorithm"]
    config = make_config(arguments.trust, **given)
    if config.algorithm == "random":
        from a3c.cli import random

        return random.report(config.env_id, config.max_episodes or 100, config.seed, arguments.json)
    stream = sys.stderr if arguments.json else sys.stdout
    if (directory := _to_resume(arguments.resume, config, given)) is not None:
        from a3c.cli import resume

        changes, typed = _changes(given, directory), (config.env_id, config.model)
        return resume.resume(directory, changes, typed, arguments)
    if not arguments.quiet:
        chosen = f"preset {config.preset}, algorithm {_algorithm(config, given)}"
        say(f"a3c {__version__}: training on {config.env_id}, {chosen} …", stream)
    return carry_out(config, arguments.json, arguments.quiet, stream, given=given)


def _algorithm(config: Config, given: dict[str, Any]) -> str:
    """The algorithm and, unless it was typed, why it was chosen."""
    if "algorithm" in given:
        return config.algorithm
    if config.preset != "none":
        return f"{config.algorithm} (from the preset)"
    why = "no preset" if "preset" in given else "no preset for this environment"
    return f"{config.algorithm} ({why})"


def _to_resume(wish: str | None, config: Config, given: dict[str, Any]) -> Path | None:
    """The run that `--resume` means; None for a new one."""
    if wish is None:
        return None
    if wish != "auto":
        return lookup.find_run(wish, config.save_dir)
    fixed = {name: value for name, value in given.items() if name not in (*RESUMABLE, "save_dir", "preset")}
    return lookup.find_unfinished(config.env_id, config.save_dir, fixed)


def _changes(given: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The settings to change in a run that is resumed.

    Raises:
        SettingError: for one that cannot change any more.
    """
    config = run_directory.read_config(directory)
    for name, value in given.items():
        if name not in (*RESUMABLE, "save_dir", "preset") and getattr(config, name) != value:
            raise SettingError(
                name, value, f"{getattr(config, name)}, as in {directory}", "Or start a new run."
            )
    return {name: value for name, value in given.items() if name in RESUMABLE}


def carry_out(
    config: Config,
    as_json: bool,
    quiet: bool,
    stream: Any,
    resume: Path | None = None,
    given: Iterable[str] = (),
) -> int:
    """Train and tell about it, also of settings that were `given` without effect. Returns the exit code."""
    from a3c import backend, engines
    from a3c.training import provenance
    from a3c.training.callbacks import display
    from a3c.training.resolve import resolve_config
    from a3c.utils.lazy_imports import import_keras

    started = process_start()
    config, environment = resolve_config(config)
    if config.engine == "serial":
        os.environ.update(backend.SINGLE_THREADED)  # one order of additions, one result
    engines.prepare(config)  # workers' imports go on beside ours
    shown = display.choose(stream, quiet)
    for text in provenance.without_effect(config, environment, given, config.model is not None, False):
        shown.note(f"--{text}")
    shown.note(_header(config, resume is not None and (resume / "optimizer.json").exists()))
    import_keras(plotting=False)
    from a3c.training.trainer import train

    result = train(config, environment=environment, display=shown, process_started=started, resume=resume)
    summary = result.summary
    if not quiet:
        say(_verdict(summary, result.interrupted), stream)
    if as_json:
        say(json.dumps(summary), sys.stdout)
    return 130 if result.interrupted else 0


def process_start() -> float:
    """`time.monotonic()` of the moment this process was created, where the system tells; else now."""
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return time.monotonic() - age
    except (OSError, ValueError, AttributeError):
        return time.monotonic()


def _header(config: Config, own_optimizer: bool) -> str:
    """What was decided, in two lines."""
    optimizer = "its own optimizer" if own_optimizer else f"{config.optimizer} {config.learning_rate:g}"
    workers = f"{config.workers} worker{'s' if config.workers != 1 else ''}"
    reuses = algorithms.find(config.algorithm).reuses
    passes = f", {config.passes} passes of minibatch {config.minibatch}" if reuses else ""
    goal = "no threshold" if config.stop_return is None else f"goal {config.stop_return:g}"
    return (
        f"{config.algorithm} on {config.backend}, {config.engine} engine, {workers} × "
        f"{config.envs_per_worker} environments, t_max {config.t_max}{passes}, {optimizer}, "
        f"γ {config.gamma:g}, λ {config.gae_lambda:g}, seed {config.seed}, {goal}"
    )


def _verdict(summary: dict[str, Any], interrupted: bool) -> str:
    """How the run ended, for a person."""
    lines = []
    if summary["solved"]:
        lines.append(
            f"Solved after {summary['steps']:,} steps, {summary['episodes']:,} episodes and "
            f"{summary['train_seconds']:.1f} s of training ({summary['steps_per_second']:,.0f} steps/s)."
        )
    else:
        how = "Stopped" if interrupted else "Limit reached"
        lines.append(
            f"{how} after {summary['steps']:,} steps and {summary['train_seconds']:.1f} s; not solved."
        )
    evaluation = summary["evaluation"]
    if evaluation is not None:
        spread = f" ± {(evaluation['ci95'][1] - evaluation['mean']):.1f}" if evaluation["ci95"] else ""
        lines.append(
            f"Best agent: {evaluation['mean']:.1f}{spread} over {evaluation['episodes']} fresh episodes"
            + (
                f" (random: {summary['random_baseline']:.1f})."
                if summary["random_baseline"] is not None
                else "."
            )
        )
    then = "go on with: a3c resume" if interrupted else "watch it with: a3c play"
    lines.append(f"Saved in {summary['run_dir']}; {then} {summary['run_dir']}")
    return "\n".join(lines)
