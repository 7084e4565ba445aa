"""The backend seam: its three functions do what Keras does, compiled and eager, on both backends."""

import keras
import numpy as np
import pytest

from a3c import algorithms, backend, networks
from a3c.config import Config
from a3c.networks.parameters import Layout, assign_parameters, parameters_of, towers_of
from a3c.spaces.distributions.categorical import Categorical
from a3c.types import Outputs, Transitions
from parts import gradient_of, network_of, vectors

pytestmark = pytest.mark.both_backends

TIME, BATCH, ACTIONS = 5, 3, 4


def make_network(seed=0, **settings):
    model = networks.ActorCritic(ACTIONS, (8, 8), seed=seed, **settings)
    networks.build(model, vectors(2))
    return network_of(model, 2)


def make_transitions(seed=0):
    rng = np.random.default_rng(seed)
    return Transitions(
        observations=rng.normal(size=(TIME + 1, BATCH, 2)).astype(np.float32),
        actions=rng.integers(ACTIONS, size=(TIME, BATCH)).astype(np.int32),
        rewards=rng.normal(size=(TIME, BATCH)).astype(np.float32),
        terminated=rng.random((TIME, BATCH)) < 0.2,
        truncated=np.zeros((TIME, BATCH), bool),
        valid=rng.random((TIME, BATCH)) < 0.9,
    )


