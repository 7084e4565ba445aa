"""Asynchronous advantage actor-critic (Mnih et al. 2016, section 4.3 and Algorithm S3)."""

from collections.abc import Callable
from typing import Any

from keras import ops

from a3c import distributions
from a3c.losses import entropy_loss, policy_gradient_loss, value_loss
from a3c.returns import lambda_returns
from a3c.types import Transitions

TERMS = ("loss", "policy_loss", "value_loss", "entropy")
"""The names of what `loss` returns beside the scalar."""


def loss(
    apply: Callable[[Any], tuple[Any, Any]],
    transitions: Transitions,
    *,
    gamma: float,
    gae_lambda: float,
    entropy_coefficient: float,
    value_coefficient: float,
) -> tuple[Any, dict[str, Any]]:
    """The loss of one rollout.

    Args:
        apply: Maps observations [N, *O] to policy logits [N, A] and values [N].
        transitions: T steps in B environments.
        gamma: Discount factor γ.
        gae_lambda: 1 for the paper's n-step returns, below 1 for GAE.
        entropy_coefficient: Weight β of the entropy bonus.
        value_coefficient: Weight of the squared value error.

    Returns:
        The scalar to minimise, and its terms by name.
    """
    time, batch = transitions.rewards.shape
    observations = ops.reshape(transitions.observations, (-1, *transitions.observations.shape[2:]))
    logits, values = apply(observations)
    logits = ops.reshape(logits, (time + 1, batch, -1))[:-1]  # none is needed for the last observation
    values = ops.reshape(values, (time + 1, batch))
    valid = ops.cast(transitions.valid, "float32")

    targets = lambda_returns(
        rewards=transitions.rewards,
        discounts=gamma * (1.0 - ops.cast(transitions.terminated, "float32")),
        continues=1.0 - ops.cast(transitions.truncated, "float32"),
        values=ops.stop_gradient(values),
        gae_lambda=gae_lambda,
    )
    policy_term = policy_gradient_loss(
        distributions.log_prob(logits, transitions.actions), targets - values[:-1], valid
    )
    value_term = value_loss(values[:-1], targets, valid)
    entropy_term = entropy_loss(distributions.entropy(logits), valid)
    total = policy_term + value_coefficient * value_term + entropy_coefficient * entropy_term
    return total, dict(zip(TERMS, (total, policy_term, value_term, -entropy_term), strict=True))
