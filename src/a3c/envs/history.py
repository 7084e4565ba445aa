"""The record of what was done in environments: how they began, and the actions since.

With it a crash report says how a fault is reached again, and a checkpoint how the present state is.
"""

from collections import deque
from typing import Any

import numpy as np

WHOLE_STEPS = 4096
"""Vector steps of history kept at least: it may hold what leads to a fault across episodes."""
KEPT_STEPS = 1_000_000
"""Vector steps of history kept at most: a longer episode is not played again."""
KEPT_BYTES = 2**26
SHOWN_ACTIONS = 10
ARRAY_BYTES = 128
"""What a small array takes beside its numbers."""


class ActionHistory:
    """The actions of B copies since their episodes began; while they are few, since the copies were made.

    Args:
        start: Where all of it begins, a plain tree: the `seed` that the environments are made with, the
            `state` that they are then given or None, and the `globals`: the states of the global random
            generators at that point.
        empty: Actions [0, B, …] of the kind that is added.

    Attributes:
        separable: Whether each copy can be played again by itself; see `copies.Copies`.
    """

    def __init__(self, start: dict[str, Any], empty: np.ndarray):
        self._empty, self.separable = empty, False
        self._earlier = empty
        self._actions: deque[np.ndarray] = deque()
        self.begin(start)

    def begin(self, start: dict[str, Any] | None) -> None:
        """Begin anew: the environments are now in the state of `start`; None: it cannot be reached again."""
        self._earlier = self.last(self._empty)  # crash reports show them, whatever is played again
        self.start = start
        self._actions.clear()
        self._bytes = self._dropped = self._steps = 0
        # How many steps had been taken before the first one of each copy's episode.
        self._episode_starts = np.full(self._empty.shape[1], 0 if start else -1)

    def add(self, actions: np.ndarray, ends: np.ndarray) -> bool:
        """Actions [T, B, …] were taken, with `ends` [T, B] of episodes; they are kept as they are.

        Returns whether the history has become so long that `begin` would save memory.
        """
        if self.separable:
            self._episode_starts = self._starts_after(ends)
        self._actions.append(actions)
        self._steps += len(actions)
        self._bytes += actions.nbytes + ARRAY_BYTES
        if long := self._steps - self._dropped >= WHOLE_STEPS or self._bytes >= KEPT_BYTES:
            self._forget()
        return long

    def all(self) -> np.ndarray | None:
        """All actions [N, B, …] since the start; None where some were forgotten."""
        return None if self.start is None else np.concatenate([self._empty, *self._actions])

    def under_way(self) -> list[np.ndarray | None]:
        """Of each copy, the actions [n, …] of its episode; None where they are too many."""
        return self._episodes(np.concatenate([self._empty, *self._actions]), self._episode_starts)

    def go_on(self, episodes: list[np.ndarray | None], waits: np.ndarray) -> None:
        """Begin with what `under_way` returned; `waits`, [B]: which copies the next step resets."""
        self.begin(None)
        longest = max(0 if each is None else len(each) for each in episodes)
        kept = np.zeros((longest, *self._empty.shape[1:]), self._empty.dtype)
        for copy, each in enumerate(episodes):
            if waits[copy]:
                self._episode_starts[copy] = longest + 1
            elif each is not None:
                self._episode_starts[copy] = longest - len(each)
                kept[longest - len(each) :, copy] = each
        self._actions.append(kept)
        self._steps, self._bytes = longest, kept.nbytes + ARRAY_BYTES

    def last(self, actions: np.ndarray) -> np.ndarray:
        """The last few actions, with those [t, B, …] of the rollout under way."""
        return np.concatenate([self._earlier, *self._actions, actions])[-SHOWN_ACTIONS:]

    def replay(
        self, actions: np.ndarray, ends: np.ndarray | None, beginnings: list[Any] | None, copy: int | None
    ) -> dict[str, Any]:
        """What playing a fault again needs, a plain tree.

        Args:
            actions: [t, B, …] of the rollout under way, with that of the fault.
            ends: Of episodes in the steps before the fault, [t - 1, B]; None: there was no step.
            beginnings: How each copy's episode began, where copies are separable.
            copy: Which one failed; None: that is not known.
        """
        kept = np.concatenate([self._empty, *self._actions, actions])
        if self.start is not None:
            return {"compiled": False, "start": self.start, "actions": kept, "steps": len(kept)}
        episodes = []
        if beginnings is not None:
            played = self._episodes(kept, self._starts_after(ends))
            suspects = range(len(beginnings)) if copy is None else [copy]
            episodes = [
                {"copy": each, "beginning": beginnings[each], "actions": played[each]}
                for each in suspects
                if played[each] is not None
            ]
        return {"compiled": False, "start": None, "episodes": episodes, "steps": len(actions)}

    def _starts_after(self, ends: np.ndarray | None) -> np.ndarray:
        """Where episodes begin after steps with these ends: after the step that only resets."""
        if ends is None or not ends.any():
            return self._episode_starts
        last = len(ends) - 1 - ends[::-1].argmax(0)
        return np.where(ends.any(0), self._steps + last + 2, self._episode_starts)

    def _episodes(self, kept: np.ndarray, starts: np.ndarray) -> list[np.ndarray | None]:
        firsts = (starts - self._dropped).tolist()
        return [None if first < 0 else kept[first:, copy] for copy, first in enumerate(firsts)]

    def _forget(self) -> None:
        """Drop what no episode under way needs, and what is too much."""
        kept = self._steps - self._dropped
        if self.separable or kept > KEPT_STEPS or self._bytes > KEPT_BYTES:
            self.start = None
        if self.start is not None:
            return
        needed = int(self._episode_starts.min()) if self.separable else self._steps
        needed = min(max(needed, self._steps - KEPT_STEPS), self._steps - SHOWN_ACTIONS)
        while self._actions and (
            self._dropped + len(self._actions[0]) <= needed
            or (self._bytes > KEPT_BYTES and len(self._actions) > 1)
        ):
            dropped = self._actions.popleft()
            self._dropped += len(dropped)
            self._bytes -= dropped.nbytes + ARRAY_BYTES
