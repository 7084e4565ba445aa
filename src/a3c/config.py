"""The settings of a training run: names, types, ranges and help in one place. No Keras import.

The command line, the library, the presets and `config.toml` all read this one class.
"""

import dataclasses
import math
import os
import re
import tomllib
import typing
import unicodedata
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from a3c.errors import SettingError, UsageError, first_line


def setting(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    note: str = "",
    aliases: tuple[str, ...] = (),
    others: dict[tuple[str, ...], Any] | None = None,
) -> Any:
    """A dataclass field that carries its help, its range and the tutorial's spellings of its flag.

    `default` is that of a3c; `others` holds those of algorithms that have another, by their names.
    """
    metadata = dict(help=help, at_least=at_least, above=above, at_most=at_most, note=note, aliases=aliases)
    return field(default=default, metadata={**metadata, "others": others or {}})


Algorithm = Literal[
    "a3c", "a2c", "impala", "appo", "ppo", "one-step-q", "one-step-sarsa", "n-step-q", "random"
]

PPO = ("appo", "ppo")
VALUES = ("one-step-q", "one-step-sarsa", "n-step-q")

FALLBACK: Algorithm = "appo"
"""What `auto` chooses where there is no preset."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of a training run. Invalid values raise `SettingError`; see `a3c train --help`.

    The defaults are a3c's. `make_config` takes presets and the defaults of other algorithms into account.
    """

    env_id: str = setting(
        "CartPole-v1",
        "Gymnasium id, module:EnvId, ALE/…, jax/…, gymnax/…, envpool/… or module:Class of a FuncEnv.",
    )
    preset: str = setting(
        "auto", "auto (the environment's own, if there is one), none, a name, or a TOML file."
    )
    algorithm: Algorithm = setting(  # noqa: RUF009 - no function to be called again
        "a3c",
        "Learning algorithm: the paper's four asynchronous ones, a2c (a3c in step), appo (asynchronous PPO: "
        "each rollout is used in several passes), ppo (the same in step), impala (a learner apart from its "
        "actors); random only plays the baseline. auto: the preset's, and appo where there is no preset.",
    )
    backend: Literal["auto", "jax", "tensorflow"] = setting("auto", "Keras backend.")
    engine: Literal["auto", "serial", "threads", "processes"] = setting(
        "auto",
        "How workers run; auto: serial for one worker, threads for compiled environments on JAX, else "
        "processes. serial is one worker in this process, reproducible bit for bit from a seed.",
    )
    workers: int | None = setting(None, "Parallel workers; default: usable cores.", at_least=1, at_most=1024)
    envs_per_worker: int | None = setting(
        8,
        "Environments each worker steps together (1: the paper's); None: 16 are shared out among the "
        "workers, so that a round is the same whatever the number of cores.",
        at_least=1,
        others={PPO: None, VALUES: 16},
    )
    t_max: int = setting(
        16,
        "Steps between updates; appo, ppo: of each rollout.",
        at_least=1,
        note="the paper uses 5",
        aliases=("--update-freq",),
        others={PPO: 128, VALUES: 20},
    )
    model: str | None = setting(None, "Your own model as module:Class; default: what the next settings say.")
    network: Literal["auto", "mlp", "paper", "nature", "impala"] = setting(
        "auto",
        "mlp: dense layers, images flattened; convolutions of the A3C paper, of Nature's DQN, or IMPALA's "
        "residual ones; auto: the paper's where there is a large enough image, else mlp.",
    )
    hidden_units: tuple[int, ...] | None = setting(
        None, "Units of each dense layer; default: 64 64, after convolutions 256, Nature's 512.", at_least=1
    )
    activation: str | None = setting(
        None, "Their activation, any name that Keras knows; default: tanh, after convolutions relu."
    )
    shared_tower: bool = setting(
        False, "One tower for policy and value instead of one each; always with convolutions."
    )
    lstm_units: int = setting(0, "Units of an LSTM after the dense layers; 0: no memory.", at_least=0)
    action_bounds: Literal["clip", "squash"] = setting(
        "clip", "How continuous actions are kept inside their bounds: clipped, or squashed by a tanh."
    )
    initial_deviation: float | None = setting(
        None,
        "Standard deviation of continuous actions at first, where 1 is half the width of bounded ones; "
        "default: 0.83 for one number, 0.45 for two to four, 2 / n for n; "
        "0.83 where it depends on the state.",
        at_least=0.01,
        at_most=100,
    )
    state_dependent_deviation: bool = setting(
        False,
        "Let the deviation of continuous actions depend on the state, as in the paper; else it is one number "
        "per dimension.",
    )
    optimizer: Literal["adam", "rmsprop"] = setting("adam", "Shared optimizer; rmsprop is the paper's.")
    learning_rate: float = setting(
        7e-4,
        "Step size of the shared optimizer.",
        above=0,
        aliases=("--lr",),
        others={PPO: 3e-4, VALUES: 1e-3},
    )
    anneal: bool = setting(False, "Lower the learning rate linearly to 0 at max-steps, as the paper does.")
    gamma: float = setting(0.99, "Discount factor.", at_least=0, at_most=1)
    gae_lambda: float = setting(
        0.95,
        "Weight of longer returns; 1: the paper's n-step returns, below 1: GAE.",
        at_least=0,
        at_most=1,
        others={VALUES: 1.0},
    )
    entropy_coefficient: float | None = setting(
        None,
        "Weight of the entropy bonus; default: 0.01; for continuous actions 0, appo and ppo 0.005.",
        at_least=0,
    )
    value_coefficient: float = setting(0.5, "Weight of the squared value error.", at_least=0)
    normalise_observations: bool | None = setting(
        None,
        "Subtract the running mean of observed vectors and images and divide by their deviation; default: "
        "vectors yes, images no.",
        others={VALUES: False},
    )
    normalise_returns: bool = setting(
        True,
        "Divide rewards by the running standard deviation of discounted returns and cut them off at 10, or "
        "at --clip-rewards; in learning only.",
        others={VALUES: False},
    )
    clip_rewards: float | None = setting(
        None,
        "Cut rewards off at this size, up and down, in learning only; 1 in the papers on Atari.",
        above=0,
    )
    episodic_life: bool = setting(
        False,
        "Let what is lost with a life be lost, in learning only: nothing after counts for what was before.",
    )
    exploration: Literal["noise", "rnd"] = setting(
        "noise",
        "What makes agents try things: the noise of their actions alone, or also a reward, in learning only, "
        "for what has seldom been seen (random network distillation).",
    )
    novelty_weight: float = setting(
        0.5, "rnd: what such a reward is worth, beside rewards of the environment of about 1.", above=0
    )
    passes: int = setting(10, "appo, ppo: how often each rollout is used.", at_least=1)
    minibatch: int = setting(
        128,
        "appo, ppo: transitions of each step of the optimizer; with a memory, whole sequences.",
        at_least=2,
    )
    clip_ratio: float = setting(
        0.2,
        "appo, ppo: how far the probability of an action may move from that of the policy that acted.",
        above=0,
    )
    clip_values: float | None = setting(
        None, "appo, ppo: how far values may move from those of the policy that acted; None: any.", above=0
    )
    kl_limit: float | None = setting(
        None,
        "appo: mean KL divergence from the policy that acted, at which no further pass is made of a rollout; "
        "None: none.",
        above=0,
    )
    target_steps: int = setting(
        10_000, "Q and Sarsa: steps of all workers between renewals of the target network.", at_least=1
    )
    epsilon_steps: int | None = setting(
        None,
        "Q and Sarsa: steps over which ε falls from 1 to its final value, drawn for each environment; "
        "default: a twentieth of max-steps, as in the paper.",
        at_least=0,
    )
    rho_bar: float = setting(1.0, "impala: where importance weights are cut off.", above=0)
    c_bar: float = setting(1.0, "impala: where they are cut off along the trace.", above=0)
    rollouts_per_update: int | None = setting(
        None, "impala: rollouts that the learner batches; default: as many as workers.", at_least=1
    )
    queue_rollouts: int | None = setting(
        None,
        "impala: rollouts that may wait for the learner before actors wait, as many of each worker and at "
        "least one; default: twice as many as it batches, so that nobody waits for the slowest actor.",
        at_least=1,
    )
    global_clipnorm: float | None = setting(
        0.1,
        "Largest gradient norm, of the policy's tower and of the value's each where they are separate; None: "
        "no clipping.",
        above=0,
        others={PPO: 0.5, VALUES: 0.5},
    )
    max_episodes: int | None = setting(
        None, "Stop after so many episodes.", at_least=1, aliases=("--max-eps",)
    )
    max_steps: int | None = setting(1_000_000, "Stop after so many environment steps.", at_least=1)
    stop_return: float | None = setting(
        None,
        "Mean return of 100 episodes that counts as solved; default: the environment's reward_threshold.",
    )
    evaluation_episodes: int = setting(100, "Episodes of each evaluation.", at_least=1)
    evaluation_mode: Literal["greedy", "sampled"] = setting(
        "greedy", "Whether they take the most probable actions, or draw them as training does."
    )
    seed: int | None = setting(None, "Seed of everything; default: drawn and recorded.", at_least=0)
    save_dir: str = setting("runs", "Where run directories are made.")
    checkpoint_seconds: float = setting(10.0, "Seconds of training between checkpoints.", above=0)
    keep_checkpoints: int = setting(3, "Newest checkpoints to keep, beside the best.", at_least=1)
    max_restarts: int = setting(
        5, "Worker restarts and environment rebuilds after faults, before the run stops.", at_least=0
    )
    max_skips: int = setting(
        10, "Updates in a row with a loss or gradient that is not finite, before the run stops.", at_least=1
    )
    hang_seconds: float = setting(
        300.0,
        "Seconds without a step or an update after which a worker counts as hanging; told from a tenth on.",
        above=0,
    )
    eager: bool = setting(False, "Run uncompiled, to step through the code in a debugger.")
    cache: bool = setting(True, "Keep compiled programs in your cache directory for the next run.")
    locking: bool = setting(True, "Update the shared parameters under a lock; off: lock-free (Hogwild).")

    def __post_init__(self):
        for f in dataclasses.fields(self):
            _check(f, getattr(self, f.name))
        if self.anneal and self.max_steps is None:
            raise SettingError("anneal", True, "max-steps to be set, since the rate reaches 0 there")

    def replace(self, **changes: Any) -> "Config":
        """A copy with `changes`; unknown names raise `UsageError`."""
        check_names(changes, "setting")
        return dataclasses.replace(self, **changes)