@pytest.mark.parametrize("eager", [False, True])
def test_policy_equals_the_model(eager):
    network, framework = make_network(), backend.load()
    observations = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(network.model(observations)[0])
    policy = framework.compile_policy(network, eager)
    weights = parameters_of(network.model)
    np.testing.assert_allclose(policy(weights)(observations)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("eager", [False, True])
def test_gradients_equal_finite_differences(eager):
    network, framework, transitions = make_network(), backend.load(), make_transitions()
    # λ = 1 with zero discount: the targets do not depend on the weights, so differences are exact.
    loss = algorithms.find("a3c").make_loss(Config(gamma=0.0, entropy_coefficient=0.1), Categorical(ACTIONS))
    compute = framework.compile_gradients(network, loss, None, eager)
    weights = parameters_of(network.model)
    gradient, losses = compute(weights, transitions)
    assert gradient.shape == weights.shape
    assert losses["gradient_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-4)

    def total(direction, size):
        moved = (weights + size * direction).astype(np.float32)
        terms = compute(moved, transitions)[1]
        return 0.5 * terms["value_loss"] - 0.1 * terms["entropy"]

    # The policy term holds the advantage constant, which differences cannot; the other terms can be checked.
    value_only = framework.compile_gradients(network, lambda *a: _without_policy(loss, *a), None, eager)(
        weights, transitions
    )[0]
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = rng.normal(size=weights.size).astype(np.float32)
        slope = (total(direction, 1e-2) - total(direction, -1e-2)) / 2e-2
        assert float(value_only @ direction) == pytest.approx(slope, rel=2e-2, abs=1e-3)


def test_the_target_network_is_computed_with_its_own_weights():
    network, target, transitions = make_network(), make_network(), make_transitions()
    loss = algorithms.find("n-step-q").make_loss(Config(), Categorical(ACTIONS))
    weights = parameters_of(network.model)
    fixed = np.random.default_rng(0).normal(size=weights.size).astype(np.float32)
    assign_parameters(target.model, fixed)
    told = backend.load().compile_gradients(network, loss, None)(weights, transitions, fixed)[1]
    seen = transitions.observations.reshape(-1, 2)
    outputs = [
        Outputs(keras.ops.reshape(model(seen)[0], (TIME + 1, BATCH, ACTIONS)), None)
        for model in (network.model, target.model)
    ]
    expected = float(loss(outputs[0], transitions, outputs[1])[0])
    assert told["loss"] == pytest.approx(expected, rel=1e-4)
    assert told["loss"] != pytest.approx(float(loss(outputs[0], transitions, outputs[0])[0]), rel=1e-2)


def _without_policy(loss, outputs, transitions, target):
    total, terms = loss(outputs, transitions, target)
    return total - terms["policy_loss"], terms


def test_policy_gradient_credits_each_step_with_its_own_advantage():
    """∇ of −mean(log π · A) worked out by hand for a table of logits: A·(π − onehot) per step."""
    logits = np.random.default_rng(0).normal(size=(TIME, BATCH, ACTIONS)).astype(np.float32)
    transitions = make_transitions()._replace(
        terminated=np.ones((TIME, BATCH), bool), valid=np.ones((TIME, BATCH), bool)
    )

    def table_loss(weights):
        table = keras.ops.reshape(weights, (TIME, BATCH, ACTIONS))
        padded = keras.ops.concatenate([table, table[:1]])
        outputs = Outputs(padded, keras.ops.zeros((TIME + 1, BATCH)))
        config = Config(entropy_coefficient=0.0, value_coefficient=0.0)
        loss = algorithms.find("a3c").make_loss(config, Categorical(ACTIONS))
        return loss(outputs, transitions, None)[0]

    gradient = gradient_of(table_loss, logits.ravel())
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    chosen = np.eye(ACTIONS)[transitions.actions]
    expected = transitions.rewards[..., None] * (probabilities - chosen) / (TIME * BATCH)
    np.testing.assert_allclose(gradient.reshape(logits.shape), expected, atol=1e-5)


def gradients_of(network, clipnorm, transitions=None, eager=False, **settings):
    loss = algorithms.find("a3c").make_loss(Config(**settings), Categorical(ACTIONS))
    compute = backend.load().compile_gradients(network, loss, clipnorm, eager)
    return compute(parameters_of(network.model), transitions or make_transitions())


def of_value(model):
    """[P], by the names of layers: which weights are of the value's tower alone."""
    names = [
        (variable.path.split("/"), int(np.prod(variable.shape))) for variable in model.trainable_variables
    ]
    return np.concatenate([np.full(size, "value_body" in p or "value" in p) for p, size in names])


def test_clipping_one_tower_keeps_the_direction_and_bounds_the_norm():
    network = make_network(shared_tower=True)
    free, losses = gradients_of(network, None)
    clipped, same = gradients_of(network, 1e-3)
    assert np.linalg.norm(clipped) == pytest.approx(1e-3, rel=1e-4)
    np.testing.assert_allclose(clipped / np.linalg.norm(clipped), free / np.linalg.norm(free), atol=1e-4)
    assert same["gradient_norm"] == pytest.approx(losses["gradient_norm"], rel=1e-5)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("clipnorm", [1e-3, 0.1, 100.0])
def test_separate_towers_are_clipped_each_by_itself(clipnorm, eager):
    """A slow twin: norms over the weights whose layers are named for the policy, and for the value."""
    network = make_network()
    free, losses = gradients_of(network, None, eager=eager)
    clipped, same = gradients_of(network, clipnorm, eager=eager)
    value, expected = of_value(network.model), free.astype(np.float64)
    for tower in (value, ~value):
        expected[tower] *= min(1.0, clipnorm / np.linalg.norm(free[tower]))
    np.testing.assert_allclose(clipped, expected, rtol=1e-4, atol=1e-7)
    assert same["gradient_norm"] == pytest.approx(np.linalg.norm(free), rel=1e-5)
    assert losses["gradient_norm"] == pytest.approx(np.linalg.norm(free), rel=1e-5)


def test_a_huge_error_of_the_value_leaves_the_policy_its_step():
    network = make_network()
    value = of_value(network.model)
    usual, _ = gradients_of(network, 0.5)
    huge, losses = gradients_of(network, 0.5, value_coefficient=1e6)
    assert losses["gradient_norm"] > 1e4
    assert np.linalg.norm(usual[~value]) > 1e-3
    np.testing.assert_allclose(huge[~value], usual[~value], rtol=1e-4, atol=1e-7)
    assert np.linalg.norm(huge[value]) == pytest.approx(0.5, rel=1e-4)


class Varied(networks.ActorCritic):
    """A user's variation, of which nothing can be known."""


@pytest.mark.parametrize(
    ("cls", "settings", "count"),
    [
        (networks.ActorCritic, {}, 2),
        (networks.ActorCritic, dict(lstm_units=3), 2),
        (networks.ActorCritic, dict(hidden_units=()), 2),
        (networks.ActorCritic, dict(state_dependent_deviation=False), 2),
        (networks.ActorCritic, dict(shared_tower=True), 1),
        (networks.ActionValues, {}, 1),
        (Varied, {}, 1),
    ],
    ids=str,
)
def test_towers_hold_every_weight_once(cls, settings, count):
    model = cls(ACTIONS, seed=0, **settings)
    networks.build(model, vectors(2))
    towers = towers_of(model)
    assert len(towers) == count
    held = np.zeros((count, len(parameters_of(model))), bool)
    for tower, own in enumerate(towers):
        for span in own:
            held[tower, span] = True
    np.testing.assert_array_equal(held.sum(0), 1)
    if count == 2:
        np.testing.assert_array_equal(held[1], of_value(model))


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(1e-2),
    "rmsprop": lambda: keras.optimizers.RMSprop(1e-2, rho=0.99, epsilon=1e-5),
    "sgd with momentum": lambda: keras.optimizers.SGD(1e-2, momentum=0.9),
    "schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(1e-2, 3, 0.0)),
    "per-weight clipping": lambda: keras.optimizers.Adam(1e-2, clipnorm=0.1),
    "decoupled weight decay": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1),
    "layer-wise": lambda: keras.optimizers.Lamb(1e-2),
    "factored": lambda: keras.optimizers.Adafactor(1e-2),
}


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_equal_those_of_keras(name, eager):
    network, framework = make_network(), backend.load()
    rng = np.random.default_rng(0)
    weights = parameters_of(network.model)
    gradients = [rng.normal(size=weights.size).astype(np.float32) for _ in range(4)]

    twin, optimizer = make_network().model, OPTIMIZERS[name]()
    layout = Layout.of(twin.trainable_variables)
    for gradient in gradients:
        parts = layout.split({"float32": keras.ops.convert_to_tensor(gradient)})
        optimizer.apply(parts, twin.trainable_variables)

    update, state = framework.compile_update(network, OPTIMIZERS[name](), eager)
    before = {k: v.copy() for k, v in state.items()}
    first = state
    for gradient in gradients:
        weights, state = update(weights, state, gradient)
        weights, state = np.asarray(weights), {k: np.asarray(v) for k, v in state.items()}
    np.testing.assert_allclose(weights, parameters_of(twin), rtol=1e-4, atol=1e-5)
    for dtype in before:
        np.testing.assert_array_equal(first[dtype], before[dtype], err_msg="an argument was changed")


