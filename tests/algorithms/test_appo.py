"""Asynchronous PPO: its loss against a slow twin, passes and parts, and what it is when it reuses nothing."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
from keras import ops

from a3c import algorithms, backend, networks
from a3c.algorithms import reuse
from a3c.config import Config
from a3c.engines.learning import ReuseLearner, make_reuse_learner
from a3c.engines.stores import is_finite
from a3c.networks.functional import Network
from a3c.networks.normalisation import Normaliser
from a3c.networks.parameters import parameters_of
from a3c.spaces.distributions.categorical import Categorical
from a3c.spaces.distributions.gaussian import Gaussian
from a3c.types import Batch, Delta, Outputs, Reused, Rollout, Shapes, Snapshot
from parts import random_rollout, slow_gae, vectors

pytestmark = pytest.mark.both_backends

TIME, BATCH, ACTIONS, SIZE, GAMMA, LAMBDA = 6, 4, 3, 2, 0.9, 0.8
SETTINGS = dict(
    algorithm="appo", gamma=GAMMA, gae_lambda=LAMBDA, entropy_coefficient=0.1, value_coefficient=0.3
)


def make_rollout(outputs, actions, **more):
    """Steps with ends of both kinds, by a policy of its own."""
    rng = np.random.default_rng(0)
    behaviour = rng.normal(size=(TIME, BATCH, outputs)).astype(np.float32)
    return random_rollout(TIME, BATCH, SIZE, **{"actions": actions(rng), "behaviour": behaviour, **more})


def discrete(rng):
    return rng.integers(ACTIONS, size=(TIME, BATCH)).astype(np.int32)


def of_discrete(**more):
    return make_rollout(ACTIONS, discrete, **more)


def softmax_twin(parameters, action):
    """log π and entropy of one step."""
    logs = parameters - np.log(np.exp(parameters).sum())
    return logs[action], -(np.exp(logs) * logs).sum()


def gaussian_twin(parameters, action):
    mean, variance = parameters[0], np.log1p(np.exp(parameters[1])) + 1e-4
    spread = 2 * np.pi * variance
    return -0.5 * ((action[0] - mean) ** 2 / variance + np.log(spread)), 0.5 * (np.log(spread) + 1)


KINDS = {
    "discrete": (Categorical(ACTIONS), ACTIONS, discrete, softmax_twin),
    "continuous": (
        Gaussian((-1.0,), (1.0,), (1,), "float32", "clip"),
        2,
        lambda rng: rng.normal(size=(TIME, BATCH, 1)).astype(np.float32),
        gaussian_twin,
    ),
}


def slow_loss(rollout, before, parameters, values, log_prob, clip_ratio, clip_values):
    """Equations 7 and 9 of Schulman et al. 2017 and GAE, one step at a time."""
    ends = rollout.terminated, rollout.truncated
    advantages = slow_gae(rollout.rewards, *ends, before, GAMMA, LAMBDA)
    steps = list(zip(*rollout.valid.nonzero(), strict=True))
    own = np.array([advantages[step] for step in steps])
    surrogate = errors = entropies = 0.0
    for t, b in steps:
        now, entropy = log_prob(parameters[t, b], rollout.actions[t, b])
        then, _ = log_prob(rollout.behaviour[t, b], rollout.actions[t, b])
        ratio, advantage = np.exp(now - then), (advantages[t, b] - own.mean()) / own.std()
        clipped = min(max(ratio, 1 - clip_ratio), 1 + clip_ratio)
        surrogate += min(ratio * advantage, clipped * advantage)
        target = advantages[t, b] + before[t, b]
        error = (target - values[t, b]) ** 2
        if clip_values is not None:
            near = before[t, b] + min(max(values[t, b] - before[t, b], -clip_values), clip_values)
            error = max(error, (target - near) ** 2)
        errors, entropies = errors + error, entropies + entropy
    policy, value, entropy = (total / len(steps) for total in (-surrogate, errors, entropies))
    return policy + SETTINGS["value_coefficient"] * value - SETTINGS["entropy_coefficient"] * entropy


@pytest.mark.parametrize("clip_values", [None, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_equals_the_slow_twin(kind, clip_values):
    actions, outputs, draw, log_prob = KINDS[kind]
    rollout, rng = make_rollout(outputs, draw), np.random.default_rng(5)
    before = rng.normal(size=(TIME + 1, BATCH)).astype(np.float32)
    parameters = rng.normal(size=(TIME, BATCH, outputs)).astype(np.float32)
    values = rng.normal(size=(TIME, BATCH)).astype(np.float32)
    how = algorithms.find("appo").make_reuse(Config(**SETTINGS, clip_values=clip_values), actions)
    batch = how.estimate(Outputs(None, ops.convert_to_tensor(before)), rollout)
    total, terms = how.loss(ops.convert_to_tensor(parameters), ops.convert_to_tensor(values), batch)
    expected = slow_loss(
        rollout, before, parameters, values, log_prob, how.loss.keywords["clip_ratio"], clip_values
    )
    assert float(total) == pytest.approx(expected, rel=1e-4)
    assert tuple(terms) == algorithms.find("appo").figure_names[:-1]


def test_what_is_told_of_the_policy_and_the_values():
    """By hand: two steps whose probabilities went from ½ to ¾ and to ¼, and values that explain half."""
    ratios = np.array([1.5, 0.5])
    part = Batch(
        observations=None,
        actions=np.array([0, 1], np.int32),
        log_probs=np.log([0.5, 0.5]).astype(np.float32),
        advantages=np.array([1.0, -1.0], np.float32),
        targets=np.array([2.0, -2.0], np.float32),
        values=None,
        valid=np.ones(2, np.float32),
    )
    logits = np.log([[0.75, 0.25], [0.75, 0.25]]).astype(np.float32)
    how = algorithms.find("appo").make_reuse(Config(**SETTINGS, clip_ratio=0.6), Categorical(2))
    tensor = ops.convert_to_tensor
    _, terms = how.loss(tensor(logits), tensor(np.array([1.0, -1.0], np.float32)), part)
    assert float(terms["kl"]) == pytest.approx((ratios - 1 - np.log(ratios)).mean(), rel=1e-5)
    assert float(terms["clip_fraction"]) == 0.0
    assert float(terms["explained_variance"]) == pytest.approx(0.75)
    how = algorithms.find("appo").make_reuse(Config(**SETTINGS, clip_ratio=0.4), Categorical(2))
    _, terms = how.loss(
        tensor(logits), tensor(np.zeros(2, np.float32)), part._replace(targets=np.ones(2, np.float32))
    )
    assert float(terms["clip_fraction"]) == 1.0
    assert float(terms["explained_variance"]) == 0.0, "of targets that do not differ"


# -- parts --------------------------------------------------------------------------------------------------


def shapes_of(state=0, time=TIME, batch=BATCH):
    return Shapes(time, batch, (SIZE,), "float32", (), "int32", ACTIONS, state=state, behaviour=True)


@pytest.mark.parametrize(("minibatch", "parts"), [(1, 24), (5, 4), (6, 4), (24, 1), (1000, 1)])
def test_a_pass_takes_every_step_at_most_once(minibatch, parts):
    order = reuse.draw_parts(shapes_of(), minibatch, (1, 2))
    assert order.shape == (parts, TIME * BATCH // parts)
    assert len(set(order.ravel().tolist())) == order.size > TIME * BATCH - parts
    assert not np.array_equal(order, reuse.draw_parts(shapes_of(), minibatch, (1, 3)))
    np.testing.assert_array_equal(order, reuse.draw_parts(shapes_of(), minibatch, (1, 2)))


@pytest.mark.parametrize(("minibatch", "parts"), [(1, 4), (6, 4), (12, 2), (24, 1)])
def test_with_a_memory_parts_keep_whole_sequences(minibatch, parts):
    order = reuse.draw_parts(shapes_of(state=5), minibatch, (1,))
    assert sorted(order.ravel().tolist()) == list(range(BATCH))
    assert order.shape == (parts, BATCH // parts)
    state = np.arange(BATCH * 5, dtype=np.float32).reshape(BATCH, 5)
    how = algorithms.find("appo").make_reuse(Config(**SETTINGS), Categorical(ACTIONS))
    rollout = of_discrete(state=state)
    batch = how.estimate(Outputs(None, ops.zeros((TIME + 1, BATCH))), rollout)
    part = reuse.take_part(batch, order[0])
    np.testing.assert_array_equal(ops.convert_to_numpy(part.state), state[order[0]])
    np.testing.assert_array_equal(ops.convert_to_numpy(part.actions), rollout.actions[:, order[0]])
    starts = ops.convert_to_numpy(part.starts)
    assert not starts[0].any()
    np.testing.assert_array_equal(starts[1:], ~rollout.valid[:-1, order[0]])


# -- passes -------------------------------------------------------------------------------------------------


def make_network(**settings):
    model = networks.ActorCritic(ACTIONS, (8,), seed=1, **settings)
    networks.build(model, vectors(SIZE))
    return Network(model, [], vectors(SIZE))


def behaved(network, weights, rollout):
    """The rollout with the policy parameters that these weights act with."""
    seen = rollout.observations[:-1].reshape(-1, SIZE)
    act = backend.load().compile_policy(network)(weights)
    return rollout._replace(behaviour=act(seen)[0].reshape(TIME, BATCH, ACTIONS))


def begun():
    """A network, its weights, a rollout that they acted in, and the optimizer's update and first state."""
    network = make_network()
    weights = parameters_of(network.model)
    update, state = backend.load().compile_update(network, adam())
    return network, weights, behaved(network, weights, of_discrete()), update, state


