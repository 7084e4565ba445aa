"""What workers show between two reports: that they go on, and how new their parameters are."""

import numpy as np

from a3c.engines.stores.memory import LINE

_BEAT, _PULLS, _VERSION = range(3)
WORDS = LINE // 8  # of each worker: no two workers write to the same cache line


class Activity:
    """Three numbers of each worker. Only the worker itself writes them.

    Args:
        words: [workers, WORDS] int64, zeros at first.
    """

    def __init__(self, words: np.ndarray):
        self._words, self._plain = words, words.reshape(-1).data  # the latter is faster for one number

    @classmethod
    def local(cls, workers: int) -> "Activity":
        """That of workers in this process."""
        return cls(np.zeros((workers, WORDS), np.int64))

    def show_life(self, worker: int) -> None:
        """Say that `worker` goes on: it acts, pulls, pushes, or waits for its turn."""
        self._plain[worker * WORDS + _BEAT] += 1

    def pulled(self, worker: int, version: int) -> None:
        """Say that `worker` has pulled parameters that so many updates were made to."""
        plain, own = self._plain, worker * WORDS
        plain[own + _BEAT] += 1
        plain[own + _PULLS] += 1
        plain[own + _VERSION] = version

    def heartbeats(self) -> list[int]:
        """For each worker a number that grows as long as it goes on."""
        return self._words[:, _BEAT].tolist()

    def pulls(self) -> list[int]:
        """For each worker how often it has pulled."""
        return self._words[:, _PULLS].tolist()

    def versions(self) -> list[int]:
        """For each worker how many updates were in the parameters that it pulled last."""
        return self._words[:, _VERSION].tolist()
