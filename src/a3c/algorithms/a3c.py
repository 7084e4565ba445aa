"""Asynchronous advantage actor-critic (Mnih et al. 2016, section 4.3 and Algorithm S3)."""

import functools
from typing import TYPE_CHECKING, Any

from a3c.algorithms.base import Algorithm, Loss, Settings, entropy_coefficient
from a3c.algorithms.losses import entropy_loss, policy_gradient_loss, value_loss
from a3c.algorithms.returns import lambda_returns
from a3c.types import Outputs, Transitions
from a3c.utils.lazy_imports import ops

if TYPE_CHECKING:
    from a3c.spaces.distributions import Distribution

TERMS = ("loss", "policy_loss", "value_loss", "entropy")


def loss(
    outputs: Outputs,
    transitions: Transitions,
    target: Outputs | None,
    *,
    actions: "Distribution",
    gamma: float,
    gae_lambda: float,
    entropy_coefficient: float,
    value_coefficient: float,
) -> tuple[Any, dict[str, Any]]:
    """The loss of one rollout.

    Args:
        outputs: Policy parameters and values of all observations.
        transitions: T steps in B environments.
        target: None; there is no target network.
        actions: The distribution that the parameters are of.
        gamma: Discount factor γ.
        gae_lambda: 1 for the paper's n-step returns, below 1 for GAE.
        entropy_coefficient: Weight β of the entropy bonus.
        value_coefficient: Weight of the squared value error.

    Returns:
        The scalar to minimise, and its terms by name.
    """
    parameters, values = outputs.parameters[:-1], outputs.values
    valid = ops.cast(transitions.valid, "float32")
    targets = lambda_returns(
        rewards=transitions.rewards,
        discounts=gamma * (1.0 - ops.cast(transitions.terminated, "float32")),
        continues=1.0 - ops.cast(transitions.truncated, "float32"),
        values=ops.stop_gradient(values),
        gae_lambda=gae_lambda,
    )
    log_probs = actions.log_prob(parameters, transitions.actions)
    policy_term = policy_gradient_loss(log_probs, targets - values[:-1], valid)
    value_term = value_loss(values[:-1], targets, valid)
    entropy_term = entropy_loss(actions.entropy(parameters), valid)
    total = policy_term + value_coefficient * value_term + entropy_coefficient * entropy_term
    return total, dict(zip(TERMS, (total, policy_term, value_term, -entropy_term), strict=True))


def make_loss(settings: Settings, actions: "Distribution") -> Loss:
    """`loss` with the coefficients of the settings."""
    return functools.partial(
        loss,
        actions=actions,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        entropy_coefficient=entropy_coefficient(settings, actions),
        value_coefficient=settings.value_coefficient,
    )


ALGORITHM = Algorithm(name="a3c", terms=TERMS, make_loss=make_loss)
