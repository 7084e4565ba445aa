"""Runs that a user means: by a directory, by an environment, or the newest."""

import contextlib
import datetime
import os
import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from a3c.errors import UsageError
from a3c.presets import parse_toml
from a3c.training.run_directory import (
    CONFIG,
    LARGEST,
    NAME,
    TIME,
    folder_name,
    id_parts,
    is_over,
    older_name,
    read_config,
    refuse_link,
)
from a3c.utils.files import read_plain


def find_run(target: str | None, save_dir: str) -> Path:
    """The run directory that a user means.

    Args:
        target: A run directory, an environment id, or None for the newest run.
        save_dir: Where runs are looked for.

    Raises:
        UsageError: if there is none.
    """
    if target is not None and os.path.exists(Path(target) / CONFIG):  # Path.exists raises for a name too long
        return Path(target)
    if target is not None and os.path.isdir(target):
        raise UsageError(f"run {target}", "a run directory, which has a config.toml")
    for run in newest_runs(save_dir, target):
        return run
    expected = "a run directory, or an environment that was trained on"
    raise _no_run(target, expected, f"There is none in {save_dir}.")


def list_runs(save_dir: str, env_id: str | None = None) -> list[Path]:
    """Run directories, those that began last first; only those of one environment if that is given."""
    return list(newest_runs(save_dir, env_id))


def newest_runs(save_dir: str, env_id: str | None = None, now: float | None = None) -> Iterator[Path]:
    """Run directories, those that began last first, each looked at when it is wanted.

    When a run began is in its directory's name, else in its `config.toml`. The times of files say nothing:
    they change when a run is copied. A time that is yet to come is wrong, and such runs are the last ones.

    Args:
        save_dir: Where runs are looked for.
        env_id: The environment; None: any.
        now: Seconds since 1970; default: by the clock.
    """
    names = [] if env_id is None else {folder_name(env_id), older_name(env_id)}
    folders = _names(Path(save_dir)) if env_id is None else [Path(save_dir, name) for name in sorted(names)]
    latest = _as_in_names((time.time() if now is None else now) + _A_DAY)
    found = []
    for path in (path for folder in folders for path in _names(folder)):
        name = NAME.match(path.name)
        began = name.group() if name is not None else _began(path)
        found.append(("" if began > latest else began, len(path.name), path.name, path))
    for *_, path in sorted(found, reverse=True):
        if os.path.lexists(path / CONFIG) and _is_of(path / CONFIG, env_id):
            yield path


_A_DAY = 86_400.0  # seconds: by more than this, no two time zones differ


def _names(folder: Path) -> list[Path]:
    """What is in a folder; nothing if it cannot be read."""
    try:
        return [folder / name for name in os.listdir(folder) if name[0] != "."]
    except OSError:
        return []


def _as_in_names(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime(TIME)


def _began(directory: Path) -> str:
    """When a run began whose directory has another name."""
    path = directory / CONFIG
    try:
        with contextlib.suppress(ValueError, KeyError, AttributeError):
            started = tomllib.loads(read_plain(path).decode())["run"]["started"]
            return started.astimezone().strftime(TIME)
        return _as_in_names(path.stat().st_mtime)
    except (OSError, ValueError, OverflowError):
        return ""


def _is_of(path: Path, env_id: str | None) -> bool:
    """Whether a `config.toml` is of this environment, as far as can be told: two may share a folder."""
    if env_id is None:
        return True
    try:
        text = read_plain(path, LARGEST).decode()
        if tomli_w.dumps({"env_id": env_id}) in text:  # as it is written, and far faster than reading all
            return True
        found = parse_toml(text)["settings"]["env_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return True  # whoever reads it is told what is wrong
    (module, name), (wanted, wanted_name) = (id_parts(each) for each in (str(found), env_id))
    return name == wanted_name and (module == wanted or not (module and wanted))


def find_unfinished(env_id: str, save_dir: str, given: dict[str, Any]) -> Path | None:
    """The newest run of `env_id` that was stopped before its end and has the settings `given`, if any."""
    for run in newest_runs(save_dir, env_id):
        if _may_have(run, given) and not is_over(run):
            try:
                config = read_config(run)
            except UsageError:
                continue
            if config.env_id == env_id and all(getattr(config, k) == v for k, v in given.items()):
                return run
    return None


def _may_have(directory: Path, given: dict[str, Any]) -> bool:
    """Whether no line of `config.toml` contradicts these settings: to read all of it takes much longer."""
    try:
        text = read_plain(directory / CONFIG).decode()
    except (OSError, ValueError):
        return False
    for name, value in given.items():
        if (line := re.search(rf"^{name} = .*$", text, re.MULTILINE)) is None:
            continue
        with contextlib.suppress(ValueError):  # more than one line, or damaged
            wanted = "none" if value is None else list(value) if isinstance(value, tuple) else value
            if tomllib.loads(line.group())[name] != wanted:
                return False
    return True


def find_model(target: str | None, save_dir: str) -> Path:
    """The model file that a user means.

    Args:
        target: A `.keras` file, a run directory, an environment id, or None for the newest run.
        save_dir: Where runs are looked for.

    Raises:
        UsageError: if there is none.
    """
    if target is not None and target.endswith(".keras"):
        if not os.path.isfile(target):
            raise UsageError(f"model file {target}", "an existing .keras file")
        return Path(target)
    if target is not None and os.path.isfile(Path(target) / CONFIG):
        if (model := _model_of(Path(target))) is None:
            fix = "It ended before it saved a model."
            raise UsageError(f"run {target}", "one with a best.keras or last.keras", fix)
        return model
    for run in newest_runs(save_dir, target):
        if (model := _model_of(run)) is not None:
            return model
    expected = "a .keras file, a run directory, or an environment that was trained on"
    raise _no_run(target, expected, f"None in {save_dir} has a model yet.")


def _model_of(run: Path) -> Path | None:
    files = [run / name for name in ("best.keras", "last.keras")]
    found = next((file for file in files if os.path.lexists(file)), None)
    if found is not None:
        refuse_link(found)
    return found


def _no_run(target: str | None, expected: str, why: str) -> UsageError:
    of, env_id = (f" of {target}", f" {target}") if target else ("", "")
    return UsageError(f"a run{of}", expected, f"{why} Make one: a3c train{env_id}")