FIELDS = {f.name: f for f in dataclasses.fields(Config)}


RESUMABLE = (
    "workers",
    "max_steps",
    "max_episodes",
    "stop_return",
    "evaluation_episodes",
    "checkpoint_seconds",
    "keep_checkpoints",
    "max_restarts",
    "max_skips",
    "hang_seconds",
    "cache",
)
"""Settings that may change when a run is resumed; the others make it what it is."""


def check_names(settings: dict[str, Any], what: str) -> None:
    """Raise `UsageError` for a name that is no setting, with the closest one."""
    for name in settings:
        if name not in FIELDS:
            import difflib

            close = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Settings: {', '.join(FIELDS)}."
            raise UsageError(f"{what} {_presentable(name)}", "the name of a setting", hint)


def _check(f: dataclasses.Field, value: Any) -> None:
    """Raise `SettingError` where `value` is not of the field's type or outside its range."""
    if value is None and type(None) in typing.get_args(f.type):
        return
    expected = _expectation(f)
    if typing.get_origin(f.type) is Literal:
        good = isinstance(value, str) and value in typing.get_args(f.type)
    elif f.name == "hidden_units":  # a tuple
        good = isinstance(value, tuple) and all(_is_number(v, int) and _in_range(f, v) for v in value)
    elif _scalar_type(f) in (int, float):
        good = _is_number(value, _scalar_type(f)) and _in_range(f, value)
    else:
        good = isinstance(value, _scalar_type(f)) and value != ""
    if isinstance(value, str) and not is_clean(value):
        expected, good = "a text without control characters, in UTF-8", False
    if type(value) is int and abs(value) >= _TOO_LARGE:
        expected += ", of 64 bits"
    if not good:
        raise SettingError(f.name, _presentable(value), expected)


