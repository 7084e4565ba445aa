"""Sums over episodes that go on across rollouts: returns, lengths, discounted rewards. Called by samplers."""

import numpy as np

from a3c.types import Episode


class EpisodeLog:
    """Sums rewards and steps of B episodes under way, across rollouts."""

    def __init__(self, batch: int):
        self._returns = np.zeros(batch, np.float64)  # float32 sums would drift over long episodes
        self.steps = np.zeros(batch, np.int64)
        """[B]: all steps of each copy, resets not counted."""
        self._began = np.zeros(batch, np.int64)  # how many of them had been taken where the episode began

    @property
    def under_way(self) -> np.ndarray:
        """[B]: how many steps the episodes under way have."""
        return self.steps - self._began

    def extend(self, rewards: np.ndarray, ends: np.ndarray, valid: np.ndarray) -> list[Episode]:
        """Add T steps, all arrays [T, B], and return the episodes that ended in them, in order of time."""
        returns, steps = rewards.cumsum(axis=0, dtype=np.float64), valid.cumsum(axis=0)
        returns += self._returns
        steps += self.steps
        episodes = []
        earned, began = np.zeros(self._returns.shape), self._began  # sums where the episodes began
        for t, b in zip(*(where.tolist() for where in ends.nonzero()), strict=True):
            total, step = returns[t, b], steps[t, b]
            episodes.append(Episode(float(total - earned[b]), int(step - began[b])))
            earned[b], began[b] = total, step
        self._returns, self.steps = returns[-1] - earned, steps[-1]
        return episodes

    def drop(self, copies: np.ndarray) -> None:
        """Forget the episodes under way of these copies, [B] bool."""
        self._returns[copies], self._began[copies] = 0.0, self.steps[copies]

    def state(self) -> dict[str, np.ndarray]:
        """A plain tree, for `restore`."""
        return {"returns": self._returns.copy(), "steps": self.steps.copy(), "began": self._began.copy()}

    def restore(self, tree: dict[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""
        self._returns, self.steps = tree["returns"].copy(), tree["steps"].copy()
        self._began = tree["began"].copy()


def sum_discounted(
    rewards: np.ndarray, valid: np.ndarray, discount: float, before: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """Discounted sums of rewards so far, R ← γR + r, which begin anew where a step is not valid.

    Args:
        rewards: [T, B].
        valid: [T, B], 1 or 0.
        discount: γ.
        before: The sums [B] that the last rollout came to.
        out: Is given the sums after each step, [T, B].

    Returns the last ones, [B].
    """
    for t, (earned, counts) in enumerate(zip(rewards, valid, strict=True)):
        out[t] = before = (discount * before + earned) * counts
    return before
