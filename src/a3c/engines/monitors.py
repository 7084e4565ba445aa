"""Whether workers go on: signs of life, parameters that stop changing, and a clock without suspensions."""

import time
from collections.abc import Callable, Iterable, Sequence

_FROZEN = 30.0  # seconds on the same parameters, while others update them, that are told
_LONGEST_LOOK = 1.0  # seconds between two looks that count: more, and the process was not running
_MANY = 50  # pulls within these seconds: it does not only act slowly


class AwakeClock:
    """The seconds in which this process was running, as far as somebody looked.

    Workers are suspended together with the main process, such as by a closed laptop or SIGSTOP. So a longer
    time between two looks says nothing about them.

    Args:
        clock: Tells the seconds; it may jump.
    """

    def __init__(self, clock: Callable[[], float] = lambda: time.monotonic()):
        self._clock, self._last, self._awake = clock, clock(), 0.0

    def __call__(self) -> float:
        """Look at it, often."""
        now = self._clock()
        self._awake += min(max(0.0, now - self._last), _LONGEST_LOOK)
        self._last = now
        return self._awake


class HeartbeatMonitor:
    """Which workers do not go on, by the seconds that this process was awake itself.

    Args:
        workers: How many.
        limit: Seconds after which a worker counts as hanging; a tenth of it is told.
        clock: Tells the seconds; default: those of a clock of its own, since the first look.
    """

    def __init__(self, workers: int, limit: float, clock: Callable[[], float] | None = None):
        self._limit, self._clock = limit, clock or AwakeClock()
        self._beats = [-1] * workers
        self._silent = [0.0] * workers
        self._next_told = [limit / 10] * workers
        self._longest = 0.0  # silence that ended well
        self._last: float | None = None

    def look(self, beats: Sequence[int], present: Iterable[int]) -> tuple[dict[int, float], dict[int, float]]:
        """Workers to tell of and workers to end, each with the seconds of their silence."""
        now = self._clock()
        passed = 0.0 if self._last is None else now - self._last
        self._last = now
        tell, end = {}, {}
        patience = max(1.0, 10 * self._longest / self._limit)
        for worker in present:
            if beats[worker] != self._beats[worker]:
                if self._beats[worker] >= 0:
                    self._longest = max(self._longest, self._silent[worker])
                self.forget(worker)
                self._beats[worker] = beats[worker]
                continue
            self._silent[worker] += passed
            if (silent := self._silent[worker]) >= self._limit * patience:
                end[worker] = silent
            elif silent >= self._next_told[worker] * patience:
                self._next_told[worker] *= 2
                tell[worker] = silent
        return tell, end

    def silence(self, worker: int) -> float:
        """Seconds since this worker last showed that it goes on, as far as `look` was called."""
        return self._silent[worker]

    def forget(self, worker: int) -> None:
        """Begin anew with this worker, as with one just started."""
        self._beats[worker], self._silent[worker], self._next_told[worker] = -1, 0.0, self._limit / 10


class StalenessMonitor:
    """Workers that go on acting on parameters which others have long changed.

    Args:
        workers: How many.
        clock: Tells the seconds.
    """

    def __init__(self, workers: int, clock: Callable[[], float] | None = None):
        self._clock = clock or AwakeClock()
        self._versions = [-1] * workers
        self._pulls = [0] * workers
        self._since = [self._clock()] * workers
        self._newest, self._moved = -1, 0.0

    def look(self, versions: Sequence[int], pulls: Sequence[int]) -> dict[int, float]:
        """Workers that pull again and again but get nothing new, with the seconds since they last did."""
        now, newest = self._clock(), max(versions)
        if newest != self._newest:
            self._newest, self._moved = newest, now
        going_on = now - self._moved < _FROZEN / 2  # training is not held, while an agent is judged
        frozen = {}
        for worker, version in enumerate(versions):
            idle = now - self._since[worker]
            if version != self._versions[worker] or version == newest:
                self._versions[worker], self._pulls[worker], self._since[worker] = version, pulls[worker], now
            elif going_on and idle >= _FROZEN and pulls[worker] >= self._pulls[worker] + _MANY:
                frozen[worker] = idle
                self._since[worker], self._pulls[worker] = now, pulls[worker]
        return frozen
