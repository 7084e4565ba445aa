"""Spaces: packing observations, distributions of actions, and that each kind can be learned with."""

import dataclasses
import math

import gymnasium as gym
import keras
import numpy as np
import pytest
from keras import ops

import identity
from a3c import Agent, envs, networks
from a3c.algorithms.n_step_q import value_of
from a3c.config import Config
from a3c.errors import SettingError, UsageError
from a3c.networks import inputs
from a3c.spaces import distributions
from a3c.spaces.noise import DRAW, gumbel_noise
from a3c.spaces.observations import ObservationMismatch, describe_observations
from a3c.training import resolve
from parts import gradient_of

spaces = gym.spaces
both_backends = pytest.mark.both_backends

OBSERVATIONS = {
    "vector": spaces.Box(-1, 1, (3,), np.float32),
    "double": spaces.Box(-1, 1, (3,), np.float64),
    "number": spaces.Box(-1, 1, (), np.float32),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "image": spaces.Box(0, 255, (12, 10, 3), np.uint8),
    "channels first": spaces.Box(0, 255, (3, 12, 10), np.uint8),
    "dict of channels first": spaces.Dict(
        x=spaces.Box(0, 255, (2, 9, 10), np.uint8), y=spaces.Box(-1, 1, (1, 9, 8), np.float32)
    ),
    "gray image": spaces.Box(0, 255, (12, 10), np.uint8),
    "memory": spaces.Box(0, 255, (16,), np.uint8),
    "discrete": spaces.Discrete(4, start=-2),
    "multi-discrete": spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[1, 0], [0, -3]]),
    "far discrete": spaces.Discrete(4, start=2**40 + 1),
    "far multi-discrete": spaces.MultiDiscrete([4, 3], start=[2**25 + 1, -(2**33)]),
    "switches": spaces.MultiBinary([2, 3]),
    "dict": spaces.Dict(b=spaces.Discrete(3), a=spaces.Box(0, 255, (9, 9), np.uint8)),
    "tuple": spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.Dict(c=spaces.MultiBinary(2))]),
    "dict of bytes": spaces.Dict(x=spaces.Box(0, 255, (9, 9), np.uint8), y=spaces.Box(0, 9, (2,), np.uint8)),
}


def batch_of(space, size, seed=0):
    """Samples, and the batch of them as vector environments return it."""
    space.seed(seed)
    samples = [space.sample() for _ in range(size)]
    batched = gym.vector.utils.create_empty_array(space, size)
    return samples, gym.vector.utils.concatenate(space, samples, batched)


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_packing_loses_nothing(name):
    space = OBSERVATIONS[name]
    described = describe_observations(space, "env")
    samples, batch = batch_of(space, 5)
    packed = np.asarray(described.pack(batch), described.dtype)
    assert packed.shape == (5, *described.shape)
    restored = gym.vector.utils.iterate(gym.vector.utils.batch_space(space, 5), described.restore(packed))
    for sample, again in zip(samples, restored, strict=True):
        np.testing.assert_allclose(spaces.flatten(space, sample), spaces.flatten(space, again), atol=1e-6)
    one, single = described.pack_any(samples[2])
    assert single
    np.testing.assert_array_equal(one[0], packed[2])
    several, single = described.pack_any(batch)
    assert not single
    np.testing.assert_array_equal(several, packed)


@pytest.mark.parametrize("name", ["vector", "image", "discrete", "dict", "tuple"])
def test_what_is_no_observation_is_told(name):
    described = describe_observations(OBSERVATIONS[name], "env")
    for wrong in (np.zeros((7, 7, 7, 7)), {"a": 1}, (1, 2, 3), np.zeros(5), "text"):
        if (name, np.ndim(wrong)) in (("discrete", 1), ("vector", 1)) and len(wrong) in (3, 5):
            continue  # a batch of the one, an observation of the other
        with pytest.raises(ObservationMismatch):
            described.pack_any(wrong)