def make_learner(network, how, optimizer, eager=False, share=lambda steps: None):
    """As `WorkerSpec` makes one; without an optimizer it hands over gradients."""
    framework = backend.load()
    return make_reuse_learner(
        network=network,
        framework=framework,
        shapes=shapes_of(),
        how=how,
        optimizer=optimizer,
        global_clipnorm=0.5,
        share=share,
        eager=eager,
        seed=3,
    )


def train(learn, update, weights, state, rollout):
    """Steps 3 to 6 on one rollout by one worker; returns where that leads, and the losses of each use."""
    rest, version, losses = Rollout(rollout, [], 5), 0, []
    while rest is not None:
        pushed, told, rest = learn(Snapshot(weights, version, 0, None, state), rest)
        weights, state = update(weights, state, pushed)
        weights, state = np.asarray(weights), {name: np.asarray(value) for name, value in state.items()}
        version, losses = version + 1, [*losses, told]
    return weights, state, losses


def adam():
    return keras.optimizers.Adam(0.01, epsilon=1e-5)


def make_how(**settings):
    return algorithms.find("appo").make_reuse(Config(**{**SETTINGS, **settings}), Categorical(ACTIONS))


def test_one_pass_of_one_part_without_a_limit_is_a3c():
    network, weights, rollout, update, state = begun()
    how = make_how(passes=1, minibatch=1000, clip_ratio=1e6)
    how = dataclasses.replace(how, loss=functools.partial(how.loss, normalise=False))
    learn = make_learner(network, how, adam())
    delta, told, rest = learn(Snapshot(weights, 0, 0, None, state), Rollout(rollout, [], 5))
    assert rest is None
    loss = algorithms.find("a3c").make_loss(Config(**SETTINGS | {"algorithm": "a3c"}), Categorical(ACTIONS))
    gradient, losses = backend.load().compile_gradients(network, loss, 0.5)(weights, rollout)
    expected, after = update(weights, state, gradient)
    np.testing.assert_allclose(weights + np.asarray(delta.parameters), expected, atol=1e-6)
    assert told["gradient_norm"] == pytest.approx(losses["gradient_norm"], rel=1e-4)
    assert told["kl"] == pytest.approx(0.0, abs=1e-6), "the policy that acted is the present one"
    added = reuse.add_delta(network, weights, state, delta)[1]
    for name, vector in after.items():
        np.testing.assert_allclose(np.asarray(added[name]), vector, rtol=1e-4, atol=1e-8)


