"""Returns against slow twins close to the paper's notation, and identities that any return must keep."""

import json
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from a3c.algorithms.returns import lambda_returns, vtrace
from parts import slow_gae, slow_vtrace

pytestmark = pytest.mark.both_backends


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


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(5))
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


# -- V-trace ------------------------------------------------------------------------------------------------


def compute_vtrace(ratios, rewards, terminated, truncated, values, gamma, *settings):
    arrays = (ratios, rewards, gamma * (1.0 - terminated), 1.0 - truncated, values)
    tensors = (ops.convert_to_tensor(np.asarray(x, np.float32)) for x in arrays)
    return [ops.convert_to_numpy(x) for x in vtrace(*tensors, *settings)]


@pytest.mark.parametrize(
    ("rho_bar", "c_bar", "gae_lambda"),
    [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.5, 0.25, 1.0), (1.0, 1.0, 0.7), (1e9, 1e9, 1.0)],
)
@pytest.mark.parametrize("seed", range(3))
def test_vtrace_equals_the_slow_twin(seed, rho_bar, c_bar, gae_lambda):
    rewards, terminated, truncated, values = random_case(seed)
    ratios = np.exp(np.random.default_rng(seed).normal(size=rewards.shape))
    case = ratios, rewards, terminated, truncated, values, 0.9, rho_bar, c_bar, gae_lambda
    targets, advantages = compute_vtrace(*case)
    expected = slow_vtrace(*case)
    np.testing.assert_allclose(targets, expected[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(advantages, expected[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.6, 1.0])
def test_on_policy_vtrace_is_the_lambda_return(gae_lambda):
    rewards, terminated, truncated, values = random_case(7)
    case = np.ones_like(rewards), rewards, terminated, truncated, values, 0.95, 1.0, 1.0, gae_lambda
    targets, advantages = compute_vtrace(*case)
    expected = compute(rewards, terminated, truncated, values, 0.95, gae_lambda)
    np.testing.assert_allclose(targets, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(advantages, expected - values[:-1], rtol=1e-4, atol=1e-5)


def test_weights_of_nothing_leave_the_values_as_they_are():
    rewards, terminated, truncated, values = random_case(8)
    case = np.zeros_like(rewards), rewards, terminated, truncated, values, 0.95
    targets, advantages = compute_vtrace(*case)
    np.testing.assert_allclose(targets, values[:-1], rtol=1e-6)
    assert not advantages.any()


RLAX = json.loads((Path(__file__).parents[1] / "references" / "rlax.json").read_text())["cases"]


@pytest.mark.parametrize("case", RLAX, ids=lambda case: f"seed {case['seed']}")
def test_they_agree_with_rlax(case):
    """Recorded by `references/record_rlax.py`."""
    names = ("ratios", "rewards", "discounts", "values")
    ratios, rewards, discounts, values = (np.array(case[name]) for name in names)
    ends = discounts == 0
    targets, advantages = compute_vtrace(
        ratios, rewards, ends, ~ends & False, values, 0.97, case["rho_bar"], 1.0, case["gae_lambda"]
    )
    np.testing.assert_allclose(targets - values[:-1], case["vtrace_errors"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(advantages, case["pg_advantages"], rtol=1e-4, atol=1e-5)
    mixed = compute(rewards, ends, ~ends & False, values, 0.97, case["gae_lambda"])
    np.testing.assert_allclose(mixed, case["lambda_returns"], rtol=1e-4, atol=1e-5)
