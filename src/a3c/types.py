"""What flows between the parts: transitions, rollouts, snapshots, reports. NumPy only, no Keras.

The one legend of the axes used everywhere:

    T  time steps of one rollout (`t_max`)          B  environments of one worker (`envs_per_worker`)
    A  number of discrete actions                   P  number of trainable parameters
    O  the shape of one observation

Arrays are time-major, `[T, B, ...]`. In step `t`, `actions[t]` was taken on seeing `observations[t]` and
led to `rewards[t]`, `terminated[t]`, `truncated[t]` and `observations[t + 1]`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Act = Callable[[np.ndarray], np.ndarray]
"""Maps observations [N, *O] float32 to policy logits [N, A]."""

Policy = Callable[[Any], Act]
"""Maps weights [P] to the policy that has them; what is to be done once for many steps is done here."""


class Transitions(NamedTuple):
    """T consecutive steps in B environments, with next-step autoreset.

    After an episode ends in step `t`, `observations[t + 1]` is the true last observation of that episode,
    and step `t + 1` only resets the environment: its action is ignored, its reward is 0, and `valid` is
    False there, so that no loss sees it.
    """

    observations: np.ndarray
    """[T + 1, B, *O] float32; the last row is what the next rollout starts from."""
    actions: np.ndarray
    """[T, B] int32, counted from 0 whatever the action space's own start is."""
    rewards: np.ndarray
    """[T, B] float32."""
    terminated: np.ndarray
    """[T, B] bool: the environment reached a terminal state, whose value is 0 by definition."""
    truncated: np.ndarray
    """[T, B] bool: the episode was cut, for example by a time limit; the state still has a value."""
    valid: np.ndarray
    """[T, B] bool: False in the steps that only reset."""


def blank_transitions(time: int, batch: int, shape: tuple[int, ...]) -> Transitions:
    """Transitions of zeros, for T steps in B environments with observations of `shape`."""
    return Transitions(
        observations=np.zeros((time + 1, batch, *shape), np.float32),
        actions=np.zeros((time, batch), np.int32),
        rewards=np.zeros((time, batch), np.float32),
        terminated=np.zeros((time, batch), bool),
        truncated=np.zeros((time, batch), bool),
        valid=np.zeros((time, batch), bool),
    )


class Learned(NamedTuple):
    """What came of transitions where acting, losses and gradients were one program."""

    gradients: Any
    """[P] float32, where the backend computes."""
    losses: Mapping[str, float]


class Episode(NamedTuple):
    """One finished episode: the undiscounted sum of its rewards and its number of steps."""

    episode_return: float
    length: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a sampler hands to the learner: the transitions, and the episodes that finished in them."""

    transitions: Transitions | Learned
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
    """Policy lag: updates by other workers between this worker's pull and push; mean over the updates."""
