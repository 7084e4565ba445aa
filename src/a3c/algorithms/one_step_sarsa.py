"""Asynchronous one-step Sarsa (Mnih et al. 2016, section 4.2): Q-learning of the policy that is played."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from a3c.algorithms import n_step_q
from a3c.algorithms.base import Loss
from a3c.algorithms.n_step_q import squared_error, value_of
from a3c.types import Outputs, Transitions
from a3c.utils.lazy_imports import ops

if TYPE_CHECKING:
    from a3c.spaces.distributions import Distribution


def loss(
    outputs: Outputs, transitions: Transitions, target: Outputs | None, *, gamma: float
) -> tuple[Any, dict[str, Any]]:
    """The squared error against r + γ Q(s′, a′) of the target network, a′ being the action taken next.

    Args:
        outputs: The values of all actions for all observations.
        transitions: T steps in B environments, and the actions that follow them.
        target: The values from the target network.
        gamma: Discount factor γ.
    """
    assert target is not None
    following = ops.concatenate([transitions.actions[1:], transitions.next_actions[None]], 0)
    discounts = gamma * (1.0 - ops.cast(transitions.terminated, "float32"))
    targets = transitions.rewards + discounts * value_of(target.parameters[1:], following)
    return squared_error(outputs, transitions, targets)


def make_loss(settings: n_step_q.Settings, actions: "Distribution") -> Loss:
    """`loss` with the coefficients of the settings."""
    return functools.partial(loss, gamma=settings.gamma)


ALGORITHM = dataclasses.replace(n_step_q.ALGORITHM, name="one-step-sarsa", make_loss=make_loss, ahead=True)