def is_clean(text: str) -> bool:
    """Whether `text` can be shown in one line, be part of a path, and be written to a file in UTF-8."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def _presentable(value: Any) -> Any:
    """`value`, or what it looks like where it would break or flood an error message."""
    if isinstance(value, str):
        return _shortened(value if is_clean(value) else repr(value)[1:-1])
    try:
        text = repr(value)
        plain = not isinstance(value, tuple) or all(isinstance(v, (int, float)) for v in value)
        return value if plain and len(text) <= _SHOWN and is_clean(text) else _shortened(text)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints, or a cycle
        return f"{type(value).__name__} too long to show"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_TOO_LARGE = 2**63  # for an integer in TOML
_SHOWN = 200  # characters of a value in an error message


def _scalar_type(f: dataclasses.Field) -> type:
    """The type of a field without `None`."""
    choices = [t for t in typing.get_args(f.type) if t is not type(None)]
    return choices[0] if choices else typing.cast(type, f.type)


def _is_number(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return False
    if kind is int or not isinstance(value, (int, float)):
        return isinstance(value, int) and abs(value) < _TOO_LARGE
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _in_range(f: dataclasses.Field, value: Any) -> bool:
    at_least, above, at_most = (f.metadata[k] for k in ("at_least", "above", "at_most"))
    return (
        (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
    )


def _expectation(f: dataclasses.Field) -> str:
    """The sentence that an error gives for this field: its type and range in words."""
    if typing.get_origin(f.type) is Literal:
        return "one of " + ", ".join(typing.get_args(f.type))
    kind = _scalar_type(f)
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}.get(kind, "integers")
    low, above, high = (f.metadata[k] for k in ("at_least", "above", "at_most"))
    bounds = " and".join(
        f" {phrase} {bound:g}"
        for phrase, bound in (("of at least", low), ("above", above), ("at most", high))
        if bound is not None
    )
    note = f" ({f.metadata['note']})" if f.metadata["note"] else ""
    return words + bounds + note


# -- presets ------------------------------------------------------------------------------------------------


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    folder = resources.files("a3c") / "presets"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_preset(preset: str, env_id: str | None, algorithm: str | None = None) -> tuple[str, dict[str, Any]]:
    """The settings of a preset.

    What stands above the tables holds for every algorithm. A table with an algorithm's name holds what was
    tuned for that algorithm. `[a3c]` also serves a2c and impala, and `[appo]` ppo, where these have no table
    of their own.

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
    elif preset.endswith(".toml") and os.path.isfile(preset):  # Path.is_file raises for a name too long
        try:
            text = Path(preset).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"preset {preset}", "a TOML file that can be read", f"{error}.") from error
    else:
        names = ", ".join(preset_names())
        raise SettingError("preset", _presentable(preset), f"auto, none, a TOML file or one of {names}")
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
    names = typing.get_args(Algorithm)
    tables = {name: document[name] for name in names if isinstance(document.get(name), dict)}
    settings = {name: value for name, value in document.items() if name not in tables}
    chosen = algorithm or settings.get("algorithm", Config.algorithm)
    for name, table in tables.items():
        check_names(table, f"preset {preset}: {name}: setting")
    serving = ""
    if isinstance(chosen, str):
        serving = chosen if chosen in tables else _SERVED_BY.get(chosen, "")
    return {**settings, **tables.get(serving, {}), "algorithm": chosen}


