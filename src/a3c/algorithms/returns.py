"""Targets for values and advantages: pure functions on `keras.ops`, time-major `[T, B]`.

`discounts[t]` is γ·(1 − terminated[t]): nothing follows a terminal state. `continues[t]` is
1 − truncated[t]: a truncated episode still bootstraps from the value of its last observation, but what
the array holds after it belongs to another episode and must not flow back.
"""

from typing import Any

from a3c.utils.lazy_imports import ops

_LONGEST_UNROLLED = 20  # steps; in longer rollouts the loop takes several steps per turn
_STEPS_PER_TURN = 8


def lambda_returns(rewards: Any, discounts: Any, continues: Any, values: Any, gae_lambda: float = 1.0) -> Any:
    """Mixtures of n-step returns, by one backward recursion.

        G[t] = r[t] + discounts[t] · ((1 − c[t]) · V[t+1] + c[t] · G[t+1]),  c[t] = λ · continues[t]
        G[T] = V[T]

    With λ = 1 this is the n-step return of A3C (Mnih et al. 2016, Algorithm S3: R ← r + γR), each step
    bootstrapping as far ahead as the rollout reaches. With λ < 1, G − V is the generalized advantage
    estimate (Schulman et al. 2016, equation 16).

    Args:
        rewards: [T, B].
        discounts: [T, B], γ·(1 − terminated).
        continues: [T, B], 1 − truncated.
        values: [T + 1, B], the last row being the bootstrap value.
        gae_lambda: λ in [0, 1].

    Returns:
        [T, B].

    Raises:
        ValueError: if the shapes do not fit each other.
    """
    check_shapes(rewards=rewards, discounts=discounts, continues=continues, next_values=values[1:])
    mixing = gae_lambda * continues
    known = rewards + discounts * (1.0 - mixing) * values[1:]
    return _recursion(known, discounts * mixing, values[-1])


def vtrace(
    ratios: Any,
    rewards: Any,
    discounts: Any,
    continues: Any,
    values: Any,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    gae_lambda: float = 1.0,
) -> tuple[Any, Any]:
    """V-trace targets and advantages from actions of another policy (Espeholt et al. 2018, equation 1).

        v[t] = V[t] + δ[t] + discounts[t] · c[t] · (v[t+1] − V[t+1]),  v[T] = V[T]
        δ[t] = ρ[t] · (r[t] + discounts[t] · V[t+1] − V[t])

    with ρ = min(ρ̄, π/μ) and c = λ · min(c̄, π/μ). The advantages are ρ[t] · (r[t] + discounts[t] · q[t+1] −
    V[t]), q = V + λ · (v − V): with λ = 1 those of section 4.2. On-policy, where all ratios are 1, the
    targets are those of `lambda_returns`, and the advantages their distance to V.

    Args:
        ratios: [T, B], π(a|s)/μ(a|s) of the actions taken.
        rewards: [T, B].
        discounts: [T, B], γ·(1 − terminated).
        continues: [T, B], 1 − truncated; across a cut, v[t+1] is V[t+1].
        values: [T + 1, B], the last row being the bootstrap value.
        rho_bar: ρ̄.
        c_bar: c̄.
        gae_lambda: λ in [0, 1].

    Returns:
        Targets and advantages, both [T, B].

    Raises:
        ValueError: if the shapes do not fit each other.
    """
    check_shapes(
        ratios=ratios, rewards=rewards, discounts=discounts, continues=continues, next_values=values[1:]
    )
    clipped = ops.minimum(ratios, rho_bar)
    deltas = clipped * (rewards + discounts * values[1:] - values[:-1])
    carried = discounts * continues * gae_lambda * ops.minimum(ratios, c_bar)
    corrections = _recursion(deltas, carried, ops.zeros_like(values[-1]))
    targets = values[:-1] + corrections
    later = ops.concatenate([corrections[1:], ops.zeros_like(corrections[:1])], 0)
    following = values[1:] + gae_lambda * continues * later
    return targets, clipped * (rewards + discounts * following - values[:-1])


def _recursion(known: Any, carried: Any, last: Any) -> Any:
    """x[t] = known[t] + carried[t] · x[t+1], backward from x[T] = last: [T, B]."""

    def step(following, now):
        known_t, carried_t = now
        result = known_t + carried_t * following
        return result, result

    # Without a loop several times faster, and no slower to compile while the rollout is short.
    time = known.shape[0]
    unroll = time if time <= _LONGEST_UNROLLED else _STEPS_PER_TURN
    _, results = ops.scan(step, last, (known, carried), reverse=True, unroll=unroll)
    return results


def check_shapes(**arrays: Any) -> None:
    """Raise `ValueError` unless all arrays have one shape, so that nothing broadcasts by accident."""
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"Expected arrays of one shape, received {shapes}.")
