"""What `a3c doctor` finds, and that it finds what is wrong."""

import os
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import keras
import numpy as np
import pytest

from a3c import engines, envs
from a3c.cli.checks import environment as of_environment
from a3c.cli.checks import examine, model, system
from a3c.config import Config


class Simple(gym.Env):
    """One step per episode, unless a subclass says otherwise."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observe(), {}

    def step(self, action):
        return self.observe(), float(action), self.ends(), False, {}

    def observe(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def ends(self):
        return True


class SlowToBegin(Simple):
    """Its first step takes 100 seconds, the others a tenth of one, by a clock of its own."""

    clock = 0.0

    def step(self, action):
        type(self).clock += 0.1 if self.clock else 100.0
        return super().step(action)


class Growing(Simple):
    length = 2

    def observe(self):
        self.length = min(self.length + 1, 4)
        return np.zeros(self.length, np.float32)


class Unwilling(Simple):
    def step(self, action):
        raise RuntimeError("no step today")


def shows(change):
    """Shows what `change` makes of what `Simple` shows."""
    return dict(observe=lambda self: change(Simple.observe(self)))


def pays(reward):
    """Its only step earns this much."""
    return dict(step=lambda self, action: (self.observe(), reward, True, False, {}))


VARIATIONS = {
    "Endless": dict(ends=lambda self: False),
    "Nan": shows(lambda seen: seen * np.float32(np.nan)),
    "Large": shows(lambda seen: seen * np.float32(1e4))
    | dict(observation_space=gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)),
    "Outside": shows(lambda seen: seen + np.float32(5)),
    "Unseeded": shows(lambda seen: np.random.default_rng().uniform(-1, 1, 3).astype(np.float32)),
    "Double": shows(lambda seen: seen.astype(np.float64)),
    "Flat": shows(lambda seen: seen * np.float32(1e-4) + np.float32(0.9)),
    "Generous": pays(1000.0),
    "Unpaid": pays(None),
    "Composite": dict(action_space=gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Discrete(3)])),
}
for cls in (Simple, SlowToBegin, Growing, Unwilling, *(type(k, (Simple,), v) for k, v in VARIATIONS.items())):
    gym.register(f"doctor/{cls.__name__}-v0", entry_point=cls)


def found(name):
    environment = envs.find(f"doctor/{name}-v0")
    return environment, of_environment.Play(environment, 0)


def test_a_sound_environment_is_found_sound():
    environment, play = found("Simple")
    for check in (
        of_environment.ends(environment, play),
        of_environment.observations(play),
        of_environment.rewards(play),
        of_environment.determinism(environment, 0),
        *of_environment.gymnasium_check(environment),
    ):
        assert check.status == "ok", check


def test_what_never_ends_is_told(monkeypatch):
    monkeypatch.setattr(of_environment, "_STEPS", 500)
    environment, play = found("Endless")
    check = of_environment.ends(environment, play)
    assert check.status == "warning"
    assert "max_episode_steps" in check.fix


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("Nan", "fault", "not finite"),
        ("Large", "warning", "random"),
        ("Outside", "warning", "lie outside"),
        ("Double", "warning", "(float64) lie outside"),
        ("Flat", "warning", "a standard deviation of at most"),
        ("Growing", "fault", "some have shape (4,), their space has (3,)"),
    ],
)
def test_observations_that_cannot_be_learned_from(name, status, text, monkeypatch):
    monkeypatch.setattr(of_environment, "_STEPS", 200)
    check = of_environment.observations(found(name)[1])
    assert (check.status, check.fix != "") == (status, True)
    assert text in check.text


def test_large_rewards_are_told(monkeypatch):
    monkeypatch.setattr(of_environment, "_STEPS", 200)
    assert of_environment.rewards(found("Generous")[1]).status == "warning"


def test_what_the_first_step_takes_costs_no_play(monkeypatch):
    clock = SimpleNamespace(perf_counter=lambda: SlowToBegin.clock)
    monkeypatch.setattr(of_environment, "time", clock)
    _, play = found("SlowToBegin")
    assert len(play.rewards) == pytest.approx(1 + of_environment._SECONDS / 0.1, abs=1)


def test_spaces_that_are_not_supported_are_a_fault():
    [check] = examine("environment", of_environment.prepare, "doctor/Composite-v0", None, "auto", 0)
    assert check.status == "fault"
    assert "becomes a MultiDiscrete" in check.fix


def test_an_environment_that_fails_is_a_fault():
    environment = envs.find("doctor/Unwilling-v0")
    for name, look in of_environment.checks(environment, 0, resume=True):
        checks = list(examine(name, look))
        expected = {"resume": "warning", "threshold": "warning", "stepping": "ok", "environment": "ok"}.get(
            name, "fault"
        )
        assert [check.status for check in checks] == [expected], checks
        assert name in ("environment", "threshold", "stepping") or "no step today" in checks[0].text


@pytest.mark.parametrize("env_id", ["CartPole-v1", "jax/CartPole-v1"])
def test_vector_code_and_compiled_environments_are_played(env_id, monkeypatch):
    monkeypatch.setattr(of_environment, "_STEPS", 300)
    monkeypatch.setattr(of_environment, "_SECONDS", 600)
    environment = envs.find(env_id)
    play = of_environment.Play(environment, 0)
    assert len(play.rewards) == 300
    assert play.terminated > 5
    assert set(play.rewards) == {1.0}, "steps that only reset are left out"
    assert len(play.observations) in (300 + play.terminated, 301 + play.terminated)
    assert of_environment.observations(play).status == "ok"
    assert of_environment.determinism(environment, 0).status == "ok"
    assert "random steps/s by 16 copies" in of_environment.speed(environment, 0).text


def test_a_seed_that_decides_nothing_is_told():
    environment, _ = found("Unseeded")
    assert [check.status for check in of_environment.gymnasium_check(environment)] == ["warning"]
    check = of_environment.determinism(environment, 0)
    assert check.status == "warning"
    assert "first observation" in check.text
    assert "np_random" in check.fix


# -- the machine --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [(ZeroDivisionError("of its own"), "ZeroDivisionError: of its own"), (SystemExit("enough"), "enough")],
)
def test_a_check_that_breaks_down_or_exits_is_a_fault_and_no_traceback(error, text):
    def broken():
        raise error

    [check] = examine("broken", broken)
    assert check.status == "fault"
    assert text in check.text


def test_thread_counts_that_compete_are_told(monkeypatch):
    monkeypatch.setattr(engines, "usable_cores", lambda: 4)
    for name in system._THREADS:
        monkeypatch.delenv(name, raising=False)
    assert system.threads().status == "ok"
    for name, value, status in (
        ("OMP_NUM_THREADS", "8", "warning"),
        ("OMP_NUM_THREADS", "1", "ok"),
        ("OMP_NUM_THREADS", "many", "warning"),
        ("PJRT_NPROC", "2", "warning"),
        ("PJRT_NPROC", "4", "ok"),
    ):
        monkeypatch.setenv(name, value)
        assert system.threads().status == status, (name, value)
        monkeypatch.delenv(name)


def test_control_groups_of_both_versions_are_read(tmp_path):
    assert system.cpu_quota(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert system.cpu_quota(tmp_path) is None
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("150000\n")
    assert system.cpu_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert system.cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert system.cpu_quota(tmp_path) == 0.5

    meminfo = tmp_path / "meminfo"
    assert system.available_memory(tmp_path, meminfo) is None
    meminfo.write_text("MemTotal: 4000 kB\nMemAvailable: 2000 kB\n")
    assert system.available_memory(tmp_path, meminfo) == 2000 * 1024
    (tmp_path / "memory.max").write_text("1024000\n")
    (tmp_path / "memory.current").write_text("24000\n")
    assert system.available_memory(tmp_path, meminfo) == 1000000


def test_little_of_anything_is_told(monkeypatch):
    monkeypatch.setattr(system, "cpu_quota", lambda: 0.5)
    monkeypatch.setattr(system, "available_memory", lambda: 2**28)
    monkeypatch.setattr(system.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    monkeypatch.setattr(system.cache, "find", lambda: (None, "the cache directory cannot be written to"))
    for look in (system.cores, system.memory, system.shared_memory, system.cache_directory):
        check = look()
        assert check.status == "warning", check
        assert check.fix
    assert system.save_directory(Path("runs")).status == "warning"


def test_a_backend_that_cannot_be_imported_is_a_fault(tmp_path, monkeypatch):
    name = next(n for n in ("jax", "tensorflow") if n != keras.backend.backend())
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules['{name}'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(system.backend, "installed", lambda: ["jax", "tensorflow"])
    [check] = system.other_backends("auto")
    assert (check.name, check.status) == (f"backend {name}", "fault")
    assert check.text.startswith("cannot compute: ")


def test_a_directory_that_cannot_be_written_is_a_fault(tmp_path):
    (tmp_path / "file").write_text("")
    [check] = examine("runs", system.save_directory, tmp_path / "file" / "runs")
    assert check.status == "fault"
    assert "--save-dir" in check.fix


# -- models -------------------------------------------------------------------------------------------------


def dense(units, activation=None, seed=0):
    """With first weights that do not depend on the tests before: some draws are less unbiased than others."""
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.layers.Dense(units, activation, kernel_initializer=initializer)


def network(kind):
    x = keras.Input((4,))
    hidden = dense(8, "tanh", seed=1)(x)
    logits, value = dense(2, seed=2)(hidden), dense(1, seed=3)(hidden)
    if kind == "idle value":
        value = keras.layers.Dense(1, name="idle")(hidden) * 0.0
    if kind == "certain":
        logits = logits + keras.ops.convert_to_tensor([[50.0, 0.0]])
    if kind == "probabilities":
        logits = keras.ops.softmax(logits)
    if kind == "nan":
        value = keras.ops.log(-keras.ops.exp(value))
    return keras.Model(x, [logits, value])


def subject(kind, monkeypatch):
    monkeypatch.setattr(model, "make_model", lambda *_: network(kind))
    return model.Subject(Config(seed=0), envs.find("CartPole-v1"), 0)


def test_a_sound_model_is_found_sound(monkeypatch):
    sound = subject("sound", monkeypatch)
    for look in (model.shapes, model.losses, model.gradient_flow, model.entropy_sign, model.first_policy):
        assert look(sound).status == "ok", look(sound)


def test_weights_without_a_gradient_are_named(monkeypatch):
    check = model.gradient_flow(subject("idle value", monkeypatch))
    assert check.status == "fault"
    assert check.text == "none reaches idle/kernel, idle/bias"


def test_a_policy_that_is_certain_from_the_start_is_told(monkeypatch):
    certain = subject("certain", monkeypatch)
    assert model.first_policy(certain).status == "warning"
    assert model.entropy_sign(certain).status == "fault"


def test_probabilities_for_logits_are_told(monkeypatch):
    check = model.first_policy(subject("probabilities", monkeypatch))
    assert check.status == "warning"
    assert "softmax" in check.fix


class Wrong(keras.Model):
    """Gives three logits, however many actions there are."""

    def __init__(self, num_actions):
        super().__init__()
        self.layer = keras.layers.Dense(3)

    def call(self, observations, training=False):
        return self.layer(observations), self.layer(observations)[:, :1]


class OfFour(Wrong):
    """Only for observations of four numbers; and it has no get_config."""

    def call(self, observations, training=False):
        assert observations.shape[-1] == 4
        hidden = self.layer(observations)
        return hidden[:, :2], hidden[:, 2:]


def test_wrong_shapes_are_a_fault():
    config = Config(model=f"{__name__}:Wrong", seed=0)
    [check] = examine("model", model.Subject, config, envs.find("CartPole-v1"), 0)
    assert check.status == "fault"
    assert "returning [N, 3], [N, 1]: expected (logits [N, 2]" in check.text


def test_a_model_of_ones_own_that_the_probe_does_not_fit_and_keras_does_not_save():
    own = model.Subject(Config(model=f"{__name__}:OfFour", seed=0), envs.find("CartPole-v1"), 0)
    check = model.learns(own)
    assert check.status == "ok"
    assert "was not tried out" in check.text
    [check] = examine("saving", model.saving, own)
    assert check.status == "fault"
    assert "get_config" in check.fix


def test_a_model_is_tried_out_even_where_the_environment_fails():
    of_three = model.Subject(Config(seed=0), envs.find("doctor/Nan-v0"), 0)
    assert np.isfinite(of_three.transitions.observations).all()
    assert model.gradient_flow(of_three).status == "ok"


def test_a_model_that_sees_nothing_does_not_learn(monkeypatch):
    blind = subject("sound", monkeypatch)

    def make(*_):
        x = keras.Input((1,))
        return keras.Model(x, [keras.layers.Dense(2)(x * 0.0), keras.layers.Dense(1)(x)])

    monkeypatch.setattr(model, "make_model", make)
    monkeypatch.setattr(model, "_PROBE_STEPS", 1000)
    assert model.learns(blind).status == "fault"


def test_losses_that_are_no_numbers_are_a_fault(monkeypatch):
    assert model.losses(subject("nan", monkeypatch)).status == "fault"


def test_the_entropy_bonus_with_the_wrong_sign_is_a_fault(monkeypatch):
    from a3c.algorithms import a3c

    right = a3c.entropy_loss
    monkeypatch.setattr(a3c, "entropy_loss", lambda *arguments: -right(*arguments))
    check = model.entropy_sign(subject("sound", monkeypatch))
    assert check.status == "fault"
    assert "It must rise" in check.fix


# -- the command --------------------------------------------------------------------------------------------


def test_the_command(cli, tmp_path):
    outcome = cli("doctor", "CartPole-v1", "--resume", "--json", "--backend", keras.backend.backend())
    assert outcome.code == 0, outcome.out + outcome.err
    document = outcome.json
    status = {check["name"]: check["status"] for check in document["checks"]}
    expected = (
        "versions",
        "shared memory",
        "environment",
        "seed",
        "resume",
        "gradients",
        "entropy",
        "learning",
    )
    assert {name: status[name] for name in expected} == dict.fromkeys(expected, "ok")
    assert document["faults"] == 0
    assert document["versions"]["keras"] == keras.__version__
    assert outcome.err.startswith("ok      versions: python")
    assert "\x1b" not in outcome.err
    assert len(outcome.out.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_an_unknown_environment_is_a_fault_with_its_fix(call, monkeypatch):
    """Without the other backend, which would be tried out in a Python of its own."""
    monkeypatch.setattr(system.backend, "installed", lambda: [keras.backend.backend()])
    outcome = call("doctor", "CartPole-v9")
    assert outcome.code == 1
    assert "fault   environment: environment CartPole-v9: expected the id" in outcome.out
    assert "        Closest: CartPole" in outcome.out
    assert "1 fault" in outcome.out.splitlines()[-1]
    assert "Traceback" not in outcome.out + outcome.err


@pytest.mark.thorough
def test_what_an_environment_says_steers_no_terminal_and_needs_no_encoding(cli, tmp_path):
    (tmp_path / "said.py").write_text("raise RuntimeError('caf\\xe9 \\x1b[2J\\ud800')\n")
    outcome = cli("doctor", "said:Env-v0", environment={"PYTHONIOENCODING": "ascii"})
    assert outcome.code == 1, outcome.err
    assert "RuntimeError: caf\\xe9 \\x1b[2J\\ud800" in outcome.out
    assert "\x1b" not in outcome.out
    assert "Traceback" not in outcome.err


@pytest.mark.thorough
def test_a_model_that_no_backend_computes_is_told(cli):
    outcome = cli("doctor", "CartPole-v1", environment={"KERAS_BACKEND": "none"})
    assert outcome.code == 1
    assert "fault   backend: Keras backend none: expected one of" in outcome.out
    assert "warning model: was not checked" in outcome.out


def test_a_module_that_cannot_be_read_is_a_fault(tmp_path, monkeypatch):
    (tmp_path / "broken_env.py").write_text("def\n")
    monkeypatch.syspath_prepend(tmp_path)
    [check] = examine("environment", of_environment.prepare, "broken_env:Env-v0", None, "auto", 0)
    assert check.status == "fault"
    assert "SyntaxError" in check.text + check.fix


def test_rewards_of_none_are_a_fault_and_not_a_wait_without_end():
    with pytest.raises(TypeError):
        of_environment.Play(envs.find("doctor/Unpaid-v0"), 0)
