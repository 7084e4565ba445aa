"""Faults of environments: how they are told apart, and the crash cards that say how to play them again.

The samplers call it where an environment raised or returned what nothing can be learned from; `reproduce`
uses the same findings while it plays a card. Nothing here stops a run: that is the business of `on_fault`.
"""

import contextlib
import functools
import json
import os
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv

from a3c.envs import state
from a3c.errors import UsageError, first_line
from a3c.spaces.observations import ObservationMismatch
from a3c.utils import serialization

_FORMAT = "a3c crash card"
_VERSION = 1
SHOWN_ACTIONS = 10
_SHOWN_NUMBERS = 100
_MESSAGE_LENGTH = 300
_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_GYMNASIUM = str(Path(gym.__file__).parent) + os.sep
_JOINING = os.path.join(_GYMNASIUM, "vector", "utils") + os.sep
# Code of Gymnasium that only passes calls on to an environment.
_PARTS = ("core.py", "vector" + os.sep, "wrappers" + os.sep, os.path.join("envs", "registration.py"))
_AROUND = (_PACKAGE, *(_GYMNASIUM + part for part in _PARTS))


@dataclass(frozen=True)
class Fault:
    """One fault of an environment, as it is told to whoever decides whether the run goes on."""

    summary: str
    """One line: which environment did what, in which step of which copy."""
    traceback: str
    """The environment's own traceback; empty where it raised nothing."""
    card: dict[str, Any]
    """The crash card, a plain tree: everything that is known, and what playing it again needs."""


OnFault = Callable[[Fault], None]
"""Told of each fault before the environment is made anew; may raise, which ends the worker."""


@dataclass(frozen=True)
class Description:
    """Which environments a sampler has, for the cards."""

    env_id: str
    """As the user gave it, with the module if there is one."""
    worker: int
    copies: int
    """B."""
    vectorized: bool
    """Whether it is stepped by its own vector code; see `envs.make_vector`."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with one thing that an environment did."""

    kind: str
    """`exception`, `observation shape`, `non-finite observation` or `non-finite reward`."""
    message: str
    """What it did, as a sentence without its subject."""
    copy: int | None = None
    """Which of the copies; None where that is not known."""
    traceback: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    """What it returned: `observation`, `reward`."""


@dataclass(frozen=True)
class Place:
    """When it happened."""

    when: str
    """`making`, `first reset`, `reset` or `step`."""
    seed: int
    """Of the environments' first reset."""
    making: int
    """How many times they had been made anew before."""
    step: int
    """Steps since they were made: the copy's own, resets not counted; where it is not known which copy it
    was, and in compiled programs, all steps of the batch."""
    episode_step: int | None = None
    """Steps of the copy's episode."""


def of_exception(error: Exception, env: Any, shape: tuple[int, ...] | None) -> Finding:
    """What an environment raised.

    Args:
        error: Caught where the environment was called.
        env: The environment, or None where it could not be made.
        shape: That of one observation, as declared.
    """
    copy, joining = _copy_of(error.__traceback__)
    if joining and shape is not None and isinstance(env, SyncVectorEnv):
        # Gymnasium stacks the observations of its copies, and complains where one has another shape.
        returned: list[Any] = env._env_obs
        for index, seen in enumerate(returned):
            if np.shape(seen) != shape:
                return _of_shape(np.shape(seen), shape, index)
    said = first_line(error)[:_MESSAGE_LENGTH]
    name = type(error).__name__
    message = f"raised {name}" + (f": {said}" if said != name else "")
    own = _own_frames(error.__traceback__)
    text = "".join(traceback.format_exception(type(error), error, own))
    return Finding("exception", message, copy, text)


def of_shape(observation: Any, expected: tuple[int, ...]) -> Finding:
    """What is wrong with observations that are not [B, *O], which is `expected`."""
    return _of_shape(np.shape(observation), expected, None)


def of_misfit(error: ObservationMismatch) -> Finding:
    """What is wrong with observations of several parts."""
    return Finding("observation shape", f"returned {error}")


def of_values(observation: Any, reward: Any = None) -> Finding | None:
    """The first copy whose observation or reward, [B, *O] and [B], is not finite as float32, if any."""
    with np.errstate(all="ignore"):
        seen = np.asarray(observation, np.float32)
        earned = np.zeros(len(seen), np.float32) if reward is None else np.asarray(reward, np.float32)
    if np.isfinite(seen).all() and np.isfinite(earned).all():
        return None
    for copy in range(len(seen)):
        numbers: dict[str, Any] = {"observation": _readable(seen[copy])}
        if reward is not None:
            numbers["reward"] = _readable(earned[copy : copy + 1])[0]
        wrong = np.flatnonzero(~np.isfinite(seen[copy].ravel()))
        if wrong.size:
            index = int(wrong[0])
            value = seen[copy].ravel()[index]
            message = f"returned a non-finite observation (index {index}: {value})"
            return Finding("non-finite observation", message, copy, "", numbers)
        if not np.isfinite(earned[copy]):
            message = f"returned a non-finite reward ({earned[copy]})"
            return Finding("non-finite reward", message, copy, "", numbers)
    return None


