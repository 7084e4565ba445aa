"""Run directories: where they are, what their `config.toml` says, how one is found by what a user types."""

import datetime
import importlib.metadata
import json
import platform
import re
import tomllib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from a3c.config import Config, settings_from_toml
from a3c.errors import UsageError

_PACKAGES = ("a3c", "keras", "jax", "tensorflow-cpu", "tensorflow", "gymnasium", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run computes."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def create(config: Config, command: Iterable[str]) -> Path:
    """Make a new run directory and write its `config.toml`. An existing one is never touched.

    Raises:
        UsageError: if it cannot be made or written.
    """
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    parent = Path(config.save_dir) / folder_name(config.env_id)
    name = f"{stamp}-{config.algorithm}-s{config.seed}"
    try:
        directory = _make_new(parent, name)
        settings = {name: "none" if value is None else value for name, value in asdict(config).items()}
        run = dict(started=datetime.datetime.now().astimezone(), command=" ".join(command))
        document = dict(run=run, settings=settings, versions=versions())
        (directory / "config.toml").write_text(tomli_w.dumps(document))
    except OSError as error:
        fix = f"{error.strerror}. Choose another with --save-dir."
        raise UsageError(f"save-dir {config.save_dir}", "a directory that can be written", fix) from error
    return directory


def _make_new(parent: Path, name: str) -> Path:
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        directory = parent / (name + suffix)
        try:
            directory.mkdir(parents=True)
            return directory
        except FileExistsError:
            if not directory.is_dir():
                raise
    raise FileExistsError(17, "A thousand runs began in this second", str(parent / name))


def folder_name(env_id: str) -> str:
    """The folder of an environment's runs: its id without the module, safe on every file system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", env_id.rpartition(":")[2])


def read_config(directory: Path) -> Config:
    """The settings that a run was made with.

    Raises:
        UsageError: if `config.toml` is missing or damaged.
    """
    path = directory / "config.toml"
    try:
        settings = tomllib.loads(path.read_text())["settings"]
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise UsageError(f"run {directory}", "a directory with a readable config.toml", str(error)) from error
    return Config(**settings_from_toml(settings, f"{path}: setting"))


def read_result(directory: Path) -> dict[str, Any]:
    """What the run's `result.json` says; empty for a run that has not ended."""
    try:
        return json.loads((directory / "result.json").read_text())
    except (OSError, ValueError):
        return {}


def find(target: str | None, save_dir: str) -> Path:
    """The model file that a user means.

    Args:
        target: A `.keras` file, a run directory, an environment id, or None for the newest run.
        save_dir: Where runs are looked for.

    Raises:
        UsageError: if there is none.
    """
    if target is not None and target.endswith(".keras"):
        if not Path(target).is_file():
            raise UsageError(f"model file {target}", "an existing .keras file")
        return Path(target)
    if target is not None and Path(target).is_dir() and (Path(target) / "config.toml").exists():
        return _model_of(Path(target))
    runs = [p.parent for p in Path(save_dir).glob("*/*/config.toml") if _has_model(p.parent)]
    if target is not None:
        runs = [run for run in runs if run.parent.name == folder_name(target)]
    if not runs:
        wanted = f"a run of {target}" if target else "a run"
        fix = f"None in {save_dir} has a model yet. Make one: a3c train" + (f" {target}" if target else "")
        raise UsageError(wanted, "a .keras file, a run directory, or an environment that was trained on", fix)
    return _model_of(max(runs, key=lambda run: (run / "config.toml").stat().st_mtime))


def _has_model(run: Path) -> bool:
    return (run / "best.keras").exists() or (run / "last.keras").exists()


def _model_of(run: Path) -> Path:
    for name in ("best.keras", "last.keras"):
        if (run / name).exists():
            return run / name
    raise UsageError(f"run {run}", "one with a best.keras or last.keras", "It ended before it saved a model.")