@both_backends
@pytest.mark.parametrize("name", OBSERVATIONS)
def test_networks_see_what_they_should(name):
    """Against Gymnasium's own flattening, which is one-hot for choices; bytes are scaled."""
    space = OBSERVATIONS[name]
    described = describe_observations(space, "env")
    samples, batch = batch_of(space, 4)
    packed = np.asarray(described.pack(batch), described.dtype)
    seen = inputs.unpack(described, ops.convert_to_tensor(packed))
    assert isinstance(seen, dict) == isinstance(space, spaces.Dict)
    parts = [ops.convert_to_numpy(part) for part in keras.tree.flatten(seen)]
    assert all(part.dtype == np.float32 for part in parts)
    if name in ("channels first", "dict", "dict of bytes", "image", "gray image", "memory"):
        images = [part for part in parts if part.ndim == 4]
        assert all(part.shape[1:3] in ((12, 10), (9, 9)) for part in images)
        assert all(0 <= part.min() <= part.max() <= 1 for part in images)
    no_bytes = ("vector", "double", "number", "matrix", "switches", "tuple")
    if name in no_bytes or "discrete" in name:
        flat = np.concatenate([part.reshape(4, -1) for part in parts], -1)
        expected = np.stack([spaces.flatten(space, sample) for sample in samples])
        np.testing.assert_allclose(flat, expected, atol=1e-6)
    if name == "channels first":
        np.testing.assert_allclose(parts[0], np.moveaxis(batch, 1, -1) / np.float32(255), rtol=1e-6)
    if name == "dict of channels first":
        np.testing.assert_allclose(parts[0], np.moveaxis(batch["x"], 1, -1) / np.float32(255), rtol=1e-6)
        np.testing.assert_allclose(parts[1], np.moveaxis(batch["y"], 1, -1), rtol=1e-6)


@pytest.mark.parametrize(
    ("space", "fix"),
    [
        (spaces.Text(5), "array of its letters"),
        (spaces.Sequence(spaces.Discrete(3)), "array of one length"),
        (spaces.Graph(spaces.Box(0, 1, (2,)), None), "nodes and edges"),
        (spaces.Dict(a=spaces.Dict(b=spaces.Text(5))), r"(?s)\['a'\]\['b'\]: Text.* letters"),
        (spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]), "TransformObservation"),
    ],
)
def test_other_observations_are_refused_by_name(space, fix):
    with pytest.raises(UsageError, match=fix):
        describe_observations(space, "env")


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict(a=spaces.Discrete(2)),
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.Text(3),
        spaces.Box(0, 9, (2,), np.int64),
    ],
)
def test_other_actions_are_refused_by_name(space):
    with pytest.raises(UsageError, match=r"(?s)with actions .*TransformAction"):
        distributions.for_space(space, "env")


@pytest.mark.parametrize(
    "space", [spaces.Discrete(2**25), spaces.MultiDiscrete([2**20, 5]), spaces.Box(-1, 1, (2**20,))]
)
def test_more_actions_than_a_network_can_have_are_refused(space):
    with pytest.raises(UsageError, match="at most 1,048,576 policy parameters"):
        distributions.for_space(space, "env")


class Misdeclared(gym.Env):
    """Shows something else than its space says."""

    observation_space = spaces.Box(-1.0, 1.0, (3,))
    action_space = spaces.Discrete(2)

    def __init__(self, shown):
        self.shown = shown

    def reset(self, *, seed=None, options=None):
        return self.shown, {}

    def step(self, action):
        return self.shown, 0.0, True, False, {}


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (np.zeros(4, np.float32), r"an observation of shape \(4,\): expected vectors of 3"),
        (np.zeros((1, 3), np.float32), r"shape \(1, 3\), a batch of them"),
        (np.zeros((3, 1, 1), np.float32), r"shape \(3, 1, 1\)"),
        (None, "no numbers"),
        ("text", "no numbers"),
    ],
)
def test_what_no_space_says_is_refused_before_anything_starts(shown, told):
    gym.register("test/Misdeclared-v1", entry_point=Misdeclared, kwargs={"shown": shown})
    with pytest.raises(UsageError, match=f"(?s)Misdeclared-v1 showing .*{told}"):
        envs.find("test/Misdeclared-v1")
    del gym.registry["test/Misdeclared-v1"]


# -- distributions ------------------------------------------------------------------------------------------

