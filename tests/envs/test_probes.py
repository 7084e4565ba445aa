"""Probe environments: each learner reaches the known answers."""

import numpy as np
import pytest
from keras import ops

from a3c import Agent
from a3c.spaces.distributions.categorical import Categorical

pytestmark = pytest.mark.both_backends

GAMMA = 0.9
# Environment: observation -> (value, action or None)
ANSWERS = {
    "Value": {0.0: (1.0, None)},
    "ObservedValue": {-1.0: (-1.0, None), 1.0: (1.0, None)},
    "DiscountedValue": {0.0: (GAMMA, None), 1.0: (1.0, None)},
    "Choice": {0.0: (1.0, 1)},
    "ObservedChoice": {-1.0: (1.0, 0), 1.0: (1.0, 1)},
    "Endless": {0.0: (1 / (1 - GAMMA), None)},
}


def learn(name, tmp_path, **settings):
    """Without normalisation: the values are then those of the environment, which the answers are of."""
    usual = dict(
        algorithm="a3c",
        seed=1,
        envs_per_worker=8,
        t_max=5,
        gamma=GAMMA,
        gae_lambda=1.0,
        learning_rate=3e-3,
        normalise_observations=False,
        normalise_returns=False,
        hidden_units=(32,),
        evaluation_episodes=16,
        save_dir=str(tmp_path),
    )
    agent = Agent(f"a3c.envs.probes:probe/{name}-v0", **{**usual, **settings})
    agent.fit(verbose=0)
    return agent


def check(agent, answers):
    for observation, (value, action) in answers.items():
        _, values = agent.network(np.array([[observation]], np.float32))
        assert float(ops.convert_to_numpy(values)[0, 0]) == pytest.approx(value, abs=0.1)
        if action is not None:
            assert agent.act([observation]) == action


@pytest.mark.parametrize("name", ANSWERS)
def test_serial_learns_the_known_answer(name, tmp_path):
    check(learn(name, tmp_path, engine="serial", max_steps=12_000), ANSWERS[name])


REUSE = dict(t_max=16, minibatch=32, passes=4, max_steps=16_000)


@pytest.mark.parametrize("name", ANSWERS)
def test_reuse_learns_the_known_answer(name, tmp_path):
    check(learn(name, tmp_path, algorithm="appo", engine="serial", **REUSE), ANSWERS[name])


@pytest.mark.parametrize("algorithm", ["appo", pytest.param("ppo", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", ["ObservedChoice", "Endless"])
def test_reuse_by_processes_learns_the_known_answer(name, algorithm, tmp_path):
    settings = dict(engine="processes", workers=2, anneal=True, **{**REUSE, "max_steps": 40_000})
    check(learn(name, tmp_path, algorithm=algorithm, **settings), ANSWERS[name])


@pytest.mark.parametrize("locking", [True, pytest.param(False, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", ["ObservedChoice", "Endless"])
def test_processes_learn_the_known_answer(name, locking, tmp_path):
    """With a falling learning rate: who updated last, and by how much, then no longer moves the answer."""
    agent = learn(
        name, tmp_path, engine="processes", workers=2, locking=locking, max_steps=40_000, anneal=True
    )
    check(agent, ANSWERS[name])


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9])
def test_gae_learns_the_known_answer(gae_lambda, tmp_path):
    agent = learn("DiscountedValue", tmp_path, engine="serial", max_steps=12_000, gae_lambda=gae_lambda)
    check(agent, ANSWERS["DiscountedValue"])


def test_the_entropy_bonus_rewards_uncertainty(tmp_path):
    """The tutorial's text had its sign reversed: with a strong bonus a policy must stay random."""
    entropies = {}
    for coefficient in (0.0, 10.0):
        agent = learn("Choice", tmp_path, engine="serial", max_steps=8_000, entropy_coefficient=coefficient)
        logits, _ = agent.network(np.zeros((1, 1), np.float32))
        entropies[coefficient] = float(ops.convert_to_numpy(Categorical(2).entropy(logits))[0])
    assert entropies[10.0] > 0.6
    assert entropies[0.0] < 0.3
