"""Loss terms and the categorical distribution against slow twins."""

import math

import numpy as np
import pytest
from keras import ops

from a3c.algorithms import losses
from a3c.spaces.distributions.categorical import Categorical
from a3c.spaces.noise import gumbel_noise

pytestmark = pytest.mark.both_backends


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, np.float32))


def softmax(row):
    top = max(row)
    exponentials = [math.exp(x - top) for x in row]
    return [e / sum(exponentials) for e in exponentials]


def random_case(seed=0, time=6, batch=4, actions=3):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(time, batch, actions))
    return rng, logits, rng.integers(actions, size=(time, batch)), rng.random((time, batch)) > 0.3


def test_log_prob_and_entropy_equal_the_slow_twins():
    _, logits, actions, _ = random_case()
    log_probs = ops.convert_to_numpy(Categorical(3).log_prob(tensor(logits), ops.convert_to_tensor(actions)))
    entropies = ops.convert_to_numpy(Categorical(3).entropy(tensor(logits)))
    for t, b in np.ndindex(actions.shape):
        p = softmax(logits[t, b])
        assert log_probs[t, b] == pytest.approx(math.log(p[actions[t, b]]), abs=1e-5)
        assert entropies[t, b] == pytest.approx(-sum(q * math.log(q) for q in p), abs=1e-5)


def test_each_term_equals_its_slow_twin():
    rng, _, _, valid = random_case(1)
    a, b = rng.normal(size=(2, *valid.shape))
    count = valid.sum()
    pairs = [(x, y) for x, y, v in zip(a.ravel(), b.ravel(), valid.ravel(), strict=True) if v]
    mask = tensor(valid)
    assert float(losses.policy_gradient_loss(tensor(a), tensor(b), mask)) == pytest.approx(
        -sum(x * y for x, y in pairs) / count, abs=1e-5
    )
    assert float(losses.value_loss(tensor(a), tensor(b), mask)) == pytest.approx(
        sum((y - x) ** 2 for x, y in pairs) / count, abs=1e-5
    )
    assert float(losses.entropy_loss(tensor(a), mask)) == pytest.approx(
        -sum(x for x, _ in pairs) / count, abs=1e-5
    )


def test_nothing_valid_gives_zero_and_not_nan():
    zeros = tensor(np.zeros((2, 2)))
    assert float(losses.masked_mean(tensor(np.ones((2, 2))), zeros)) == 0.0


@pytest.mark.parametrize("term", [losses.policy_gradient_loss, losses.value_loss])
def test_shapes_that_would_broadcast_are_refused(term):
    with pytest.raises(ValueError, match="one shape"):
        term(tensor(np.ones((4, 1))), tensor(np.ones((4, 4))), tensor(np.ones((4, 1))))
    with pytest.raises(ValueError, match="one shape"):
        term(tensor(np.ones(4)), tensor(np.ones((4, 1))), tensor(np.ones(4)))


def test_samples_follow_the_softmax():
    logits = np.array([[0.0, 1.0, 2.0]], np.float32)
    noise = gumbel_noise(np.random.default_rng(0), (200_000, 3))
    frequencies = np.bincount(Categorical(3).choose(logits, noise), minlength=3) / 200_000
    np.testing.assert_allclose(frequencies, softmax(logits[0]), atol=0.005)


def test_greedy_takes_the_most_probable_action():
    logits = np.array([[0, 2, 1], [5, 1, 1]], np.float32)
    np.testing.assert_array_equal(Categorical(3).choose(logits, np.zeros((2, 3))), [1, 0])