ACTIONS = {
    "discrete": spaces.Discrete(3, start=4),
    "small discrete": spaces.Discrete(3, start=4, dtype=np.int32),
    "small multi-discrete": spaces.MultiDiscrete([2, 3], dtype=np.int16),
    "multi-discrete": spaces.MultiDiscrete([[2, 3]], start=[[1, -1]]),
    "switches": spaces.MultiBinary([1, 2]),
    "bounded": spaces.Box(np.array([[-2.0], [3.0]], np.float32), np.array([[2.0], [5.0]], np.float32)),
    "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float64),
    "half": spaces.Box(0.0, np.inf, (2,), np.float32),
    "widest": spaces.Box(np.finfo(np.float64).min, np.finfo(np.float64).max, (2,), np.float64),
    "number": spaces.Box(-2.0, 2.0, (), np.float32),
    "double": spaces.Box(-0.4, 0.4, (2,), np.float64),
}
CASES = [(name, "clip") for name in ACTIONS] + [("bounded", "squash"), ("unbounded", "squash")]


def parameters_for(actions, seed=0, rows=1):
    return np.random.default_rng(seed).normal(size=(rows, actions.outputs)).astype(np.float32)


def draw(actions, parameters, count, seed=0):
    kind, size = actions.noise
    noise = DRAW[kind](np.random.default_rng(seed), (count, size))
    return actions.choose(np.tile(parameters, (count, 1)), noise)


@pytest.mark.parametrize(("name", "bounds"), CASES)
def test_every_action_lies_in_its_space(name, bounds):
    space = ACTIONS[name]
    actions = distributions.for_space(space, "env", bounds)
    generator = np.random.default_rng(0)
    drawn = draw(actions, 3 * parameters_for(actions), 200)
    uniform = actions.choose(np.zeros((200, actions.outputs), np.float32), actions.uniform(generator, (200,)))
    for chosen in (drawn, uniform, drawn.astype(actions.dtype)):
        assert chosen.shape == (200, *actions.shape)
        sent = actions.to_env(chosen)
        for k, action in enumerate(sent):
            assert space.contains(action if np.ndim(action) else np.asarray(action)), action
            one = distributions.first(sent[k:])
            assert space.contains(one)
            np.testing.assert_array_equal(one, action)
    if name == "bounded":
        sent = actions.to_env(uniform)
        np.testing.assert_allclose(sent.mean(0), (space.low + space.high) / 2, atol=0.3)
        np.testing.assert_allclose(sent.std(0), (space.high - space.low) / 12**0.5, rtol=0.1)


@pytest.mark.parametrize(
    ("low", "high", "greedy"), [(10.0, np.inf, 11.0), (-np.inf, -3.0, -4.0), (-1e38, 1e38, 0.0)]
)
def test_actions_begin_beside_the_only_bound(low, high, greedy):
    """Else all of them would be cut off to the bound, and nothing could be found out."""
    actions = distributions.for_space(spaces.Box(low, high, (1,), np.float32), "env")
    assert actions.to_env(np.zeros((1, 1), np.float32)) == [[greedy]]
    sent = actions.to_env(draw(actions, np.zeros((1, 2), np.float32), 1000))
    assert len(np.unique(sent)) > 800
    assert sent.std() == pytest.approx(0.8, abs=0.1)


@both_backends
@pytest.mark.parametrize("name", ["discrete", "multi-discrete", "switches"])
def test_a_logit_of_minus_infinity_rules_an_action_out(name):
    """As a network does that knows which moves are legal: probabilities, entropy and gradients are those of a
    very small logit."""
    actions = distributions.for_space(ACTIONS[name], "env")
    mask = np.zeros((1, actions.outputs), np.float32)
    mask[0, 1] = -np.inf
    chosen = actions.choose(mask, gumbel_noise(np.random.default_rng(0), (50, actions.outputs)))
    parameters = np.tile(parameters_for(actions), (50, 1))

    def total(parameters, mask):
        masked = parameters + mask
        return ops.sum(actions.log_prob(masked, chosen.astype("int32"))) + ops.sum(actions.entropy(masked))

    finite = np.where(np.isinf(mask), np.float32(-1e4), mask)
    by_infinity, by_number = (float(total(parameters, m)) for m in (mask, finite))
    assert by_infinity == pytest.approx(by_number, rel=1e-5)
    gradients = [gradient_of(lambda p, m=m: total(p, m), parameters) for m in (mask, finite)]
    np.testing.assert_allclose(*gradients, atol=1e-5)


