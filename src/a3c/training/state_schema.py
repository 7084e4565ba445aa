"""What a checkpoint's state has to look like before anything of it is made use of. Called by `resumption`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from a3c.training.checkpoint import Damaged
from a3c.utils.schema import (
    Absent,
    Anything,
    Array,
    Maybe,
    Number,
    Rows,
    Table,
    Text,
    Truth,
    Whole,
    find_wrong,
)

_COUNT = Whole()
_SECONDS = Number(0.0, 1e11)
_EVALUATION = {
    "mode": Text(("greedy", "sampled", "random")),
    "returns": Array((None,), ("f",), finite=True, at_least=1),
    "lengths": Array((None,), ("i",), at_least=1),
    "cut_off": Absent(_COUNT),
}
_METRICS = {
    "steps": _COUNT,
    "updates": _COUNT,
    "skipped": _COUNT,
    "episodes": _COUNT,
    "moving_average": Maybe(Number()),
    "lag": Number(),
    "lowest": Absent(Maybe(Number())),
    "highest": Absent(Maybe(Number())),
    "losses": Table(Number(finite=False)),
    "recent": Rows(Number(), at_most=100),
}


def state_of(size: int | None, optimizer: dict[str, np.ndarray] | None) -> dict[str, Any]:
    """The description of a state.

    Args:
        size: P, the number of parameters; None: any.
        optimizer: A state of the optimizer, of whose dtypes and sizes another one is; None: any.
    """
    weights = Array((size,), ("float32",), finite=True)
    candidate = {"weights": weights, "steps": _COUNT, "reached": Truth()}
    best = {"candidate": candidate, "evaluation": _EVALUATION, "confirmation": Maybe(_EVALUATION)}
    vectors = {name: Array(vector.shape, (vector.dtype.name,)) for name, vector in (optimizer or {}).items()}
    return {
        "about": Table(Anything()),
        "store": {
            "weights": weights,
            "optimizer": Table(Array()) if optimizer is None else vectors,
            "steps": _COUNT,
            "updates": _COUNT,
            "episodes": _COUNT,
            "skipped": _COUNT,
            "target": Absent(Maybe(weights)),
        },
        "metrics": _METRICS,
        "callbacks": Table(Anything(), known=_callbacks(best, candidate)),
        "sampler": Maybe(Table(Anything())),
        "seconds": _SECONDS,
        "wall_seconds": _SECONDS,
        "baseline": Maybe(Number()),
        "reached_seconds": Maybe(_SECONDS),
        "solved": Truth(),
        "goal": Maybe(Number()),
        "count": _COUNT,
    }


def _callbacks(best: dict[str, Any], candidate: dict[str, Any]) -> dict[str, Any]:
    """The states of our own callbacks; those of the user's are theirs to check."""
    selection = {
        "evaluations": _COUNT,
        "next_steps": _COUNT,
        "next_reached": _COUNT,
        "best": Maybe(best),
        "candidate": Maybe(candidate),
    }
    return {
        "episodes.csv": Absent({"end": _COUNT}),
        "metrics.jsonl": Absent({"end": _COUNT}),
        "tensorboard": Absent(Table(_COUNT)),
        "evaluation": Absent(selection),
    }


def upgraded(state: Any, widened: Callable[[Any], Any]) -> Any:
    """A checkpoint of version 0.1.0 as this version writes it.

    Args:
        state: What was read.
        widened: Maps a vector of parameters of that version to one of this; others to themselves.

    Raises:
        Damaged: if it is none.
    """
    return _with_wide_vectors(_with_callbacks(state), widened)


def _with_wide_vectors(tree: Any, widened: Callable[[Any], Any], depth: int = 6) -> Any:
    """A tree whose vectors by the names of parameters are as this version has them."""
    if not isinstance(tree, dict) or not depth:
        return tree
    return {
        name: widened(value)
        if name in ("weights", "target")
        else _with_wide_vectors(value, widened, depth - 1)
        for name, value in tree.items()
    }


def _with_callbacks(state: Any) -> Any:
    """A state whose parts are those of callbacks."""
    if not isinstance(state, dict) or "judge" not in state:
        return state
    state = dict(state)
    judge, metrics, files = (state.pop(name, None) for name in ("judge", "statistics", "files"))
    if wrong := find_wrong(files, Table(_COUNT), "files"):
        raise Damaged(wrong)
    callbacks: dict[str, Any] = {"evaluation": judge, "tensorboard": {}}
    for name, end in files.items():
        if name.startswith("events"):
            callbacks["tensorboard"][name] = end
        else:
            callbacks[name] = {"end": end}
    return {**state, "metrics": metrics, "callbacks": callbacks}
