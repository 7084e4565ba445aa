"""The store of the serial engine: plain arrays of this process, one worker, no locks."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from a3c.types import Report, Rollout, Snapshot


class LocalStore:
    """Global parameters and optimizer state held by this process.

    Args:
        weights: [P] float32, the first parameters.
        state: The optimizer's first state.
        update: `f(weights, state, gradients) -> (weights, state)`.
        place: Puts the parameters where the backend computes.
        max_steps: Environment steps after which `pull` returns None; None: no limit.
        max_episodes: The same for finished episodes.
    """

    def __init__(
        self,
        weights: np.ndarray,
        state: dict[str, np.ndarray],
        update: Callable[..., tuple[Any, dict]],
        place: Callable[[Any], Any],
        max_steps: int | None,
        max_episodes: int | None,
    ):
        self._weights, self._state = place(weights), state
        self._update = update
        self._max_steps = math.inf if max_steps is None else max_steps
        self._max_episodes = math.inf if max_episodes is None else max_episodes
        self._stopped = False
        self.on_report: Callable[[Report], None] = lambda report: None
        self.updates = 0
        self.steps = 0
        self.episodes = 0

    def pull(self) -> Snapshot | None:
        """The current parameters, or None when training is over."""
        if self._stopped or self.steps >= self._max_steps or self.episodes >= self._max_episodes:
            return None
        return Snapshot(self._weights, self.updates)

    def push(
        self, gradients: np.ndarray, version: int, rollout: Rollout, losses: Mapping[str, float]
    ) -> None:
        """Apply `gradients` and report."""
        lag = self.updates - version
        self._weights, self._state = self._update(self._weights, self._state, gradients)
        episodes, steps = rollout.episodes, rollout.steps
        self.updates += 1
        self.steps += steps
        self.episodes += len(episodes)
        self.on_report(Report(0, 1, steps, episodes, [steps] * len(episodes), losses, lag))

    def weights(self) -> np.ndarray:
        """A copy of the parameters: [P] float32."""
        return np.array(self._weights)

    def stop(self) -> None:
        """Make every later pull return None."""
        self._stopped = True

    def hold(self, held: bool) -> None:
        """Nothing to hold: the master runs between two updates of the only worker."""