def test_what_is_next_to_impossible_is_not_chosen():
    """NumPy's exponential is 0 once in eight million draws: noise of 87 in its place chose what has a
    probability of 1e-30."""

    class Zeros:
        def standard_exponential(self, shape, dtype):
            return np.zeros(shape, dtype)

        def random(self, size):
            return generator.random(size)

    generator = np.random.default_rng(0)
    noise = gumbel_noise(Zeros(), (100_000,))
    beyond = noise - 23 * math.log(2)  # what is more than an exponential's resolution is exponential again
    assert beyond.min() >= -1e-3
    for size in (1, 3, 6):
        assert (beyond > size).mean() == pytest.approx(math.exp(-size), rel=0.1)


@both_backends
def test_a_value_of_minus_infinity_rules_an_action_out():
    """Neither what others are worth becomes NaN by it, nor a gradient."""
    values = np.array([[0.5, -np.inf, 2.0], [1.0, -np.inf, 3.0]], np.float32)
    actions = np.array([0, 2], np.int32)
    taken = ops.convert_to_numpy(value_of(ops.convert_to_tensor(values), actions))
    np.testing.assert_array_equal(taken, [0.5, 3.0])
    gradient = gradient_of(lambda v: ops.sum(value_of(v, actions)), values)
    np.testing.assert_array_equal(gradient, [[1, 0, 0], [0, 0, 1]])


@both_backends
@pytest.mark.parametrize("name", ["discrete", "multi-discrete", "switches"])
def test_samples_follow_their_probabilities(name):
    actions = distributions.for_space(ACTIONS[name], "env")
    parameters, count = parameters_for(actions), 100_000
    drawn = draw(actions, parameters, count).reshape(count, -1)
    every, counts = np.unique(drawn, axis=0, return_counts=True)
    chosen = every.reshape(len(every), *actions.shape)
    log_probs = ops.convert_to_numpy(
        actions.log_prob(ops.convert_to_tensor(np.tile(parameters, (len(every), 1))), chosen.astype("int32"))
    )
    assert np.exp(log_probs).sum() == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(counts / count, np.exp(log_probs), atol=0.01)
    entropy = float(ops.convert_to_numpy(actions.entropy(ops.convert_to_tensor(parameters)))[0])
    assert entropy == pytest.approx(-(np.exp(log_probs) * log_probs).sum(), abs=1e-4)


@both_backends
@pytest.mark.parametrize("name", ["bounded", "unbounded"])
def test_the_gaussian_has_the_moments_and_density_of_its_parameters(name):
    """Mean and variance (a softplus) of samples, and the density against the textbook's formula."""
    actions = distributions.for_space(ACTIONS[name], "env")
    parameters = parameters_for(actions, seed=3)
    mean, variance = parameters[0, :2], np.log1p(np.exp(parameters[0, 2:])) + 1e-4  # the least
    drawn = draw(actions, parameters, 200_000)
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.02)
    np.testing.assert_allclose(drawn.var(0), variance, rtol=0.02)
    some = drawn[:5]
    expected = (-((some - mean) ** 2) / (2 * variance) - 0.5 * np.log(2 * np.pi * variance)).sum(-1)
    tiled = ops.convert_to_tensor(np.tile(parameters, (5, 1)))
    log_probs = ops.convert_to_numpy(actions.log_prob(tiled, ops.convert_to_tensor(some)))
    np.testing.assert_allclose(log_probs, expected, atol=1e-4)
    entropies = ops.convert_to_numpy(actions.entropy(tiled))
    np.testing.assert_allclose(entropies, (0.5 * (np.log(2 * np.pi * variance) + 1)).sum(), rtol=1e-4)


@both_backends
def test_a_policy_that_is_all_but_certain_has_bounded_gradients():
    actions = distributions.for_space(spaces.Box(-1.0, 1.0, (1,)), "env")
    certain = np.array([[0.0, -30.0]], np.float32)
    drawn = draw(actions, certain, 1000)
    gradient = gradient_of(
        lambda p: ops.sum(actions.log_prob(p, ops.convert_to_tensor(drawn))), np.tile(certain, (1000, 1))
    )
    noise = drawn[:, 0] / 0.01
    np.testing.assert_allclose(gradient[:, 0], 100 * noise, rtol=1e-4)
    assert noise.std() == pytest.approx(1.0, abs=0.1)


