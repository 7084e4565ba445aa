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
from a3c.errors import UsageError
from a3c.spaces.distributions import Distribution
from a3c.spaces.distributions.categorical import Categorical
from a3c.spaces.distributions.gaussian import Gaussian
from a3c.types import Batch, Outputs, Transitions

Loss = Callable[[Outputs, Transitions, Outputs | None], tuple[Any, dict[str, Any]]]
PartLoss = Callable[[Any, Any, Batch], tuple[Any, dict[str, Any]]]


@dataclass(frozen=True)
class Reuse:
    """How an algorithm uses each rollout several times.

    Attributes:
        estimate: Maps what the network says of a rollout, and the rollout, to a `Batch`.
        loss: Maps policy parameters, values and a part of the batch to the scalar to minimise and its terms.
        passes: How often all of it is used.
        minibatch: Steps of a part.
        kl_limit: Mean divergence from the policy that acted at which no further pass is made; None: none.
    """

    estimate: Callable[[Outputs, Transitions], Batch]
    loss: PartLoss
    passes: int
    minibatch: int
    kl_limit: float | None = None


@dataclass(frozen=True)
class Algorithm:
    """What is known of an algorithm without its loss, which needs Keras.

    Attributes:
        name: As in the settings.
        values: Whether it learns the values of discrete actions, with a target network and ε-greedy play;
            else a policy and the values of states.
        ahead: Whether the loss needs the actions that the next rollout begins with.
        behaviour: Whether the loss needs the policy parameters that the actions were drawn with.
        reuses: Whether each rollout is used several times.
        gathers: What workers hand to a learner in the middle: `gradients` of all of them, or `rollouts`;
            None: each updates the shared parameters itself.
    """

    name: str
    values: bool = False
    ahead: bool = False
    behaviour: bool = False
    reuses: bool = False
    gathers: Literal["gradients", "rollouts"] | None = None

    def make_loss(self, config: Config, actions: Distribution) -> Loss:
        """Its loss with the coefficients of the settings, for such actions."""
        return self._module.make_loss(config, actions)

    def make_reuse(self, config: Config, actions: Distribution) -> Reuse:
        """How it uses rollouts again, with the coefficients of the settings; only where it `reuses` them."""
        return self._module.make_reuse(config, actions)

    @property
    def local_steps(self) -> bool:
        """Whether workers make the steps of the optimizer themselves and hand over what those changed."""
        return self.reuses and self.gathers is None

    @property
    def figure_names(self) -> tuple[str, ...]:
        """The names of the losses that each update brings, and of the gradient's norm, which backends add."""
        return (*self._module.TERMS, "gradient_norm")

    @property
    def _module(self) -> ModuleType:
        return importlib.import_module(f"a3c.algorithms.{self.name.replace('-', '_')}")


_ALL = (
    Algorithm("a3c"),
    Algorithm("appo", behaviour=True, reuses=True),
    Algorithm("a2c", gathers="gradients"),
    Algorithm("ppo", behaviour=True, reuses=True, gathers="gradients"),
    Algorithm("impala", behaviour=True, gathers="rollouts"),
    Algorithm("one-step-q", values=True),
    Algorithm("one-step-sarsa", values=True, ahead=True),
    Algorithm("n-step-q", values=True),
)


def find(name: str) -> Algorithm:
    """The algorithm of that name."""
    return next(algorithm for algorithm in _ALL if algorithm.name == name)


def entropy_coefficient(config: Config, actions: Distribution) -> float:
    """The weight of the entropy bonus.

    By default 0.01 (Mnih et al. 2016, section 8); for continuous actions, whose deviation would grow, 0, and
    0.005 where rollouts are used several times, which lets it shrink fast.
    """
    if config.entropy_coefficient is not None:
        return config.entropy_coefficient
    if not isinstance(actions, Gaussian):
        return 0.01
    return 0.005 if find(config.algorithm).reuses else 0.0


def check_actions(config: Config, actions: Distribution) -> None:
    """Raise `UsageError` where the algorithm cannot choose such actions."""
    if find(config.algorithm).values and not isinstance(actions, Categorical):
        raise UsageError(
            f"{config.env_id} with {actions.describe()} and --algorithm {config.algorithm}",
            "Discrete actions, whose values can be listed",
            "Choose --algorithm appo, a3c, ppo, a2c or impala, or wrap it to a list of choices "
            "(gymnasium.wrappers.TransformAction).",
        )
