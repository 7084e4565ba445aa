"""Steps 3 and 4 of the worker cycle where each rollout is used several times: PPO's half of APPO.

What a worker knows between two uses travels with the rollout, so that the workers of a process share one
learner, and a run goes on from a checkpoint as if it had never stopped.
"""

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from a3c.algorithms import reuse
from a3c.algorithms.base import Reuse
from a3c.engines.stores import is_finite
from a3c.networks.functional import Network
from a3c.types import Delta, PartGradients, Reused, Rollout, Shapes, Snapshot, Transitions

UsePart = Callable[[Any, Any, np.ndarray, Snapshot], tuple[Any, Mapping[str, float]]]
"""Maps weights, a batch, the order of its parts and the snapshot to what is pushed and losses."""


class ReuseLearner:
    """Learns from a rollout and says what is left of it; see `worker.Learn`.

    Args:
        network: What learns.
        shapes: Of a rollout.
        how: How an algorithm uses rollouts again.
        estimate: The compiled `reuse.estimate`: maps weights and transitions to a batch and moments.
        use: What is made of a pass over the batch, or of a part of it.
        by_part: Whether each use is of a part; else it is of all parts in turn.
        seed: Of the order of parts, with the version of the parameters that acted.
        first_state: Of the optimizer, to compile with; None: its steps are not made here.
    """

    def __init__(
        self,
        network: Network,
        shapes: Shapes,
        how: Reuse,
        estimate: Callable[[Any, Transitions], tuple[Any, Any]],
        use: UsePart,
        by_part: bool,
        seed: int,
        first_state: Any = None,
    ):
        self._first_state = first_state
        self._statistics, self._shapes, self._how = network.normaliser.size, shapes, how
        self._estimate, self._use, self._seed = estimate, use, seed
        parts, _ = reuse.count_parts(shapes, how.minibatch)
        self._by_part, self._parts_each = by_part, parts if by_part else 1  # uses in a pass
        self._last = how.passes * self._parts_each - 1

    def __call__(
        self, snapshot: Snapshot, rollout: Rollout
    ) -> tuple[Any, Mapping[str, float], Rollout | None]:
        """Use the rollout once more."""
        known, moments = self._known(snapshot, rollout)
        weights = self._with_statistics(snapshot.weights, known.statistics)
        contribution, losses = self._use(weights, known.batch, self._order(known), snapshot)
        if self._statistics:
            contribution = self._with_moments(contribution, moments)
        if self._by_part:
            contribution = PartGradients(contribution, self._count_valid(known))
        rest = None if self._is_over(known, losses) else Rollout(known._replace(uses=known.uses + 1), [], 0)
        return contribution, losses, rest

    def _is_over(self, known: Reused, losses: Mapping[str, float]) -> bool:
        """Whether nothing more is to be learned from a rollout."""
        if known.uses == self._last:
            return True
        if self._by_part:  # in step, where all workers make as many uses
            return False
        limit = self._how.kl_limit
        # A pass that is not finite is skipped, and so would be the next one over the same numbers.
        return not is_finite(losses) or (limit is not None and losses["kl"] > limit)

    def warm_up(self, weights: Any) -> None:
        """Compile everything, off the training clock."""
        self(Snapshot(weights, 0, optimizer=self._first_state), Rollout(self._shapes.blank(), [], 0))

    def _known(self, snapshot: Snapshot, rollout: Rollout) -> tuple[Reused, Any]:
        """The rollout as a batch, and the moments that its first use adds to the running statistics."""
        found = rollout.content
        if isinstance(found, Reused):
            return found, np.zeros(self._statistics, np.float32)  # a count of 0 adds nothing
        assert isinstance(found, Transitions)
        batch, moments = self._estimate(snapshot.weights, found)
        statistics = snapshot.weights[len(snapshot.weights) - self._statistics :]
        return Reused(batch, statistics, snapshot.version, 0), moments

    def _with_statistics(self, weights: Any, statistics: Any) -> Any:
        """Normalise as when the rollout was made, else the policy that acted would seem another one."""
        if not self._statistics:
            return weights
        return _joined(weights[: len(weights) - self._statistics], statistics)

    def _with_moments(self, contribution: Any, moments: Any) -> Any:
        if isinstance(contribution, Delta):
            changed = contribution.parameters
            changed = changed[: len(changed) - self._statistics]
            return contribution._replace(parameters=_joined(changed, moments))
        return _joined(contribution, moments)

    def _count_valid(self, known: Reused) -> int:
        """How many of the steps of this part do not only reset."""
        valid, index = np.asarray(known.batch.valid), self._order(known)
        return int((valid[index] if known.batch.starts is None else valid[:, index]).sum())

    def _order(self, known: Reused) -> np.ndarray:
        """What the parts of this use take."""
        number, part = divmod(known.uses, self._parts_each)
        order = reuse.draw_parts(self._shapes, self._how.minibatch, (self._seed, known.version, number))
        return order[part] if self._by_part else order


def _joined(first: Any, second: Any) -> Any:
    """Two vectors in a row, where the first one lies."""
    if hasattr(first, "__array_namespace__"):
        return first.__array_namespace__().concat([first, second])
    return np.concatenate([np.asarray(first), np.asarray(second)])


def make_reuse_learner(
    framework: ModuleType,
    network: Network,
    shapes: Shapes,
    how: Reuse,
    optimizer: Any,
    global_clipnorm: float | None,
    share: Callable[[int], Any],
    eager: bool,
    seed: int,
) -> ReuseLearner:
    """A learner by the selected backend.

    Args:
        framework: The backend's module.
        network: What learns.
        shapes: Of a rollout.
        how: How an algorithm uses rollouts again.
        optimizer: Makes a step for each part; None: gradients are handed over, part by part.
        global_clipnorm: Largest gradient norm of a tower; None: no clipping.
        share: How far the optimizer goes of its way after so many steps, None: all of it.
        eager: Run uncompiled.
        seed: Of the parts' order.
    """
    # The optimizer first: tracing leaves marks on variables that were never initialised.
    make = _use_part if optimizer is None else functools.partial(_use_pass, optimizer=optimizer, share=share)
    use, state = make(framework, network, how.loss, global_clipnorm, eager)
    estimate = framework.compile_function(functools.partial(reuse.estimate, network, how.estimate), eager)
    return ReuseLearner(network, shapes, how, estimate, use, optimizer is None, seed, state)


def _use_pass(
    framework: ModuleType,
    network: Network,
    loss: Callable,
    global_clipnorm: float | None,
    eager: bool,
    optimizer: Any,
    share: Callable[[int], Any],
) -> tuple[UsePart, Any]:
    """A pass over a rollout, each part a step of the worker's own; and the optimizer's first state."""
    run, state = framework.compile_pass(network, loss, optimizer, global_clipnorm, eager)

    def use(weights: Any, batch: Any, order: np.ndarray, snapshot: Snapshot) -> tuple[Any, Any]:
        return run(weights, snapshot.optimizer, batch, order, share(snapshot.steps))

    return use, state


def _use_part(
    framework: ModuleType, network: Network, loss: Callable, global_clipnorm: float | None, eager: bool
) -> tuple[UsePart, None]:
    """The gradient of a part of a rollout."""
    gradient = framework.compile_part_gradient(network, loss, global_clipnorm, eager)

    def use(weights: Any, batch: Any, index: np.ndarray, snapshot: Snapshot) -> tuple[Any, Any]:
        return gradient(weights, batch, index)

    return use, None