@both_backends
@pytest.mark.parametrize("deviation", [0.1, 0.5, 1.0, math.sqrt(10.0)])
@pytest.mark.parametrize("mean", [0.0, -0.7, 2.0])
def test_squashed_entropies_are_those_of_what_comes_out(mean, deviation):
    """−∫ p log p over the squashed action, by a fine sum. It falls again where most of it is at the bounds: a
    bonus for entropy does not push there."""
    actions = distributions.for_space(spaces.Box(-1.0, 1.0, (1,)), "env", "squash")

    def entropy(deviation):
        parameters = np.array([[mean, actions.centred(deviation)[1]]], np.float32)
        return float(ops.convert_to_numpy(actions.entropy(ops.convert_to_tensor(parameters)))[0])

    points = np.linspace(-8, 8, 200_001) * deviation + mean
    density = np.exp(-0.5 * ((points - mean) / deviation) ** 2)
    density /= density.sum()
    slopes = 2 * (math.log(2) - points - np.logaddexp(0, -2 * points))
    expected = 0.5 * (math.log(2 * math.pi * deviation**2) + 1) + (density * slopes).sum()
    assert entropy(deviation) == pytest.approx(expected, abs=2e-3)
    if deviation > 3:
        assert entropy(1.1 * deviation) < entropy(deviation)


@both_backends
def test_squashed_densities_are_those_of_what_comes_out():
    """The density over (−1, 1), found by numerical differences of the distribution function, sums to 1."""
    actions = distributions.for_space(spaces.Box(-1.0, 1.0, (1,)), "env", "squash")
    grid = np.linspace(-0.9999, 0.9999, 20_001).astype(np.float32)[:, None]
    parameters = np.tile(np.array([[0.3, -0.5]], np.float32), (len(grid), 1))
    before = np.arctanh(grid.astype(np.float64)).astype(np.float32)
    log_density = ops.convert_to_numpy(
        actions.log_prob(ops.convert_to_tensor(parameters), ops.convert_to_tensor(before))
    )
    assert np.trapezoid(np.exp(log_density), grid[:, 0]) == pytest.approx(1.0, abs=2e-3)


@both_backends
@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize("deviation", [0.01, 0.15, 1.0, 100.0])
def test_the_first_policy_has_the_deviation_that_was_asked_for(deviation, dependent):
    environment = envs.find("Pendulum-v1", "clip")
    config = Config(
        env_id="Pendulum-v1", initial_deviation=deviation, seed=1, state_dependent_deviation=dependent
    )
    model = resolve.make_model(config, environment)
    observations = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    parameters = ops.convert_to_numpy(model(observations)[0])
    drawn = environment.actions.choose(parameters, np.ones((500, 1), np.float32))[:, 0] - parameters[:, 0]
    np.testing.assert_allclose(drawn, deviation, rtol=0.05)
    assert (np.ptp(parameters[:, 1]) > 0) == dependent
    assert np.abs(parameters[:, 0]).max() < 0.1
    again = type(model).from_config(model.get_config())
    networks.build(again, environment.observations)
    np.testing.assert_allclose(again.policy_head.bias, model.policy_head.bias)


@pytest.mark.parametrize(("size", "first"), [(1, 0.83), (2, 0.45), (4, 0.45), (8, 0.25), (40, 0.1)])
def test_the_more_numbers_an_action_has_the_less_each_is_disturbed_at_first(size, first):
    actions = distributions.for_space(spaces.Box(-1.0, 1.0, (size,)), "env")
    environment = dataclasses.replace(envs.find("Pendulum-v1", "clip"), actions=actions)
    for dependent, wanted in ((False, first), (True, math.sqrt(math.log(2)))):
        model = resolve.make_model(Config(seed=1, state_dependent_deviation=dependent), environment)
        parameters = ops.convert_to_numpy(model(np.zeros((1, 3), np.float32))[0])
        drawn = actions.choose(parameters, np.ones((1, size), np.float32)) - parameters[:, :size]
        np.testing.assert_allclose(drawn, wanted, rtol=0.02)


def test_only_continuous_actions_have_a_deviation():
    environment = envs.find("CartPole-v1", "clip")
    model = resolve.make_model(Config(seed=1, state_dependent_deviation=False), environment)
    assert model.settings["state_dependent_deviation"]
    assert tuple(model.policy_head.kernel.shape)[-1] == 2


