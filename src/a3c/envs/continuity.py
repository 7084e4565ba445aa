"""Whether an environment can be resumed: tried out, by stopping copies and going on with others.

Called by `a3c doctor --resume`.
"""

import json
import warnings
from dataclasses import dataclass

import numpy as np
from gymnasium.vector import VectorEnv

from a3c import envs
from a3c.envs import state
from a3c.errors import first_line
from a3c.spaces.distributions import random_actions
from a3c.spaces.observations import describe_observations
from a3c.utils import serialization

_FIELDS = ("observations", "rewards", "ends", "truncations")
_LONGEST_WAIT = 2000
"""Steps until the first end of an episode, at most."""


@dataclass(frozen=True)
class Continuity:
    """What `check` found."""

    ok: bool
    """Whether resumed copies did exactly what the others had done."""
    reason: str
    """Why not, in one sentence; or what was compared."""
    steps: int
    """Steps that were compared, from all moments together."""


@dataclass(frozen=True)
class _Moment:
    """The state between two steps, as JSON."""

    step: int
    text: str


@dataclass
class _Recording:
    """What `actions` [T, B] led to in copies that were never stopped."""

    actions: np.ndarray
    outcomes: list[tuple[np.ndarray, ...]]
    moments: list[_Moment]
    ended: bool


def check(environment: envs.Environment, seed: int = 0, copies: int = 2, steps: int = 300) -> Continuity:
    """Stop `copies` copies at several moments, go on with fresh ones, and compare everything exactly.

    Args:
        environment: Which one.
        seed: Of the environments and of the random actions.
        copies: How many copies.
        steps: Steps of the play, at least; more if no episode ends in them.
    """
    before = state.capture_globals()
    try:
        with warnings.catch_warnings(action="ignore"):  # of environments that were made and warned before
            return _check(environment, seed, copies, steps)
    finally:
        state.restore_globals(before)


def _check(environment: envs.Environment, seed: int, copies: int, steps: int) -> Continuity:
    try:
        recording = _record(environment, seed, copies, steps)
    except state.Unsaveable as error:
        return Continuity(False, f"not saveable: {error}", 0)
    except Exception as error:  # the environment's own, whatever it is
        return Continuity(False, f"it fails: {type(error).__name__}: {first_line(error)}", 0)
    compared, fresh = 0, None
    for number, moment in enumerate(recording.moments, 1):
        # Compiled environments are pure functions with a state, and take a second to make: one set will do.
        fresh = fresh if fresh is not None and environment.compiled else _make(environment, copies)
        try:
            fresh.reset(seed=seed + number)
            reason = _resume(fresh, moment) or _difference(fresh, recording, moment)
        except Exception as error:
            reason = f"after resuming, it fails: {type(error).__name__}: {first_line(error)}"
        finally:
            if not environment.compiled:
                fresh.close()
        if reason:
            return Continuity(False, reason, compared)
        compared += len(recording.outcomes) - moment.step
    length = len(recording.outcomes)
    ends = "ends of episodes among them" if recording.ended else f"but no episode ended in {length}"
    return Continuity(True, f"{compared} steps are the same after resuming, {ends}", compared)


def _record(environment: envs.Environment, seed: int, copies: int, steps: int) -> _Recording:
    """Play, and capture the state at the start, under way, and after the first end of an episode."""
    count = max(steps, _LONGEST_WAIT) + steps
    actions = random_actions(environment.actions, np.random.default_rng(seed), count, copies)
    env = _make(environment, copies)
    recording = _Recording(actions, [], [], False)
    try:
        env.reset(seed=seed)
        planned, last = {0, 1, steps // 3}, steps
        for step, action in enumerate(actions):
            if step in planned:
                recording.moments.append(_freeze(env, step))
            if step >= last and (recording.ended or step >= _LONGEST_WAIT):
                break
            outcome = _step(env, action)
            recording.outcomes.append(outcome)
            if not recording.ended and (outcome[2] | outcome[3]).any():
                # Just before the reset, after it, and in the next episode.
                recording.ended = True
                planned |= {step + 1, step + 2, step + 1 + steps // 10}
                last = max(last, step + 1 + steps // 2)
    finally:
        env.close()
    return recording


def _make(environment: envs.Environment, copies: int) -> VectorEnv:
    return envs.make_vector(environment.spec, copies, environment.vectorized, checked=False)


def _step(env: VectorEnv, action: np.ndarray) -> tuple[np.ndarray, ...]:
    seen, *others = env.step(action.copy())[:4]
    return describe_observations(env.single_observation_space, "").pack(seen).copy(), *map(np.array, others)


def _freeze(env: VectorEnv, step: int) -> _Moment:
    plain = {"env": state.capture(env), "globals": state.capture_globals()}
    return _Moment(step, json.dumps(serialization.to_json(plain)))


def _resume(fresh: VectorEnv, moment: _Moment) -> str:
    """Put the state of that moment into `fresh`; returns why that failed, or nothing."""
    plain = serialization.from_json(json.loads(moment.text))
    try:
        state.restore(fresh, plain["env"])
    except (state.Unsaveable, ValueError) as error:
        return f"not restorable: {first_line(error)}"
    state.restore_globals(plain["globals"])
    return ""


def _difference(fresh: VectorEnv, recording: _Recording, moment: _Moment) -> str:
    """What differs first after resuming, or nothing; steps are counted from there."""
    rest = zip(recording.actions[moment.step :], recording.outcomes[moment.step :], strict=False)
    for after, (action, expected) in enumerate(rest, 1):
        for name, left, right in zip(_FIELDS, _step(fresh, action), expected, strict=True):
            if not _same(left, right):
                return f"after resuming, {name} differ in step {after}"
    return ""


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    """Equal number by number; NaN equals NaN."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return np.array_equal(left, right, equal_nan=left.dtype.kind in "fc")
