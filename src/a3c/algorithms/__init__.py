"""The algorithms: one short file each, with its settings, its loss and its declaration, and its line here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from a3c.algorithms import a2c, a3c, appo, impala, n_step_q, one_step_q, one_step_sarsa, ppo
from a3c.algorithms.base import Algorithm
from a3c.errors import UsageError

if TYPE_CHECKING:
    from a3c.spaces.distributions import Distribution

_MODULES = (a3c, a2c, impala, appo, ppo, one_step_q, one_step_sarsa, n_step_q)
ALGORITHMS: dict[str, Algorithm] = {module.ALGORITHM.name: module.ALGORITHM for module in _MODULES}
"""All by name, in the order in which they are listed."""


@dataclass(frozen=True, kw_only=True)
class Settings(impala.Settings, n_step_q.Settings, appo.Settings):
    """The settings of all algorithms, in the order of the bases from the last to the first."""


def find(name: str) -> Algorithm:
    """The algorithm of that name."""
    return ALGORITHMS[name]


def owners(setting: str) -> str:
    """The labels of the algorithms that have this setting; empty where all of them have it, or none."""
    owning = [a for a in ALGORITHMS.values() if setting in a.settings.__dataclass_fields__]
    return "" if len(owning) == len(ALGORITHMS) else _labels(owning)


def other_defaults(setting: str) -> dict[str, str]:
    """The defaults of a setting that differ from a3c's, as text, with the labels of their algorithms."""
    having = [a for a in ALGORITHMS.values() if setting in a.defaults]
    values = dict.fromkeys(str(a.defaults[setting]) for a in having)
    return {value: _labels([a for a in having if str(a.defaults[setting]) == value]) for value in values}


def _labels(algorithms: list[Algorithm]) -> str:
    return ", ".join(dict.fromkeys(a.label or a.name for a in algorithms))


def check_actions(name: str, env_id: str, actions: "Distribution") -> None:
    """Raise `UsageError` where the algorithm cannot choose the actions of this environment."""
    from a3c.spaces.distributions.categorical import Categorical

    if find(name).values and not isinstance(actions, Categorical):
        *others, last = (a.name for a in ALGORITHMS.values() if not a.values)
        raise UsageError(
            f"{env_id} with {actions.describe()} and --algorithm {name}",
            "Discrete actions, whose values can be listed",
            f"Choose --algorithm {', '.join(others)} or {last}, or wrap it to a list of choices "
            "(gymnasium.wrappers.TransformAction).",
        )
