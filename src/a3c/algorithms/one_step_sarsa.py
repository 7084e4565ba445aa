"""Asynchronous one-step Sarsa (Mnih et al. 2016, section 4.2): Q-learning of the policy that is played."""

import functools
from typing import Any

from keras import ops

from a3c.algorithms import Loss, n_step_q
from a3c.algorithms.n_step_q import squared_error, value_of
from a3c.config import Config
from a3c.spaces.distributions import Distribution
from a3c.types import Outputs, Transitions

TERMS = n_step_q.TERMS


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


def make_loss(config: Config, actions: Distribution) -> Loss:
    """`loss` with the coefficients of the settings."""
    return functools.partial(loss, gamma=config.gamma)
