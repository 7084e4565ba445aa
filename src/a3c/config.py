"""`Config`: every setting of a training run, put together from those who own them. No Keras import.

The command line, the library, the presets and `config.toml` all read this one class.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from a3c import algorithms
from a3c.algorithms import ALGORITHMS
from a3c.errors import SettingError, UsageError
from a3c.network_settings import NetworkSettings, check_network_size
from a3c.settings import check, from_plain, presentable, setting


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """What is learned, by which algorithm, and who works on it how."""

    env_id: str = setting(
        "CartPole-v1",
        "Gymnasium id, module:EnvId, ALE/…, jax/…, gymnax/…, envpool/… or module:Class of a FuncEnv.",
    )
    preset: str = setting(
        "auto", "auto (the environment's own, if there is one), none, a name, or a TOML file."
    )
    algorithm: str = setting(
        "a3c",
        "Learning algorithm: the paper's four asynchronous ones, a2c (a3c in step), appo (asynchronous PPO: "
        "each rollout is used in several passes), ppo (the same in step), impala (a learner apart from its "
        "actors); random only plays the baseline. auto: the preset's, and appo where there is no preset.",
        choices=(*ALGORITHMS, "random"),
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
        at_most=100_000,
    )
    t_max: int = setting(
        16,
        "Steps between updates; appo, ppo: of each rollout.",
        at_least=1,
        at_most=100_000,
        note="the paper uses 5",
        aliases=("--update-freq",),
    )


@dataclass(frozen=True, kw_only=True)
class Config(algorithms.Settings, NetworkSettings, ExperimentSettings):
    """Every setting of a training run. Invalid values raise `SettingError`; see `a3c train --help`.

    The defaults are a3c's. `presets.make_config` takes presets and the defaults of other algorithms into
    account. Settings come in the order of the bases, the last one first, and then those below.
    """

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
            check(f, getattr(self, f.name))
        check_network_size(self)
        if self.anneal and self.max_steps is None:
            raise SettingError("anneal", True, "max-steps to be set, since the rate reaches 0 there")

    def replace(self, **changes: Any) -> "Config":
        """A copy with `changes`; unknown names raise `UsageError`."""
        check_names(changes, "setting")
        taken = {name: from_plain(FIELDS[name], value) for name, value in changes.items()}
        return dataclasses.replace(self, **taken)


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
            raise UsageError(f"{what} {presentable(name)}", "the name of a setting", hint)
