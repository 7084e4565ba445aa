"""Records what rlax says of random cases, as reference values for `tests/test_returns.py`.

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


def main() -> None:
    """Compute and write."""
    records = []
    for settings in CASES:
        given = case(settings["seed"])
        columns = jax.vmap(
            lambda v, following, r, d, rho: rlax.vtrace_td_error_and_advantage(
                v,
                following,
                r,
                d,
                rho,
                lambda_=settings["gae_lambda"],  # noqa: B023
                clip_rho_threshold=settings["rho_bar"],  # noqa: B023
                clip_pg_rho_threshold=settings["rho_bar"],  # noqa: B023
            ),
            in_axes=1,
            out_axes=1,
        )(given["values"][:-1], given["values"][1:], given["rewards"], given["discounts"], given["ratios"])
        mixed = jax.vmap(
            lambda r, d, v: rlax.lambda_returns(r, d, v, settings["gae_lambda"]), 1, 1
        )(  # noqa: B023
            given["rewards"], given["discounts"], given["values"][1:]
        )
        records.append(
            {
                **settings,
                **{name: array.tolist() for name, array in given.items()},
                "vtrace_errors": np.asarray(columns.errors).tolist(),
                "pg_advantages": np.asarray(columns.pg_advantage).tolist(),
                "lambda_returns": np.asarray(mixed).tolist(),
            }
        )
    document = {"rlax": rlax.__version__, "cases": records}
    (Path(__file__).parent / "rlax.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
