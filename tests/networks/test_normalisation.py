"""Running statistics: they are those of all that was seen, travel with the parameters, and help."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from keras import ops

from a3c import Agent, backend, networks
from a3c.networks import normalisation
from a3c.networks.functional import Network, prepare
from a3c.networks.inputs import observed_moments, unpack
from a3c.networks.normalisation import Normaliser, scale_rewards
from a3c.networks.numpy_policy import dense_policy
from a3c.networks.parameters import parameters_of, set_statistics, statistics_of
from a3c.spaces.distributions.categorical import Categorical
from a3c.spaces.observations import describe_observations
from a3c.types import Shapes
from parts import vectors

both_backends = pytest.mark.both_backends


def numbers_of(*arrays):
    return np.concatenate([np.atleast_1d(a) for a in arrays]).astype(np.float32)


def group(mean, variance, count):
    """Statistics as they lie in the vector, without rests."""
    none = np.zeros(np.size(mean))
    return numbers_of(mean, none, variance, none, count, 0)


@both_backends
def test_merged_batches_are_the_whole():
    """Means far from 0 beside small deviations, batches of all sizes, an empty one among them."""
    rng = np.random.default_rng(0)
    normaliser = Normaliser(observations=3, returns=True)
    state, rows, earned = normaliser.first(), [], []
    for size in (1, 7, 0, 64, 300, 5):
        batch = rng.normal([100.0, -3.0, 0.0], [0.1, 2.0, 1e-3], (size, 3)).astype(np.float32)
        returns = rng.normal(5.0, 3.0, (size, 1)).astype(np.float32)
        found = []
        for array in (batch, returns):
            padded = np.concatenate([array, np.full((4, array.shape[1]), 1e6, np.float32)])
            weights = ops.convert_to_tensor(numbers_of(np.ones(size), np.zeros(4)))
            found += normalisation.moments(ops.convert_to_tensor(padded[..., None]), weights)
        state = ops.convert_to_numpy(
            normalisation.merge(normaliser, ops.convert_to_tensor(state), ops.concatenate(found, 0))
        )
        rows.append(batch)
        earned.append(returns)
    every, returns = np.concatenate(rows).astype(np.float64), np.concatenate(earned).astype(np.float64)
    seen, earned = normaliser.groups(state)
    (mean, variance, count), of_returns, spread = (
        (seen.mean, seen.variance, seen.count),
        earned.mean,
        earned.variance,
    )
    assert count == len(every) == 377
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, every.var(0), rtol=1e-2)
    assert of_returns[0] == pytest.approx(returns.mean(), rel=1e-4)
    assert spread[0] == pytest.approx(returns.var(), rel=1e-3)


@both_backends
@pytest.mark.parametrize("far", [1e20, -3e38])
def test_one_number_without_measure_leaves_statistics_numbers(far):
    """Some environments show the largest float where there is nothing to see; its square is infinite."""
    normaliser, state = Normaliser(observations=2), None
    for first in (far, 1.0, 2.0):
        rows = np.array([[first, 0.0], [1.0, 1.0]], np.float32)
        found = normalisation.moments(ops.convert_to_tensor(rows[..., None]), ops.ones(2))
        before = ops.convert_to_tensor(normaliser.first() if state is None else state)
        state = ops.convert_to_numpy(normalisation.merge(normaliser, before, ops.concatenate(found, 0)))
        (found,) = normaliser.groups(state)
        mean, variance = found.mean, found.variance
        assert np.isfinite(state).all()
        seen = ops.convert_to_numpy(normalisation.standardise(ops.convert_to_tensor(rows), mean, variance))
        assert np.isfinite(seen).all()
    np.testing.assert_allclose(seen[:, 1], [-1.0, 1.0], atol=1e-5)


def test_pooled_batches_are_one():
    rng = np.random.default_rng(1)
    normaliser = Normaliser(observations=2)
    batches = [rng.normal(size=(n, 2)).astype(np.float32) for n in (4, 9, 2)]
    every = [group(b.mean(0), b.var(0), len(b)) for b in batches]
    (pooled,) = normaliser.groups(normalisation.pool(normaliser, every))
    whole = np.concatenate(batches)
    np.testing.assert_allclose(pooled.mean, whole.mean(0), rtol=1e-5)
    np.testing.assert_allclose(pooled.variance, whole.var(0), rtol=1e-5)
    assert pooled.count == len(whole)


@both_backends
def test_vectors_and_images_are_normalised_choices_and_bytes_are_not():
    spaces = gym.spaces
    space = spaces.Dict(
        a=spaces.Box(-9, 9, (2,)), b=spaces.Discrete(3), c=spaces.Box(0, 255, (8, 8), np.uint8),
        d=spaces.Box(-9, 9, ()), e=spaces.Box(0, 255, (3,), np.uint8),
    )  # fmt: skip
    described = describe_observations(space, "env")
    assert normalisation.make(described, True, False) == Normaliser(4)
    packed = np.arange(2 * described.shape[0], dtype=np.float32).reshape(2, -1)
    packed[:, 2] = 1
    mean, variance = np.array([1.0, 2.0, 0.1, 3.0], np.float32), np.array([4.0, 9.0, 0.04, 1e6], np.float32)
    seen = unpack(described, ops.convert_to_tensor(packed), (mean, variance))
    plain = unpack(described, ops.convert_to_tensor(packed))
    for name in ("b", "e"):
        np.testing.assert_array_equal(ops.convert_to_numpy(seen[name]), ops.convert_to_numpy(plain[name]))
    expected = np.clip((packed[:, :2] - mean[:2]) / np.sqrt(variance[:2]), -10, 10)
    np.testing.assert_allclose(ops.convert_to_numpy(seen["a"]), expected, rtol=1e-5)
    image, shown = (ops.convert_to_numpy(which["c"]) for which in (plain, seen))
    np.testing.assert_allclose(shown, (image - 0.1) / 0.2, rtol=1e-4, atol=1e-6)


@both_backends
def test_each_number_of_a_vector_has_its_mean_and_an_image_one_for_all():
    spaces = gym.spaces
    parts = dict(a=spaces.Box(-9, 9, (2,)), b=spaces.Discrete(3), c=spaces.Box(0, 255, (8, 9), np.uint8))
    rng = np.random.default_rng(0)
    valid = np.array([1, 0, 1, 1], np.float32)
    vector, image = rng.normal(size=(4, 2)).astype(np.float32), rng.integers(0, 256, (4, 8, 9))
    packed = np.concatenate([vector, np.ones((4, 1)), image.reshape(4, -1)], 1).astype(np.float32)
    described = describe_observations(spaces.Dict(parts), "env")
    found = observed_moments(described, ops.convert_to_tensor(packed), ops.convert_to_tensor(valid))
    rows, pixels = vector[valid > 0], image[valid > 0] / 255
    expected = group(numbers_of(rows.mean(0), pixels.mean()), numbers_of(rows.var(0), pixels.var()), 3)
    np.testing.assert_allclose(ops.convert_to_numpy(ops.concatenate(found, 0)), expected, rtol=1e-5)

    alone = describe_observations(parts["c"], "env")
    found = observed_moments(
        alone, ops.convert_to_tensor(image.astype(np.uint8)), ops.convert_to_tensor(valid)
    )
    expected = group(pixels.mean(), pixels.var(), 3)
    np.testing.assert_allclose(ops.convert_to_numpy(ops.concatenate(found, 0)), expected, rtol=1e-5)


@both_backends
def test_policies_see_normalised_observations_in_numpy_as_well():
    model = networks.ActorCritic(3, (8,), seed=0)
    networks.build(model, vectors(4))
    set_statistics(model, group([1, 2, 3, 4], [4, 1, 0.01, 100], 50))
    network = Network(model, [], vectors(4), Normaliser(4))
    weights = parameters_of(model)
    seen = np.random.default_rng(0).normal(3.0, 2.0, (6, 4)).astype(np.float32)
    expected = model(np.clip((seen - [1, 2, 3, 4]) / [2, 1, 0.1, 10], -10, 10).astype(np.float32))[0]
    for policy in (dense_policy(network), backend.load().compile_policy(network)):
        np.testing.assert_allclose(
            policy(weights)(seen)[0], ops.convert_to_numpy(expected), rtol=1e-3, atol=1e-5
        )


@both_backends
def test_gradients_carry_the_moments_of_what_counts_and_scale_rewards():
    model = networks.ActorCritic(2, (4,), seed=0)
    networks.build(model, vectors(2))
    normaliser = Normaliser(2, returns=True)
    set_statistics(model, numbers_of(group([0, 0], [1, 1], 9), group(0, 4.0, 9)))
    network, weights = Network(model, [], vectors(2), normaliser), parameters_of(model)
    rng = np.random.default_rng(0)
    blank = Shapes.of(vectors(2), Categorical(2), 5, 3, discount=0.9).blank()
    valid = rng.random((5, 3)) < 0.7
    rollout = blank._replace(
        observations=rng.normal(size=(6, 3, 2)).astype(np.float32),
        rewards=rng.normal(size=(5, 3)).astype(np.float32),
        returns=rng.normal(size=(5, 3)).astype(np.float32),
        valid=valid,
    )
    prepared, found = prepare(network, ops.convert_to_tensor(weights), rollout)
    np.testing.assert_allclose(ops.convert_to_numpy(prepared.rewards), rollout.rewards / 2, rtol=1e-5)
    rows = rollout.observations[:-1][valid]
    earned = rollout.returns[valid]
    expected = numbers_of(
        group(rows.mean(0), rows.var(0), valid.sum()), group(earned.mean(), earned.var(), valid.sum())
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.concatenate(found, 0)), expected, rtol=1e-4, atol=1e-5
    )
    from a3c import algorithms
    from a3c.config import Config

    loss = algorithms.find("a3c").make_loss(Config(), Categorical(2))
    free, clipped = (
        backend.load().compile_gradients(network, loss, clipnorm)(weights, rollout)
        for clipnorm in (None, 0.01)
    )
    size = len(weights) - normaliser.size
    for gradient, losses in (free, clipped):
        assert gradient.shape == weights.shape
        np.testing.assert_allclose(gradient[size:], expected, rtol=1e-4, atol=1e-5)
        assert losses["gradient_norm"] == pytest.approx(np.linalg.norm(free[0][:size]), rel=1e-4)
    assert len(network.towers) == 2
    for own in network.towers:
        before, after = (np.concatenate([gradient[span] for span in own]) for gradient, _ in (free, clipped))
        shrunk = before * min(1.0, 0.01 / np.linalg.norm(before))
        np.testing.assert_allclose(after, shrunk, rtol=1e-4, atol=1e-7)


def test_rewards_are_cut_off():
    rewards = np.array([-7.0, -0.5, 0.0, 30.0], np.float32)
    none, cut = Normaliser(), Normaliser(largest_reward=1.0)
    np.testing.assert_array_equal(scale_rewards(none, np.zeros(0), rewards), rewards)
    np.testing.assert_array_equal(scale_rewards(cut, np.zeros(0), rewards), [-1.0, -0.5, 0.0, 1.0])
    statistics = group(0, 4.0, 9)
    divided = Normaliser(returns=True, largest_reward=2.0)
    np.testing.assert_allclose(scale_rewards(divided, statistics, rewards), [-2, -0.25, 0, 2], rtol=1e-6)


@both_backends
def test_the_first_reward_after_only_zeros_is_not_scaled():
    """All that was seen had a variance of 0, which says nothing of how large rewards are."""
    normaliser, rewards = Normaliser(returns=True), ops.convert_to_tensor(np.array([0.0, 1.0], np.float32))
    for variance, expected in ((0.0, 1.0), (4.0, 0.5)):
        scaled = scale_rewards(normaliser, ops.convert_to_tensor(group(0.0, variance, 10_000)), rewards)
        np.testing.assert_allclose(ops.convert_to_numpy(scaled), [0.0, expected], rtol=1e-5)


@both_backends
@pytest.mark.parametrize("count", [1_000_000, 50_000_000])
def test_means_of_millions_of_rows_still_move(count):
    """Each batch of 5 changes them by less than a float32 near 100 can show: the sum of many does not."""
    normaliser, rng = Normaliser(observations=1), np.random.default_rng(0)
    state = ops.convert_to_tensor(group(100.0, 1.0, count))
    merge = backend.load().compile_function(functools.partial(normalisation.merge, normaliser), False)
    mean, variance, total = 100.0, 1.0, float(count)
    for _ in range(3000):
        batch = rng.normal(103.0, 2.0, 5).astype(np.float32)
        share = 5 / (total + 5)
        variance += share * (batch.var() - variance + (batch.mean() - mean) ** 2 * (1 - share))
        mean += share * (batch.mean(dtype=np.float64) - mean)
        total += 5
        state = merge(state, ops.convert_to_tensor(group(batch.mean(), batch.var(), 5)))
    (found,) = normaliser.groups(ops.convert_to_numpy(state).astype(np.float64))
    assert found.mean + found.mean_rest == pytest.approx(mean, rel=1e-7)
    assert found.variance + found.variance_rest == pytest.approx(variance, rel=1e-6)
    assert found.count + found.count_rest == total
    assert mean > 100 + 1e-4, "else this test shows nothing"


@both_backends
@pytest.mark.parametrize("constant", [1000.1, -3e-5, 7e8])
def test_a_constant_number_is_0(constant):
    """Whatever is rounded on the way; in NumPy, where the agent acts, as in the programs that learn."""
    model = networks.ActorCritic(2, (4,), seed=0)
    networks.build(model, vectors(1))
    network, state = Network(model, [], vectors(1), Normaliser(1)), Normaliser(1).first()
    for size in (5, 128, 1000):
        rows = np.full((size, 1), constant, np.float32)
        found = normalisation.moments(ops.convert_to_tensor(rows[..., None]), ops.ones(size))
        merged = normalisation.merge(Normaliser(1), ops.convert_to_tensor(state), ops.concatenate(found, 0))
        state = ops.convert_to_numpy(merged)
    set_statistics(model, state)
    expected = ops.convert_to_numpy(model(np.zeros((1, 1), np.float32))[0])
    for policy in (dense_policy(network), backend.load().compile_policy(network)):
        seen = policy(parameters_of(model))(np.full((1, 1), constant, np.float32))[0]
        np.testing.assert_allclose(ops.convert_to_numpy(seen), expected, atol=1e-6)


def test_statistics_of_earlier_versions_are_widened():
    normaliser = Normaliser(observations=2, returns=True)
    before = numbers_of([1, 2], [3, 4], 5, 6, 7, 8)
    after = numbers_of(group([1, 2], [3, 4], 5), group(6, 7, 8))
    np.testing.assert_array_equal(normaliser.widened(before), after)
    np.testing.assert_array_equal(normaliser.widened(after), after)


class Scaled(gym.Env):
    """An identity whose numbers lie around 1000, a thousandth apart, and whose rewards are in thousands."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._next(), {}

    def step(self, action):
        self.t += 1
        reward = 5000.0 * (action == self.side)
        return self._next(), reward, False, self.t == 20, {}

    def _next(self):
        self.side = int(self.np_random.integers(2))
        return np.array([100.0 + (0.1 if self.side else -0.1)], np.float32)


