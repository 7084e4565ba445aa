"""One short file per algorithm: its loss. What it asks of those who act stands here.

A loss is `loss(outputs, transitions, target) -> (scalar, {name: scalar})`: what the network says of the
observations of a rollout, the rollout, and what the target network says of it, where there is one.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from a3c.config import Config
from a3c.distributions import Distribution
from a3c.distributions.categorical import Categorical
from a3c.distributions.gaussian import Gaussian
from a3c.errors import UsageError
from a3c.types import Outputs, Transitions

Loss = Callable[[Outputs, Transitions, Outputs | None], tuple[Any, dict[str, Any]]]


@dataclass(frozen=True)
class Algorithm:
    """What is known of an algorithm without its loss, which needs Keras.

    Attributes:
        name: As in the settings.
        values: Whether it learns the values of discrete actions, with a target network and ε-greedy play;
            else a policy and the values of states.
        ahead: Whether the loss needs the actions that the next rollout begins with.
        behaviour: Whether the loss needs the policy parameters that the actions were drawn with.
        gathers: What workers hand to a learner in the middle: `gradients` of all of them, or `rollouts`;
            None: each updates the shared parameters itself.
    """

    name: str
    values: bool = False
    ahead: bool = False
    behaviour: bool = False
    gathers: Literal["gradients", "rollouts"] | None = None

    def make_loss(self, config: Config, actions: Distribution) -> Loss:
        """Its loss with the coefficients of the settings, for such actions."""
        return self._module.make_loss(config, actions)

    @property
    def figure_names(self) -> tuple[str, ...]:
        """The names of the losses that each update brings, and of the gradient's norm, which backends add."""
        return (*self._module.TERMS, "gradient_norm")

    @property
    def _module(self) -> ModuleType:
        return importlib.import_module(f"a3c.algorithms.{self.name.replace('-', '_')}")


_ALL = (
    Algorithm("a3c"),
    Algorithm("a2c", gathers="gradients"),
    Algorithm("impala", behaviour=True, gathers="rollouts"),
    Algorithm("one-step-q", values=True),
    Algorithm("one-step-sarsa", values=True, ahead=True),
    Algorithm("n-step-q", values=True),
)


def find(name: str) -> Algorithm:
    """The algorithm of that name."""
    return next(algorithm for algorithm in _ALL if algorithm.name == name)


def entropy_coefficient(config: Config, actions: Distribution) -> float:
    """The weight of the entropy bonus; by default the paper's (Mnih et al. 2016, sections 8 and 9)."""
    if config.entropy_coefficient is not None:
        return config.entropy_coefficient
    return 1e-4 if isinstance(actions, Gaussian) else 1e-2


def check_actions(config: Config, actions: Distribution) -> None:
    """Raise `UsageError` where the algorithm cannot choose such actions."""
    if find(config.algorithm).values and not isinstance(actions, Categorical):
        raise UsageError(
            f"{config.env_id} with {actions.describe()} and --algorithm {config.algorithm}",
            "Discrete actions, whose values can be listed",
            "Choose --algorithm a3c, a2c or impala, or wrap it to a list of choices "
            "(gymnasium.wrappers.TransformAction).",
        )
