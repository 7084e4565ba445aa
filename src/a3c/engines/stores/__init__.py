"""Where the global parameters are kept. The worker cycle sees two methods, whatever is behind them.

`local.py`: in this process. `shared.py`: in memory that worker processes share. `central.py`: with a learner
in the main process, to which workers hand in what they have. `factory.py` makes the one that a run needs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from a3c.engines.stores.activity import Activity
from a3c.types import Report, Rollout, Snapshot


class Store(Protocol):
    """The global parameters and the shared optimizer, as a worker sees them."""

    def pull(self, again: bool = False) -> Snapshot | None:
        """The current global parameters, or None when training is over.

        Args:
            again: To learn from the same rollout once more. Past a limit of steps or episodes a rollout is
                still used to its end, except by a central learner, which stops at once.
        """
        ...

    def show_life(self) -> None:
        """Say that this worker goes on, in the middle of a rollout."""
        ...

    def push(self, contribution: Any, version: int, rollout: Rollout, losses: Mapping[str, float]) -> None:
        """Change the global parameters by what this worker has learned, and count the rollout.

        Where one of the losses is not finite, the parameters stay as they are. That update is skipped, and
        counted as skipped.

        Args:
            contribution: Gradients [P] for the shared optimizer; or a `Delta`, where workers make the
                optimizer's steps themselves; or `Transitions`, where a central learner computes gradients.
            version: Updates in the parameters that it was computed with.
            rollout: What was learned from.
            losses: By name, with the norm of the gradient.
        """
        ...


@dataclass(frozen=True)
class StoreState:
    """All that a store holds at one moment, between two updates."""

    weights: np.ndarray
    """[P] float32."""
    optimizer: dict[str, np.ndarray]
    """The shared optimizer's state: one flat vector per dtype."""
    steps: int = 0
    updates: int = 0
    episodes: int = 0
    skipped: int = 0
    """Updates that were not applied because a loss or a gradient was not finite."""
    target: np.ndarray | None = None
    """[P] float32: the parameters of the target network, where there is one."""

    def as_tree(self) -> dict[str, Any]:
        """As a plain tree."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class StoreControl(Protocol):
    """The same store as the main process sees it."""

    central: bool
    """Whether a learner in the main process makes the updates, one by `learner_step`; else workers do."""

    @property
    def activity(self) -> Activity:
        """What workers show of themselves."""
        ...

    def learner_step(self, seconds: float) -> None:
        """Make an update of what workers have handed in, or wait for that so long; only where `central`."""
        ...

    def weights(self) -> np.ndarray:
        """A copy of the global parameters: [P] float32."""
        ...

    def reports(self) -> list[Report]:
        """What workers have done since the last call."""
        ...

    def snapshot(self) -> tuple[list[Report], StoreState]:
        """A copy of everything, and the reports that lead up to exactly this moment."""
        ...

    def consecutive_skips(self) -> int:
        """The most updates in a row that one worker has had to skip, up to now."""
        ...

    def stop(self) -> None:
        """Make every later pull return None."""
        ...

    def pause(self, paused: bool) -> None:
        """Make every later pull wait, or let them go on."""
        ...

    @property
    def finished(self) -> bool:
        """Whether every later pull returns None."""
        ...


@dataclass(frozen=True)
class Limits:
    """How many environment steps and episodes of all workers together end the training."""

    steps: float = math.inf
    episodes: float = math.inf

    def reached(self, steps: float, episodes: float) -> bool:
        """Whether training is over after so many."""
        return steps >= self.steps or episodes >= self.episodes


def crosses_period(target_steps: int | None, before: float, after: float) -> bool:
    """Whether the target network takes over the parameters between `before` and `after` steps."""
    return target_steps is not None and after // target_steps > before // target_steps


def is_finite(losses: Mapping[str, float]) -> bool:
    """Whether none of the losses is infinite or NaN: only then may gradients be applied."""
    total = sum(losses.values())
    return total - total == 0.0  # NaN otherwise; a third of the time of asking each