def test_rmsprop_is_the_papers():
    """g ← αg + (1 − α)Δθ²; θ ← θ − ηΔθ/√(g + ε) (Mnih et al. 2016, section 4.5, equation 8)."""
    from a3c.algorithms.optimizers import make_optimizer

    network, framework = make_network(), backend.load()
    optimizer = make_optimizer(Config(optimizer="rmsprop", learning_rate=0.01))
    update, state = framework.compile_update(network, optimizer)
    weights = parameters_of(network.model)
    expected, g = weights.astype(np.float64), np.zeros(weights.size)
    rng = np.random.default_rng(0)
    for _ in range(5):
        gradient = rng.normal(size=g.size).astype(np.float32)
        weights, state = update(weights, state, gradient)
        g = 0.99 * g + 0.01 * gradient.astype(np.float64) ** 2
        expected -= 0.01 * gradient / np.sqrt(g + 1e-5)
    np.testing.assert_allclose(np.asarray(weights), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [keras.optimizers.Adam, keras.optimizers.RMSprop])
def test_a_share_of_an_update_is_one_of_a_smaller_learning_rate(make):
    network, framework = make_network(), backend.load()
    weights = parameters_of(network.model)
    gradients = np.random.default_rng(0).normal(size=(3, weights.size)).astype(np.float32)

    def final(rate, share):
        update, state = framework.compile_update(network, make(rate))
        moved = weights
        for gradient in gradients:
            moved, state = update(moved, state, gradient, share)
        return np.asarray(moved)

    np.testing.assert_allclose(final(0.1, np.float32(0.25)), final(0.025, None), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(final(0.1, np.float32(0.0)), weights)


def test_parameters_survive_the_flat_form():
    model, other = make_network(0).model, make_network(1).model
    assign_parameters(other, parameters_of(model))
    for a, b in zip(model.trainable_variables, other.trainable_variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a.value), keras.ops.convert_to_numpy(b.value)
        )
    layout = Layout.of(model.trainable_variables)
    back = layout.split(layout.join([v.value for v in model.trainable_variables]))
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(back[0]), keras.ops.convert_to_numpy(model.trainable_variables[0].value)
    )
