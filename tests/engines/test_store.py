"""The shared store: updates are kept whole, reports lose nothing, memory is nameless."""

import fcntl
import functools
import os
import struct
import threading
import time
from types import SimpleNamespace

import harness
import numpy as np
import pytest

from a3c.engines.stores import Limits, StoreState, local, memory, shared
from a3c.engines.stores.local import MOST_WAITING, LocalStore, WorkerStore
from a3c.engines.stores.shared import SharedStore
from a3c.errors import RunError
from a3c.types import Episode, Rollout


def contents(**counts):
    state = {"int32": np.zeros(1, np.int32), "float32": np.zeros(5, np.float32)}
    return StoreState(np.arange(5, dtype=np.float32), state, **counts)


def step(weights, state, gradients, steps):
    new = {"int32": state["int32"] + 1, "float32": state["float32"] + gradients}
    return weights - gradients, new


def make_store(locking=True, before=None, workers=2, largest=8, **limits):
    store = SharedStore(before or contents(), workers, ["loss"], Limits(**limits), locking, largest)
    store.attach(1, step)
    return store


def rollout(steps=10, episodes=()):
    return Rollout(None, list(episodes), steps)  # type: ignore[arg-type]


def push(store, count=1, loss=2.0, **more):
    for _ in range(count):
        store.push(np.ones(5, np.float32), store.pull().version, rollout(**more), {"loss": loss})


@pytest.mark.parametrize("locking", [True, False])
def test_pull_and_push(locking):
    store = make_store(locking)
    snapshot = store.pull()
    assert snapshot is not None
    assert snapshot.version == 0
    np.testing.assert_array_equal(snapshot.weights, np.arange(5))
    for _ in range(3):
        store.push(
            np.ones(5, np.float32), snapshot.version, rollout(episodes=[Episode(1.5, 2)]), {"loss": 2.0}
        )
    assert (store.updates, store.steps) == (3, 30)
    np.testing.assert_array_equal(store.weights(), np.arange(5) - 3)
    np.testing.assert_array_equal(snapshot.weights, np.arange(5), err_msg="a snapshot changed")
    [report] = store.reports()
    assert (report.worker, report.updates, report.steps, report.skipped) == (1, 3, 30, 0)
    assert report.episodes == [Episode(1.5, 2)] * 3
    assert report.episode_steps == [10, 20, 30]
    assert report.losses == {"loss": 2.0}
    assert report.lag == 1.0, "the mean of 0, 1 and 2"
    assert store.reports() == []
    push(store, episodes=[Episode(7.0, 3)])
    [report] = store.reports()
    assert (report.updates, report.episodes, report.episode_steps) == (1, [Episode(7.0, 3)], [10])


@pytest.mark.parametrize("locking", [True, False])
@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_skipped_and_counted(locking, loss):
    store = make_store(locking)
    push(store)
    before = store.weights()
    push(store, 3, loss=loss, episodes=[Episode(1.0, 1)])
    np.testing.assert_array_equal(store.weights(), before)
    assert store.consecutive_skips() == 3
    [report] = store.reports()
    assert (report.updates, report.skipped, report.steps) == (1, 3, 40)
    assert report.losses == {"loss": 2.0}
    push(store)
    assert store.consecutive_skips() == 0


def test_a_frozen_copy_and_the_reports_belong_together():
    store = make_store()
    push(store, 3, episodes=[Episode(1.0, 1)])
    reports, frozen = store.snapshot()
    assert sum(r.updates for r in reports) == frozen.updates == 3
    assert (frozen.steps, frozen.episodes, frozen.skipped) == (30, 3, 0)
    np.testing.assert_array_equal(frozen.weights, store.weights())
    np.testing.assert_array_equal(frozen.optimizer["int32"], [3])
    push(store)
    np.testing.assert_array_equal(frozen.optimizer["int32"], [3], err_msg="the copy changed")


