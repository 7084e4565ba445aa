"""Random network distillation: what is new, that it is learned, and that it leads somewhere."""

import gymnasium as gym
import numpy as np
import pytest

from a3c import Agent
from a3c.config import Config
from a3c.envs import novelty
from a3c.envs.novelty import CuriousSampler, Moments, Novelty
from a3c.errors import SettingError
from a3c.spaces.observations import describe_observations
from a3c.training import resolve
from a3c.types import Rollout, Transitions

spaces = gym.spaces
CHAIN = "test/Chain-v0"


class Chain(gym.Env):
    """Twenty-four rooms in a row, a reward in the last; action 0 leads back to the first, 1 to the next."""

    observation_space, action_space = spaces.Discrete(24), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.room = 0
        return self.room, {}

    def step(self, action):
        self.room = self.room + 1 if action else 0
        done = self.room == 23
        return self.room, float(done), done, False, {}


gym.register(CHAIN, entry_point=Chain, max_episode_steps=48)


def selector(space=None, copies=2, seed=0):
    observations = describe_observations(spaces.Box(-1, 1, (3,)) if space is None else space, "env")
    return Novelty(observations, copies, 0.9, np.random.default_rng(seed))


def test_gradients_are_those_of_finite_differences():
    generator = np.random.default_rng(0)
    network = [a.astype(np.float64) for a in novelty._network(generator, (3, 5, 4, 2))]
    network = [a + 0.1 * generator.standard_normal(a.shape) for a in network]
    x, wanted = generator.standard_normal((7, 3)), generator.standard_normal((7, 2))

    def loss():
        return 0.5 * np.square(novelty._outputs(network, x)[-1] - wanted).mean()

    for array, gradient in zip(network, novelty._gradients(network, x, wanted), strict=True):
        for place in [tuple(generator.integers(0, n) for n in array.shape) for _ in range(5)]:
            array[place] += 1e-6
            above = loss()
            array[place] -= 2e-6
            below = loss()
            array[place] += 1e-6
            assert gradient[place] == pytest.approx((above - below) / 2e-6, abs=1e-7)


def test_what_was_seen_often_is_less_new_than_what_was_not():
    judged, generator = selector(spaces.Discrete(10)), np.random.default_rng(1)
    valid = np.ones((50, 2), np.float32)
    for _ in range(30):
        known = judged.of(generator.integers(0, 5, (50, 2, 1)).astype(np.float32), valid)
    new = judged.of(generator.integers(5, 10, (50, 2, 1)).astype(np.float32), valid)
    assert new[:5].mean() > 10 * known.mean()


def test_steps_that_only_reset_are_worth_nothing_and_teach_nothing():
    seen, valid = np.random.default_rng(1).normal(size=(20, 2, 3)).astype(np.float32), np.ones((20, 2))
    valid[7, 1] = valid[12, 0] = 0
    other = seen.copy()
    other[7, 1], other[12, 0] = 1e3, -1e3
    first, second = selector(), selector()
    a, b = first.of(seen, valid), second.of(other, valid)
    assert a[7, 1] == a[12, 0] == 0.0
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first.state()["predictor"][0], second.state()["predictor"][0])


def test_a_judge_that_is_restored_goes_on_as_it_would_have():
    generator = np.random.default_rng(2)
    rollouts = [generator.normal(size=(20, 2, 3)).astype(np.float32) for _ in range(6)]
    valid, whole, half = np.ones((20, 2)), selector(), selector()
    for seen in rollouts[:3]:
        whole.of(seen, valid), half.of(seen, valid)
    again = selector(seed=9)
    again.restore(half.state())
    for seen in rollouts[3:]:
        np.testing.assert_array_equal(again.of(seen, valid), whole.of(seen, valid))


def test_the_scale_of_errors_does_not_matter():
    """The deviation of discounted sums of novelty comes to 1."""
    judged, generator, valid = selector(copies=8), np.random.default_rng(3), np.ones((100, 8))
    found = [judged.of(generator.normal(size=(100, 8, 3)).astype(np.float32), valid) for _ in range(10)]
    sums, current = [], np.zeros(8)
    for row in np.concatenate(found):
        current = 0.9 * current + row
        sums.append(current)
    assert 0.3 < np.std(sums) < 2.0


@pytest.mark.parametrize(
    ("space", "rows", "wanted"),
    [
        (spaces.Discrete(3), [[2.0], [0.0]], [[0, 0, 1], [1, 0, 0]]),
        (spaces.MultiDiscrete([2, 3]), [[1.0, 2.0]], [[0, 1, 0, 0, 1]]),
        (spaces.Box(0, 255, (2, 1, 1), np.uint8), [[[[255]], [[51]]]], [[1.0, 0.2]]),
        (spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(2)), [[0.5, -1, 1]], [[0.5, -1, 0, 1]]),
    ],
    ids=["choice", "choices", "bytes", "dict"],
)  # fmt: skip
def test_observations_are_judged_as_the_network_sees_them(space, rows, wanted):
    observations = describe_observations(space, "env")
    packed = np.array(rows, observations.dtype)
    np.testing.assert_allclose(novelty.features(observations, packed), wanted, rtol=1e-6)


def test_moments_are_those_of_all_rows():
    rows, moments = np.random.default_rng(4).normal(3.0, 2.0, (100, 2)), Moments(2)
    moments.add(rows[:0])
    for part in np.split(rows, [1, 30, 70]):
        moments.add(part)
    np.testing.assert_allclose([moments.mean, moments.variance], [rows.mean(0), rows.var(0)], rtol=1e-12)


class Recorded:
    """A sampler with one rollout."""

    def __init__(self, transitions):
        self.transitions = transitions

    def collect(self, snapshot):
        return Rollout(self.transitions, [], 1)


class Steady:
    """Finds everything equally new."""

    def of(self, packed, valid):
        return np.float32(2.0) * valid


def test_learning_gets_the_bonus_in_rewards_and_in_discounted_sums():
    valid = np.array([[1], [1], [0], [1]], np.float32)
    blank = dict.fromkeys(Transitions._fields)
    rewards, returns = (
        np.array([[1], [0], [0], [1]], np.float32),
        np.array([[1], [0.5], [0], [1]], np.float32),
    )
    arrays = dict(rewards=rewards, returns=returns, valid=valid, observations=np.zeros((5, 1, 3), np.float32))
    sampler = CuriousSampler(Recorded(Transitions(**{**blank, **arrays})), Steady(), 0.5, 0.5)
    found = sampler.collect(None).content
    np.testing.assert_array_equal(found.rewards[:, 0], [2, 1, 0, 2])
    np.testing.assert_array_equal(found.returns[:, 0], [1 + 1, 0.5 + 1.5, 0, 1 + 1])


def test_a_compiled_environment_has_no_place_for_it():
    with pytest.raises(SettingError, match="noise where the environment is compiled"):
        resolve.resolve_config(Config(env_id="jax/CartPole-v1", exploration="rnd"))


def test_it_finds_a_reward_that_noise_does_not(tmp_path):
    settings = dict(preset="none", workers=1, seed=1, max_steps=40_000, t_max=64, stop_return=0.9)
    found = {}
    for exploration in ("noise", "rnd"):
        agent = Agent(CHAIN, exploration=exploration, save_dir=str(tmp_path), **settings)
        found[exploration] = agent.fit().summary["solved"]
    assert found == {"noise": False, "rnd": True}
