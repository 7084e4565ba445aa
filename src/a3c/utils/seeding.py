"""Independent random streams from one seed: for the model, each worker, evaluations and the baseline.

Every stream is named, so that adding a worker or an evaluation never shifts the numbers of another.
"""

import secrets
from typing import Literal

import numpy as np

Role = Literal[
    "model",
    "environments",
    "actions",
    "baseline",
    "evaluation",
    "final",
    "play",
    "exploration",
    "novelty",
]
_KEYS: dict[str, int] = {
    "model": 0,
    "environments": 1,
    "actions": 2,
    "baseline": 3,
    "evaluation": 4,
    "final": 5,
    "play": 6,
    "exploration": 7,
    "novelty": 8,
}


def fresh_seed() -> int:
    """A seed from the operating system, small enough to be typed again."""
    return secrets.randbelow(2**31)


def _sequence(seed: int, role: Role, index: int, again: tuple[int, ...]) -> np.random.SeedSequence:
    while again and again[-1] == 0:
        again = again[:-1]
    return np.random.SeedSequence(seed, spawn_key=(_KEYS[role], index, *again))


def generator(seed: int, role: Role, index: int = 0, again: tuple[int, ...] = ()) -> np.random.Generator:
    """A NumPy generator for `role`; `index` tells the worker or the evaluation apart.

    `again` counts what began anew, such as a worker that was restarted: zeros at first.
    """
    return np.random.Generator(np.random.SFC64(_sequence(seed, role, index, again)))


def integer_seed(seed: int, role: Role, index: int = 0, again: tuple[int, ...] = ()) -> int:
    """A seed below 2**31 for code that only takes an integer, such as `Env.reset(seed=...)`."""
    return int(_sequence(seed, role, index, again).generate_state(1)[0] >> 1)
