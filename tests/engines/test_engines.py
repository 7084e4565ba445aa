"""One contract for every engine, locked and lock-free, on both backends."""

import dataclasses
import os
import signal
import time
from pathlib import Path

import gymnasium as gym
import harness
import keras
import numpy as np
import pytest

import a3c.backend
from a3c import algorithms, engines, envs, networks
from a3c.config import Config
from a3c.engines import serial, supervision
from a3c.engines.spec import WorkerSpec
from a3c.engines.stores import StoreState
from a3c.engines.supervision import Diverged, HeartbeatMonitor
from a3c.engines.updates import make_update
from a3c.errors import RunError, SettingError
from a3c.networks.functional import Network
from a3c.networks.parameters import parameters_of
from a3c.training.metrics import TrainingMetrics
from parts import Still

pytestmark = pytest.mark.both_backends

the_same_everywhere = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="no backend has a part in it: once is enough"
)
COMPILED = "jax/CartPole-v1"
ENGINES = {
    "serial": dict(engine="serial", workers=1),
    "serial, compiled": dict(engine="serial", workers=1, env_id=COMPILED),
    "threads, locking": dict(engine="threads", workers=2, locking=True),
    "threads, lock-free": dict(engine="threads", workers=2, locking=False),
    "threads, compiled": dict(engine="threads", workers=2, env_id=COMPILED),
    "processes, locking": dict(engine="processes", workers=2, locking=True),
    "processes, lock-free": dict(engine="processes", workers=2, locking=False),
    "processes, compiled": dict(engine="processes", workers=2, env_id=COMPILED),
    "processes, in step": dict(engine="processes", workers=2, algorithm="a2c"),
    "processes, learner": dict(engine="processes", workers=2, algorithm="impala"),
    "threads, in step": dict(engine="threads", workers=2, algorithm="a2c", env_id=COMPILED),
    "threads, learner": dict(engine="threads", workers=2, algorithm="impala", env_id=COMPILED),
    "serial, reuse": dict(engine="serial", workers=1, algorithm="appo"),
    "processes, reuse": dict(engine="processes", workers=2, algorithm="appo"),
    "processes, reuse, lock-free": dict(engine="processes", workers=2, algorithm="appo", locking=False),
    "threads, reuse": dict(engine="threads", workers=2, algorithm="appo", env_id=COMPILED),
    "processes, reuse in step": dict(engine="processes", workers=2, algorithm="ppo"),
    "threads, reuse in step": dict(engine="threads", workers=2, algorithm="ppo", env_id=COMPILED),
    "processes, values": dict(engine="processes", workers=2, algorithm="one-step-sarsa"),
}


THOROUGH = {"threads, lock-free", "processes, lock-free", "processes, values", "threads, learner"}
THOROUGH |= {"processes, reuse, lock-free", "threads, reuse in step", "serial, reuse"}


THOROUGHLY = pytest.mark.thorough


def choices(thorough):
    return [pytest.param(name, marks=THOROUGHLY) if name in thorough else name for name in ENGINES]


# Tests that wait for seconds: once for each kind of crew, which is all that has a part in it.
waiting = pytest.mark.parametrize(
    "engine_settings",
    choices(set(ENGINES) - {"serial", "threads, locking", "processes, locking"}),
    indirect=True,
)


@pytest.fixture(params=choices(THOROUGH))
def engine_settings(request):
    settings = ENGINES[request.param]
    if "algorithm" in settings and keras.backend.backend() != "jax" and "account" not in request.node.name:
        pytest.skip("for the backend, they differ in what they compute only")
    if settings["engine"] == "threads" and keras.backend.backend() != "jax":
        pytest.skip("threads are for JAX")
    if "env_id" in settings and keras.backend.backend() != "jax":
        pytest.skip("stepped from outside, like any other environment")
    return settings


def resolve(config, compiled=False):
    return engines.resolve_engine(engines.resolve_workers(config), compiled)