_SERVED_BY = {"a2c": "a3c", "impala": "a3c", "ppo": "appo"}
"""Whose table of a preset serves an algorithm that has none of its own."""


def parse_toml(text: str) -> dict[str, Any]:
    """The document in `text`.

    Raises:
        ValueError: for what is no TOML, in one line.
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError is one, and so is an integer of too many digits
        raise ValueError(_presentable(first_line(error))) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_settings(settings: dict[str, Any], where: str) -> None:
    """Raise `UsageError` for a value that a setting cannot have, with the file in which it stands."""
    for name, value in settings.items():
        try:
            _check(FIELDS[name], value)
        except SettingError as error:
            raise UsageError(f"{where}: {error.received}", error.expected, error.fix) from error


def settings_from_toml(settings: dict[str, Any], what: str) -> dict[str, Any]:
    """Settings as read from TOML, in the types that `Config` keeps; see `from_plain`."""
    if not isinstance(settings, dict):
        raise UsageError(f"{what}s", "a table of settings", f"It is a {type(settings).__name__}.")
    check_names(settings, what)
    return {name: from_plain(name, value) for name, value in settings.items()}


def from_plain(name: str, value: Any) -> Any:
    """One setting as TOML or a user gave it, in the type that `Config` keeps.

    Lists become tuples, integers floats where a float belongs, and "none" None, which TOML lacks.
    """
    if isinstance(value, list):
        return tuple(value)
    if value == "none" and type(None) in typing.get_args(FIELDS[name].type):
        return None
    if _scalar_type(FIELDS[name]) is float and type(value) is int and _is_number(value, float):
        return float(value)
    return value


def defaults_of(algorithm: str) -> dict[str, Any]:
    """Those defaults of an algorithm that differ from the ones of `Config`, which are a3c's."""
    return {
        f.name: value
        for f in FIELDS.values()
        for names, value in f.metadata["others"].items()
        if algorithm in names
    }


def make_config(**given: Any) -> Config:
    """The algorithm's defaults, overridden by the preset, overridden by what was `given`.

    `algorithm="auto"`, the default, is the preset's, and `FALLBACK` where there is no preset.
    `preset="tutorial"` may also choose the environment; an `env_id` that is given wins.
    """
    given = settings_from_toml(given, "setting")
    if isinstance(given.get("algorithm"), str) and given["algorithm"] == "auto":
        del given["algorithm"]
    env_id = given.get("env_id", Config.env_id)
    for name, default in (("env_id", "auto"), ("preset", "auto"), ("algorithm", Config.algorithm)):
        _check(FIELDS[name], given.get(name, default))
    name, preset = load_preset(given.get("preset", "auto"), env_id, given.get("algorithm"))
    chosen = {"algorithm": FALLBACK, **preset, **given, "preset": name}
    return Config(**{**defaults_of(chosen["algorithm"]), **chosen})
