"""Asynchronous one-step Q-learning (Mnih et al. 2016, section 4.1 and Algorithm 1).

The gradients of the `t_max` steps of a rollout are accumulated before each update, as the algorithm does.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

from a3c.algorithms import n_step_q
from a3c.algorithms.base import Loss

if TYPE_CHECKING:
    from a3c.spaces.distributions import Distribution


def make_loss(settings: n_step_q.Settings, actions: "Distribution") -> Loss:
    """The target of each step is r + γ max Q(s′, ·) of the target network."""
    return functools.partial(n_step_q.loss, gamma=settings.gamma, gae_lambda=0.0)


ALGORITHM = dataclasses.replace(n_step_q.ALGORITHM, name="one-step-q", make_loss=make_loss)
