"""Run directories: how one is made and named, and what its `config.toml` and `result.json` say."""

import contextlib
import datetime
import os
import re
import secrets
import shutil
import stat
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from a3c.config import Config
from a3c.errors import UsageError
from a3c.presets import check_settings, parse_toml, settings_from_toml
from a3c.utils import trust
from a3c.utils.files import read_plain, write_whole
from a3c.utils.json_text import parse_json
from a3c.utils.versions import versions

CONFIG = "config.toml"
LARGEST = 2**18  # bytes of a file of settings or results
TIME = "%Y%m%d-%H%M%S"
"""When a run began, as it stands at the beginning of its directory's name."""


def create(
    config: Config,
    command: Iterable[str],
    origins: Mapping[str, Mapping[str, Any]] | None = None,
    replaced: Iterable[str] = (),
) -> Path:
    """Make a new run directory and write its `config.toml`. An existing one is never touched.

    Args:
        config: The settings.
        command: What was typed.
        origins: Tables of what the settings do not say, see `provenance.origins`.
        replaced: Settings that say nothing of this run; they are left out.

    Raises:
        UsageError: if it cannot be made or written.
    """
    run = dict(started=datetime.datetime.now().astimezone(), command=" ".join(command), resumed=0)
    ending, files = (
        f"-{config.algorithm}-s{config.seed}",
        {CONFIG: _document(config, run, origins or {}, replaced)},
    )
    return make_new(config.save_dir, folder_name(config.env_id), ending, files)


def make_new(save_dir: str, folder: str, ending: str = "", files: Mapping[str, str] | None = None) -> Path:
    """A new directory `save_dir/folder/TIME…ending` that has its first `files` from the first moment on.

    Raises:
        UsageError: if it cannot be made.
    """
    parent, name = Path(save_dir) / folder, datetime.datetime.now().strftime(TIME) + ending
    temporary = parent / f".new-{secrets.token_hex(8)}"  # renamed once it is complete
    try:
        temporary.mkdir(parents=True)
        for file, text in (files or {}).items():
            (temporary / file).write_text(text)
        for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
            directory = parent / (name + suffix)
            with contextlib.suppress(FileExistsError):  # only one of two that begin in one second gets a name
                directory.mkdir()
                return temporary.rename(directory)  # takes the place of the empty one in one step
        raise FileExistsError(17, "No new directory could be made", str(parent / name))
    except OSError as error:
        fix = f"{error.strerror}. Choose another with --save-dir."
        raise UsageError(f"save-dir {save_dir}", "a directory that can be written", fix) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def ending_of(directory: Path) -> str:
    """What follows the time in the name of a run directory: its algorithm and its seed."""
    found = NAME.match(directory.name)
    return "" if found is None else directory.name[found.end() :]


NAME = re.compile(r"\d{8}-\d{6}(?=-|$)")


ORIGINS = ("environment", "model", "optimizer")
"""Tables of `config.toml` that say where these come from."""


def _document(
    config: Config,
    run: dict[str, Any],
    origins: Mapping[str, Mapping[str, Any]],
    replaced: Iterable[str],
) -> str:
    run = {**run, "signatures": trust.sign(config.env_id, config.model)}
    settings = {name: "none" if value is None else value for name, value in asdict(config).items()}
    for name in replaced:
        del settings[name]
    return tomli_w.dumps(dict(run=run, settings=settings, **origins, versions=versions()))


