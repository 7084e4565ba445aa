"""What is said of a run is what ran: objects in place of settings, settings without an effect."""

import json
import tomllib
import warnings
from pathlib import Path

import keras
import pytest

from a3c import Agent
from a3c.training import run_directory

QUICK = dict(preset="none", engine="serial", max_steps=600, evaluation_episodes=2, seed=1, envs_per_worker=4)


def own_model():
    x = keras.Input((4,))
    h = keras.layers.Dense(16, "relu")(x)
    return keras.Model(x, [keras.layers.Dense(2)(h), keras.layers.Dense(1)(h)])


def test_objects_stand_in_the_place_of_settings(tmp_path):
    rate = keras.optimizers.schedules.CosineDecay(3e-3, 100)
    agent = Agent(
        "CartPole-v1", "a3c", own_model(), keras.optimizers.Adam(rate), save_dir=str(tmp_path), **QUICK
    )
    history = agent.fit(verbose=0)
    directory = Path(history.summary["run_dir"])
    document = tomllib.loads((directory / "config.toml").read_text())
    for said in (document["settings"], history.params):
        assert not {"learning_rate", "hidden_units", "activation", "lstm_units", "network"} & set(said)
        assert said["gamma"] == 0.99
    assert "optimizer" not in document["settings"]
    for tables in (document, history.params):
        optimizer = json.loads(tables["optimizer"]["config"])
        assert tables["optimizer"]["code"].endswith(":Adam")
        assert optimizer["learning_rate"]["class_name"] == "CosineDecay"
        assert optimizer["learning_rate"]["config"]["initial_learning_rate"] == pytest.approx(3e-3)
        assert tables["model"]["parameters"] == 4 * 16 + 16 + 16 * 3 + 3
        assert tables["environment"]["code"] == "gymnasium.envs.classic_control.cartpole:CartPoleEnv"
        assert len(tables["environment"]["sha256"]) == 64
    run_directory.record_resumption(directory, run_directory.read_config(directory))
    again = tomllib.loads((directory / "config.toml").read_text())
    assert again["run"]["resumed"] == 1
    assert again["optimizer"] == document["optimizer"]
    assert again["settings"] == document["settings"]


def test_a_resumed_run_does_not_claim_the_optimizer_of_its_settings(tmp_path, cli):
    agent = Agent("CartPole-v1", "a3c", optimizer=keras.optimizers.SGD(0.1), save_dir=str(tmp_path), **QUICK)
    directory = agent.fit(verbose=0).summary["run_dir"]
    outcome = cli("resume", directory, "--max-steps", "800")
    assert outcome.code == 0, outcome.err
    assert "its own optimizer, γ 0.99" in outcome.out


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (dict(passes=3), "passes has no effect: only appo, ppo have it, and this is a3c"),
        (dict(model=True, hidden_units=(8,)), "hidden-units has no effect: the model is your own"),
        (dict(optimizer=True, learning_rate=1e-3), "learning-rate has no effect: the optimizer is your own"),
        (dict(novelty_weight=0.1), "novelty-weight has no effect: only --exploration rnd has it"),
        (dict(action_bounds="squash"), "action-bounds has no effect: actions are 2 actions, not continuous"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_without_effect_is_told(settings, told):
    made = {}
    if settings.pop("model", False):
        made["model"] = own_model()
    if settings.pop("optimizer", False):
        made["optimizer"] = keras.optimizers.Adam()
    with pytest.warns(UserWarning, match=told):
        Agent("CartPole-v1", "a3c", **made, **settings, **QUICK)


def test_settings_with_an_effect_are_not(tmp_path):
    with warnings.catch_warnings(action="error", category=UserWarning):
        agent = Agent("Pendulum-v1", "appo", passes=2, action_bounds="squash", hidden_units=8, **QUICK)
        agent.save(tmp_path / "agent.keras")
        Agent.load(tmp_path / "agent.keras")


def test_the_command_line_tells_them_too(cli):
    flags = ("--preset", "none", "--algorithm", "a3c", "--engine", "serial", "--max-steps", "300")
    outcome = cli("train", "CartPole-v1", *flags, "--passes", "3", "--evaluation-episodes", "2")
    assert outcome.code == 0, outcome.err
    assert "--passes has no effect: only appo, ppo have it, and this is a3c" in outcome.out
