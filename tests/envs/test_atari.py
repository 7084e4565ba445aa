"""Atari's games: the same pictures whether stepped in bulk or watched, and what differs in learning alone."""

import sys

import numpy as np
import pytest

from a3c import envs
from a3c.envs import atari
from a3c.errors import UsageError
from a3c.presets import load_preset, make_config
from a3c.spaces.distributions.categorical import Categorical
from a3c.spaces.observations import Leaf
from parts import ANY, vector_sampler

pytest.importorskip("ale_py")


@pytest.mark.parametrize("game", ["pong", "breakout"])
def test_what_is_watched_is_what_is_trained_on(game, monkeypatch):
    monkeypatch.setattr(atari, "_MAX_NOOPS", 0)  # whose number is drawn differently
    many, one = (
        make(game, 0.0, False) for make in (lambda *a: atari.make_copies(2, *a), atari.make_original)
    )
    seen, _ = many.reset(seed=3)
    alone, _ = one.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(400):
        np.testing.assert_array_equal(seen[0], alone)
        action = int(rng.integers(one.action_space.n))
        seen, rewards, terminated, _, info = many.step(np.array([action, action]))
        alone, reward, ended, _, told = one.step(action)
        assert (rewards[0], terminated[0], info["lives"][0]) == (reward, ended, told["lives"])
        if ended:
            break
    many.close()
    one.close()


def test_the_id_says_whether_actions_stick():
    assert envs.find("ALE/Breakout-v5").spec.kwargs["repeat_action_probability"] == 0.25
    found = envs.find("BreakoutNoFrameskip-v4")
    assert found.spec.kwargs["repeat_action_probability"] == 0.0
    assert found.actions == Categorical(4)
    assert found.observations.tree == Leaf("image", (4, 84, 84), 1 / 255, dtype="uint8")
    assert found.observations.dtype == "uint8"
    assert found.vectorized


def play_randomly(environment, episodic_life, t_max):
    sampler = vector_sampler(environment, 4, t_max, episodic_life=episodic_life)
    rollout = sampler.collect(ANY)
    sampler.close()
    return rollout


def test_lives_are_lost_in_learning_only():
    environment = envs.find("BreakoutNoFrameskip-v4")
    plain, lived = (play_randomly(environment, episodic_life, 400) for episodic_life in (False, True))
    assert plain.episodes == lived.episodes
    assert len(plain.episodes) >= 2
    np.testing.assert_array_equal(plain.content.rewards, lived.content.rewards)
    np.testing.assert_array_equal(plain.content.valid, lived.content.valid)
    ends, losses = plain.content.terminated, lived.content.terminated
    assert (losses[ends]).all(), "the last life is a life"
    per_game = losses.sum() / ends.sum()
    assert 4 < per_game < 8, "five lives each, and those of games under way"
    after = lived.content.valid[1:][(losses & ~ends)[:-1]]
    assert after.all(), "play goes on where a life was lost"


def test_every_game_begins_with_the_papers_settings():
    name, settings = load_preset("auto", "ALE/Seaquest-v5")
    assert name == "ALE"
    assert settings["clip_rewards"] == 1.0
    assert settings["episodic_life"] is True
    assert make_config(env_id="ALE/Seaquest-v5").network == "paper"
    assert load_preset("auto", "SeaquestNoFrameskip-v4") == (name, settings)
    assert load_preset("auto", "PongNoFrameskip-v4") == load_preset("auto", "ALE/Pong-v5")
    assert load_preset("auto", "ALE/Pong-v5")[0] == "ALE-Pong-v5"


@pytest.mark.parametrize(
    ("env_id", "closest"),
    [
        ("ALE/Pog-v5", "ALE/Pong-v5"),
        ("PogNoFrameskip-v4", "PongNoFrameskip-v4"),
        ("Pong-v4", "ALE/Pong-v5, PongNoFrameskip-v4"),
        ("PongDeterministic-v4", "ALE/Pong-v5, PongNoFrameskip-v4"),
    ],
)
def test_unknown_games_get_the_closest(env_id, closest):
    """Also where ALE has been imported, which makes the older ids known to Gymnasium."""
    for _ in range(2):
        with pytest.raises(UsageError, match=closest):
            envs.find(env_id)


def test_without_ale_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(UsageError, match=r"pip install 'a3c\[atari\]'"):
        envs.find("ALE/Pong-v5")


@pytest.mark.thorough
def test_it_is_trained_judged_and_watched(cli, tmp_path):
    trained = cli("train", "ALE/Pong-v5", "--max-steps", "2000", "--evaluation-episodes", "2", "--json")
    assert trained.code == 0, trained.err
    assert trained.json["backend"] == "tensorflow"
    judged = cli("evaluate", "--episodes", "2", "--json", "--backend", "jax")
    assert judged.code == 0, judged.err
    assert judged.json["evaluation"]["episodes"] == 2
    assert cli("play", "--sampled", "--video", "game.gif").code == 0
    assert (tmp_path / "game.gif").stat().st_size > 0
