"""The network, and what is said to models that do not fit."""

import keras
import numpy as np
import pytest
from keras import ops

from a3c import envs, networks
from a3c.config import Config
from a3c.errors import UsageError
from a3c.networks import ActorCritic
from a3c.networks.initializers import Orthogonal
from a3c.spaces.distributions.categorical import Categorical
from a3c.training import resolve
from parts import gradient_of, vectors

pytestmark = pytest.mark.both_backends


def test_two_towers_or_one():
    two, one = (ActorCritic(3, (8, 8), shared_tower=shared, seed=0) for shared in (False, True))
    for model in (two, one):
        logits, value = model(np.zeros((5, 4), np.float32))
        assert tuple(logits.shape) == (5, 3)
        assert tuple(value.shape) == (5, 1)
    assert two.count_params() > 1.5 * one.count_params()


def test_each_tower_remembers_for_itself():
    """A memory for both would be moved by what values need, which may be far more than a policy needs."""
    model = ActorCritic(3, (8,), lstm_units=4, seed=0)
    seen, starts = np.ones((2, 5), np.float32), np.zeros((1, 2), np.float32)
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 2, model.state_size)).astype(np.float32)
    states[1, :, 8:] = states[0, :, 8:]  # another policy's only
    states[2, :, :8] = states[0, :, :8]  # another value's only
    first, others, value = (
        [ops.convert_to_numpy(out) for out in model(seen, state, starts)] for state in states
    )
    assert not np.allclose(first[0], others[0])
    np.testing.assert_array_equal(first[1], others[1])
    np.testing.assert_array_equal(first[2][:, 8:], others[2][:, 8:])
    np.testing.assert_array_equal(first[0], value[0])
    assert not np.allclose(first[1], value[1])


def test_seeds_decide_the_first_weights_and_the_first_policy_is_nearly_uniform():
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    outputs = [ops.convert_to_numpy(ActorCritic(2, seed=s)(observations)[1]) for s in (1, 1, 2)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])
    logits = ops.convert_to_numpy(ActorCritic(2, seed=1)(observations)[0])
    assert np.abs(logits).max() < 0.1


def test_the_seed_of_a_run_decides_the_first_weights():
    environment = envs.find("CartPole-v1")
    one, same, other = (resolve.make_model(Config(seed=s), environment).get_weights() for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def built(**settings):
    model = ActorCritic(4, (8, 8), seed=0, **settings)
    networks.build(model, vectors(3))
    return model


SEEN = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


@pytest.mark.parametrize("shared", [False, True])
def test_independent_deviations_are_a_bias_alone(shared):
    """As if the kernel of the other kind were 0 where it computes variances, and stayed so."""
    alone, other = (built(state_dependent_deviation=kind, shared_tower=shared) for kind in (False, True))
    assert other.count_params() - alone.count_params() == 8 * 2
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=weight.shape).astype(np.float32) for weight in alone.get_weights()]
    alone.set_weights(weights)
    padded = [np.pad(w, ((0, 0), (0, 2))) if w.shape == (8, 2) else w for w in weights]
    other.set_weights(padded)
    for one, two in zip(alone(SEEN), other(SEEN), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(two), rtol=1e-4, atol=1e-5)
    parameters = ops.convert_to_numpy(alone(SEEN)[0])
    assert (np.ptp(parameters[:, 2:], axis=0) == 0).all()
    assert (np.ptp(parameters[:, :2], axis=0) > 0.1).all()


def test_independent_deviations_learn_from_every_state():
    """The gradient of a loss in their bias is the sum of those in each row of the policy parameters."""
    model = built(state_dependent_deviation=False)
    target = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)

    def loss(bias):
        values = [bias if v is model.policy_head.bias else v.value for v in model.trainable_variables]
        (parameters, _), _ = model.stateless_call(values, [], SEEN)
        return 0.5 * ops.sum(ops.square(parameters - target))

    bias = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    rows = ops.convert_to_numpy(model(SEEN)[0]) + bias - target
    np.testing.assert_allclose(gradient_of(loss, bias), rows.sum(0), rtol=1e-3)