def test_a_store_goes_on_from_what_was_frozen():
    first = make_store()
    push(first, 3, episodes=[Episode(1.0, 1)])
    store = make_store(before=first.snapshot()[1], steps=45)
    assert (store.updates, store.steps) == (3, 30)
    assert store.reports() == [], "what was counted before is not told again"
    push(store)
    assert [r.updates for r in store.reports()] == [1]
    push(store)
    assert store.pull() is None, "the limit counts what came before"
    assert store.snapshot()[1].updates == 5


def test_a_worker_that_takes_anothers_place_goes_on_counting():
    store = make_store()
    push(store, 2, episodes=[Episode(1.0, 1)])
    store.attach(1, step)
    push(store, 1, episodes=[Episode(2.0, 1)])
    [report] = store.reports()
    assert (report.updates, report.steps) == (3, 30)
    assert [e.episode_return for e in report.episodes] == [1.0, 1.0, 2.0]


def test_many_episodes_wrap_around():
    store = make_store()
    for i in range(3):
        episodes = [Episode(float(1000 * i + n), n) for n in range(3000)]
        push(store, episodes=episodes)
        assert store.reports()[0].episodes == episodes


def test_a_master_that_is_late_makes_workers_wait_and_loses_nothing(monkeypatch):
    store = make_store()
    episodes = [Episode(float(n), 1) for n in range(3000)]
    push(store, episodes=episodes)
    waiting, room = threading.Event(), threading.Event()

    def wait(seconds):
        waiting.set()
        assert room.wait(harness.DEADLINE)

    monkeypatch.setattr(shared, "time", SimpleNamespace(sleep=wait))
    pushing = threading.Thread(target=push, args=(store,), kwargs=dict(episodes=episodes))
    pushing.start()
    assert waiting.wait(harness.DEADLINE)
    assert store.updates == 1, "there was no room yet"
    assert store.reports()[0].episodes == episodes
    room.set()
    pushing.join(harness.DEADLINE)
    assert store.reports()[0].episodes == episodes


def test_lock_free_updates_keep_what_others_wrote_meanwhile():
    store = make_store(locking=False)
    plain = store._update

    def slow_update(weights, state, gradients, steps):
        store._banks[0]["weights"][2] += 100  # another worker, in the middle of ours
        return plain(weights, state, gradients, steps)

    store._update = slow_update
    store.push(np.ones(5, np.float32), 0, rollout(), {"loss": 0.0})
    np.testing.assert_array_equal(store.weights(), np.arange(5) - 1 + [0, 0, 100, 0, 0])


def overlapping(weights, state, gradients, steps):
    """The update of a worker that began at zero, as another did."""
    return np.array([1.0, 1.0, 1.0, 5.0, -0.5], np.float32), state


def test_running_statistics_are_written_and_never_added():
    """Two first updates at the same time: the sum of both differences could be a negative variance."""
    first = StoreState(np.zeros(5, np.float32), {"int32": np.zeros(1, np.int32)})
    shared = SharedStore(first, 2, ["loss"], Limits(), locking=False, largest=8, statistics=2)
    shared.attach(1, overlapping)

    def meanwhile(*arguments):
        shared._banks[0]["weights"][:] = overlapping(*arguments)[0]
        return overlapping(*arguments)

    shared._update = meanwhile
    shared.push(np.ones(5, np.float32), 0, rollout(), {"loss": 0.0})
    np.testing.assert_array_equal(shared.weights(), [2.0, 2.0, 2.0, 5.0, -0.5])

    def inside(weights, state, gradients, steps):
        local._update = overlapping
        local.push(0, gradients, 0, rollout(), {"loss": 0.0})
        return overlapping(weights, state, gradients, steps)

    local = LocalStore(first, inside, 2, Limits(), locking=False, statistics=2)
    local.push(1, np.ones(5, np.float32), 0, rollout(), {"loss": 0.0})
    np.testing.assert_array_equal(local.weights(), [2.0, 2.0, 2.0, 5.0, -0.5])


