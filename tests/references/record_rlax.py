"""Records what rlax says of random cases, as reference values for `tests/algorithms/test_returns.py`.

    pip install -e '.[reference]' && python tests/references/record_rlax.py

Kept apart from the tests since rlax brings a nightly build of TensorFlow Probability.
"""

import json
from pathlib import Path

import jax
import numpy as np
import rlax  # type: ignore[import-not-found]

CASES = [
    dict(seed=0, rho_bar=1.0, gae_lambda=1.0),
    dict(seed=1, rho_bar=1.0, gae_lambda=0.9),
    dict(seed=2, rho_bar=2.0, gae_lambda=0.5),
    dict(seed=3, rho_bar=1.0, gae_lambda=0.0),
]


def case(seed: int) -> dict[str, np.ndarray]:
    """Nine steps of four copies; discounts of 0 are ends."""
    rng = np.random.default_rng(seed)
    return dict(
        ratios=np.exp(rng.normal(size=(9, 4))),
        rewards=rng.normal(size=(9, 4)),
        discounts=0.97 * (rng.random((9, 4)) > 0.2),
        values=rng.normal(size=(10, 4)),
    )


def judged(given: dict[str, np.ndarray], rho_bar: float, gae_lambda: float) -> dict[str, list]:
    """What rlax makes of a case, copy by copy."""

    def vtrace(values, following, rewards, discounts, ratios):
        return rlax.vtrace_td_error_and_advantage(
            values,
            following,
            rewards,
            discounts,
            ratios,
            lambda_=gae_lambda,
            clip_rho_threshold=rho_bar,
            clip_pg_rho_threshold=rho_bar,
        )

    def mixed(rewards, discounts, following):
        return rlax.lambda_returns(rewards, discounts, following, gae_lambda)

    before, after = given["values"][:-1], given["values"][1:]
    steps = given["rewards"], given["discounts"]
    found = jax.vmap(vtrace, 1, 1)(before, after, *steps, given["ratios"])
    returns = jax.vmap(mixed, 1, 1)(*steps, after)
    results = dict(vtrace_errors=found.errors, pg_advantages=found.pg_advantage, lambda_returns=returns)
    return {name: np.asarray(array).tolist() for name, array in results.items()}


def main() -> None:
    """Compute and write."""
    records = []
    for settings in CASES:
        given = case(settings["seed"])
        plain = {name: array.tolist() for name, array in given.items()}
        records.append({**settings, **plain, **judged(given, settings["rho_bar"], settings["gae_lambda"])})
    document = {"rlax": rlax.__version__, "cases": records}
    (Path(__file__).parent / "rlax.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
