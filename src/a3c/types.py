"""What flows between the parts: transitions, rollouts, snapshots, reports. NumPy only, no Keras.

The one legend of the axes used everywhere:

    T  time steps of one rollout (`t_max`)          B  environments of one worker (`envs_per_worker`)
    A  number of policy parameters                  P  number of trainable parameters
    O  the shape of one packed observation          S  numbers of the network's memory, if it has one

Arrays are time-major, `[T, B, ...]`. In step `t`, `actions[t]` was taken on seeing `observations[t]` and
led to `rewards[t]`, `terminated[t]`, `truncated[t]` and `observations[t + 1]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from a3c.utils.lazy_imports import np

Act = Callable[["np.ndarray", Any], tuple["np.ndarray", Any]]
"""Maps packed observations [N, *O] and the network's memory [N, S] to policy parameters [N, A] and the memory
after that step; networks without a memory are given None and return None for it."""

Policy = Callable[[Any], Act]
"""Maps weights [P] to the policy that has them; what is to be done once for many steps is done here."""


class Transitions(NamedTuple):
    """T consecutive steps in B environments, with next-step autoreset.

    After an episode ends in step `t`, `observations[t + 1]` is the true last observation of that episode,
    and step `t + 1` only resets the environment: its action is ignored, its reward is 0, and `valid` is
    False there, so that no loss sees it.
    """

    observations: np.ndarray
    """[T + 1, B, *O], packed (see `spaces/observations.py`); the next rollout starts from the last row."""
    actions: np.ndarray
    """[T, B, ...], as their distribution keeps them: discrete ones are int32, counted from 0."""
    rewards: np.ndarray
    """[T, B] float32."""
    terminated: np.ndarray
    """[T, B] bool: the environment reached a terminal state, whose value is 0 by definition."""
    truncated: np.ndarray
    """[T, B] bool: the episode was cut, for example by a time limit; the state still has a value."""
    valid: np.ndarray
    """[T, B] bool: False in the steps that only reset."""
    state: Any = None
    """[B, S] float32: the network's memory before the first step; None without one."""
    behaviour: Any = None
    """[T, B, A] float32: the policy parameters that actions were drawn with, where the loss asks for them."""
    next_actions: Any = None
    """[B, ...]: the actions that the next rollout will begin with, where the loss asks for them."""
    returns: Any = None
    """[T, B] float32: discounted sums of the rewards of each episode so far, where returns are normalised."""


class Batch(NamedTuple):
    """A rollout made ready to be learned from several times: what each step said and led to, by estimate.

    The leading axes, written [N] here, are [T·B], all steps in one row; with a memory, which needs its steps
    in order, they are [T, B].
    """

    observations: Any
    """[N, *O], packed."""
    actions: Any
    """[N, ...]."""
    log_probs: Any
    """[N] float32: log π(a|s) of the policy that acted."""
    advantages: Any
    """[N] float32."""
    targets: Any
    """[N] float32: what the values should be."""
    values: Any
    """[N] float32: what they were when the estimate was made."""
    valid: Any
    """[N] float32: 0 in the steps that only reset."""
    state: Any = None
    """[B, S] float32: the network's memory before the first step; None without one."""
    starts: Any = None
    """[T, B] float32: 1 where an episode begins; None without a memory."""


class Outputs(NamedTuple):
    """What a network says of the observations of a rollout."""

    parameters: Any
    """[T + 1, B, A]: policy parameters, or the values of actions."""
    values: Any
    """[T + 1, B]."""