def test_lock_free_threads_lose_no_update_that_they_count(monkeypatch):
    """Between reading the parameters and writing them, no other thread may have written any."""

    def let_others_run(function):
        def call(*arguments):
            result = function(*arguments)
            time.sleep(0)
            return result

        return call

    monkeypatch.setattr(local, "_add", let_others_run(local._add))
    store = LocalStore(contents(), let_others_run(step), 4, Limits(), locking=False)
    gradients, each = np.ones(5, np.float32), 100

    def work(worker):
        for _ in range(each):
            store.push(worker, gradients, 0, rollout(), {"loss": 0.0})

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(harness.DEADLINE)
    assert store.updates == 4 * each
    np.testing.assert_array_equal(store.weights(), np.arange(5) - store.updates)


def test_a_thread_waits_while_the_main_process_is_far_behind():
    """Else a list of episodes of one step would grow faster than it is read."""
    store, waiting, done = LocalStore(contents(), step, 2, Limits(), locking=True), threading.Event(), []
    many = [Episode(1.0, 1)] * MOST_WAITING
    store.push(0, np.ones(5, np.float32), 0, rollout(episodes=many), {"loss": 0.0})
    store.activity.show_life = lambda worker: waiting.set()
    worker = WorkerStore(store, 0, between=functools.partial(store.wait_for_reader, 0))
    thread = threading.Thread(target=lambda: done.append(worker.pull()))
    thread.start()
    assert waiting.wait(harness.DEADLINE)
    assert not done
    assert WorkerStore(store, 1, between=functools.partial(store.wait_for_reader, 1)).pull()
    assert len(store.reports()[0].episodes) == MOST_WAITING
    thread.join(harness.DEADLINE)
    assert done[0].version == 1


def test_lock_free_renewals_of_the_target_are_not_missed():
    """Not by an update that is skipped, nor when another's steps are counted in between."""
    store = SharedStore(contents(), 2, ["loss"], Limits(), locking=False, largest=8, target_steps=25)
    store.attach(1, step)
    push(store, 2)
    np.testing.assert_array_equal(store.pull().target, np.arange(5))
    push(store, 1, loss=float("nan"))
    np.testing.assert_array_equal(
        store.pull().target, np.arange(5) - 2, "renewed at 30 steps, though skipped"
    )
    store._counts._banks[0][0, 0] = 40  # another worker's steps: 70 in all, and nobody saw 50 being passed
    push(store, 1)
    np.testing.assert_array_equal(store.pull().target, np.arange(5) - 3)


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_GETLK"), reason="Linux")
@pytest.mark.parametrize("locking", [True, False])
def test_the_lock_is_held_while_an_update_is_made(locking):
    """Asked by a lock of the open file, since a process is never in the way of its own lock."""
    store, held = make_store(locking), []

    def look(*arguments):
        query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(store._memory.file._fd, fcntl.F_OFD_GETLK, query)
        held.append(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)
        return step(*arguments)

    store._update = look
    push(store)
    assert held == [locking]


def test_a_worker_that_dies_in_an_update_leaves_the_parameters_whole():
    store = make_store(locking=True)

    def dying(*arguments):
        raise KeyboardInterrupt

    store._update = dying
    with pytest.raises(KeyboardInterrupt):
        store.push(np.ones(5, np.float32), 0, rollout(), {"loss": 0.0})
    np.testing.assert_array_equal(store.weights(), np.arange(5))
    assert store.updates == 0


def test_limits_and_stops_end_pulling():
    for limits in (dict(steps=20), dict(episodes=2)):
        store = make_store(**limits)
        for _ in range(2):
            assert store.pull() is not None
            push(store, episodes=[Episode(1.0, 1)])
        assert store.pull() is None
    store = make_store()
    store.stop()
    assert store.pull() is None


def test_nothing_has_a_name_in_shared_memory():
    before = harness.shared_memory()
    store = make_store()
    assert not {name for name in harness.shared_memory() - before if name.startswith("a3c")}
    assert store.pull() is not None


def test_no_room_anywhere_is_said(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory.os, "posix_fallocate", full)
    with pytest.raises(RunError, match="No space left"):
        make_store()