@pytest.mark.parametrize("bias", [None, (0.5, -0.5, 1.0, -2.0)])
@pytest.mark.parametrize("kind", [False, True])
def test_both_kinds_of_deviations_begin_with_their_bias_and_can_be_saved(kind, bias, tmp_path):
    model = built(state_dependent_deviation=kind, policy_bias=bias)
    parameters = ops.convert_to_numpy(model(SEEN)[0])
    np.testing.assert_allclose(parameters, np.tile(bias or np.zeros(4), (50, 1)), atol=0.1)
    assert (np.ptp(parameters, axis=0) > 0).tolist() == [True, True, kind, kind]
    again = ActorCritic.from_config(model.get_config())
    np.testing.assert_array_equal(ops.convert_to_numpy(again(SEEN)[0]), parameters)
    model.set_weights([weight + 0.25 for weight in model.get_weights()])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, two in zip(loaded(SEEN), model(SEEN), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))


def test_what_earlier_versions_saved_has_deviations_that_depend_on_the_state():
    config = built().get_config()
    del config["state_dependent_deviation"]
    model = ActorCritic.from_config(config)
    networks.build(model, vectors(3))
    assert model.settings["state_dependent_deviation"]
    assert tuple(model.policy_head.kernel.shape) == (8, 4)


def test_means_without_as_many_variances_are_refused():
    with pytest.raises(ValueError, match=r"num_actions=3: .*even"):
        ActorCritic(3, state_dependent_deviation=False)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (5, 1)])
def test_initial_matrices_are_orthogonal(shape):
    w = ops.convert_to_numpy(Orthogonal(2.0, seed=0)(shape))
    small = w @ w.T if shape[0] <= shape[1] else w.T @ w
    np.testing.assert_allclose(small, 4.0 * np.eye(min(shape)), atol=1e-5)


def dense(units, inputs=None):
    return keras.layers.Dense(units)(inputs)


def functional(policy_units=2, value_units=1, outputs=2):
    x = keras.Input((4,))
    heads = [keras.layers.Dense(policy_units)(x), keras.layers.Dense(value_units)(x)]
    return keras.Model(x, heads[:outputs] if outputs > 1 else heads[0])


def test_functional_models_fit():
    networks.check_model(functional(), vectors(4), Categorical(2))


class Flat(keras.Model):
    """A subclassed model whose value is [N]."""

    def __init__(self):
        super().__init__()
        self.a, self.b = keras.layers.Dense(2), keras.layers.Dense(1)

    def call(self, x):
        return self.a(x), ops.squeeze(self.b(x), -1)


def test_values_may_be_flat():
    networks.check_model(Flat(), vectors(4), Categorical(2))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: functional(policy_units=3), r"returning \[N, 3\], \[N, 1\]: expected \(logits \[N, 2\]"),
        (lambda: functional(value_units=2), r"returning \[N, 2\], \[N, 2\]"),
        (lambda: functional(outputs=1), "returning KerasTensor: expected"),
        (lambda: keras.Sequential([keras.layers.Reshape((7,)), keras.layers.Dense(2)]), "Calling it failed"),
    ],
)
def test_models_that_do_not_fit_are_refused_by_shape(model, message):
    with pytest.raises(UsageError, match=message):
        networks.check_model(model(), vectors(4), Categorical(2))


def test_classes_are_imported_by_name():
    assert networks.import_model("a3c.networks:ActorCritic") is ActorCritic
    for reference in (
        "a3c.networks:Missing",
        "no_such_module:Model",
        "a3c.networks",
        "a3c.config:Config",
        ":",
    ):
        with pytest.raises(UsageError, match="module:Class"):
            networks.import_model(reference)
