"""The store of the process engine: parameters, optimizer state and counts in memory that all workers map.

An update under the lock writes the idle one of two banks, counts included. Then it turns to that bank by
writing a single number, the generation. So a worker that dies half-way leaves neither torn parameters nor an
update that counts but was not made; and the kernel releases its lock.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from a3c.engines.stores import Limits, StoreState, crosses_period, is_finite
from a3c.engines.stores.activity import WORDS, Activity
from a3c.engines.stores.counts import SharedCounts, counts_spec
from a3c.engines.stores.memory import LINE, SharedArrays
from a3c.types import Report, Rollout, Snapshot, is_average

T = TypeVar("T")
_STOPPED, _GENERATION, _PAUSED, _PERIOD = range(4)  # of the header; the generation's last bit is the bank
_STEPS, _UPDATES, _EPISODES = range(3)  # of what `SharedCounts.totals` and `counted` tell
_TARGET = "target"  # the name of its vector in a bank, beside the dtypes of the optimizer's


class SharedStore:
    """Global parameters, optimizer state and counts, shared by the workers and the main process.

    Made by the main process, passed to each worker at its start, and completed there by `attach`.

    Args:
        contents: What to begin with.
        workers: Number of workers.
        figures: The names of the losses that workers push.
        limits: When training is over.
        locking: Update under the lock; else lock-free, as Hogwild and the paper do.
        largest: The most episodes that may end in one rollout.
        target_steps: Steps between renewals of the target network; None: there is none.
        statistics: How many numbers behind the parameters are running statistics, see `normalisation`.
        lends_optimizer: Whether workers make the optimizer's steps themselves, and so pull its state as well.
    """

    central = False

    def __init__(
        self,
        contents: StoreState,
        workers: int,
        figures: Sequence[str],
        limits: Limits,
        locking: bool,
        largest: int,
        target_steps: int | None = None,
        statistics: int = 0,
        lends_optimizer: bool = False,
    ):
        self._workers, self._figures, self._limits, self._locking = workers, tuple(figures), limits, locking
        self._target_steps, self._lends_optimizer = target_steps, lends_optimizer
        self._parameters = contents.weights.size - statistics
        vectors = {"weights": contents.weights, **contents.optimizer}
        if target_steps is not None:
            vectors[_TARGET] = contents.weights if contents.target is None else contents.target
        self._names = tuple(vectors)
        self._memory = SharedArrays(
            {
                "header": ("<i8", (LINE // 8,)),
                "activity": ("<i8", (workers, WORDS)),
                **counts_spec(workers, figures, largest),
                **{(bank, name): (v.dtype.str, v.shape) for bank in range(2) for name, v in vectors.items()},
            }
        )
        self._view()
        for name, vector in vectors.items():
            self._banks[0][name][:] = vector
        self._counts.begin((contents.steps, contents.updates, contents.episodes, contents.skipped))
        self._header[_PERIOD] = 0 if target_steps is None else contents.steps // target_steps

    def _view(self) -> None:
        """Give names to the parts of the memory."""
        self._header = self._memory["header"].data
        self.activity = Activity(self._memory["activity"])
        self._counts = SharedCounts(self._memory, self._workers, self._figures, self._locking)
        self._banks = [{name: self._memory[bank, name] for name in self._names} for bank in range(2)]

    def __getstate__(self) -> dict[str, Any]:
        views = ("_header", "activity", "_counts", "_banks")
        return {name: value for name, value in self.__dict__.items() if name not in views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._view()

    def client(self) -> "SharedStore":
        """The store as workers see it, each to be given its number by `attach`."""
        return self

    @property
    def place(self) -> str:
        """The directory whose file system holds the memory."""
        return self._memory.file.place

    # -- the worker's side ----------------------------------------------------------------------------------

    def attach(self, worker: int, update: Callable[..., tuple[Any, dict]]) -> None:
        """Make this copy the store of `worker`, going on where one of that number stopped."""
        self._update, self._worker = update, worker
        with self._guard():
            self._counts.attach(worker, self._active())

    def pull(self, again: bool = False) -> Snapshot | None:
        """The current parameters, or None when training is over. Waits while training is paused."""
        header = self._header
        while header[_PAUSED] and not header[_STOPPED]:
            self.show_life()
            time.sleep(0.001)
        with self._guard():
            active = self._active()
            steps, updates, episodes = self._counts.totals(active)
            if header[_STOPPED] or (self._limits.reached(steps, episodes) and not again):
                return None
            weights, optimizer = self._banks[active]["weights"].copy(), None
            if self._lends_optimizer:
                optimizer = {name: vector.copy() for name, vector in self._read()[1].items()}
            target = None if self._target_steps is None else self._banks[active][_TARGET].copy()
        self.activity.pulled(self._worker, int(updates))
        return Snapshot(weights, int(updates), int(steps), target, optimizer)

    def show_life(self) -> None:
        """See `Store.show_life`."""
        self.activity.show_life(self._worker)

    def push(self, contribution: Any, version: int, rollout: Rollout, losses: Mapping[str, float]) -> None:
        """Change the shared parameters by `contribution`, if the losses are finite, and count."""
        self.show_life()
        finite, counts = is_finite(losses), self._counts
        counts.publish(rollout, time.sleep)
        counts.add(rollout, losses, finite)
        with self._guard():
            if finite:
                counts.add_lag(version, self._active())
            (self._replace if self._locking else self._add)(contribution if finite else None)
        if not self._locking:
            counts.write_in_place()

    def _replace(self, contribution: Any) -> None:
        """Write the idle bank and turn to it; without a contribution, the parameters stay as they are."""
        generation = self._header[_GENERATION]
        active, idle = generation % 2, 1 - generation % 2
        weights, state = self._read()
        steps = self._counts.totals(active)[_STEPS]
        if contribution is not None:
            weights, state = self._update(weights, state, contribution, steps)
        bank = self._banks[idle]
        bank["weights"][:] = weights
        if self._target_steps is not None:
            after = steps + self._counts.unwritten_steps(active)
            renewed = crosses_period(self._target_steps, steps, after)
            bank[_TARGET][:] = weights if renewed else self._banks[active][_TARGET]
        for name, vector in state.items():
            bank[name][:] = vector
        self._counts.write(active, idle)
        self._header[_GENERATION] = generation + 1

    def _add(self, contribution: Any) -> None:
        """Add the difference in place, so that what others write meanwhile is kept, as in Hogwild."""
        if contribution is not None:
            self._add_update(contribution)
        if self._target_steps is not None:
            steps = self._counts.totals(0)[_STEPS] + self._counts.unwritten_steps(0)
            period = int(steps // self._target_steps)
            if period > self._header[_PERIOD]:  # also if another's steps came in between
                self._header[_PERIOD] = period
                self._banks[0][_TARGET][:] = self._banks[0]["weights"]

    def _add_update(self, contribution: Any) -> None:
        weights, state = self._read()
        weights, state = weights.copy(), {name: vector.copy() for name, vector in state.items()}
        steps = self._counts.totals(0)[_STEPS]
        new_weights, new_state = self._update(weights, state, contribution, steps)
        shared, end, new_weights = self._banks[0], self._parameters, np.asarray(new_weights)
        shared["weights"][:end] += new_weights[:end] - weights[:end]
        shared["weights"][end:] = new_weights[end:]  # see `local._add`
        for name, vector in new_state.items():
            if is_average(name):  # see `local._add`
                shared[name][:] = vector
            else:
                shared[name] += np.asarray(vector) - state[name]

    # -- both sides -----------------------------------------------------------------------------------------

    def _guard(self) -> contextlib.AbstractContextManager[None]:
        return self._memory.file if self._locking else contextlib.nullcontext()

    def _active(self) -> int:
        return self._header[_GENERATION] % 2

    def _read(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        state = dict(self._banks[self._active()])
        state.pop(_TARGET, None)
        return state.pop("weights"), state

    # -- the main process's side ----------------------------------------------------------------------------

    def _look(self, copy: Callable[[int], T]) -> T:
        """`copy` of the active bank while nobody writes to it, without the lock: its holder may be hanging.

        An update turns to the other bank first, and only the next one writes here.
        """
        while True:
            generation = self._header[_GENERATION]
            copied = copy(generation % 2)
            if self._header[_GENERATION] == generation or not self._locking:
                return copied

    def _counted(self) -> list[int]:
        return self._counts.counted(self._look(self._counts.copy))

    @property
    def updates(self) -> int:
        """Updates applied so far, by all workers."""
        return self._counted()[_UPDATES]

    @property
    def steps(self) -> int:
        """Environment steps taken so far, by all workers."""
        return self._counted()[_STEPS]

    @property
    def finished(self) -> bool:
        """Whether every later pull returns None."""
        counted = self._counted()
        return bool(self._header[_STOPPED]) or self._limits.reached(counted[_STEPS], counted[_EPISODES])

    def learner_step(self, seconds: float) -> None:
        """Nothing: workers make the updates."""

    def weights(self) -> np.ndarray:
        """A copy of the global parameters: [P] float32."""
        return self._look(lambda active: self._banks[active]["weights"].copy())

    def reports(self) -> list[Report]:
        """What workers have done since the last call, at most one report of each."""
        return self._counts.reports(self._look(self._counts.copy))

    def snapshot(self) -> tuple[list[Report], StoreState]:
        """A copy of everything, and the reports that lead up to exactly this moment."""
        counts, bank = self._look(
            lambda active: (
                self._counts.copy(active),
                {name: vector.copy() for name, vector in self._banks[active].items()},
            )
        )
        weights, target, counted = bank.pop("weights"), bank.pop(_TARGET, None), self._counts.counted(counts)
        return self._counts.reports(counts), StoreState(weights, bank, *counted, target=target)

    def consecutive_skips(self) -> int:
        """The most updates in a row that one worker has had to skip, up to now."""
        return self._look(self._counts.most_skips)

    def lock_holder(self) -> int | None:
        """The process id of the worker that is updating now."""
        return self._memory.file.holder()

    def stop(self) -> None:
        """Make every later pull of every worker return None."""
        self._header[_STOPPED] = 1

    def pause(self, paused: bool) -> None:
        """Make every later pull of every worker wait, or let them go on."""
        self._header[_PAUSED] = paused
