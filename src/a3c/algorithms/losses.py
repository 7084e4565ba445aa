"""Loss terms of actor-critic methods: pure functions on `keras.ops`, time-major `[T, B]` or in one row.

Each is the mean over the steps where `valid` is 1, so that its size depends neither on the length of a
rollout nor on how many episodes ended in it. All are to be minimised.
"""

from typing import Any

from a3c.algorithms.returns import check_shapes
from a3c.utils.lazy_imports import ops


def masked_mean(x: Any, valid: Any) -> Any:
    """Mean of `x` where `valid` is 1; 0 where nothing is valid. Both [T, B]."""
    check_shapes(x=x, valid=valid)
    return ops.sum(x * valid) / ops.maximum(ops.sum(valid), 1.0)


def policy_gradient_loss(log_probs: Any, advantages: Any, valid: Any) -> Any:
    """−E[log π(a|s) · A], the advantage taken as a constant (Mnih et al. 2016, section 4.3).

    Args:
        log_probs: [T, B], log π of the actions taken.
        advantages: [T, B], G − V.
        valid: [T, B], 0 in steps that only reset.
    """
    check_shapes(log_probs=log_probs, advantages=advantages, valid=valid)
    return -masked_mean(log_probs * ops.stop_gradient(advantages), valid)


def value_loss(values: Any, targets: Any, valid: Any) -> Any:
    """E[(G − V)²], the target taken as a constant (Mnih et al. 2016, Algorithm S3). All [T, B]."""
    check_shapes(values=values, targets=targets, valid=valid)
    return masked_mean(ops.square(ops.stop_gradient(targets) - values), valid)


def clipped_surrogate_loss(ratios: Any, advantages: Any, valid: Any, clip_ratio: float) -> Any:
    """−E[min(r·A, clip(r, 1 − ε, 1 + ε)·A)] (Schulman et al. 2017, equation 7).

    Args:
        ratios: r = π(a|s)/μ(a|s) of the actions taken, μ being the policy that took them.
        advantages: A, taken as constants; of the same shape, like `valid`.
        valid: 0 in steps that only reset.
        clip_ratio: ε.
    """
    check_shapes(ratios=ratios, advantages=advantages, valid=valid)
    advantages = ops.stop_gradient(advantages)
    clipped = ops.clip(ratios, 1.0 - clip_ratio, 1.0 + clip_ratio)
    return -masked_mean(ops.minimum(ratios * advantages, clipped * advantages), valid)


def clipped_value_loss(values: Any, before: Any, targets: Any, valid: Any, clip_values: float) -> Any:
    """E[max((G − V)², (G − clip(V, V′ − c, V′ + c))²)]: no gain from values further than c from `before`.

    As in the implementation of Schulman et al. (2017); all of one shape.
    """
    check_shapes(values=values, before=before, targets=targets, valid=valid)
    near = before + ops.clip(values - before, -clip_values, clip_values)
    targets = ops.stop_gradient(targets)
    return masked_mean(ops.maximum(ops.square(targets - values), ops.square(targets - near)), valid)


def normalised(x: Any, valid: Any) -> Any:
    """`x` less its mean and divided by its deviation, both over the steps where `valid` is 1."""
    distance = x - masked_mean(x, valid)
    return distance / (ops.sqrt(masked_mean(ops.square(distance), valid)) + 1e-8)


def explained_variance(values: Any, targets: Any, valid: Any) -> Any:
    """1 − Var(G − V) / Var(G) where `valid` is 1: 1 for perfect values; 0 where all G are the same."""
    of_targets = _variance(targets, valid)
    share = _variance(targets - values, valid) / ops.maximum(of_targets, 1e-8)
    return ops.where(of_targets > 1e-8, 1.0 - share, ops.zeros_like(share))


def _variance(x: Any, valid: Any) -> Any:
    return masked_mean(ops.square(x - masked_mean(x, valid)), valid)


def entropy_loss(entropies: Any, valid: Any) -> Any:
    """−E[H(π)]: adding it to a loss rewards uncertainty, which keeps the policy exploring. Both [T, B]."""
    return -masked_mean(entropies, valid)
