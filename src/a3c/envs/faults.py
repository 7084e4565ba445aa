"""Faults of environments: how they are told apart, and the crash reports that say how to play them again.

The samplers call it where an environment raised or returned what nothing can be learned from; `reproduce`
uses the same findings while it plays a card. Nothing here stops a run: that is the business of `on_fault`.
"""

import json
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import gymnasium as gym
import numpy as np

from a3c.envs.copies import Copies
from a3c.envs.history import SHOWN_ACTIONS
from a3c.errors import UsageError, first_line
from a3c.spaces.observations import ObservationMismatch
from a3c.utils import serialization
from a3c.utils.files import write_whole

_FORMAT = "a3c crash card"
_VERSION = 2
_READ_VERSIONS = (1, 2)
_SHOWN_NUMBERS = 100
_MESSAGE_LENGTH = 300
_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_GYMNASIUM = str(Path(gym.__file__).parent) + os.sep
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
    """The crash report, a plain tree: everything that is known, and what playing it again needs."""


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
    copy = env.current if isinstance(env, Copies) else None
    if copy is None and shape is not None and isinstance(env, Copies):
        # Their observations were being joined, which fails where one has another shape.
        for index in range(env.num_envs):
            seen = env.shown(index)
            if seen is not None and np.shape(seen) != shape:
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
        replay: What playing it again needs, with actions as their distribution keeps them: whether it is
            `compiled`; where to `start`, with the `actions` [N, B, …] from there and after how many `steps`
            of them it is; or `episodes` of single copies, each its `copy`, `beginning`, `actions` [n, …].
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
        "note": "" if replay["start"] or replay.get("episodes") else _LOST,
        "replay": replay,
    }
    return Fault(summary, finding.traceback, card)


_LOST = "It cannot be played again: its history was too long to be kept."


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
    """Write the fault's crash report as a JSON file; it is there as a whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "summary": fault.summary,
        "traceback": fault.traceback.splitlines(),
        "card": serialization.to_json(fault.card),
    }
    write_whole(Path(path), json.dumps(document, indent=1), to_disk=True)


def read_card(path: Path | str) -> dict[str, Any]:
    """The card that `write_card` wrote.

    Raises:
        UsageError: if there is none, or it is damaged or something else.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise ValueError(f"its format is {document['format']!r}")
        if document["version"] not in _READ_VERSIONS:
            raise ValueError(f"it is of version {document['version']}, this a3c reads up to {_VERSION}")
        card = serialization.from_json(document["card"])
        if not isinstance(card, dict) or not isinstance(card.get("replay", {}), dict):
            raise ValueError("it is no table")
        missing = _REQUIRED - set(card)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        return card
    except OSError as error:
        raise UsageError(f"crash report {path}", "a file that can be read", str(error.strerror)) from error
    except Exception as error:  # whatever a foreign file leads to
        said = first_line(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise UsageError(f"crash report {path}", "a card that a run of a3c wrote", f"{said}.") from error


_REQUIRED = {"summary", "kind", "env_id", "worker", "copies", "vectorized", "seed", "when", "copy", "replay"}
