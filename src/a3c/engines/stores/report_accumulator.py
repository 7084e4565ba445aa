"""Adding up what one worker has done until the main process asks: a report of each update costs more."""

from collections.abc import Mapping

from a3c.types import Episode, Report, Rollout


class ReportAccumulator:
    """The updates of one worker since its last report."""

    def __init__(self) -> None:
        self.updates = self.skipped = self.steps = self.lag = 0
        self._losses: dict[str, float] = {}
        self._episodes: list[Episode] = []
        self._episode_steps: list[int] = []

    @property
    def episodes(self) -> int:
        """How many are waiting to be reported."""
        return len(self._episodes)

    def add(self, rollout: Rollout, losses: Mapping[str, float], lag: int, applied: bool) -> None:
        """Take in one rollout, and whether the gradients of it were applied."""
        self.steps += rollout.steps
        for episode in rollout.episodes:
            self._episodes.append(episode)
            self._episode_steps.append(self.steps)
        if not applied:
            self.skipped += 1
            return
        self.updates += 1
        self.lag += lag
        sums = self._losses
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value

    def report(self, worker: int) -> Report:
        """What was taken in, as the report of `worker`."""
        count = max(1, self.updates)
        return Report(
            worker=worker,
            updates=self.updates,
            skipped=self.skipped,
            steps=self.steps,
            episodes=self._episodes,
            episode_steps=self._episode_steps,
            losses={name: value / count for name, value in self._losses.items()},
            lag=self.lag / count,
        )
