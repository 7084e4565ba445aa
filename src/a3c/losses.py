"""Loss terms of actor-critic methods: pure functions on `keras.ops`, time-major `[T, B]`.

Each is the mean over the steps where `valid` is 1, so that its size depends neither on the length of a
rollout nor on how many episodes ended in it. All are to be minimised.
"""

from typing import Any

from keras import ops

from a3c.returns import check_shapes


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


def entropy_loss(entropies: Any, valid: Any) -> Any:
    """−E[H(π)]: adding it to a loss rewards uncertainty, which keeps the policy exploring. Both [T, B]."""
    return -masked_mean(entropies, valid)
