"""What `a3c doctor` finds, and that it finds what is wrong."""

import gymnasium as gym
import keras
import numpy as np
import pytest

from a3c import envs
from a3c.config import Config
from a3c.doctor import environment as of_environment
from a3c.doctor import examine, model, system


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


class Endless(Simple):
    def ends(self):
        return False


class Nan(Simple):
    def observe(self):
        return np.full(3, np.nan, np.float32)


class Large(Simple):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)

    def observe(self):
        return super().observe() * np.float32(1e4)


class Outside(Simple):
    def observe(self):
        return super().observe() + np.float32(5)


class Unseeded(Simple):
    def observe(self):
        return np.random.default_rng().uniform(-1, 1, 3).astype(np.float32)


for _cls in (Simple, Endless, Nan, Large, Outside, Unseeded):
    gym.register(f"doctor/{_cls.__name__}-v0", entry_point=_cls)


def found(name):
    environment = envs.find(f"doctor/{name}-v0")
    return environment, of_environment.Play(environment, 0)


def test_a_sound_environment_is_found_sound():
    environment, play = found("Simple")
    for check in (
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
    [("Nan", "fault", "not finite"), ("Large", "warning", "random"), ("Outside", "warning", "lie outside")],
)
def test_observations_that_cannot_be_learned_from(name, status, text, monkeypatch):
    monkeypatch.setattr(of_environment, "_STEPS", 200)
    check = of_environment.observations(found(name)[1])
    assert (check.status, check.fix != "") == (status, True)
    assert text in check.text


def test_a_seed_that_decides_nothing_is_told():
    environment, _ = found("Unseeded")
    check = of_environment.determinism(environment, 0)
    assert check.status == "warning"
    assert "first observation" in check.text
    assert "np_random" in check.fix


def test_a_check_that_breaks_down_is_a_fault_and_no_traceback():
    def broken():
        raise ZeroDivisionError("of its own")

    [check] = examine("broken", broken)
    assert check.status == "fault"
    assert "ZeroDivisionError: of its own" in check.text


def test_thread_counts_that_compete_are_told(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert system.threads().status == "warning"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert system.threads().status == "ok"


def test_a_directory_that_cannot_be_written_is_a_fault(tmp_path):
    (tmp_path / "file").write_text("")
    [check] = examine("runs", system.save_directory, tmp_path / "file" / "runs")
    assert check.status == "fault"


# -- models -------------------------------------------------------------------------------------------------


def network(kind):
    x = keras.Input((4,))
    hidden = keras.layers.Dense(8, "tanh")(x)
    logits, value = keras.layers.Dense(2)(hidden), keras.layers.Dense(1)(hidden)
    if kind == "idle value":
        value = keras.layers.Dense(1)(keras.layers.Lambda(keras.ops.stop_gradient)(hidden)) * 0.0
    if kind == "certain":
        logits = logits + keras.ops.convert_to_tensor([[50.0, 0.0]])
    if kind == "nan":
        value = keras.ops.log(-keras.ops.exp(value))
    return keras.Model(x, [logits, value])


def subject(kind, monkeypatch):
    monkeypatch.setattr(model, "make_model", lambda *_: network(kind))
    return model.Subject(Config(), envs.find("CartPole-v1"), 0)


def test_a_sound_model_is_found_sound(monkeypatch):
    sound = subject("sound", monkeypatch)
    for look in (
        model.shapes,
        model.losses,
        model.gradient_flow,
        model.entropy_sign,
        model.first_policy,
    ):
        assert look(sound).status == "ok", look(sound)


def test_weights_without_a_gradient_are_named(monkeypatch):
    check = model.gradient_flow(subject("idle value", monkeypatch))
    assert check.status == "fault"
    assert "none reaches dense" in check.text


def test_a_policy_that_is_certain_from_the_start_is_told(monkeypatch):
    assert model.first_policy(subject("certain", monkeypatch)).status == "warning"


def test_losses_that_are_no_numbers_are_a_fault(monkeypatch):
    assert model.losses(subject("nan", monkeypatch)).status == "fault"


def test_the_entropy_bonus_with_the_wrong_sign_is_a_fault(monkeypatch):
    from a3c.algorithms import a3c

    right = a3c.entropy_loss
    monkeypatch.setattr(a3c, "entropy_loss", lambda *arguments: -right(*arguments))
    check = model.entropy_sign(subject("sound", monkeypatch))
    assert check.status == "fault"


# -- the command --------------------------------------------------------------------------------------------


def test_the_command(cli):
    outcome = cli("doctor", "CartPole-v1", "--resume", "--json", "--backend", keras.backend.backend())
    assert outcome.code == 0, outcome.out + outcome.err
    document = outcome.json
    status = {check["name"]: check["status"] for check in document["checks"]}
    for name in (
        "versions",
        "shared memory",
        "environment",
        "seed",
        "resume",
        "gradients",
        "entropy",
        "learning",
    ):
        assert status[name] == "ok", name
    assert document["faults"] == 0
    assert "ok      versions: python" in outcome.err
    assert len(outcome.out.strip().splitlines()) == 1


def test_an_unknown_environment_is_a_fault_with_its_fix(cli):
    outcome = cli("doctor", "CartPole-v9")
    assert outcome.code == 1
    assert "fault   environment: environment CartPole-v9: expected the id" in outcome.out
    assert "Closest: CartPole" in outcome.out
    assert "Traceback" not in outcome.out + outcome.err


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--resume"], ["--backend", "torch"], ["--frob"]])
def test_unusable_arguments(cli, arguments):
    outcome = cli("doctor", *arguments)
    assert outcome.code == 2
    assert len(outcome.err.strip().splitlines()) <= 2
