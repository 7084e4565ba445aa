"""`a3c scaling`: how much faster more workers are, on this machine.

Every run is an `a3c train` in a process of its own, since thread limits and runtimes belong to a process.
They go one after the other, or they would measure each other.
"""

import dataclasses
import json
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from a3c import __version__
from a3c.cli import parsing, speedup
from a3c.config import Config
from a3c.errors import SettingError
from a3c.presets import make_config
from a3c.training import run_directory
from a3c.utils.versions import versions

_OWN = ("env_id", "workers", "seed")  # settings of a run that are this command's to choose

COMMAND = parsing.Command(
    "scaling",
    """Measure how much faster more workers are: in steps per second, and to the threshold.

Trains with each number of workers and several seeds, one run after the other. Settings that are not typed
come from the environment's preset, as in a3c train. Table and picture go into a directory of their own.""",
    [
        parsing.positional("env_id", "Environment, as a3c train takes it (default: CartPole-v1)."),
        parsing.option(
            "workers",
            str | None,
            None,
            "Numbers of workers, separated by commas; the first is what the others are compared with. "
            "Default: 1, 2, 4 … up to the usable cores.",
        ),
        parsing.option(
            "seeds", int, 3, "Runs with each number of workers, each with another seed.", at_least=1
        ),
        parsing.option("seed", int, 1, "The first seed.", at_least=0),
        *parsing.setting_arguments(skip=_OWN),
        parsing.JSON,
    ],
)

_GRACE = 10
"""Seconds in which a run that was told to stop saves itself."""


@dataclass(frozen=True)
class Plan:
    """What is run."""

    config: Config
    """The settings that all runs share; seed and workers are not."""
    flags: tuple[str, ...]
    """The same as flags of `a3c train`."""
    workers: tuple[int, ...]
    seeds: range
    cores: int
    directory: Path


def run(argv: list[str]) -> int:
    """Parse, train again and again, report. Returns the exit code."""
    arguments = COMMAND.parse(argv)
    counts = None if arguments.workers is None else parse_counts(arguments.workers)
    settings = {name: value for name, value in arguments.typed.items() if name not in _OWN}
    given = settings if arguments.env_id is None else {**settings, "env_id": arguments.env_id}
    config = make_config(**given, seed=arguments.seed)
    stream = sys.stderr if arguments.json else sys.stdout
    print(f"a3c {__version__}: scaling of {config.env_id} …", file=stream, flush=True)
    plan = _plan(config, settings, counts, arguments.seeds)
    summaries, code = _run_all(plan, stream)
    if summaries:
        result = _write(plan, summaries, shlex.join(["a3c", "scaling", *argv]))
        print(f"\n{(plan.directory / 'scaling.md').read_text()}\nSaved in {plan.directory}", file=stream)
        if arguments.json and code in (0, 130):
            print(json.dumps(result), flush=True)
    elif not any(plan.directory.iterdir()):
        plan.directory.rmdir()
    return code


def parse_counts(text: str) -> tuple[int, ...]:
    """The numbers in `1,2,4`.

    Raises:
        SettingError: for anything else, and for a number that comes twice.
    """
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1 or len(set(counts)) < len(counts):
        expected = "distinct integers of at least 1, separated by commas, such as 1,2,4"
        raise SettingError("workers", text or "''", expected)
    return counts


# -- what is run --------------------------------------------------------------------------------------------


def _plan(config: Config, typed: dict[str, Any], counts: tuple[int, ...] | None, seeds: int) -> Plan:
    """Decide what was left open, refuse what cannot work, and make the directory."""
    from a3c import engines
    from a3c.training.resolve import resolve_config

    cores = engines.usable_cores()
    counts = counts or _doubling(cores)
    # One engine for every number of workers: with `auto` a single one would get the serial engine.
    most = max(2, *counts) if config.engine == "auto" else max(counts)
    copies = config.envs_per_worker
    config, _ = resolve_config(config.replace(workers=most))
    config = config.replace(envs_per_worker=copies)  # where it is left open, each run has its own
    assert config.seed is not None
    shared = {**typed, "engine": config.engine}
    shared.pop("save_dir", None)
    return Plan(
        config,
        tuple(as_flags(shared)),
        counts,
        range(config.seed, config.seed + seeds),
        cores,
        run_directory.make_new(config.save_dir, f"scaling/{run_directory.folder_name(config.env_id)}"),
    )


def _doubling(cores: int) -> tuple[int, ...]:
    """1, 2, 4 … and the cores themselves."""
    return (*(2**n for n in range(cores.bit_length()) if 2**n < cores), cores)