def record_resumption(directory: Path, config: Config) -> None:
    """Write the settings that the run goes on with, and that it was resumed once more, into `config.toml`.

    Raises:
        OSError: if it cannot be written.
    """
    document = tomllib.loads(read_plain(directory / CONFIG, LARGEST).decode())
    run = document.get("run")
    run = run if isinstance(run, dict) else {}
    resumed = run.get("resumed")
    run["resumed"] = resumed + 1 if type(resumed) is int else 1
    origins = {name: document[name] for name in ORIGINS if isinstance(document.get(name), dict)}
    replaced = [name for name in asdict(config) if name not in document["settings"] and origins]
    write_whole(directory / CONFIG, _document(config, run, origins, replaced))


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes from training in this run directory meanwhile; the lock dies with its holder.

    Raises:
        UsageError: if another process trains there, or the file to lock is none.
    """
    import filelock

    path = directory / ".lock"
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        fix = "It is a link, a pipe, a device or a folder. Remove it."
        raise UsageError(f"lock {path}", "a plain file", fix)
    lock = filelock.FileLock(path)
    try:
        held = lock.acquire(timeout=0)
    except filelock.Timeout as error:
        fix = "Wait for it to end, or stop it."
        raise UsageError(f"run {directory}", "one that no other process is training", fix) from error
    with held:
        yield


def is_over(directory: Path) -> bool:
    """Whether the run came to its own end: it solved its environment, or reached a limit."""
    return read_result(directory).get("ended") in ("solved", "limit")


def id_parts(env_id: str) -> tuple[str, str]:
    """The module of an environment's id, empty where it has none, and its name in there."""
    module, _, name = env_id.rpartition(":")
    return module, unicodedata.normalize("NFC", name)


def folder_name(env_id: str) -> str:
    """The folder of an environment's runs: its id without the module, safe on every file system.

    Letters, marks and digits of every script stay; one hyphen takes the place of all other signs in a row.
    """
    _, name = id_parts(env_id)
    safe = "".join(sign if _is_safe(sign) else " " for sign in name)
    shortened = re.sub(" +", "-", safe).lstrip(".")[:_LONGEST].encode()[:_LONGEST_BYTES]
    return shortened.decode(errors="ignore") or "environment"


def _is_safe(sign: str) -> bool:
    return sign in "._-" or unicodedata.category(sign)[0] in "LMN"


def older_name(env_id: str) -> str:
    """The folder's name where only letters of ASCII stayed."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", env_id.rpartition(":")[2])
    return safe.lstrip(".")[:_LONGEST] or "environment"


_LONGEST, _LONGEST_BYTES = 100, 255  # of a folder's name: characters, and bytes in UTF-8


def read_config(directory: Path) -> Config:
    """The settings that a run was made with.

    Raises:
        UsageError: if `config.toml` is missing or damaged.
    """
    path = directory / CONFIG
    try:
        document = parse_toml(read_plain(path, LARGEST).decode())
        # The last table: without it the file breaks off, though perhaps between two lines.
        settings, _ = document["settings"], document["versions"]
    except (OSError, ValueError, KeyError) as error:
        fix = f"It has no table [{error.args[0]}]." if isinstance(error, KeyError) else f"{error}."
        raise UsageError(f"run {directory}", "a directory with a readable config.toml", fix) from error
    settings = settings_from_toml(settings, f"{path}: setting")
    check_settings(settings, str(path))
    # Runs of before this setting existed; None is not written, and their other settings all are.
    settings.setdefault("state_dependent_deviation", True)
    return Config(**settings)


def check_names(directory: Path, config: Config, typed: Iterable[str | None], trusted: bool) -> None:
    """Refuse a run whose settings name a module that must not be imported; see `trust.check`.

    Args:
        directory: The run directory.
        config: What `read_config` found there.
        typed: Names that the user has typed.
        trusted: Whether the user allows all of its names.

    Raises:
        UsageError: with the module, and how to allow it.
    """
    run = parse_toml(read_plain(directory / CONFIG).decode()).get("run")
    signatures = run.get("signatures") if isinstance(run, dict) else None
    trust.check(f"run {directory}", (config.env_id, config.model), signatures, typed, trusted)


def read_result(directory: Path) -> dict[str, Any]:
    """What the run's `result.json` says; empty for a run that has not ended, and where it is damaged."""
    try:
        result = parse_json(read_plain(directory / "result.json", LARGEST))
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) and _is_result(result) else {}


def _is_result(result: dict[str, Any]) -> bool:
    """Whether `result` has what is made use of, in the types that it is written with."""
    steps, baseline = result.get("steps"), result.get("random_baseline")
    return type(steps) is int and (baseline is None or type(baseline) in (int, float))


def refuse_link(path: Path) -> None:
    """Raise `UsageError` for a file of a run directory that is a link: it may lead anywhere."""
    if path.is_symlink():
        raise UsageError(f"model file {path}", "a plain file, not a link", "Copy what it leads to.")
