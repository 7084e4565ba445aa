"""Agents from others: what was made to harm is refused in words, whatever a file says of itself."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from a3c import Agent
from a3c.errors import UsageError
from a3c.networks import saved_model
from a3c.utils.lazy_imports import keras_saving

OLD_RUN = Path(__file__).parents[1] / "references" / "old_run"
pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="made with JAX")


@pytest.fixture
def agent(tmp_path):
    return Path(shutil.copy(OLD_RUN / "best.keras", tmp_path / "agent.keras"))


def rewrite(path, **changed):
    """Replace members of an archive, by the first part of their names; None removes one."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for stem, content in changed.items():
        name = next(name for name in members if name.startswith(stem))
        members[name] = content(members[name])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def with_card(**entries):
    return lambda content: json.dumps({**json.loads(content), **entries}).encode()


def refusal(path, **more):
    with pytest.raises(UsageError) as caught:
        Agent.load(path, **more)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_untouched_is_loaded(agent):
    assert Agent.load(agent).card["random_baseline"] > 0


def test_a_link_that_the_user_names_is_followed(agent, tmp_path):
    (tmp_path / "link.keras").symlink_to(agent)
    assert Agent.load(tmp_path / "link.keras").card["steps"] > 0


@pytest.mark.parametrize("command", ["evaluate", "play"])
def test_pipes_and_devices_are_not_waited_for(call, tmp_path, command):
    os.mkfifo(tmp_path / "pipe.keras")
    (tmp_path / "device.keras").symlink_to("/dev/zero")
    for name in ("pipe.keras", "device.keras"):
        outcome = call(command, name)
        assert (outcome.code, "an existing .keras file" in outcome.err) == (2, True), outcome.err


@pytest.mark.parametrize("name", ["best.keras", "last.keras"])
def test_links_in_a_run_directory_are_refused(call, tmp_path, name):
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    (run / "best.keras").unlink()
    (run / "last.keras").unlink()
    (run / name).symlink_to(OLD_RUN / "best.keras")
    outcome = call("evaluate", "run")
    assert (outcome.code, "not a link" in outcome.err) == (2, True), outcome.err


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (dict(format=3), "has format 3, this a3c reads up to 2"),
        (dict(format="x"), "has format 'x'"),
        (dict(env_id=7), "a3c.json.env_id is 7"),
        (dict(steps="many"), "a3c.json.steps is 'many'"),
        (dict(steps=-1), "a3c.json.steps is -1"),
        (dict(evaluation=7), "a3c.json.evaluation is 7, not a table"),
        (dict(evaluation={"mean": "x", "episodes": 1}), "a3c.json.evaluation.mean is 'x'"),
        (dict(random_baseline="x"), "a3c.json.random_baseline is 'x'"),
        (dict(random_baseline=float("nan")), "a3c.json.random_baseline is nan"),
        (dict(settings=[1]), "a3c.json.settings is a list, not a table"),
        (dict(settings={"algorithm": 7}), "a3c.json.settings.algorithm is 7"),
        (dict(settings={"algorithm": "evil"}), "settings that this a3c has"),
        (dict(settings={"algorithm": "a3c", "action_bounds": "evil"}), "settings that this a3c has"),
        (dict(settings={"normalise_observations": "yes"}), "normalise_observations is 'yes'"),
        (dict(statistics="x"), "a3c.json.statistics is 'x', not a list"),
        (dict(statistics=["x"]), "a3c.json.statistics[0] is 'x'"),
        (dict(statistics=[1.0] * 8), "the statistics that its network needs"),
        (dict(statistics=[]), "the statistics that its network needs"),
        (dict(statistics=[float("nan")] * 9), "statistics[0] is nan"),
    ],
)
def test_cards_with_wrong_entries_are_refused(agent, entries, said):
    rewrite(agent, a3c=with_card(**entries))
    assert said in refusal(agent)


@pytest.mark.parametrize("card", [b"[]", b"7", b"[" * 100_000, b"{", b"\xff", b'{"a": ' + b"1" * 5000 + b"}"])
def test_cards_that_are_none_are_refused(agent, card):
    rewrite(agent, a3c=lambda _: card)
    assert "cannot be read" in refusal(agent)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(call, tmp_path, number):
    agent = Agent("CartPole-v1", hidden_units=(4,), preset="none")
    weights = agent.network.get_weights()
    weights[0][0] = number
    agent.network.set_weights(weights)
    agent.save(tmp_path / "agent.keras")
    assert "not finite" in refusal(tmp_path / "agent.keras")
    outcome = call("play", "agent.keras", "--quiet")
    assert (outcome.code, "not finite" in outcome.err) == (2, True), outcome.err


@pytest.mark.parametrize("missing", ["config", "model"])
def test_files_without_a_part_are_refused(agent, missing):
    rewrite(agent, **{missing: lambda _: None})
    refusal(agent)


def test_scores_of_one_environment_are_not_shown_beside_another(call, agent):
    """CartPole-v0 shows and takes the same, but its episodes are shorter."""
    there = call("evaluate", "agent.keras", "--episodes", "2", "--json").json
    assert there["random_baseline"] > 0
    other = call("evaluate", "agent.keras", "--env-id", "CartPole-v0", "--episodes", "2", "--json").json
    assert (other["env_id"], other["random_baseline"]) == ("CartPole-v0", None)
    assert Agent.load(agent, env_id="CartPole-v0").card == {"steps": Agent.load(agent).card["steps"]}


def test_a_model_without_a_card_is_a_plain_one(tmp_path):
    x = keras.Input((4,))
    with keras_saving():
        keras.Model(x, [keras.layers.Dense(2)(x), keras.layers.Dense(1)(x)]).save(tmp_path / "plain.keras")
    assert saved_model.read_card(tmp_path / "plain.keras") == {}
    assert Agent.load(tmp_path / "plain.keras", env_id="CartPole-v1").card == {}