def _of_shape(shape: tuple[int, ...], expected: tuple[int, ...], copy: int | None) -> Finding:
    message = f"returned an observation of shape {shape}, expected {expected}"
    return Finding("observation shape", message, copy)


def _copy_of(trace: TracebackType | None) -> tuple[int | None, bool]:
    """Which of Gymnasium's single copies was called, and whether their observations were being joined."""
    codes = (SyncVectorEnv.step.__code__, SyncVectorEnv.reset.__code__)
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            below = trace.tb_next
            if below is not None and below.tb_frame.f_code.co_filename == functools.__file__:
                below = below.tb_next  # it joins by a function that is chosen by the type of its argument
            joining = below is not None and below.tb_frame.f_code.co_filename.startswith(_JOINING)
            index = None if joining else trace.tb_frame.f_locals.get("i")
            return (index if isinstance(index, int) else None), joining
        trace = trace.tb_next
    return None, False


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from where the environment's own code begins, or else Gymnasium's."""
    for around in (_AROUND, _PACKAGE):
        own = trace
        while own is not None and own.tb_frame.f_code.co_filename.startswith(around):
            own = own.tb_next
        if own is not None:
            return own
    return None


def _readable(numbers: np.ndarray) -> list[float | str]:
    """Numbers as JSON has them, the others as words; the first hundred."""
    shown = numbers.ravel()[:_SHOWN_NUMBERS].tolist()
    return [value if np.isfinite(value) else str(value) for value in shown]


def make_fault(
    description: Description, finding: Finding, place: Place, actions: np.ndarray, replay: dict[str, Any]
) -> Fault:
    """The fault of a finding.

    Args:
        description: The sampler's environments.
        finding: What happened.
        place: When.
        actions: [N, B, …], up to the fault, as the environment was sent them.
        replay: What playing it again needs: whether it is `compiled`; where to `start`, None: it cannot be;
            `actions` [N, B, …], as their distribution keeps them; and after how many `steps` of them it is.
    """
    copy = 0 if description.copies == 1 else finding.copy
    summary = f"{description.env_id} {finding.message} {_when(place, copy)}"
    last = actions[-SHOWN_ACTIONS:]
    card = {
        "summary": summary,
        "kind": finding.kind,
        "message": finding.message,
        "traceback": finding.traceback,
        **vars(description),
        **vars(place),
        "copy": copy,
        "last_actions": (last if copy is None else last[:, copy]).tolist(),
        "numbers": finding.numbers,
        "note": _LOST if replay["start"] is None else "",
        "replay": replay,
    }
    return Fault(summary, finding.traceback, card)


_LOST = (
    "It cannot be played again: the environment's state was not captured, and its history was too long to be "
    "kept."
)


def _when(place: Place, copy: int | None) -> str:
    if place.when == "making":
        return "when it was made"
    which = "an unknown copy" if copy is None else f"copy {copy}"
    if place.when == "first reset":
        return f"in the first reset of {which}"
    if place.when == "reset":
        return f"in a reset of {which} after step {place.step}"
    return f"in step {place.step} of {which}"


def count_steps(ended: bool, ends: np.ndarray, underway: int) -> tuple[int, int, bool]:
    """Where one copy is in step `t` of a rollout.

    Args:
        ended: Whether its first step only resets.
        ends: [t] bool, the steps before `t` in which an episode ended.
        underway: Steps of its episode before the rollout.

    Returns:
        Its steps in the rollout and those of its episode, with step `t`, and whether `t` only resets.
    """
    valid = np.concatenate([[not ended], ~ends])
    restarts = np.flatnonzero(~valid)
    episode = valid[restarts[-1] :].sum() if restarts.size else valid.sum() + underway
    return int(valid.sum()), int(episode), not valid[-1]


# -- files --------------------------------------------------------------------------------------------------


def write_card(fault: Fault, path: Path | str) -> None:
    """Write the fault's crash card as a JSON file; it is there as a whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    path = Path(path)
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "summary": fault.summary,
        "traceback": fault.traceback.splitlines(),
        "card": serialization.to_json(fault.card),
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_card(path: Path | str) -> dict[str, Any]:
    """The card that `write_card` wrote.

    Raises:
        UsageError: if there is none, or it is damaged or something else.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise ValueError(f"its format is {document['format']!r}")
        if document["version"] != _VERSION:
            raise ValueError(f"it is of version {document['version']}, this a3c reads version {_VERSION}")
        card = serialization.from_json(document["card"])
        if not isinstance(card, dict) or not isinstance(card.get("replay", {}), dict):
            raise ValueError("it is no table")
        missing = _REQUIRED - set(card)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        return card
    except OSError as error:
        raise UsageError(f"crash card {path}", "a file that can be read", str(error.strerror)) from error
    except Exception as error:  # whatever a foreign file leads to
        said = first_line(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise UsageError(f"crash card {path}", "a card that a run of a3c wrote", f"{said}.") from error


_REQUIRED = {"summary", "kind", "env_id", "worker", "copies", "vectorized", "seed", "when", "copy", "replay"}


# -- what leads to a fault ----------------------------------------------------------------------------------

ANCHOR_STEPS = 4096
"""Vector steps after which the environments' state is captured, so that no longer history is needed."""
ANCHOR_SHARE = 0.005
"""What capturing may cost at most, as a share of the time."""
HISTORY_STEPS = 2**19
"""Vector steps of history kept where the state is not captured; of more, only the tail."""
HISTORY_BYTES = 2**24
TAIL_STEPS = 100
ARRAY_BYTES = 128
"""What a small array takes beside its numbers."""
LOOKS_ARE_FREE = sys.version_info >= (3, 13)
"""Before Python 3.13 an object whose attributes were listed once is slower from then on, which costs single
copies of CartPole 7 % of their speed. They are captured only where a checkpoint has done that already."""


