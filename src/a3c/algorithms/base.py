"""What an algorithm is: its settings, its loss, and what it asks of those who act.

Neither this file nor those of the algorithms import Keras, so that the command line can show their settings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from a3c.settings import setting
from a3c.types import Batch, Outputs, Transitions

if TYPE_CHECKING:
    from a3c.spaces.distributions import Distribution

Loss = Callable[[Outputs, Transitions, Outputs | None], tuple[Any, dict[str, Any]]]
"""Maps what the network says of the observations of a rollout, the rollout, and what the target network says
of it, where there is one, to the scalar to minimise and its terms by name."""

PartLoss = Callable[[Any, Any, Batch], tuple[Any, dict[str, Any]]]
"""Maps policy parameters, values and a part of a batch to the scalar to minimise and its terms by name."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of all algorithms: the optimizer, the returns, and the weights of the terms of a loss."""

    optimizer: Literal["adam", "rmsprop"] = setting("adam", "Shared optimizer; rmsprop is the paper's.")
    learning_rate: float = setting(7e-4, "Step size of the shared optimizer.", above=0, aliases=("--lr",))
    anneal: bool = setting(False, "Lower the learning rate linearly to 0 at max-steps, as the paper does.")
    global_clipnorm: float | None = setting(
        0.1,
        "Largest gradient norm, of the policy's tower and of the value's each where they are separate; None: "
        "no clipping.",
        above=0,
    )
    gamma: float = setting(0.99, "Discount factor.", at_least=0, at_most=1)
    gae_lambda: float = setting(
        0.95,
        "Weight of longer returns; 1: the paper's n-step returns, below 1: GAE.",
        at_least=0,
        at_most=1,
    )
    entropy_coefficient: float | None = setting(
        None,
        "Weight of the entropy bonus; default: 0.01; for continuous actions 0, appo and ppo 0.005.",
        at_least=0,
    )
    value_coefficient: float = setting(0.5, "Weight of the squared value error.", at_least=0)


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """How an algorithm uses each rollout several times.

    Attributes:
        estimate: Maps what the network says of a rollout, and the rollout, to a `Batch`.
        loss: Its loss of a part of the batch.
        passes: How often all of it is used.
        minibatch: Steps of a part.
        kl_limit: Mean divergence from the policy that acted at which no further pass is made; None: none.
    """

    estimate: Callable[[Outputs, Transitions], Batch]
    loss: PartLoss
    passes: int
    minibatch: int
    kl_limit: float | None = None


def _not_made(settings: Any, actions: "Distribution") -> Any:
    raise NotImplementedError("An algorithm makes either a loss or a reuse; this one makes the other.")


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """All that the rest of the package knows of an algorithm.

    Attributes:
        name: As in the settings.
        terms: The names of the losses that each update brings.
        settings: The class of its settings.
        defaults: The defaults of any setting in which it differs from a3c.
        label: Its name in help texts; relatives may share one.
        table: The algorithm whose table of a preset serves this one too, where it has none of its own.
        make_loss: Its loss with the coefficients of such settings, for such actions.
        make_reuse: The same for one that uses each rollout several times, in place of `make_loss`.
        values: Whether it learns the values of discrete actions, with a target network and ε-greedy play;
            else a policy and the values of states.
        ahead: Whether the loss needs the actions that the next rollout begins with.
        behaviour: Whether the loss needs the policy parameters that the actions were drawn with.
        gathers: What workers hand to a learner in the middle: `gradients` of all of them, or `rollouts`;
            None: each updates the shared parameters itself.
    """

    name: str
    terms: tuple[str, ...]
    settings: type[Settings] = Settings
    defaults: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    table: str = ""
    make_loss: Callable[[Any, "Distribution"], Loss] = _not_made
    make_reuse: Callable[[Any, "Distribution"], Reuse] = _not_made
    values: bool = False
    ahead: bool = False
    behaviour: bool = False
    gathers: Literal["gradients", "rollouts"] | None = None

    @property
    def reuses(self) -> bool:
        """Whether each rollout is used several times."""
        return self.make_reuse is not _not_made

    @property
    def local_steps(self) -> bool:
        """Whether workers make the steps of the optimizer themselves and hand over what those changed."""
        return self.reuses and self.gathers is None

    @property
    def figure_names(self) -> tuple[str, ...]:
        """The names of the losses that each update brings, and of the gradient's norm, which backends add."""
        return (*self.terms, "gradient_norm")


def entropy_coefficient(settings: Settings, actions: "Distribution", continuous: float = 0.0) -> float:
    """The weight of the entropy bonus.

    By default 0.01 (Mnih et al. 2016, section 8); for continuous actions, whose deviation would grow,
    `continuous`.
    """
    from a3c.spaces.distributions.gaussian import Gaussian

    if settings.entropy_coefficient is not None:
        return settings.entropy_coefficient
    return continuous if isinstance(actions, Gaussian) else 0.01