@dataclass(frozen=True)
class Shapes:
    """The shapes of a rollout: what a sampler fills, and a learner is compiled for.

    Attributes:
        time: T.
        batch: B.
        observation: *O.
        observation_dtype: Of packed observations.
        action: Of one action as its distribution keeps it.
        action_dtype: `int32` or `float32`.
        outputs: A.
        state: S; 0: the network has no memory.
        behaviour: Whether the policy parameters that acted are kept.
        ahead: Whether the actions that the next rollout will begin with are known.
        discount: γ of the discounted returns that are kept; None: none are.
    """

    time: int
    batch: int
    observation: tuple[int, ...]
    observation_dtype: str
    action: tuple[int, ...]
    action_dtype: str
    outputs: int
    state: int = 0
    behaviour: bool = False
    ahead: bool = False
    discount: float | None = None

    @classmethod
    def of(cls, observations: Any, actions: Any, time: int, batch: int, **more: Any) -> Shapes:
        """For `Observations` and the actions of a `Distribution`."""
        seen, done = observations, actions
        return cls(time, batch, seen.shape, seen.dtype, done.shape, done.dtype, done.outputs, **more)

    def blank(self) -> Transitions:
        """Transitions of zeros."""
        rows = self.time, self.batch
        return Transitions(
            observations=np.zeros((self.time + 1, self.batch, *self.observation), self.observation_dtype),
            actions=np.zeros((*rows, *self.action), self.action_dtype),
            rewards=np.zeros(rows, np.float32),
            terminated=np.zeros(rows, bool),
            truncated=np.zeros(rows, bool),
            valid=np.zeros(rows, bool),
            state=np.zeros((self.batch, self.state), np.float32) if self.state else None,
            behaviour=np.zeros((*rows, self.outputs), np.float32) if self.behaviour else None,
            next_actions=np.zeros((self.batch, *self.action), self.action_dtype) if self.ahead else None,
            returns=None if self.discount is None else np.zeros(rows, np.float32),
        )


class ComputedGradients(NamedTuple):
    """What came of transitions where acting, losses and gradients were one program."""

    gradients: Any
    """[P] float32, where the backend computes."""
    losses: Mapping[str, float]


class PartGradients(NamedTuple):
    """What a worker hands in of a part of a rollout, of whose steps some only reset."""

    gradients: Any
    """[P] float32."""
    valid: int
    """How many steps they are the mean of."""


class Delta(NamedTuple):
    """What a worker's own steps of the optimizer changed, to be added to the global parameters."""

    parameters: Any
    """[P] float32: the parameters after them less those before; in place of statistics, the moments of the
    rollout."""
    optimizer: Mapping[str, Any]
    """The optimizer's state by dtype, as it is after the steps."""


def is_average(dtype: str) -> bool:
    """Whether what an optimizer keeps in this dtype are averages of gradients; the rest are counters."""
    return dtype.startswith(("float", "bfloat"))


class Reused(NamedTuple):
    """A rollout that has been learned from, and will be again."""

    batch: Batch
    statistics: Any
    """The running statistics that its actions were chosen with."""
    version: int
    """Updates in the parameters that acted."""
    uses: int
    """How often it has been learned from."""


class Episode(NamedTuple):
    """One finished episode: the undiscounted sum of its rewards and its number of steps."""

    episode_return: float
    length: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a sampler hands to the learner, and the episodes that finished in it.

    Steps and episodes count once: what is left of a rollout that is used again has none.
    """

    content: Transitions | ComputedGradients | Reused
    """Transitions to learn from; or gradients, where acting and learning are one program; or transitions that
    have been learned from, and will be again."""
    episodes: list[Episode]
    steps: int
    """Environment steps taken, resets not counted."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The global parameters as one worker fetched them."""

    weights: Any
    """[P] float32."""
    version: int
    """Updates applied to the global parameters before this snapshot was taken."""
    steps: int = 0
    """Environment steps that all workers together had taken by then."""
    target: Any = None
    """[P] float32: the parameters of the target network, where there is one."""
    optimizer: Any = None
    """The shared optimizer's state by dtype, where workers make its steps themselves."""


@dataclass(slots=True)
class Report:
    """What one worker has done since its last report."""

    worker: int
    updates: int
    skipped: int
    """Updates that were not applied, because a loss or a gradient was not finite."""
    steps: int
    episodes: list[Episode]
    episode_steps: list[int]
    """For each episode, how many of `steps` had been taken when its rollout ended."""
    losses: Mapping[str, float]
    """Means over the updates of this report; empty where there was none."""
    lag: float
    """Policy lag: updates between a pull and the update that learns from it; mean over the updates."""