class Trail:
    """What led to where the environments are: a point to start from, and all actions since.

    The point is their making, with a seed, or now and then their captured state.

    Args:
        start: Where it begins: the `seed` that the environments are made with, the `state` that they are then
            given or None, and the `globals`: the state of the global random generators before they are made,
            or with that state.
    """

    def __init__(self, start: dict[str, Any]):
        self._saveable, self._looked_at, self._cost = True, False, 0.0
        self._actions: deque[np.ndarray] = deque()
        self._begin(start)

    def captured(self, state: dict[str, Any]) -> None:
        """The environments are in this state, as `capture` returned it: from here the trail goes on."""
        self._looked_at = True
        self._begin({"seed": self._seed, **state})

    def add(self, actions: np.ndarray, env: Any) -> None:
        """Actions [T, B] were taken in `env`; they are kept as they are. Captures its state now and then."""
        self._actions.append(actions)
        self._steps += len(actions)
        self._bytes += actions.nbytes + ARRAY_BYTES
        if self._steps >= ANCHOR_STEPS or self._bytes >= HISTORY_BYTES:
            self._shorten(env)

    def replay(self, actions: np.ndarray) -> dict[str, Any]:
        """What playing it again needs, with the actions [t, B] of the rollout under way: a plain tree."""
        kept = np.concatenate([*self._actions, actions])
        return {"compiled": False, "start": self._start, "actions": kept, "steps": len(kept)}

    def last(self, actions: np.ndarray) -> np.ndarray:
        """The last few of them, with the actions [t, B] of the rollout under way."""
        kept, steps = [actions], len(actions)
        for earlier in (*reversed(self._actions), *self._earlier):
            if steps >= SHOWN_ACTIONS:
                break
            kept.append(earlier)
            steps += len(earlier)
        return np.concatenate(kept[::-1])[-SHOWN_ACTIONS:]

    def _begin(self, start: dict[str, Any]) -> None:
        self._start: dict[str, Any] | None = start
        self._seed = start["seed"]
        # For people, who want the last few whatever is played again.
        self._earlier = [self.last(self._actions[-1][:0])] if self._actions else []
        self._actions.clear()
        self._steps = self._bytes = 0
        self._began = time.perf_counter()

    def _shorten(self, env: Any) -> None:
        now = time.perf_counter()
        gentle = LOOKS_ARE_FREE or self._looked_at or not isinstance(env.unwrapped, SyncVectorEnv)
        if self._saveable and gentle and self._cost <= ANCHOR_SHARE * (now - self._began):
            try:
                captured = capture(env)
            except Exception:  # not only Unsaveable: whatever an environment's own code does then
                self._saveable = False
            else:
                self.captured(captured)
                self._cost = time.perf_counter() - now
                return
        if self._steps > HISTORY_STEPS or self._bytes > HISTORY_BYTES:
            self._start = None  # from here on a card cannot be played again
        while self._start is None and self._steps - len(self._actions[0]) >= TAIL_STEPS:
            dropped = self._actions.popleft()
            self._steps -= len(dropped)
            self._bytes -= dropped.nbytes + ARRAY_BYTES


def capture(env: Any) -> dict[str, Any]:
    """The state of `env` and of the global random generators, a plain tree.

    Raises:
        Unsaveable: if it cannot be told; see `state.capture`.
    """
    return {"state": state.capture(env), "globals": state.capture_globals()}
