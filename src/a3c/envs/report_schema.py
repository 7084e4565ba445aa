"""What a crash report has to look like before anything of it is made use of, and whether it fits."""

from typing import TYPE_CHECKING, Any

import numpy as np

from a3c.utils.schema import Absent, Anything, Array, Maybe, Rows, Table, Text, Truth, Whole

if TYPE_CHECKING:
    from a3c.envs import Environment

_SEED = Whole(0, 2**64)
_ACTIONS = Array(dtypes=("i", "u", "f"))
_EPISODE = {
    "copy": Whole(),
    "beginning": {"seed": Maybe(_SEED), "generators": Rows(Table(Table(Anything())))},
    "actions": _ACTIONS,
}
_START = {"seed": Maybe(_SEED), "state": Maybe(Table(Anything())), "globals": Maybe(Table(Anything()))}
_REPLAY = {
    "compiled": Truth(),
    "start": Maybe(Table(Anything(), known=_START)),
    "actions": Absent(_ACTIONS),
    "steps": Absent(Whole()),
    "episodes": Absent(Rows(_EPISODE)),
}
MOST_COPIES = 2**17
REPORT = {
    "summary": Text(),
    "kind": Text(),
    "env_id": Text(longest=1000),
    "worker": Whole(),
    "copies": Whole(1, MOST_COPIES),
    "vectorized": Truth(),
    "when": Text(("making", "first reset", "reset", "step")),
    "seed": _SEED,
    "copy": Maybe(Whole()),
    "note": Absent(Text()),
    "replay": Table(Anything(), known=_REPLAY),
}
"""What playing a report makes use of; it has more."""

_FEW_COPIES = 2**12
"""That a report may have without an action for each of them."""
_LARGEST_ROLLOUT = 2**31  # bytes of observations that a compiled program makes at once


def find_misfit(report: dict[str, Any], environment: "Environment") -> str:
    """Why a report cannot be played in `environment`, as a sentence; empty: it can."""
    played = report["replay"]
    if episodes := played.get("episodes"):
        copies = [episode["copy"] for episode in episodes]
        if len(set(copies)) < len(copies) or max(copies) >= report["copies"]:
            return "It has episodes of more copies than there were."
        if report["when"] == "step" and not any(each["actions"].size for each in episodes):
            return _NO_ACTIONS
        return next((w for e in episodes if (w := _wrong_actions(e["actions"], environment, ()))), "")
    actions, copies = played.get("actions"), report["copies"]
    if actions is None or "steps" not in played:
        return "It has no actions."
    if copies > _FEW_COPIES and actions.size < copies:
        return f"It says that there were {copies:,} copies, and has {actions.size:,} actions."
    if wrong := _wrong_actions(actions, environment, (copies,)):
        return wrong
    if report["when"] in ("reset", "step") and not len(actions):
        return _NO_ACTIONS
    if played["compiled"]:
        return _wrong_rollout(played, environment)
    if played["steps"] != len(actions):
        return f"It has {len(actions)} steps, where it says {played['steps']}."
    if report["vectorized"] and environment.spec.vector_entry_point is None:
        return f"{environment.id} has no vector code any more."
    return ""


_NO_ACTIONS = "It has no actions, though the fault is one of a step."


def _wrong_actions(actions: np.ndarray, environment: "Environment", copies: tuple[int, ...]) -> str:
    """What is wrong with actions [n, *copies, …]."""
    expected = environment.actions
    if actions.ndim < 1 or actions.shape[1:] != (*copies, *expected.shape):
        wanted = ", ".join(map(str, ("n", *copies, *expected.shape)))
        return f"Its actions have shape {actions.shape}, where [{wanted}] fits {expected.describe()}."
    if not expected.contains(actions):
        return f"It has actions that are none of {environment.id}: {expected.describe()}."
    return ""


def _wrong_rollout(played: dict[str, Any], environment: "Environment") -> str:
    """What is wrong with the rollout of a compiled environment."""
    actions, seen = played["actions"], environment.observations
    if not environment.compiled:
        return f"It is of a compiled environment, and {environment.id} is none."
    if not 1 <= played["steps"] <= len(actions):
        return f"It has {len(actions)} steps, where it says {played['steps']}."
    size = np.prod([*actions.shape[:2], *seen.shape], dtype=float) * np.dtype(seen.dtype).itemsize
    return "It is too long to be played at once." if size > _LARGEST_ROLLOUT else ""
