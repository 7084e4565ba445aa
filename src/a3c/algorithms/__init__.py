"""One short file per algorithm: its loss. The worker cycle is the same for all.

A loss is `loss(apply, transitions) -> (scalar, {name: scalar})`, where `apply(observations [N, *O])` gives
policy parameters [N, A] and values [N] under the weights being differentiated.
"""

import functools
from collections.abc import Callable
from typing import Any

from a3c.config import Config


def figure_names() -> tuple[str, ...]:
    """The names of the losses that each update brings, and of the gradient's norm, which backends add."""
    from a3c.algorithms import a3c

    return (*a3c.TERMS, "gradient_norm")


def make_loss(config: Config) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """The loss of the algorithm that `config` names, with its coefficients filled in."""
    from a3c.algorithms import a3c

    return functools.partial(
        a3c.loss,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        entropy_coefficient=config.entropy_coefficient,
        value_coefficient=config.value_coefficient,
    )
