"""The shared store: updates are kept whole, reports lose nothing, memory is nameless."""

import os

import numpy as np
import pytest

from a3c.errors import RunError
from a3c.store import shared
from a3c.store.shared import SharedStore
from a3c.types import Episode, Rollout


def make_store(locking=True, max_steps=None, max_episodes=None):
    weights = np.arange(5, dtype=np.float32)
    state = {"int32": np.zeros(1, np.int32), "float32": np.zeros(5, np.float32)}
    store = SharedStore(weights, state, 2, max_steps, max_episodes, locking)
    reports = []

    def update(weights, state, gradients):
        new = {"int32": state["int32"] + 1, "float32": state["float32"] + gradients}
        return weights - gradients, new

    store.attach(1, update, reports.append)
    return store, reports


def rollout(steps=10, episodes=()):
    return Rollout(None, list(episodes), steps)  # type: ignore[arg-type]


@pytest.mark.parametrize("locking", [True, False])
def test_pull_and_push(locking):
    store, reports = make_store(locking)
    snapshot = store.pull()
    assert snapshot is not None
    assert snapshot.version == 0
    np.testing.assert_array_equal(snapshot.weights, np.arange(5))
    for _ in range(3):
        store.push(
            np.ones(5, np.float32), snapshot.version, rollout(episodes=[Episode(1.0, 2)]), {"loss": 2.0}
        )
    store.flush()
    assert (store.updates, store.steps) == (3, 30)
    np.testing.assert_array_equal(store.weights(), np.arange(5) - 3)
    np.testing.assert_array_equal(snapshot.weights, np.arange(5), err_msg="a snapshot changed")
    assert sum(r.updates for r in reports) == 3
    assert sum(r.steps for r in reports) == 30
    assert sum(len(r.episodes) for r in reports) == 3
    assert reports[0].losses == {"loss": 2.0}
    assert reports[0].episode_steps[0] == 10
    assert reports[-1].episode_steps[-1] == reports[-1].steps


def test_lock_free_updates_keep_what_others_wrote_meanwhile():
    store, _ = make_store(locking=False)
    plain = store._update

    def slow_update(weights, state, gradients):
        store._banks[0]["weights"][2] += 100  # another worker, in the middle of ours
        return plain(weights, state, gradients)

    store._update = slow_update
    store.push(np.ones(5, np.float32), 0, rollout(), {})
    np.testing.assert_array_equal(store.weights(), np.arange(5) - 1 + [0, 0, 100, 0, 0])


def test_a_worker_that_dies_in_an_update_leaves_the_parameters_whole():
    store, _ = make_store(locking=True)

    def dying(weights, state, gradients):
        raise KeyboardInterrupt

    store._update = dying
    with pytest.raises(KeyboardInterrupt):
        store.push(np.ones(5, np.float32), 0, rollout(), {})
    np.testing.assert_array_equal(store.weights(), np.arange(5))
    assert store.updates == 0


def test_limits_and_stops_end_pulling():
    store, _ = make_store(max_steps=10)
    assert store.pull() is not None
    store.push(np.ones(5, np.float32), 0, rollout(10), {})
    assert store.pull() is None
    store, _ = make_store(max_episodes=2)
    store.push(np.ones(5, np.float32), 0, rollout(episodes=[Episode(1.0, 1)]), {})
    assert store.pull() is not None
    store.push(np.ones(5, np.float32), 0, rollout(episodes=[Episode(1.0, 1)]), {})
    assert store.pull() is None
    store, _ = make_store()
    store.stop()
    assert store.pull() is None


def test_nothing_has_a_name_in_shared_memory():
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    store, _ = make_store()
    after = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    assert not {name for name in after - before if name.startswith("a3c")}
    assert store.pull() is not None


def test_no_room_anywhere_is_said(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared.os, "posix_fallocate", full)
    with pytest.raises(RunError, match="No space left"):
        make_store()
