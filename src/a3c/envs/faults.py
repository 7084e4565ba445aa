"""Faults of environments: what is wrong with what they did, and crash reports from which it is played again.

Samplers call it where an environment raised an error or returned something unusable, and `reproduce` while it
plays a crash report. Nothing here stops a run: `on_fault` decides about that.
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
from a3c.envs.report_schema import REPORT
from a3c.errors import UsageError, first_line
from a3c.spaces.observations import ObservationMismatch
from a3c.utils import json_text, serialization, trust
from a3c.utils.files import read_plain, write_whole
from a3c.utils.schema import Anything, Table, find_wrong

_FORMAT = "a3c crash card"
_VERSION = 2
_READ_VERSIONS = (1, 2)
_SHOWN_NUMBERS = 100
_MESSAGE_LENGTH = 300
_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_GYMNASIUM = str(Path(gym.__file__).parent) + os.sep
# Code of Gymnasium that only passes calls on to an environment.
_WRAPPING = ("core.py", "vector" + os.sep, "wrappers" + os.sep, os.path.join("envs", "registration.py"))
_AROUND = (_PACKAGE, *(_GYMNASIUM + part for part in _WRAPPING))


@dataclass(frozen=True)
class Fault:
    """One fault of an environment, for `on_fault`, which decides whether the run goes on."""

    summary: str
    """One line: which environment did what, in which step of which copy."""
    traceback: str
    """The environment's own traceback; empty where it raised nothing."""
    report: dict[str, Any]
    """The crash report, a plain tree: all that is known, and what playing it again needs."""


OnFault = Callable[[Fault], None]
"""Called with each fault before the environment is made anew; if it raises, the worker ends."""


@dataclass(frozen=True)
class Description:
    """Which environments a sampler has, for crash reports."""

    env_id: str
    """As the user gave it, with the module if there is one."""
    worker: int
    copies: int
    """B."""
    vectorized: bool
    """Whether it is stepped by its own vector code; see `envs.make_vector`."""


@dataclass(frozen=True)
class Violation:
    """What is wrong with one reset or step of an environment."""

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
class FaultLocation:
    """When a fault happened."""

    when: str
    """`making`, `first reset`, `reset` or `step`."""
    seed: int
    """Of the environments' first reset."""
    making: int
    """How many times they had been made anew before."""
    step: int
    """Steps since the environments were made: those of the copy, without resets. In compiled programs, and
    where the copy is not known: those of the batch."""
    episode_step: int | None = None
    """Steps of the copy's episode."""


def of_exception(error: Exception, env: Any = None, shape: tuple[int, ...] | None = None) -> Violation:
    """What an environment raised.

    Args:
        error: Caught where the environment was called.
        env: The environment; None: it could not be made.
        shape: Of one observation, as its space says; None: observations have several parts.
    """
    copy = env.current if isinstance(env, Copies) else None
    if copy is None and shape is not None and isinstance(env, Copies):
        # Their observations were being joined, which fails where one has another shape.
        for index in range(env.num_envs):
            seen = env.shown(index)
            if seen is not None and np.shape(seen) != shape:
                return of_shape(np.shape(seen), shape, index)
    said = first_line(error)[:_MESSAGE_LENGTH]
    name = type(error).__name__
    message = f"raised {name}" + (f": {said}" if said != name else "")
    own = _own_frames(error.__traceback__)
    text = "".join(traceback.format_exception(type(error), error, own))
    return Violation("exception", message, copy, text)


def of_shape(shape: tuple[int, ...], expected: tuple[int, ...], copy: int | None = None) -> Violation:
    """An observation of another shape than expected."""
    message = f"returned an observation of shape {shape}, expected {expected}"
    return Violation("observation shape", message, copy)


def of_mismatch(error: ObservationMismatch) -> Violation:
    """What is wrong with observations of several parts."""
    return Violation("observation shape", f"returned {error}")


def find_violation(observations: np.ndarray, rewards: np.ndarray) -> tuple[int, Violation] | None:
    """The first step whose observations [T, B, *O] or rewards [T, B] are not finite, and what is wrong."""
    steps = enumerate(map(of_values, observations, rewards))
    return next(((t, violation) for t, violation in steps if violation is not None), None)


