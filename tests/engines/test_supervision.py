"""Who is blamed, and when: faults against their limit, silent workers, parameters that stop changing."""

from pathlib import Path

import pytest

from a3c.config import Config
from a3c.engines import monitors
from a3c.engines.monitors import HeartbeatMonitor, StalenessMonitor
from a3c.engines.supervision import Event, Faults, Supervisor
from a3c.envs.faults import Fault
from a3c.errors import RunError


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(monitors.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class RunListener:
    def __init__(self):
        self.events = []

    def on_event(self, text):
        self.events.append(text)

    def on_fault(self, worker, fault):
        return Path("crash-1.json")


def test_faults_are_counted_together_and_the_first_traceback_is_kept():
    listener = RunListener()
    faults = Faults(2, listener)
    faults.lost("worker 1 failed", "the first traceback")
    faults.environment(0, Fault("Env-v0 raised ValueError in step 3", "the second traceback", {}))
    assert listener.events[0] == "worker 1 failed; restarted 1/2"
    assert "rebuilt 2/2; see it again with: a3c reproduce crash-1.json" in listener.events[1]
    with pytest.raises(
        RunError, match=r"(?s)worker 2 killed.*--max-restarts 2.*first was.*the first traceback"
    ):
        faults.lost("worker 2 killed (signal 9)")


def test_a_limit_of_none_says_just_what_happened():
    with pytest.raises(RunError) as caught:
        Faults(0, RunListener()).lost("worker 1 failed", "its traceback")
    assert str(caught.value) == "worker 1 failed\nits traceback"


def test_silence_is_told_once_per_doubling_and_then_ended(clock):
    monitor, seen = HeartbeatMonitor(2, 100.0), []
    for second in range(0, 131):
        clock.now = second
        beats = [second, 7]  # worker 1 stands still
        tell, end = monitor.look(beats, [0, 1])
        seen += [("tell", w, round(s)) for w, s in tell.items()] + [
            ("end", w, round(s)) for w, s in end.items()
        ]
        if end:
            break
    assert seen == [("tell", 1, 10), ("tell", 1, 20), ("tell", 1, 40), ("tell", 1, 80), ("end", 1, 100)]


def test_a_suspended_master_accuses_nobody(clock):
    monitor = HeartbeatMonitor(1, 100.0)
    monitor.look([1], [0])
    clock.now = 1.0
    monitor.look([1], [0])
    clock.now = 5_000.0  # the machine slept
    assert monitor.look([1], [0]) == ({}, {})


def test_a_suspended_master_names_nobody_for_old_parameters(clock):
    """Worker 1 has pulled often on its parameters, which is seldom long: only the sleep was."""
    watch = StalenessMonitor(2)
    watch.look([10, 5], [0, 0])
    clock.now = 1.0
    watch.look([20, 5], [50, 60])
    clock.now = 5_000.0
    watch.look([20, 5], [50, 60])
    assert watch.look([30, 5], [100, 120]) == {}


def test_a_suspension_leaves_workers_their_time_to_leave(clock):
    """Though the seconds that they have are over by the clock."""
    store = Store(clock)
    store.finished = True
    jumps, listener = iter([1.0, 5_000.0, 0.1, 0.1]), RunListener()
    listener.on_tick = lambda: None

    class Leaving(WorkerPool):
        left = False

        def listen(self, seconds):
            if (jump := next(jumps, None)) is None:
                self.left = True
                return [Event("left", worker) for worker in range(2)]
            clock.now += jump
            return [Event("ready", worker) for worker in range(2)]

    pool = Leaving(clock, store)
    Supervisor(pool, store, Config(workers=2), listener).run()
    assert pool.left


def test_a_clock_that_goes_backward_takes_nothing_back():
    times = iter([10.0, 11.0, 5.0, 5.5, 4000.0, 4000.25])
    clock = monitors.AwakeClock(lambda: next(times))
    assert [clock() for _ in range(5)] == [1.0, 1.0, 1.5, 2.5, 2.75]


def test_long_rollouts_are_no_silence(clock):
    """Once a rollout of a minute has been seen, ten of them must pass."""
    monitor = HeartbeatMonitor(1, 100.0)
    for second in range(61):
        clock.now = second
        monitor.look([1], [0])
    clock.now += 1
    monitor.look([2], [0])
    ended = None
    for _ in range(1000):
        clock.now += 1
        _, end = monitor.look([2], [0])
        if end:
            ended = end[0]
            break
    assert ended == pytest.approx(600, abs=20)


@pytest.mark.parametrize(
    ("versions", "pulls", "named"),
    [
        pytest.param(lambda t: [10 * t, 5], lambda t: [200 * t, 200 * t], {1}, id="frozen"),
        # It has not pulled since: that is the heartbeat's business.
        pytest.param(lambda t: [10 * t, 5], lambda t: [200 * t, 3], set(), id="only-slow"),
        # As while an agent is judged: all wait, and give signs of life.
        pytest.param(lambda t: [min(10 * t, 50), 40], lambda t: [200 * t, 200 * t], set(), id="held"),
    ],
)
def test_workers_on_frozen_parameters_are_named(clock, versions, pulls, named):
    watch, frozen = StalenessMonitor(2), set()
    for second in range(100):
        clock.now = second
        frozen |= watch.look(versions(second), pulls(second)).keys()
    assert frozen == named


class Store:
    """Two workers' signs of life by the clock."""

    finished = central = False
    beat = staticmethod(lambda worker, now: 0)

    def __init__(self, clock):
        self._clock, self.activity = clock, self

    def heartbeats(self):
        return [self.beat(worker, int(self._clock.now)) for worker in range(2)]

    def pulls(self):
        return [0, 0]

    def versions(self):
        return [0, 0]

    def consecutive_skips(self):
        return 0

    def reports(self):
        return []


class WorkerPool:
    """Workers of which worker 0 holds the lock whenever somebody looks."""

    def __init__(self, clock, store):
        self._clock, self._store, self.ended = clock, store, []

    def start(self, worker, restart):
        self._store.finished = True

    def listen(self, seconds):
        self._clock.now += 1
        return [Event("ready", w) for w in range(2)] if self._clock.now == 1 else []

    def stack_of(self, worker):
        return "somewhere"

    def lock_holder(self):
        return 0

    def terminate(self, worker):
        self.ended.append(worker)


@pytest.mark.parametrize(
    ("beat", "guilty"),
    [
        pytest.param(lambda worker, now: now if worker == 0 else 0, 1, id="the-holder-is-at-work"),
        pytest.param(lambda worker, now: 0, 0, id="the-holder-hangs-as-well"),
        pytest.param(lambda worker, now: worker == 0 and now > 5, 0, id="the-holder-hangs-since-later"),
    ],
)
def test_only_a_silent_worker_is_ended(clock, beat, guilty):
    """Whoever happens to hold the lock when the silence of another is over may be innocent."""
    store = Store(clock)
    store.beat = beat
    pool, listener = WorkerPool(clock, store), RunListener()
    listener.on_tick = lambda: None
    config = Config(workers=2, hang_seconds=50.0)
    Supervisor(pool, store, config, listener).run()
    assert pool.ended == [guilty]
    assert listener.events[-1].startswith(f"worker {guilty} hung for 50 s")