def prepare(settings, env_id="CartPole-v1", seed=3, model=None, optimizer=None):
    """A job, its network and what a run of it begins with."""
    size = dict(envs_per_worker=4, t_max=5, hidden_units=(16,), max_steps=2_000, passes=3, minibatch=10)
    plain = dict(normalise_observations=False, normalise_returns=False)
    defaults = dict(preset="none", epsilon_steps=100, **plain, **size)
    backend = keras.backend.backend()
    if env_id == "CartPole-v1":
        env_id = settings.get("env_id", env_id)
    environment = envs.find(env_id)
    config = Config(**{**defaults, **settings, "env_id": env_id, "backend": backend})
    config = resolve(config, environment.compiled)
    model = model or networks.ActorCritic(environment.actions.outputs, (16,), seed=1)
    networks.build(model, environment.observations)
    optimizer = optimizer or keras.optimizers.Adam(1e-3)
    worker_spec = WorkerSpec.of(dataclasses.replace(config, seed=seed), environment, model, optimizer)
    weights, network = parameters_of(model), Network(model, [], environment.observations)
    _, state = make_update(worker_spec, a3c.backend.load(), network)
    return worker_spec, network, StoreState(weights, state)


def start(*arguments, **keywords):
    """An engine at work, and the first weights."""
    worker_spec, network, contents = prepare(*arguments, **keywords)
    return engines.start(worker_spec, network, contents), contents.weights


class Observer:
    """A `RunListener` that keeps everything."""

    def __init__(self, on_report=None):
        self.statistics, self.reports, self.ticks, self.events, self.faults = TrainingMetrics(), [], 0, [], []
        self._give_up = time.monotonic() + harness.DEADLINE
        self._then = on_report

    def replaced(self):
        return any("1/5" in event for event in self.events)

    def on_report(self, report):
        self.reports.append(report)
        self.statistics.add(report, 0.0)
        if self._then:
            self._then(report)

    def on_tick(self):
        self.ticks += 1
        assert time.monotonic() < self._give_up, "it hangs"

    def beat(self):
        return 0

    def on_event(self, text):
        self.events.append(text)

    def on_fault(self, worker, fault):
        self.faults.append((worker, fault))
        return Path(f"crash-{len(self.faults)}.json")


def observe(engine, on_report=None, observer=None):
    observer = observer or Observer(on_report)
    try:
        engine.run(observer)
    finally:
        engine.close()
    return observer


def run(engine, on_report=None):
    observer = observe(engine, on_report)
    assert observer.ticks >= min(1, len(observer.reports))
    return observer.statistics, observer.reports


def run_until(engine, enough):
    """Run until `enough(reports)`; returns the reports, and the updates when the store was stopped."""
    reports, at_stop = [], []

    def on_report(report):
        reports.append(report)
        if not at_stop and enough(reports):
            engine.store.stop()
            at_stop.append(engine.store.updates)

    run(engine, on_report)
    return reports, at_stop[0]


def await_signs(engine, count):
    """Wait until every worker has shown that many signs of life."""
    before = engine.store.activity.heartbeats()
    harness.wait_for(
        lambda: all(
            now >= then + count for now, then in zip(engine.store.activity.heartbeats(), before, strict=True)
        )
    )


@pytest.fixture
def count_silence(monkeypatch):
    """Have silence counted in looks at the workers, not in seconds: whoever is slow is not accused.

    Called with how many stand still at a moment: as long as others do too, no time passes. The first two
    looks do not count: who stands still may have moved just before, and another one be taken for it.
    """

    def count(standing):
        class Counting(HeartbeatMonitor):
            def __init__(self, workers, limit, clock=None):
                super().__init__(workers, limit, clock=lambda: self.now)
                self.now, self.moved, self.looks = 0.0, [-1] * workers, 0

            def look(self, beats, present):
                allowed = standing()
                self.looks = self.looks + 1 if allowed else 0
                still = sum(beat == moved for beat, moved in zip(beats, self.moved, strict=True))
                if self.looks <= 2:
                    self.moved = list(beats)
                elif still <= allowed:
                    self.now, self.moved = self.now + 1.0, list(beats)
                return super().look(beats, present)

        for module in (supervision, serial):
            monkeypatch.setattr(module, "HeartbeatMonitor", Counting)

    return count


def test_reports_account_for_every_step_and_update(engine_settings):
    limit = 10_000
    engine, first = start({**engine_settings, "max_steps": limit})
    statistics, reports = run(engine)
    assert statistics.steps == engine.store.steps
    assert statistics.updates == engine.store.updates > 0
    assert limit <= engine.store.steps < limit + engine_settings["workers"] * 2 * 4 * 5
    assert statistics.episodes > 20
    assert engine.training_started is not None
    assert not np.array_equal(engine.store.weights(), first)
    assert np.isfinite(engine.store.weights()).all()
    newest = [report for report in reports if report.updates][-1]
    assert set(newest.losses) == set(algorithms.find(engine_settings.get("algorithm", "a3c")).figure_names)


