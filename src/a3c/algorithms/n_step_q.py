"""Asynchronous n-step Q-learning (Mnih et al. 2016, section 4.2 and Algorithm S2)."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a3c.algorithms import base
from a3c.algorithms.base import Algorithm, Loss
from a3c.algorithms.losses import value_loss
from a3c.algorithms.returns import lambda_returns
from a3c.settings import setting
from a3c.types import Outputs, Transitions
from a3c.utils.lazy_imports import ops

if TYPE_CHECKING:
    from a3c.spaces.distributions import Distribution

TERMS = ("loss", "action_value")


@dataclass(frozen=True, kw_only=True)
class Settings(base.Settings):
    """What algorithms that learn the values of actions have beside the settings of all."""

    target_steps: int = setting(
        10_000, "steps of all workers between renewals of the target network.", at_least=1
    )
    epsilon_steps: int | None = setting(
        None,
        "steps over which ε falls from 1 to its final value, drawn for each environment every 10,000 steps; "
        "default: a twentieth of max-steps, as in the paper.",
        at_least=0,
    )


def loss(
    outputs: Outputs,
    transitions: Transitions,
    target: Outputs | None,
    *,
    gamma: float,
    gae_lambda: float,
) -> tuple[Any, dict[str, Any]]:
    """The squared error of the values of the actions taken.

    Each step bootstraps from max Q(s, ·) of the target network, as far ahead as the rollout reaches.

    Args:
        outputs: The values of all actions for all observations.
        transitions: T steps in B environments.
        target: The same from the target network.
        gamma: Discount factor γ.
        gae_lambda: 1 for the paper's n-step returns; below 1 they are mixed as in Peng's Q(λ); 0: one step.

    Returns:
        The scalar to minimise, and it and the mean value of the actions taken by name.
    """
    assert target is not None
    targets = lambda_returns(
        rewards=transitions.rewards,
        discounts=gamma * (1.0 - ops.cast(transitions.terminated, "float32")),
        continues=1.0 - ops.cast(transitions.truncated, "float32"),
        values=ops.max(target.parameters, axis=-1),
        gae_lambda=gae_lambda,
    )
    return squared_error(outputs, transitions, targets)


def squared_error(outputs: Outputs, transitions: Transitions, targets: Any) -> tuple[Any, dict[str, Any]]:
    """E[(target − Q(s, a))²] over the actions taken, the target taken as a constant."""
    taken = value_of(outputs.parameters[:-1], transitions.actions)
    valid = ops.cast(transitions.valid, "float32")
    error = value_loss(taken, targets, valid)
    mean = ops.sum(taken * valid) / ops.maximum(ops.sum(valid), 1.0)
    return error, dict(zip(TERMS, (error, mean), strict=True))


def value_of(action_values: Any, actions: Any) -> Any:
    """Q(s, a): of `action_values` [..., A] those of `actions` [...]."""
    # No product: a value of −∞ rules an action out.
    chosen = ops.one_hot(actions, action_values.shape[-1], dtype="bool")
    return ops.sum(ops.where(chosen, action_values, ops.zeros_like(action_values)), axis=-1)


def make_loss(settings: Settings, actions: "Distribution") -> Loss:
    """`loss` with the coefficients of the settings."""
    return functools.partial(loss, gamma=settings.gamma, gae_lambda=settings.gae_lambda)


ALGORITHM = Algorithm(
    name="n-step-q",
    terms=TERMS,
    settings=Settings,
    defaults=dict(
        envs_per_worker=16,
        t_max=20,
        learning_rate=1e-3,
        gae_lambda=1.0,
        normalise_observations=False,
        normalise_returns=False,
        global_clipnorm=0.5,
    ),
    label="Q and Sarsa",
    make_loss=make_loss,
    values=True,
)