def test_a_share_of_a_pass_is_one_of_a_smaller_learning_rate():
    """As when the learning rate is annealed: 0 leaves the parameters where they are."""
    network, weights, rollout, *_ = begun()
    how = make_how(passes=1, minibatch=6)

    def moved(share, rate):
        learn = make_learner(network, how, keras.optimizers.Adam(rate), share=lambda steps: share)
        _, state = backend.load().compile_update(network, keras.optimizers.Adam(rate))  # has the rate
        return np.asarray(learn(Snapshot(weights, 0, 0, None, state), Rollout(rollout, [], 5))[0].parameters)

    np.testing.assert_allclose(moved(np.float32(0.5), 0.02), moved(None, 0.01), rtol=1e-3, atol=1e-6)
    assert not moved(np.float32(0.0), 0.02).any()


def test_passes_of_one_worker_are_ppo():
    """Whether it makes the optimizer's steps itself or hands over a gradient for each: the same steps."""
    network, weights, rollout, update, state = begun()
    how = make_how(passes=3, minibatch=6)
    add = functools.partial(reuse.add_delta, network)
    by_pass = train(make_learner(network, how, adam()), add, weights, state, rollout)
    # The order of parts is seeded by the version at the start and the number of the pass.

    def update_part(weights, state, pushed):
        return update(weights, state, pushed.gradients)

    by_part = train(make_learner(network, how, None), update_part, weights, state, rollout)
    assert (len(by_pass[2]), len(by_part[2])) == (3, 12)
    eager = train(make_learner(network, how, adam(), eager=True), add, weights, state, rollout)
    np.testing.assert_allclose(eager[0], by_pass[0], atol=2e-6)
    np.testing.assert_allclose(by_pass[0], by_part[0], atol=2e-6)
    assert {float(v[0]) for n, v in by_pass[1].items() if not n.startswith("float")} == {12.0}
    assert by_pass[2][1]["loss"] == pytest.approx(
        np.mean([each["loss"] for each in by_part[2][4:8]]), rel=1e-4
    )