gym.register("test/Scaled-v0", entry_point=Scaled)
SETTINGS = dict(seed=4, max_steps=30_000, gamma=0.5, evaluation_episodes=20, stop_return=97_000.0)
BOTH = dict(normalise_observations=True, normalise_returns=True)


@pytest.mark.parametrize(
    "more",
    [
        dict(engine="serial", algorithm="a3c"),
        dict(workers=2, algorithm="a3c"),
        dict(engine="serial", algorithm="appo"),
        dict(workers=2, algorithm="a2c"),
        dict(workers=2, algorithm="impala"),
        dict(engine="serial", algorithm="n-step-q", target_steps=500, epsilon_steps=5000),
    ],
    ids=lambda more: f"{more['algorithm']}, {more.get('engine', 'processes')}",
)
def test_what_no_network_could_learn_from_is_learned(more, tmp_path):
    agent = Agent("test/Scaled-v0", save_dir=str(tmp_path), learning_rate=3e-3, **SETTINGS, **BOTH, **more)
    agent.fit(verbose=0)
    assert agent.evaluate(50, seed=1).mean == 100_000.0
    found = Normaliser(1, returns=True).groups(statistics_of(agent.network))[0]
    mean, variance, count = found.mean, found.variance, found.count
    assert mean[0] == pytest.approx(100.0, abs=0.01)
    assert variance[0] == pytest.approx(0.01, rel=0.1)
    assert 1000 < count[0] <= 32_000
    agent.save(tmp_path / "agent.keras")
    again = Agent.load(tmp_path / "agent.keras")
    assert again.config.normalise_observations
    assert again.evaluate(50, seed=1).mean == 100_000.0


def test_without_normalisation_it_is_not(tmp_path):
    plain = dict(algorithm="a3c", normalise_observations=False, normalise_returns=False)
    settings = dict(save_dir=str(tmp_path), engine="serial", learning_rate=3e-3, **SETTINGS)
    agent = Agent("test/Scaled-v0", **settings, **plain)
    agent.fit(verbose=0)
    assert agent.evaluate(50, seed=1).mean < 90_000


@pytest.mark.skipif(backend.installed()[0] != "jax", reason="fused on JAX only")
@pytest.mark.parametrize("algorithm", ["a3c", "impala"])
def test_compiled_environments_are_normalised_too(algorithm, tmp_path):
    agent = Agent("jax/CartPole-v1", algorithm, seed=1, save_dir=str(tmp_path), max_steps=300_000, **BOTH)
    agent.fit(verbose=0)
    assert agent.evaluate(50, seed=1).mean > 300
    groups = Normaliser(4, returns=True).groups(statistics_of(agent.network))
    assert all((group.variance > 0).all() for group in groups)
    assert groups[1].mean[0] > 5  # discounted sums of ones
