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
        learn: Maps parameters and a rollout to gradients [P], losses, and what is left of the rollout where
            it is to be used again (PPO), else None. Where the environment is compiled, `collect` has done
            this in the same program, and `learn` hands over what it found. Where a learner in the middle
            does it, `learn` hands over the transitions (IMPALA).
    """
    while (snapshot := store.pull()) is not None:  # 1  fetch the global parameters
        rollout = sampler.collect(snapshot)  # 2  act for t_max steps
        while rollout is not None and snapshot is not None:
            gradients, losses, rest = learn(snapshot, rollout)  # 3  losses  4  gradients
            store.push(gradients, snapshot.version, rollout, losses)  # 5  update the global network
            rollout = rest  # 6  repeat: with what is left of the rollout, else from the beginning
            snapshot = None if rest is None else store.pull(again=True)