def test_uses_end_where_the_policy_has_gone_too_far():
    network, weights, rollout, _, state = begun()

    def uses(kl_limit):
        how = make_how(passes=20, minibatch=6, kl_limit=kl_limit)
        learn = make_learner(network, how, keras.optimizers.Adam(0.05))
        add = functools.partial(reuse.add_delta, network)
        return [each["kl"] for each in train(learn, add, weights, state, rollout)[2]]

    without = uses(None)
    limit = sorted(without)[10]
    limited = uses(limit)
    assert len(without) == 20
    assert len(limited) < 20
    assert max(limited[:-1]) <= limit < limited[-1]


def test_a_pass_that_is_not_finite_is_the_last_of_its_rollout():
    """The next one over the same numbers would be no better, and many in a row end a run."""
    network, weights, rollout, _, state = begun()
    rollout = rollout._replace(rewards=np.full((TIME, BATCH), 3e38, np.float32))
    learn = make_learner(network, make_how(passes=5, minibatch=6), adam())
    _, losses, rest = learn(Snapshot(weights, 0, 0, None, state), Rollout(rollout, [], 5))
    assert not is_finite(losses)
    assert rest is None


def test_a_rollout_counts_once_and_is_normalised_as_it_acted():
    normaliser = Normaliser(observations=SIZE)
    network = dataclasses.replace(make_network(), normaliser=normaliser)
    weights = np.concatenate([parameters_of(network.model), normaliser.first()])
    seen = []

    def use(weights, batch, order, snapshot):
        seen.append(np.asarray(weights)[-normaliser.size :])
        return Delta(np.ones(len(weights), np.float32), {}), {"kl": 0.0}

    how = make_how(passes=3)
    learn = ReuseLearner(
        network, shapes_of(), how, lambda w, r: (None, np.arange(normaliser.size)), use, False, 0
    )
    rest, later = Rollout(of_discrete(), [], 17), weights.copy()
    for number in range(3):
        rollout = rest
        delta, _, rest = learn(Snapshot(later.copy(), number, 0, None, {}), rollout)
        moments = delta.parameters[-normaliser.size :]
        np.testing.assert_array_equal(moments, np.arange(normaliser.size) if number == 0 else 0)
        np.testing.assert_array_equal(seen[-1], normaliser.first())
        later[-normaliser.size :] = 7.0  # others have gone on
        assert rest is None or (rest.steps, rest.episodes) == (0, [])
        assert number == 0 or isinstance(rollout.content, Reused)
    assert rest is None


def test_what_several_workers_changed_is_added_up():
    network = make_network()
    weights = np.zeros(len(parameters_of(network.model)), np.float32)
    state = {"float32": np.zeros(3, np.float32), "int32": np.array([5], np.int32)}
    for size, count in ((1.0, 13), (2.0, 11)):
        changed = {"float32": np.full(3, size, np.float32), "int32": np.array([count], np.int32)}
        weights, state = reuse.add_delta(network, weights, state, Delta(np.full_like(weights, size), changed))
    np.testing.assert_allclose(np.asarray(weights), 3.0)
    np.testing.assert_allclose(np.asarray(state["float32"]), 2.0)
    assert int(np.asarray(state["int32"])[0]) == 13, "of the averages' own steps, or more"
