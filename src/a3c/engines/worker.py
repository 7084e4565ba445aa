"""The worker: the six steps of asynchronous actor-critic, the same for every engine and algorithm.

Engines differ only in how this function is started and in what kind of store it is handed
(Mnih et al. 2016, Algorithm S3: one actor-learner thread).
"""

from collections.abc import Callable, Mapping
from typing import Any

from a3c.engines.stores import Store
from a3c.envs.vector_sampler import Sampler
from a3c.types import Rollout, Snapshot

Learn = Callable[[Snapshot, Rollout], tuple[Any, Mapping[str, float], Rollout | None]]


def work(store: Store, sampler: Sampler, learn: Learn) -> None:
    """Train until the store says that training is over.

    Args:
        store: Holds the global parameters and the shared optimizer.
        sampler: Acts in this worker's environments.
        learn: Maps parameters and a rollout to what is pushed, losses, and what is left of the rollout where
            it is to be used again (PPO), else None. What is pushed are gradients [P]. Where workers make the
            optimizer's steps themselves (PPO), it is the `Delta` of these steps. Where a central learner
            computes the gradients (IMPALA), it is the transitions. Where the environment is compiled,
            `collect` has computed the gradients already, and `learn` only hands them over.
    """
    while (snapshot := store.pull()) is not None:  # 1  fetch the global parameters
        rollout = sampler.collect(snapshot)  # 2  act for t_max steps
        while rollout is not None and snapshot is not None:
            contribution, losses, rest = learn(snapshot, rollout)  # 3  losses  4  gradients
            store.push(contribution, snapshot.version, rollout, losses)  # 5  update the global network
            rollout = rest  # 6  repeat: with what is left of the rollout, else from the beginning
            snapshot = None if rest is None else store.pull(again=True)
