"""The NumPy policy of dense networks equals the model's own, and models it does not cover are compiled."""

import keras
import numpy as np
import pytest

from a3c import backend, networks
from a3c.networks.numpy_policy import dense_policy, make_policy
from a3c.networks.parameters import parameters_of
from parts import network_of, vectors


def built(actions=3, **settings):
    model = networks.ActorCritic(actions, seed=1, **settings)
    networks.build(model, vectors(5))
    return model


@pytest.mark.parametrize(
    "head", [{}, dict(actions=4, state_dependent_deviation=False)], ids=["", "independent"]
)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("activation", "hidden_units"), [("tanh", (8,)), ("relu", (16, 8)), ("linear", (4,)), ("tanh", ())]
)
def test_it_equals_the_model_for_any_weights(activation, hidden_units, shared, head):
    model = built(activation=activation, hidden_units=hidden_units, shared_tower=shared, **head)
    policy = dense_policy(network_of(model, 5))
    rng = np.random.default_rng(0)
    for _ in range(3):
        weights = rng.normal(size=parameters_of(model).shape).astype(np.float32)
        observations = rng.normal(size=(7, 5)).astype(np.float32)
        kept = weights.copy(), observations.copy()
        logits = policy(weights)(observations)[0]
        assert logits.dtype == np.float32
        np.testing.assert_array_equal(weights, kept[0])
        np.testing.assert_array_equal(observations, kept[1])
        compiled = backend.load().compile_policy(network_of(model, 5))
        np.testing.assert_allclose(logits, compiled(weights)(observations)[0], rtol=1e-5, atol=1e-5)


class Twice(networks.ActorCritic):
    """A user's variation, of which nothing can be known."""

    def call(self, observations, training=False):
        logits, value = super().call(observations)
        return 2 * logits, value


@pytest.mark.parametrize(
    "model",
    [
        lambda: built(activation="gelu"),
        lambda: built(hidden_units=(512, 512)),
        lambda: Twice(3),
        lambda: keras.Sequential([keras.layers.Dense(3)]),
        lambda: built(dtype="mixed_float16"),
    ],
    ids=["activation", "large", "subclass", "Sequential", "mixed precision"],
)
def test_it_covers_nothing_that_it_does_not_know(model):
    assert dense_policy(network_of(model(), 5)) is None


def test_what_it_does_not_cover_is_compiled():
    model = Twice(3, seed=1)
    networks.build(model, vectors(5))
    observations = np.ones((2, 5), np.float32)
    act = make_policy(backend.load(), network_of(model, 5))(parameters_of(model))
    expected = keras.ops.convert_to_numpy(model(observations)[0])
    np.testing.assert_allclose(act(observations)[0], expected, rtol=1e-5, atol=1e-6)
