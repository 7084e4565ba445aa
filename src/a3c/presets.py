"""Presets and other files of settings, and the `Config` that follows from them."""

import os
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from a3c.algorithms import ALGORITHMS
from a3c.config import FIELDS, Config, check_names
from a3c.errors import SettingError, UsageError, first_line
from a3c.settings import check, choices_of, from_plain, presentable
from a3c.utils import trust
from a3c.utils.files import read_plain

_LARGEST = 2**18  # bytes of a file of settings
FALLBACK = "appo"
"""What `auto` chooses where there is no preset."""


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    folder = resources.files("a3c") / "presets"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_preset(preset: str, env_id: str | None, algorithm: str | None = None) -> tuple[str, dict[str, Any]]:
    """The settings of a preset.

    What stands above the tables holds for every algorithm. A table with an algorithm's name holds what was
    tuned for that algorithm. It also serves some that have no table of their own, see `Algorithm.table`.

    Args:
        preset: `auto`, `none`, the name of a shipped preset, or the path of a TOML file.
        env_id: The environment that `auto` looks for.
        algorithm: Which; default: the one that the preset names, or a3c.

    Returns:
        The preset's name and its settings, which name the algorithm; `none` and no settings without a preset.
    """
    if preset == "auto":
        preset = _own_preset(str(env_id))
    if preset == "none":
        return "none", {}
    if preset in preset_names():
        text = (resources.files("a3c") / "presets" / f"{preset}.toml").read_text()
    elif preset.endswith(".toml") and os.path.lexists(preset):  # Path.exists raises for a name too long
        try:
            text = read_plain(Path(os.path.realpath(preset)), _LARGEST).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"preset {preset}", "a TOML file that can be read", f"{error}.") from error
    else:
        names = ", ".join(preset_names())
        raise SettingError("preset", presentable(preset), f"auto, none, a TOML file or one of {names}")
    try:
        settings = parse_toml(text)
    except ValueError as error:
        raise UsageError(f"preset {preset}", f"a TOML file; it breaks off with: {error}") from error
    settings = _for_algorithm(settings, algorithm, preset)
    settings = settings_from_toml(settings, f"preset {preset}: setting")
    check_settings(settings, f"preset {preset}")
    return preset, settings


def _own_preset(env_id: str) -> str:
    """The preset of an environment, or of the family that its namespace names, or `none`."""
    if older := re.fullmatch(r"(\w+)NoFrameskip-v\d+", env_id):
        env_id = f"ALE/{older[1]}-v5"  # the same game, in which no actions stick
    own, family = env_id.replace("/", "-"), env_id.rpartition("/")[0]  # a file name holds no slash
    names = preset_names()
    return own if own in names else family if family in names else "none"


def _for_algorithm(document: dict[str, Any], algorithm: str | None, preset: str) -> dict[str, Any]:
    """The settings of a preset's document with those of the table that serves the algorithm, if any."""
    names = choices_of(FIELDS["algorithm"])
    tables = {name: document[name] for name in names if isinstance(document.get(name), dict)}
    settings = {name: value for name, value in document.items() if name not in tables}
    chosen = algorithm or settings.get("algorithm", Config.algorithm)
    for name, table in tables.items():
        check_names(table, f"preset {preset}: {name}: setting")
    if isinstance(chosen, str):
        serving = chosen if chosen in tables or chosen not in ALGORITHMS else ALGORITHMS[chosen].table
        settings |= tables.get(serving, {})
    return {**settings, "algorithm": chosen}


def parse_toml(text: str) -> dict[str, Any]:
    """The document in `text`.

    Raises:
        ValueError: for what is no TOML, in one line.
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError is one, and so is an integer of too many digits
        raise ValueError(presentable(first_line(error))) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_settings(settings: dict[str, Any], where: str) -> None:
    """Raise `UsageError` for a value that a setting cannot have, with the file in which it stands."""
    for name, value in settings.items():
        try:
            check(FIELDS[name], value)
        except SettingError as error:
            raise UsageError(f"{where}: {error.received}", error.expected, error.fix) from error


def settings_from_toml(settings: dict[str, Any], what: str) -> dict[str, Any]:
    """Settings as read from TOML, in the types that `Config` keeps; see `settings.from_plain`."""
    if not isinstance(settings, dict):
        raise UsageError(f"{what}s", "a table of settings", f"It is a {type(settings).__name__}.")
    check_names(settings, what)
    return {name: from_plain(FIELDS[name], value) for name, value in settings.items()}


def make_config(trusted: bool = False, /, **given: Any) -> Config:
    """The algorithm's defaults, overridden by the preset, overridden by what was `given`.

    A module that only the preset names is refused unless it is `trusted`; see `utils/trust.py`.

    `algorithm="auto"`, the default, is the preset's, and `FALLBACK` where there is no preset.
    `preset="tutorial"` may also choose the environment; an `env_id` that is given wins.
    """
    given = settings_from_toml(given, "setting")
    if isinstance(given.get("algorithm"), str) and given["algorithm"] == "auto":
        del given["algorithm"]
    env_id = given.get("env_id", Config.env_id)
    for name, default in (("env_id", "auto"), ("preset", "auto"), ("algorithm", Config.algorithm)):
        check(FIELDS[name], given.get(name, default))
    name, preset = load_preset(given.get("preset", "auto"), env_id, given.get("algorithm"))
    chosen = {"algorithm": FALLBACK, **preset, **given, "preset": name}
    config = Config(**{**defaults_of(chosen["algorithm"]), **chosen})
    typed = given.get("env_id"), given.get("model")
    trust.check(f"preset {name}", (config.env_id, config.model), None, typed, trusted)
    return config


def defaults_of(algorithm: str) -> dict[str, Any]:
    """Those defaults of an algorithm that differ from the ones of `Config`, which are a3c's."""
    return dict(ALGORITHMS[algorithm].defaults) if algorithm in ALGORITHMS else {}