def as_flags(settings: dict[str, Any]) -> list[str]:
    """Settings as they are typed for `a3c train`."""
    flags = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            flags += [f"--{flag}", *map(str, value)]
        else:
            flags.append(f"--{flag}={value}")  # in one piece, so that a negative number is not a flag
    return flags


# -- running it ---------------------------------------------------------------------------------------------


def _run_all(plan: Plan, stream: TextIO) -> tuple[list[dict[str, Any]], int]:
    """The summaries of the runs that were finished, and the exit code.

    All numbers of workers take their turn with one seed before the next seed comes, so that a machine that
    is slower for a while is slower for all, and Ctrl-C leaves a table that is whole.
    """
    order = [(seed, workers) for seed in plan.seeds for workers in plan.workers]
    finished: list[dict[str, Any]] = []
    for seed, workers in order:
        try:
            code, out, err = _train(plan, workers, seed)
        except KeyboardInterrupt:
            code, out, err = 130, "", ""
        if code != 0:
            print(err.strip() or "a3c: stopped", file=sys.stderr)
            return finished, code
        finished.append(json.loads(out.splitlines()[-1]))
        line = _progress(finished[-1], plan.config.stop_return)
        print(f"{len(finished)} of {len(order)}  {line}", file=stream, flush=True)
    return finished, 0


def _train(plan: Plan, workers: int, seed: int) -> tuple[int, str, str]:
    """One run in a process of its own: its exit code, standard output and standard error."""
    command = [sys.executable, "-P", "-m", "a3c", "train", plan.config.env_id, *plan.flags]
    command += [f"--workers={workers}", f"--seed={seed}", f"--save-dir={plan.directory}", "--json", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate()
        except KeyboardInterrupt:
            try:
                process.communicate(timeout=_GRACE)  # Ctrl-C has reached it too: let it save itself
            except subprocess.TimeoutExpired:
                process.terminate()  # the signal was meant for us alone
                process.communicate()
            raise
    if process.returncode < 0:
        return 1, "", f"a3c: a run with {workers} workers was ended by signal {-process.returncode}"
    return process.returncode, out, err


def _progress(summary: dict[str, Any], threshold: float | None) -> str:
    """A finished run in one line."""
    goal = "" if threshold is None else "solved, " if summary["solved"] else "not solved, "
    return (
        f"workers {summary['workers']}  seed {summary['seed']}  {goal}{summary['steps']:,} steps in "
        f"{summary['train_seconds']:.2f} s, {summary['steps_per_second']:,.0f} steps/s"
    )


# -- what is written ----------------------------------------------------------------------------------------


def _write(plan: Plan, summaries: list[dict[str, Any]], command: str) -> dict[str, Any]:
    """Write table, picture and summaries; returns what `--json` prints."""
    from a3c.training.plotting import scaling_curves

    config, directory = plan.config, plan.directory
    rows = speedup.table(summaries, plan.cores)
    (directory / "runs.json").write_text(json.dumps(summaries, indent=2) + "\n")
    speedup.write_csv(rows, directory / "scaling.csv")
    (directory / "scaling.md").write_text(_document(plan, rows, command))
    scaling_curves(
        speedup.by_workers(summaries, "steps_per_second"),
        speedup.by_workers(summaries, "steps", solved=True),
        directory / "scaling.png",
        title=f"{config.algorithm.upper()} on {config.env_id}, {config.engine} engine",
        threshold=config.stop_return,
        cores=plan.cores,
    )
    return dict(
        directory=str(directory),
        env_id=config.env_id,
        algorithm=config.algorithm,
        backend=config.backend,
        engine=config.engine,
        threshold=config.stop_return,
        seeds=list(plan.seeds),
        cores=plan.cores,
        complete=len(summaries) == len(plan.seeds) * len(plan.workers),
        rows=[dataclasses.asdict(row) for row in rows],
    )


def _document(plan: Plan, rows: list[speedup.Row], command: str) -> str:
    """The table, below what it was measured with."""
    config, copies = plan.config, plan.config.envs_per_worker
    shared = (
        "environments shared out among the workers" if copies is None else f"{copies} environments per worker"
    )
    return (
        f"# Scaling of {config.env_id}\n\n"
        f"    {command}\n\n"
        f"- {plan.cores} usable cores, {platform.system()} on {platform.machine()}\n"
        f"- {', '.join(f'{name} {version}' for name, version in versions().items())}\n"
        f"- {config.algorithm} on {config.backend}, {config.engine} engine, {shared}, "
        f"t_max {config.t_max}\n\n"
        f"{speedup.markdown(rows, config.stop_return, plan.cores)}\n\n"
        f"Medians over {rows[0].runs} seeds; speed-ups are relative to the first row.\n"
    )