def test_every_worker_takes_part_until_the_store_is_stopped(engine_settings):
    """However fast the first is: the run goes on until all have reported, and ends with what is under way."""
    engine, _ = start({**engine_settings, "max_steps": None})
    everyone = set(range(engine_settings["workers"]))
    _, at_stop = run_until(engine, lambda reports: {report.worker for report in reports} == everyone)
    parts = 3 * 2 * 2  # passes, minibatches, and rollouts of one worker that wait or are being made
    assert engine.store.updates - at_stop <= parts * engine_settings["workers"]


def test_policy_lag_is_measured(engine_settings):
    never = engine_settings["workers"] == 1 or engine_settings.get("algorithm") in ("a2c", "ppo")
    engine, _ = start({**engine_settings, "max_steps": 10_000 if never else None})
    if never:
        _, reports = run(engine)
        assert {r.lag for r in reports} == {0}
    else:
        reports, _ = run_until(engine, lambda reports: any(r.lag > 0 for r in reports))
        assert min(r.lag for r in reports) >= 0


class Faulty(Still):
    """Raises in its hundredth step."""

    left = 100

    def step(self, action):
        self.left -= 1
        if self.left == 0:
            raise ZeroDivisionError("the environment's own fault")
        return super().step(action)


gym.register("test/Faulty-v0", entry_point=Faulty)


def test_past_the_limit_the_environments_own_traceback_ends_the_run(engine_settings):
    engine, _ = start({**engine_settings, "max_restarts": 2}, "test/Faulty-v0")
    observer = Observer()
    with pytest.raises(RunError, match="the environment's own fault") as caught:
        observe(engine, observer=observer)
    assert "in step" in str(caught.value)
    assert "more than --max-restarts 2 allows" in str(caught.value)
    assert len(observer.faults) == 3
    assert "rebuilt 1/2" in observer.events[0]
    assert "a3c reproduce crash-1.json" in observer.events[0]


@the_same_everywhere
def test_an_environment_that_fails_now_and_then_is_rebuilt(engine_settings):
    """Each copy fails in its hundredth step, so the limit is reached only if every worker sees two."""
    engine, _ = start({**engine_settings, "max_restarts": 5, "max_steps": 300}, "test/Faulty-v0")
    observer = observe(engine)
    assert observer.statistics.steps == engine.store.steps >= 300
    assert observer.statistics.updates == engine.store.updates


def test_a_killed_worker_is_restarted_and_no_update_is_lost(engine_settings):
    if engine_settings["engine"] != "processes":
        pytest.skip("there is no other process to kill")
    engine, _ = start({**engine_settings, "max_steps": None})
    killed, back = [], []

    def kill(report):
        if not killed:
            killed.append(engine._processes[1].pid)
            os.kill(killed[0], signal.SIGKILL)
        elif report.worker == 1 and 1 in engine._begun and engine._processes[1].pid != killed[0]:
            back.append(report)
            engine.store.stop()

    observer = observe(engine, on_report=kill)
    assert observer.events == ["worker 1 killed (signal 9); restarted 1/5"]
    assert back, "the restarted worker did nothing"
    assert observer.statistics.updates == engine.store.updates
    assert observer.statistics.steps == engine.store.steps
    assert not any(process.is_alive() for process in engine._processes.values())


@the_same_everywhere
def test_past_the_limit_killed_workers_end_the_run(engine_settings):
    if engine_settings["engine"] != "processes":
        pytest.skip("there is no other process to kill")
    engine, _ = start({**engine_settings, "max_steps": None, "max_restarts": 0})
    killed = []

    def kill(report):
        if not killed:
            killed.append(os.kill(engine._processes[1].pid, signal.SIGKILL))

    with pytest.raises(RunError, match=r"worker 1 killed \(signal 9\)"):
        observe(engine, on_report=kill)
    assert not any(process.is_alive() for process in engine._processes.values())


