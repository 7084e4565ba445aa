"""Kill tests in short; the long ones (`-m long_faults`) are what docs/reliability.md reports."""

import os
import random
import sys

import kills
import pytest
import stop_serial

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_a_killed_worker_is_replaced(tmp_path):
    """At once: it is no question of speed then whether it was still needed."""
    outcome = kills.kill_worker(tmp_path, 1, 0.0)
    assert outcome["killed"]
    assert outcome["restarted"]


def test_a_worker_killed_at_work_is_replaced(tmp_path):
    assert kills.kill_many(tmp_path, 1, 1)["killed"] == 1


@pytest.mark.parametrize("delay", [0.2, pytest.param(1.0, marks=pytest.mark.thorough)])
def test_a_killed_run_is_resumed(tmp_path, delay):
    kills.kill_master(tmp_path, 1, delay)


@pytest.mark.thorough
def test_a_run_killed_while_it_writes_is_resumed(tmp_path):
    kills.kill_master(tmp_path, 1, 0.2, writing=True)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ("CartPole-v1", 300_000),
        # Stopped in the middle of a rollout's passes, it makes the others first.
        pytest.param(
            "CartPole-v1 --preset none --algorithm appo --t-max 32 --normalise-returns",
            60_000,
            marks=pytest.mark.thorough,
        ),
    ],
    ids=["a3c", "appo"],
)
def test_a_stopped_serial_run_goes_on_bit_for_bit(settings, steps, tmp_path):
    outcome = stop_serial.compare(tmp_path, settings, "jax", "SIGINT", 3, steps, runs=1)
    assert outcome["stopped_at"], "it ended before it was stopped"


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", ["appo", "ppo"])
def test_workers_killed_during_reuse_leave_counts_that_agree(tmp_path, algorithm):
    assert kills.kill_many(tmp_path, 6, 1, algorithm)["killed"] == 6


@pytest.mark.thorough
@pytest.mark.both_backends
def test_the_same_for_a_run_that_is_killed(tmp_path):
    import keras

    stop_serial.compare(tmp_path, "CartPole-v1", keras.backend.backend(), "SIGKILL", 4, 40_000, runs=1)


OWN = """
import gymnasium as gym, numpy as np

class Own(gym.Env):
    observation_space, action_space = gym.spaces.Box(-9, 9, (2,), np.float32), gym.spaces.Discrete(2)

    def __init__(self):
        self.rng = np.random.default_rng(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:  # without it, evaluations would not repeat
            self.rng = np.random.default_rng(seed)
        self.t, self.seen = 0, self.np_random.normal(size=2).astype(np.float32)
        return self.seen.copy(), {}

    def step(self, action):
        self.t += 1
        moved = 0.9 * self.seen + self.rng.normal(size=2) * (action + 0.1)
        self.seen = moved.clip(-9, 9).astype(np.float32)
        return self.seen.copy(), float(-abs(self.seen[0])), self.rng.random() < 0.02, self.t >= 200, {}

gym.register("Own-v0", entry_point=Own)
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("settings", "steps", "needs"),
    [
        ("Acrobot-v1", 30_000, "gymnasium"),
        ("LunarLander-v3", 20_000, "Box2D"),
        ("HalfCheetah-v5", 15_000, "mujoco"),
        ("Hopper-v5", 20_000, "mujoco"),
        ("own_module:Own-v0", 30_000, "gymnasium"),
        ("CartPole-v1 --algorithm a3c --lstm-units 16", 20_000, "gymnasium"),
    ],
)
def test_killed_runs_in_other_environments_go_on_bit_for_bit(tmp_path, monkeypatch, settings, steps, needs):
    pytest.importorskip(needs)
    (tmp_path / "own_module.py").write_text(OWN)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    stop_serial.compare(tmp_path, f"{settings} --preset none", "jax", "SIGKILL", 7, steps, runs=1)


@pytest.mark.long_faults
@pytest.mark.parametrize("seed", range(60))
def test_workers_killed_at_random_moments(tmp_path, seed):
    kills.kill_worker(tmp_path, 1000 + seed, random.Random(seed).uniform(0, 1.0))


@pytest.mark.long_faults
@pytest.mark.parametrize("seed", range(40))
def test_masters_killed_at_random_moments(tmp_path, seed):
    kills.kill_master(tmp_path, 2000 + seed, random.Random(seed).uniform(0, 2.5))


@pytest.mark.long_faults
@pytest.mark.parametrize("seed", range(40))
def test_servers_killed_at_random_moments(tmp_path, seed):
    kills.kill_worker(tmp_path, 4000 + seed, random.Random(seed).uniform(0, 1.0), server=True)


@pytest.mark.long_faults
@pytest.mark.parametrize("seed", range(50))
def test_masters_killed_while_they_write(tmp_path, seed):
    kills.kill_master(tmp_path, 5000 + seed, random.Random(seed).uniform(0, 2.5), writing=True)


@pytest.mark.long_faults
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "jax/CartPole-v1"])
def test_serial_runs_stopped_at_random_updates(tmp_path, env_id, how, backend):
    stop_serial.compare(tmp_path, env_id, backend, how, 7, 300_000, runs=3)