def of_values(observation: Any, reward: Any = None) -> Violation | None:
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
            message = f"returned a non-finite observation (index {index}: {seen[copy].ravel()[index]})"
            return Violation("non-finite observation", message, copy, "", numbers)
        if not np.isfinite(earned[copy]):
            message = f"returned a non-finite reward ({earned[copy]})"
            return Violation("non-finite reward", message, copy, "", numbers)
    return None


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
    description: Description,
    violation: Violation,
    location: FaultLocation,
    actions: np.ndarray,
    replay: dict[str, Any],
) -> Fault:
    """The fault with its crash report.

    Args:
        description: The sampler's environments.
        violation: What happened.
        location: When.
        actions: [N, B, …], up to the fault, as the environment was sent them.
        replay: What playing it again needs, with actions as their distribution keeps them: whether it is
            `compiled`; where to `start`, with the `actions` [N, B, …] from there and after how many `steps`
            of them it is; or `episodes` of single copies, each its `copy`, `beginning`, `actions` [n, …].
    """
    copy = 0 if description.copies == 1 else violation.copy
    summary = f"{description.env_id} {violation.message} {_when(location, copy)}"
    last = actions[-SHOWN_ACTIONS:]
    playable = replay["start"] or replay.get("episodes")
    report = {
        "summary": summary,
        "kind": violation.kind,
        "message": violation.message,
        "traceback": violation.traceback,
        **vars(description),
        **vars(location),
        "copy": copy,
        "last_actions": (last if copy is None else last[:, copy]).tolist(),
        "numbers": violation.numbers,
        "note": "" if playable else "It cannot be played again: its history was too long to be kept.",
        "replay": replay,
    }
    return Fault(summary, violation.traceback, report)


def _when(location: FaultLocation, copy: int | None) -> str:
    which = "an unknown copy" if copy is None else f"copy {copy}"
    return {
        "making": "when it was made",
        "first reset": f"in the first reset of {which}",
        "reset": f"in a reset of {which} after step {location.step}",
        "step": f"in step {location.step} of {which}",
    }[location.when]


def count_steps(ended: bool, ends: np.ndarray, under_way: int) -> tuple[int, int, bool]:
    """Where one copy is in step `t` of a rollout.

    Args:
        ended: Whether its first step only resets.
        ends: [t] bool, the steps before `t` in which an episode ended.
        under_way: Steps of its episode before the rollout.

    Returns:
        Its steps in the rollout and those of its episode, with step `t`, and whether `t` only resets.
    """
    valid = np.concatenate([[not ended], ~ends])
    restarts = np.flatnonzero(~valid)
    episode = valid[restarts[-1] :].sum() if restarts.size else valid.sum() + under_way
    return int(valid.sum()), int(episode), not valid[-1]


# -- files --------------------------------------------------------------------------------------------------


def write_crash_report(fault: Fault, path: Path | str) -> None:
    """Write the fault's crash report as a JSON file; it is there as a whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "summary": fault.summary,
        "traceback": fault.traceback.splitlines(),
        "card": serialization.to_json(fault.report),
        "signatures": trust.sign(fault.report["env_id"]),
    }
    write_whole(Path(path), json.dumps(document, indent=1), to_disk=True)


def read_crash_report(path: Path | str, trusted: bool = False) -> dict[str, Any]:
    """The report that `write_crash_report` wrote, in the types that it is written with.

    Args:
        path: The file.
        trusted: Whether the user allows that the module of its environment is imported.

    Raises:
        UsageError: if there is none, it is damaged or something else, or it names a module that must not be
            imported; see `trust.check`.
    """
    try:
        document = json_text.parse_json(read_plain(Path(os.path.realpath(path)), _LARGEST))
        if document["format"] != _FORMAT:
            raise ValueError(f"its format is {document['format']!r:.40}")
        if document["version"] not in _READ_VERSIONS:
            raise ValueError(f"it is of version {document['version']!r:.40}, this a3c reads up to {_VERSION}")
        report = serialization.from_json(document["card"])
        if wrong := find_wrong(report, Table(Anything(), known=REPORT)):
            raise ValueError(wrong)
        signatures = document.get("signatures")
    except OSError as error:
        raise UsageError(f"crash report {path}", "a file that can be read", str(error.strerror)) from error
    except Exception as error:  # whatever a foreign file leads to
        said = first_line(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise UsageError(f"crash report {path}", "a report that a run of a3c wrote", f"{said}.") from error
    trust.check(f"crash report {path}", [report["env_id"]], signatures, (), trusted)
    return report


_LARGEST = 2**27  # bytes; `history.KEPT_BYTES` of actions are a third more as text
