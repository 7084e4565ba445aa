"""Asynchronous proximal policy optimisation: A3C whose workers use each rollout several times.

The child of Mnih et al. (2016) and PPO (Schulman et al. 2017). The worker's cycle is that of A3C with its
inner half repeated: a pass over the rollout takes it in parts of `minibatch` steps, each a step of the
optimizer, and what the whole pass changed is added to the global parameters. The ratio is always taken
against the policy that acted, so that neither the passes before nor what other workers did meanwhile goes
unnoticed.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a3c.algorithms import base
from a3c.algorithms.base import Algorithm, Reuse, entropy_coefficient
from a3c.algorithms.losses import (
    clipped_surrogate_loss,
    clipped_value_loss,
    entropy_loss,
    explained_variance,
    masked_mean,
    normalised,
    value_loss,
)
from a3c.algorithms.returns import lambda_returns
from a3c.settings import setting
from a3c.types import Batch, Outputs, Transitions
from a3c.utils.lazy_imports import ops

if TYPE_CHECKING:
    from a3c.spaces.distributions import Distribution

TERMS = (
    "loss",
    "policy_loss",
    "value_loss",
    "entropy",
    "kl",
    "clip_fraction",
    "explained_variance",
)
_LARGEST = 20.0  # of log ratios: e to that power still squares to a number
_CONTINUOUS_ENTROPY = 0.005  # weight of the bonus, as several passes let the deviation shrink fast


@dataclass(frozen=True, kw_only=True)
class PassSettings(base.Settings):
    """What PPO has beside the settings of all algorithms."""

    passes: int = setting(10, "how often each rollout is used.", at_least=1)
    minibatch: int = setting(
        128, "transitions of each step of the optimizer; with a memory, whole sequences.", at_least=2
    )
    clip_ratio: float = setting(
        0.2, "how far the probability of an action may move from that of the policy that acted.", above=0
    )
    clip_values: float | None = setting(
        None, "how far values may move from those of the policy that acted; None: any.", above=0
    )


@dataclass(frozen=True, kw_only=True)
class Settings(PassSettings):
    """Those, and a limit that only workers which make their passes by themselves can keep."""

    kl_limit: float | None = setting(
        None,
        "mean KL divergence from the policy that acted, at which no further pass is made of a rollout; "
        "None: none.",
        above=0,
    )


def estimate(
    outputs: Outputs, transitions: Transitions, *, actions: "Distribution", gamma: float, gae_lambda: float
) -> Batch:
    """What a rollout says of the actions taken: advantages by GAE (Schulman et al. 2016), once for all uses.

    Args:
        outputs: Policy parameters and values of all observations under the parameters that acted.
        transitions: T steps in B environments, with the policy parameters that acted.
        actions: The distribution that the parameters are of.
        gamma: Discount factor γ.
        gae_lambda: λ.
    """
    targets = lambda_returns(
        rewards=transitions.rewards,
        discounts=gamma * (1.0 - ops.cast(transitions.terminated, "float32")),
        continues=1.0 - ops.cast(transitions.truncated, "float32"),
        values=outputs.values,
        gae_lambda=gae_lambda,
    )
    values, valid = outputs.values[:-1], ops.cast(transitions.valid, "float32")
    starts = None
    if transitions.state is not None:  # an episode begins after a step that only resets
        starts = ops.concatenate([ops.zeros_like(valid[:1]), 1.0 - valid[:-1]], 0)
    return Batch(
        observations=transitions.observations[:-1],
        actions=transitions.actions,
        log_probs=actions.log_prob(transitions.behaviour, transitions.actions),
        advantages=targets - values,
        targets=targets,
        values=values,
        valid=valid,
        state=transitions.state,
        starts=starts,
    )


def loss(
    parameters: Any,
    values: Any,
    part: Batch,
    *,
    actions: "Distribution",
    clip_ratio: float,
    clip_values: float | None,
    entropy_coefficient: float,
    value_coefficient: float,
    normalise: bool = True,
) -> tuple[Any, dict[str, Any]]:
    """The loss of a part of a rollout (Schulman et al. 2017, equation 9).

    Args:
        parameters: Policy parameters [N, A] under the present parameters of the network.
        values: [N].
        part: The part.
        actions: The distribution that the parameters are of.
        clip_ratio: ε, how far the ratio counts.
        clip_values: How far values count from those of the estimate; None: as far as they are.
        entropy_coefficient: Weight of the entropy bonus.
        value_coefficient: Weight of the squared value error.
        normalise: Whether advantages have mean 0 and deviation 1 in each part.

    Returns:
        The scalar to minimise, and its terms by name. `kl` is the mean of (r − 1) − log r, which estimates
        the divergence of the policy from the one that acted; `clip_fraction` tells how often r was clipped.
    """
    valid = part.valid
    log_ratios = ops.clip(actions.log_prob(parameters, part.actions) - part.log_probs, -_LARGEST, _LARGEST)
    ratios = ops.exp(log_ratios)
    advantages = normalised(part.advantages, valid) if normalise else part.advantages
    policy_term = clipped_surrogate_loss(ratios, advantages, valid, clip_ratio)
    if clip_values is None:
        value_term = value_loss(values, part.targets, valid)
    else:
        value_term = clipped_value_loss(values, part.values, part.targets, valid, clip_values)
    entropy_term = entropy_loss(actions.entropy(parameters), valid)
    total = policy_term + value_coefficient * value_term + entropy_coefficient * entropy_term
    terms = (
        total,
        policy_term,
        value_term,
        -entropy_term,
        masked_mean(ratios - 1.0 - log_ratios, valid),
        masked_mean(ops.cast(ops.abs(ratios - 1.0) > clip_ratio, "float32"), valid),
        explained_variance(values, part.targets, valid),
    )
    return total, dict(zip(TERMS, terms, strict=True))


def make_reuse(settings: Settings, actions: "Distribution") -> Reuse:
    """`estimate` and `loss` with the coefficients of the settings, and how often a rollout is used."""
    return Reuse(
        estimate=functools.partial(
            estimate, actions=actions, gamma=settings.gamma, gae_lambda=settings.gae_lambda
        ),
        loss=functools.partial(
            loss,
            actions=actions,
            clip_ratio=settings.clip_ratio,
            clip_values=settings.clip_values,
            entropy_coefficient=entropy_coefficient(settings, actions, _CONTINUOUS_ENTROPY),
            value_coefficient=settings.value_coefficient,
        ),
        passes=settings.passes,
        minibatch=settings.minibatch,
        kl_limit=settings.kl_limit,
    )


ALGORITHM = Algorithm(
    name="appo",
    terms=TERMS,
    settings=Settings,
    defaults=dict(envs_per_worker=None, t_max=128, learning_rate=3e-4, global_clipnorm=0.5),
    make_reuse=make_reuse,
    behaviour=True,
)