@waiting
@the_same_everywhere
def test_a_stopped_worker_is_found_out_even_if_it_holds_the_lock(engine_settings, count_silence):
    """SIGSTOP: it neither dies nor moves, and others may wait for the lock that it holds."""
    if engine_settings["engine"] != "processes":
        pytest.skip("there is no other process to stop")
    stopped = []
    count_silence(lambda: stopped and (2 if engine.lock_holder() == 1 else 1))
    engine, _ = start({**engine_settings, "max_steps": None, "hang_seconds": 10.0})

    def stop(report):
        if not stopped and len(engine._begun) == 2:
            stopped.append(engine._processes[1].pid)
            os.kill(stopped[0], signal.SIGSTOP)
        elif stopped and engine._processes[1].pid != stopped[0] and 1 in engine._begun:
            engine.store.stop()

    observer = observe(engine, on_report=stop)
    assert any("worker 1 hung for 10 s" in event and "restarted 1/5" in event for event in observer.events), (
        observer.events
    )


class Sleepy(Still):
    """Falls asleep in its hundredth step, in one process only, and leaves a sign."""

    left = 100

    def __init__(self, sign):
        self.sign = sign

    def step(self, action):
        self.left -= 1
        if self.left == 0 and not self.sign.exists():
            self.dream()
        return super().step(action)

    def dream(self):
        try:
            self.sign.touch(exist_ok=False)
        except FileExistsError:
            return
        time.sleep(3600)


@waiting
@the_same_everywhere
def test_a_hanging_environment_is_named_with_its_seconds(engine_settings, count_silence, tmp_path):
    if "env_id" in engine_settings:
        pytest.skip("nothing can hang in a compiled program")
    sign = tmp_path / "asleep"
    gym.register("test/Sleepy-v0", entry_point=Sleepy, kwargs={"sign": sign})
    count_silence(lambda: int(sign.exists()))
    try:
        engine, _ = start({**engine_settings, "hang_seconds": 3.0, "max_steps": None}, "test/Sleepy-v0")
        observer = Observer(lambda report: observer.replaced() and engine.store.stop())
        observe(engine, observer=observer)
    finally:
        del gym.registry["test/Sleepy-v0"]
    told = " ".join(observer.events)
    assert "in dream" in told
    assert "test_engines.py" in told
    assert " for 3 s" in told
    assert observer.statistics.steps > 0


def test_losses_that_are_no_numbers_never_reach_the_store(engine_settings):
    """Observations so large that squares overflow, though each is finite."""
    engine, first = start({**engine_settings, "env_id": "CartPole-v1", "max_skips": 4}, "test/Huge-v0")
    observer = Observer()
    with pytest.raises(Diverged, match="learning-rate"):
        observe(engine, observer=observer)
    assert sum(report.skipped for report in engine.store.reports()) + observer.statistics.skipped >= 4
    assert engine.store.updates == 0
    np.testing.assert_array_equal(engine.store.weights(), first)


class Huge(Still):
    """Rewards at the end of what float32 can hold."""

    def step(self, action):
        seen, _, *others = super().step(action)
        return seen, 3e38, *others


gym.register("test/Huge-v0", entry_point=Huge)


def test_first_local_parameters_are_the_global_ones(engine_settings):
    """The tutorial's local networks started from weights of their own."""
    engine, first = start({**engine_settings, "max_steps": 1})
    np.testing.assert_array_equal(engine.store.weights(), first)
    if engine_settings["workers"] == 1:
        np.testing.assert_array_equal(np.asarray(engine.store.pull(0).weights), first)
    engine.store.stop()
    run(engine)


@pytest.mark.parametrize(
    "make", [keras.optimizers.Adafactor, pytest.param(keras.optimizers.Lamb, marks=pytest.mark.thorough)]
)
@pytest.mark.parametrize("name", ["serial", "threads, compiled", "processes, locking"])
def test_optimizers_that_look_at_single_weights(make, name):
    if "threads" in name and keras.backend.backend() != "jax":
        pytest.skip("threads are for JAX")
    engine, first = start(ENGINES[name], optimizer=make(1e-3))
    run(engine)
    assert not np.array_equal(engine.store.weights(), first)
    assert np.isfinite(engine.store.weights()).all()


@pytest.mark.parametrize("name", ["serial", "serial, compiled"])
def test_serial_runs_are_identical_bit_for_bit(name):
    if "compiled" in name and keras.backend.backend() != "jax":
        pytest.skip("fused on JAX only")
    results = []
    for _ in range(2):
        engine, _ = start(ENGINES[name], seed=7)
        statistics, _ = run(engine)
        results.append((engine.store.weights(), [row[4:6] for row in statistics.history.rows]))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    other, _ = start(ENGINES[name], seed=8)
    assert [row[4:6] for row in run(other)[0].history.rows] != results[0][1]


