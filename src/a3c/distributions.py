"""The categorical policy as the loss sees it: pure functions on `keras.ops`. For acting see `sampling`."""

from typing import Any

from keras import ops


def log_prob(logits: Any, actions: Any) -> Any:
    """log π(a|s). `logits`: [..., A]; `actions`: [...] integers. Returns [...]."""
    chosen = ops.one_hot(
        actions, logits.shape[-1], dtype=logits.dtype
    )  # faster than indexing, also its gradient
    return ops.sum(chosen * ops.log_softmax(logits), axis=-1)


def entropy(logits: Any) -> Any:
    """H(π) = −Σ π log π in nats, from 0 (certain) to log A (uniform). `logits`: [..., A]. Returns [...]."""
    log_probs = ops.log_softmax(logits)
    return -ops.sum(ops.exp(log_probs) * log_probs, axis=-1)
