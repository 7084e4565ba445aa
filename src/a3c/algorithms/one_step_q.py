"""Asynchronous one-step Q-learning (Mnih et al. 2016, section 4.1 and Algorithm 1).

The gradients of the `t_max` steps of a rollout are accumulated before each update, as the algorithm does.
"""

import functools

from a3c.algorithms import Loss, n_step_q
from a3c.config import Config
from a3c.spaces.distributions import Distribution

TERMS = n_step_q.TERMS


def make_loss(config: Config, actions: Distribution) -> Loss:
    """The target of each step is r + γ max Q(s′, ·) of the target network."""
    return functools.partial(n_step_q.loss, gamma=config.gamma, gae_lambda=0.0)
