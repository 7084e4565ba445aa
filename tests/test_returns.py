"""Returns against slow twins close to the paper's notation, and identities that any return must keep."""

import numpy as np
import pytest
from keras import ops

from a3c.returns import lambda_returns

pytestmark = pytest.mark.both_backends


def slow_n_step(rewards, terminated, truncated, values, gamma):
    """R ← r + γR backwards (Algorithm S3), one environment and one step at a time."""
    time, batch = rewards.shape
    targets = np.zeros((time, batch))
    for b in range(batch):
        following = values[time, b]
        for t in reversed(range(time)):
            if terminated[t, b]:
                following = 0.0
            elif truncated[t, b]:
                following = values[t + 1, b]
            following = rewards[t, b] + gamma * following
            targets[t, b] = following
    return targets


def slow_gae(rewards, terminated, truncated, values, gamma, gae_lambda):
    """The sum Σ (γλ)^l δ[t+l] of Schulman et al. 2016, equation 16, as two nested loops."""
    time, batch = rewards.shape
    advantages = np.zeros((time, batch))
    for b in range(batch):
        for t in range(time):
            weight = 1.0
            for k in range(t, time):
                next_value = 0.0 if terminated[k, b] else values[k + 1, b]
                advantages[t, b] += weight * (rewards[k, b] + gamma * next_value - values[k, b])
                if terminated[k, b] or truncated[k, b]:
                    break
                weight *= gamma * gae_lambda
    return advantages


def random_case(seed, time=9, batch=5):
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=(time, batch))
    values = rng.normal(size=(time + 1, batch))
    ends = rng.random((time, batch))
    return rewards, ends < 0.15, (ends > 0.85), values


def compute(rewards, terminated, truncated, values, gamma, gae_lambda):
    result = lambda_returns(
        *(
            ops.convert_to_tensor(np.asarray(x, np.float32))
            for x in (rewards, gamma * (1.0 - terminated), 1.0 - truncated, values)
        ),
        gae_lambda,
    )
    return ops.convert_to_numpy(result)


@pytest.mark.parametrize("seed", range(5))
def test_n_step_returns_equal_the_slow_twin(seed):
    case = random_case(seed)
    np.testing.assert_allclose(compute(*case, 0.9, 1.0), slow_n_step(*case, 0.9), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_lambda_returns_equal_the_slow_twin(seed, gae_lambda):
    case = random_case(seed)
    expected = slow_gae(*case, 0.97, gae_lambda) + case[3][:-1]
    np.testing.assert_allclose(compute(*case, 0.97, gae_lambda), expected, rtol=1e-5, atol=1e-5)


def test_two_episodes_in_one_rollout_equal_two_rollouts():
    rewards, _, _, values = random_case(7, time=8)
    terminated, truncated = np.zeros((2, 8, 5), bool)
    terminated[3] = True
    whole = compute(rewards, terminated, truncated, values, 0.9, 0.8)
    first = compute(rewards[:4], terminated[:4], truncated[:4], values[:5], 0.9, 0.8)
    second = compute(rewards[4:], terminated[4:], truncated[4:], values[4:], 0.9, 0.8)
    np.testing.assert_allclose(whole, np.concatenate([first, second]), rtol=1e-6)


def test_truncation_bootstraps_and_termination_does_not():
    ones, none, end = np.ones((1, 1)), np.zeros((1, 1), bool), np.ones((1, 1), bool)
    values = np.array([[0.0], [10.0]])
    assert compute(ones, none, end, values, 0.9, 1.0) == pytest.approx(10.0)
    assert compute(ones, end, none, values, 0.9, 1.0) == pytest.approx(1.0)


def test_what_follows_a_truncation_never_flows_back():
    rewards, terminated, truncated, values = random_case(3)
    truncated[4], terminated[4] = True, False
    before = compute(rewards, terminated, truncated, values, 0.9, 0.9)[:5]
    rewards[5:], values[6:] = 1e6, -1e6
    after = compute(rewards, terminated, truncated, values, 0.9, 0.9)[:5]
    np.testing.assert_array_equal(before, after)


def test_shapes_that_would_broadcast_are_refused():
    flat = np.ones((4, 1), np.float32)
    with pytest.raises(ValueError, match="one shape"):
        lambda_returns(flat, flat, flat[:, 0], np.ones((5, 1), np.float32))
