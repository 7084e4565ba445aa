"""Where the global parameters live. The worker cycle sees two methods, whatever is behind them.

`local.py`: in this process. `shared.py`: in memory shared by processes. `central.py`: in the hands of the
master, to whom workers hand in what they have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from a3c.types import Report, Rollout, Snapshot


class Store(Protocol):
    """The global parameters and the shared optimizer, as a worker sees them."""

    def pull(self, again: bool = False) -> Snapshot | None:
        """The current global parameters, or None when training is over.

        `again`: to learn from the same rollout once more, not to act. At a limit of steps or episodes that
        goes on to the rollout's end, but for a learner in the middle, which stops with the update that
        reached it.
        """
        ...

    def show_life(self) -> None:
        """Tell whoever watches that this worker goes on, in the middle of a rollout."""
        ...

    def push(
        self, gradients: np.ndarray, version: int, rollout: Rollout, losses: Mapping[str, float]
    ) -> None:
        """Apply `gradients` [P], computed on the parameters of `version`, with the shared optimizer.

        Where workers make the optimizer's steps themselves, add the `Delta` that those led to.

        Where one of `losses`, which include the norm of the gradient, is not finite, nothing is applied: the
        update is skipped and counted as such.
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


class Master(Protocol):
    """The same store as the master sees it."""

    central: bool
    """Whether the master makes the updates, in turns; else the workers do."""

    def learner_step(self, seconds: float) -> None:
        """Make an update of what workers have handed in, or wait for that so long; only where `central`."""
        ...

    def weights(self) -> np.ndarray:
        """A copy of the global parameters: [P] float32."""
        ...

    def reports(self) -> list[Report]:
        """What workers have done since the last call, at most one report of each."""
        ...

    def snapshot(self) -> tuple[list[Report], StoreState]:
        """A copy of everything, and the reports that lead up to exactly this moment."""
        ...

    def heartbeats(self) -> list[int]:
        """For each worker a number that grows as it acts, pulls and pushes."""
        ...

    def pulls(self) -> list[int]:
        """For each worker how often it has pulled."""
        ...

    def versions(self) -> list[int]:
        """For each worker how many updates were in the parameters that it pulled last."""
        ...

    def consecutive_skips(self) -> int:
        """The most updates in a row that one worker has had to skip, up to now."""
        ...

    def stop(self) -> None:
        """Make every later pull return None."""
        ...

    def pause(self, held: bool) -> None:
        """Make every later pull wait, or let them go on."""
        ...

    @property
    def finished(self) -> bool:
        """Whether every later pull returns None."""
        ...


def crosses_period(target_steps: int | None, before: float, after: float) -> bool:
    """Whether the target network takes over the parameters between `before` and `after` steps."""
    return target_steps is not None and after // target_steps > before // target_steps


def is_finite(losses: Mapping[str, float]) -> bool:
    """Whether every one of `losses` is a number: only then are gradients fit to be applied."""
    total = sum(losses.values())
    return total - total == 0.0  # NaN for what is not finite; a third of the time of asking each
