"""IMPALA (Espeholt et al. 2018): actors hand rollouts to a learner, which corrects their age by V-trace."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a3c.algorithms import base
from a3c.algorithms.base import Algorithm, Loss, entropy_coefficient
from a3c.algorithms.losses import entropy_loss, masked_mean, policy_gradient_loss, value_loss
from a3c.algorithms.returns import vtrace
from a3c.settings import setting
from a3c.types import Outputs, Transitions
from a3c.utils.lazy_imports import ops

if TYPE_CHECKING:
    from a3c.spaces.distributions import Distribution

TERMS = ("loss", "policy_loss", "value_loss", "entropy", "importance")


@dataclass(frozen=True, kw_only=True)
class Settings(base.Settings):
    """What IMPALA has beside the settings of all algorithms."""

    rho_bar: float = setting(1.0, "where importance weights are cut off.", above=0)
    c_bar: float = setting(1.0, "where they are cut off along the trace.", above=0)
    rollouts_per_update: int | None = setting(
        None, "rollouts that the learner batches; default: as many as workers.", at_least=1
    )
    queue_rollouts: int | None = setting(
        None,
        "rollouts that may wait for the learner, shared out among the workers, one each at least; a worker "
        "whose share is full waits; default: twice as many as it batches.",
        at_least=1,
    )


def loss(
    outputs: Outputs,
    transitions: Transitions,
    target: Outputs | None,
    *,
    actions: "Distribution",
    gamma: float,
    gae_lambda: float,
    rho_bar: float,
    c_bar: float,
    entropy_coefficient: float,
    value_coefficient: float,
) -> tuple[Any, dict[str, Any]]:
    """The loss of a batch of rollouts (section 4.2).

    Args:
        outputs: Policy parameters and values of all observations under the present parameters.
        transitions: T steps in B environments, with the policy parameters that acted.
        target: None; there is no target network.
        actions: The distribution that the parameters are of.
        gamma: Discount factor γ.
        gae_lambda: λ of remark 2 there: 1 for the paper's targets.
        rho_bar: ρ̄, where the importance weights of single steps are cut off.
        c_bar: c̄, the same for those along the trace.
        entropy_coefficient: Weight of the entropy bonus.
        value_coefficient: Weight of the squared value error.

    Returns:
        The scalar to minimise, and its terms by name; `importance` is the mean of π/μ before it is cut off.
    """
    parameters, values = outputs.parameters[:-1], outputs.values
    valid = ops.cast(transitions.valid, "float32")
    log_probs = actions.log_prob(parameters, transitions.actions)
    behaviour = actions.log_prob(transitions.behaviour, transitions.actions)
    ratios = ops.exp(ops.stop_gradient(log_probs) - behaviour)
    targets, advantages = vtrace(
        ratios=ratios,
        rewards=transitions.rewards,
        discounts=gamma * (1.0 - ops.cast(transitions.terminated, "float32")),
        continues=1.0 - ops.cast(transitions.truncated, "float32"),
        values=ops.stop_gradient(values),
        rho_bar=rho_bar,
        c_bar=c_bar,
        gae_lambda=gae_lambda,
    )
    policy_term = policy_gradient_loss(log_probs, advantages, valid)
    value_term = value_loss(values[:-1], targets, valid)
    entropy_term = entropy_loss(actions.entropy(parameters), valid)
    total = policy_term + value_coefficient * value_term + entropy_coefficient * entropy_term
    terms = (total, policy_term, value_term, -entropy_term, masked_mean(ratios, valid))
    return total, dict(zip(TERMS, terms, strict=True))


def make_loss(settings: Settings, actions: "Distribution") -> Loss:
    """`loss` with the coefficients of the settings."""
    return functools.partial(
        loss,
        actions=actions,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        rho_bar=settings.rho_bar,
        c_bar=settings.c_bar,
        entropy_coefficient=entropy_coefficient(settings, actions),
        value_coefficient=settings.value_coefficient,
    )


ALGORITHM = Algorithm(
    name="impala",
    terms=TERMS,
    settings=Settings,
    table="a3c",
    make_loss=make_loss,
    behaviour=True,
    gathers="rollouts",
)