@pytest.mark.parametrize("name", ["threads, compiled", "processes, locking", "processes, compiled"])
def test_workers_act_differently(name):
    if "compiled" in name and keras.backend.backend() != "jax":
        pytest.skip("fused on JAX only")
    engine, _ = start({**ENGINES[name], "max_steps": None})

    def of(worker, reports):
        return [e for r in reports if r.worker == worker for e in r.episodes][:10]

    reports, _ = run_until(engine, lambda reports: all(len(of(w, reports)) == 10 for w in (0, 1)))
    assert of(0, reports) != of(1, reports)


def test_annealing_counts_the_steps_of_all_workers():
    """The learning rate is 0 at max-steps, whatever makes an update, and half as large half-way there."""
    worker_spec, network, contents = prepare({**ENGINES["serial"], "anneal": True, "max_steps": 1000})
    update, _ = make_update(worker_spec, a3c.backend.load(), network)
    gradient = np.ones_like(contents.weights)

    def moved(steps):
        return np.asarray(update(contents.weights, contents.optimizer, gradient, steps)[0]) - contents.weights

    assert (moved(0) < 0).all()
    np.testing.assert_allclose(moved(500), moved(0) / 2, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(moved(1000), 0.0)
    np.testing.assert_array_equal(moved(1040), 0.0, err_msg="the rollouts under way at the end")


def test_serial_refuses_more_than_one_worker():
    with pytest.raises(SettingError, match="1 with the serial engine"):
        resolve(Config(engine="serial", workers=2))


def test_auto_takes_one_worker_per_core_and_the_fitting_engine():
    assert resolve(Config()).workers == engines.usable_cores()
    assert resolve(Config(workers=1, backend="jax"), compiled=True).engine == "serial"
    assert resolve(Config(workers=3, backend="jax")).engine == "processes"
    assert resolve(Config(workers=3, backend="jax"), compiled=True).engine == "threads"
    assert resolve(Config(workers=3, backend="jax", eager=True), compiled=True).engine == "processes"
    assert resolve(Config(workers=3, backend="tensorflow"), compiled=True).engine == "processes"


@pytest.mark.parametrize("settings", [dict(backend="tensorflow"), dict(backend="jax", eager=True)])
def test_threads_are_refused_where_they_cannot_be(settings):
    with pytest.raises(SettingError, match="--engine processes"):
        resolve(Config(engine="threads", workers=2, **settings))


def test_a_held_store_makes_workers_wait(engine_settings):
    """A rollout of one step is at most three signs of life without another: a pull, the step and a push."""
    engine, _ = start({**engine_settings, "max_steps": None, "t_max": 1, "minibatch": 2})
    seen = []

    def on_report(report):
        if len(seen) == 2:
            engine.store.stop()
        elif len(seen) == 1:
            engine.store.pause(True)
            if engine_settings["engine"] != "serial":  # whose worker stands here itself
                await_signs(engine, 4)  # what was under way is pushed
                before = engine.store.updates
                await_signs(engine, 4)
                assert engine.store.updates == before
            engine.store.pause(False)
        seen.append(report)

    run(engine, on_report)
    assert len(seen) >= 2


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("processes, locking", "processes, learner") else pytest.param(name, marks=THOROUGHLY)
        for name in ENGINES
        if "processes" in name
    ],
)
def test_nothing_is_trained_before_somebody_watches(name):
    """A master that is slower than its workers would find the run at its limit, and nothing judged."""
    engine, _ = start(ENGINES[name])
    harness.wait_for(
        lambda: engine.store.updates or min(engine.store.activity.heartbeats()) > 5
    )  # they are ready, and wait
    assert engine.store.steps == engine.store.updates == 0
    run(engine)
    assert engine.store.updates > 0


@the_same_everywhere
def test_every_step_is_a_sign_of_life(engine_settings):
    """Else an environment of a few steps a second would be taken for hanging: rollouts can be long."""
    if "env_id" in engine_settings:
        pytest.skip("a rollout is one call of a compiled program")
    engine, _ = start({**engine_settings, "t_max": 50, "max_steps": 400})
    run(engine)
    pulls = sum(engine.store.activity.pulls())
    assert pulls >= 2
    assert sum(engine.store.activity.heartbeats()) >= 400 // 4 + pulls
