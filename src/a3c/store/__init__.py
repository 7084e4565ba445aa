"""Where the global parameters live. The worker cycle sees two methods, whatever is behind them.

`local.py`: in this process, one worker. `shared.py`: in memory shared by processes.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from a3c.types import Rollout, Snapshot


class Store(Protocol):
    """The global parameters and the shared optimizer, as a worker sees them."""

    def pull(self) -> Snapshot | None:
        """The current global parameters, or None when training is over."""
        ...

    def push(
        self, gradients: np.ndarray, version: int, rollout: Rollout, losses: Mapping[str, float]
    ) -> None:
        """Apply `gradients` [P], computed on the parameters of `version`, with the shared optimizer."""
        ...


class Master(Protocol):
    """The same store as the master sees it."""

    def weights(self) -> np.ndarray:
        """A copy of the global parameters: [P] float32."""
        ...

    def stop(self) -> None:
        """Make every later pull return None."""
        ...

    def hold(self, held: bool) -> None:
        """Make every later pull wait, or let them go on."""
        ...
