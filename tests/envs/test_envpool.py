"""EnvPool's environments, stepped in C++: the contract of every vector environment, and training.

Runs where EnvPool is installed: see `.ci/run`.
"""

import numpy as np
import pytest

from a3c import envs
from a3c.spaces.distributions.categorical import Categorical
from parts import ANY, balance, vector_sampler

pytest.importorskip("envpool")


def test_it_resets_in_the_step_after_an_end_and_keeps_the_time_limit():
    environment = envs.find("envpool/CartPole-v1")
    assert environment.actions == Categorical(2)
    assert environment.observations.shape == (4,)
    assert environment.reward_threshold == 475

    sampler = vector_sampler(environment, 4, 1003, policy=balance)
    rollout = sampler.collect(ANY)
    transitions = rollout.content
    assert [e.length for e in rollout.episodes] == [500] * 8, "two episodes of four copies"
    assert transitions.truncated[499].all()
    assert not transitions.terminated.any()
    assert not transitions.valid[500].any()
    assert (transitions.rewards[500] == 0).all()
    assert (np.abs(transitions.observations[501]) <= 0.05).all(), "a first state follows"
    sampler.close()


def test_seeds_decide():
    environment = envs.find("envpool/CartPole-v1")
    env = envs.make_vector(environment.spec, 3, environment.vectorized)
    a, b, c = (env.reset(seed=seed)[0].copy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    env.close()


@pytest.mark.parametrize("engine", ["processes", "threads"])
def test_it_trains(engine, cli):
    settings = ("--preset", "CartPole-v1", "--max-steps", "120000", "--engine", engine, "--json")
    outcome = cli("train", "envpool/CartPole-v1", *settings)
    assert outcome.code == 0, outcome.err
    assert outcome.json["evaluation"]["mean"] > 100


def test_it_is_watched_in_gymnasiums_own(cli, tmp_path):
    assert cli("train", "envpool/CartPole-v1", "--max-steps", "2000", "--quiet").code == 0
    outcome = cli("play", "--video", "film.gif")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "film.gif").exists()


def test_unknown_names_get_the_closest(cli):
    outcome = cli("train", "envpool/CartPol-v1", "--quiet")
    assert outcome.code == 2
    assert "envpool/CartPole-v1" in outcome.err
