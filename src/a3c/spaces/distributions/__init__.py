"""One short file per kind of action space: the distribution of actions, and what the environment is sent.

A distribution is given by `outputs` numbers per state, the policy parameters, which the network returns.
Acting needs no Keras: `choose` is plain arithmetic, for NumPy's arrays and JAX's. The loss uses `log_prob`
and `entropy`, on `keras.ops`. Actions are kept in the distribution's own form, for example counted from 0;
`to_env` converts them to that of the environment.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import gymnasium as gym
import numpy as np

from a3c.errors import UsageError
from a3c.spaces.noise import DRAW, epsilon_noise

_MAX_OUTPUTS = 2**20
"""Policy parameters per state; each has a row of 64 weights in the smallest of our networks."""
Bounds = Literal["clip", "squash"]
"""How actions are kept inside the bounds of a Box."""


class Distribution(Protocol):
    """The distribution of the actions of one environment."""

    @property
    def outputs(self) -> int:
        """A: policy parameters per state."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one action as it is kept."""
        ...

    @property
    def dtype(self) -> str:
        """Of actions as they are kept: `int32` or `float32`."""
        ...

    @property
    def noise(self) -> tuple[str, int]:
        """What noise a choice needs, by the name of `noise.DRAW`, and how many numbers of it."""
        ...

    def choose(self, parameters: Any, noise: Any) -> Any:
        """Actions [..., *shape] for parameters [..., A]; without noise the most probable ones."""
        ...

    def uniform(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Noise with which parameters of zero give random play: uniform within the action space."""
        ...

    def to_env(self, actions: Any) -> Any:
        """What the environment takes for `actions` [N, *shape]."""
        ...

    def from_env(self, actions: Any) -> Any:
        """The opposite of `to_env`: actions [N, *shape] as they are kept."""
        ...

    def contains(self, actions: np.ndarray) -> bool:
        """Whether all of `actions` [N, *shape] can be chosen."""
        ...

    def log_prob(self, parameters: Any, actions: Any) -> Any:
        """log π(a|s): [...] for parameters [..., A] and actions [..., *shape]."""
        ...

    def entropy(self, parameters: Any) -> Any:
        """H(π) in nats: [...] for parameters [..., A]."""
        ...

    def describe(self) -> str:
        """In words, for people."""
        ...


Mode = Literal["greedy", "sampled", "random"]
"""How an agent acts in an evaluation: most probable actions, samples of its policy, or uniform actions."""
SAMPLED_EPSILON = 0.05
"""What `sampled` means for action values: one action in twenty is random (Mnih et al. 2015)."""


@dataclass(frozen=True)
class ModeNoise:
    """The noise with which an agent acts while it is evaluated or watched.

    Attributes:
        actions: What it chooses.
        values: Whether its parameters are the values of actions, not a policy.
    """

    actions: Distribution
    values: bool = False

    def shape(self, copies: int) -> tuple[int, ...]:
        """Of the noise of one step."""
        return copies, self.actions.noise[1]

    def draw(self, mode: Mode, generator: np.random.Generator, leading: tuple[int, ...]) -> np.ndarray:
        """Noise [*leading, …]; for random play parameters must be zero."""
        kind, size = self.actions.noise
        if mode == "greedy":
            return np.zeros((*leading, size), np.float32)
        if mode == "random":
            return self.actions.uniform(generator, leading)
        if self.values:
            return epsilon_noise(generator, (*leading, size), SAMPLED_EPSILON)
        return DRAW[kind](generator, (*leading, size))


def random_actions(
    actions: Distribution, generator: np.random.Generator, steps: int, copies: int
) -> np.ndarray:
    """Uniform actions for some steps of random play [steps, copies, …], as an environment takes them."""
    parameters = np.zeros((steps, copies, actions.outputs), np.float32)
    return actions.to_env(actions.choose(parameters, actions.uniform(generator, (steps, copies))))


def first(actions: Any) -> Any:
    """The first of what `to_env` makes, as `env.step` takes one: an integer or an array."""
    action = np.asarray(actions[0])
    return int(action) if action.ndim == 0 and np.issubdtype(action.dtype, np.integer) else action


def for_space(space: gym.Space, env_id: str, bounds: Bounds = "clip") -> Distribution:
    """The distribution over the actions of `space`.

    Raises:
        UsageError: for a space that is not supported, by name.
    """
    distribution = _find(space, bounds)
    if distribution is None:
        raise UsageError(
            f"{env_id} with actions {space}",
            "Discrete, MultiDiscrete, MultiBinary or a Box of floats",
            "gymnasium.wrappers.TransformAction can make it one of those; a Dict or Tuple of choices becomes "
            "a MultiDiscrete, one of numbers or integers a Box of floats, rounded.",
        )
    if distribution.outputs > _MAX_OUTPUTS:
        raise UsageError(
            f"{env_id} with {distribution.describe()}",
            f"at most {_MAX_OUTPUTS:,} policy parameters, of which a network computes each in every step",
            "gymnasium.wrappers.TransformAction can make it a MultiDiscrete of several small choices.",
        )
    return distribution


def _find(space: gym.Space, bounds: Bounds) -> Distribution | None:
    """The distribution over the actions of `space`; None for a kind that has none."""
    from a3c.spaces.distributions.bernoulli import Bernoulli
    from a3c.spaces.distributions.categorical import Categorical, MultiCategorical
    from a3c.spaces.distributions.gaussian import Gaussian

    spaces = gym.spaces
    match space:
        case spaces.Discrete():
            return Categorical(int(space.n), int(space.start), str(space.dtype))
        case spaces.MultiDiscrete():
            sizes, starts = space.nvec.ravel().tolist(), space.start.ravel().tolist()
            return MultiCategorical(tuple(sizes), tuple(starts), tuple(space.shape), str(space.dtype))
        case spaces.MultiBinary():
            return Bernoulli(tuple(map(int, space.shape)))
        case spaces.Box() if np.issubdtype(space.dtype, np.floating) and space.low.size:
            return Gaussian.of(space, bounds)
    return None