def test_a_deviation_of_actions_that_have_none_is_refused():
    with pytest.raises(SettingError, match=r"not continuous\nCartPole-v1 has 2 actions"):
        resolve.resolve_config(Config(initial_deviation=0.5))


def test_no_noise_is_the_most_probable_action():
    parameters = np.array([[0.1, 2.0, -1.0]], np.float32)
    discrete = distributions.for_space(spaces.Discrete(3, start=5), "env")
    assert discrete.to_env(discrete.choose(parameters, np.zeros((1, 3)))) == [6]
    box = distributions.for_space(spaces.Box(0.0, 10.0, (1,)), "env")
    np.testing.assert_allclose(
        box.to_env(box.choose(np.array([[0.5, 9.0]], np.float32), np.zeros((1, 1), np.float32))), [[7.5]]
    )


# -- learning -----------------------------------------------------------------------------------------------


def learn(name, directory, **settings):
    # Each step stands for itself: what comes later need not be learned.
    quick = {"gamma": 0.0, "learning_rate": 3e-3, "engine": "serial", "evaluation_episodes": 20}
    settings = {**quick, "max_steps": 300_000, "seed": 11, "save_dir": str(directory), **settings}
    agent = Agent(f"identity:identity/{name}-v0", **settings)
    agent.fit(verbose=0)
    return agent


SLOW = ("MultiDiscrete", "ChannelsFirst", "Pixels")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(cls.__name__, marks=[pytest.mark.thorough] if cls.__name__ in SLOW else [])
        for cls in (*identity.OBSERVATIONS, *identity.ACTIONS)
    ],
)
def test_every_kind_of_space_is_learned(name, tmp_path):
    agent = learn(name, tmp_path)
    assert agent.evaluate(20, seed=1).mean >= 90
    environment = gym.make(f"identity/{name}-v0")
    observation, _ = environment.reset(seed=0)
    total = 0.0
    for _ in range(100):
        observation, reward, *_ = environment.step(agent.act(observation))
        total += reward
    assert total >= 90
    again = Agent.load(_save(agent, tmp_path))
    assert again.evaluate(20, seed=1).mean == agent.evaluate(20, seed=1).mean


def test_a_memory_does_not_keep_a_policy_from_being_learned(tmp_path):
    """With the usual γ values are near 60 and an action is worth 1: a memory for both was at its limits."""
    settings = dict(gamma=0.99, lstm_units=16, learning_rate=7e-4, envs_per_worker=16, max_steps=400_000)
    agent = learn("Discrete", tmp_path, **settings)
    assert agent.evaluate(20, seed=1).mean >= 90


def _save(agent, directory):
    path = directory / "agent.keras"
    agent.save(path)
    return path


def test_deviations_that_depend_on_the_state_are_learned(tmp_path):
    agent = learn("Continuous", tmp_path, state_dependent_deviation=True)
    assert agent.network.settings["state_dependent_deviation"]
    assert agent.evaluate(20, seed=1).mean >= 90


@pytest.mark.parametrize("name", ["Continuous"])
def test_squashed_actions_are_learned(name, tmp_path):
    agent = learn(name, tmp_path, action_bounds="squash")
    assert agent.evaluate(20, seed=1).mean >= 90
    assert Agent.load(_save(agent, tmp_path)).config.action_bounds == "squash"


@pytest.mark.parametrize(
    ("space", "wrong"),
    [
        (gym.spaces.Discrete(3, start=5), 3),
        (gym.spaces.MultiDiscrete([2, 4]), [2, 0]),
        (gym.spaces.MultiBinary(2), [0, 2]),
        (gym.spaces.Box(-1, 1, (2,)), [0.0, np.nan]),
    ],
)
def test_actions_that_can_be_chosen_are_known(space, wrong):
    actions = distributions.for_space(space, "it")
    noise = actions.uniform(np.random.default_rng(0), (9,))
    chosen = np.asarray(actions.choose(np.zeros((9, actions.outputs), np.float32), noise))
    assert actions.contains(chosen.astype(actions.dtype))
    assert not actions.contains(np.array([wrong], actions.dtype))
    other = "int32" if isinstance(space, gym.spaces.Box) else "float32"
    assert not actions.contains(np.zeros(chosen.shape, other)), "of another kind"
