"""Play again, from a crash report, how an environment failed. Called by `a3c reproduce`; needs no Keras.

The environment is made as it was, and begins as the report says: with a seed, with a state, or with the
episode of one copy. Then it is given the actions. No network acts, so that all depends on the environment.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from a3c import envs
from a3c.envs import faults, generators, replay
from a3c.envs.copies import Copies
from a3c.envs.faults import Violation
from a3c.envs.report_schema import find_misfit
from a3c.errors import UsageError, describe
from a3c.spaces.observations import ObservationMismatch, Observations


@dataclass(frozen=True)
class Reproduction:
    """What came of playing a crash report."""

    violation: Violation | None
    """What the environment did; None: nothing wrong."""
    steps: int
    """Steps of the batch that were played, the faulty one included."""
    same: bool
    """Whether it is the fault of the report: of the same kind, after the same number of steps."""
    summary: str
    """One line; empty where nothing is wrong."""


def reproduce(report: dict[str, Any]) -> Reproduction:
    """Play `report`, of `faults.read_crash_report`, until the environment fails or the actions end.

    Raises:
        UsageError: if the environment is not there, or the report does not fit it or cannot be played.
    """
    _check(report)
    try:
        environment = envs.find(report["env_id"])
    except envs.MakingFailed as error:
        if report["when"] != "making" or not isinstance(error.__cause__, Exception):
            raise
        violation, steps, due = faults.of_exception(error.__cause__), 0, 0
    else:
        if misfit := find_misfit(report, environment):
            raise _does_not_fit(report, misfit)
        try:
            violation, steps, due = _play(report, environment)
        except Exception as error:  # whatever a foreign report leads to; not the environment: that is caught
            raise _does_not_fit(report, f"{describe(error)}.") from error
    if violation is None:
        return Reproduction(None, steps, False, "")
    if violation.kind == report["kind"] and steps == due:  # messages may hold addresses
        return Reproduction(violation, steps, True, report["summary"])
    copy = "" if violation.copy is None else f" of copy {violation.copy}"
    summary = f"{report['env_id']} {violation.message}, {steps} steps on{copy}"
    return Reproduction(violation, steps, False, summary)


def _does_not_fit(report: dict[str, Any], why: str) -> UsageError:
    expected = f"one that fits {report['env_id']}"
    return UsageError("this crash report", expected, f"{why} Has the environment changed since?")


def _check(report: dict[str, Any]) -> None:
    """Raise `UsageError` for a report that cannot be played in any environment."""
    played = report["replay"]
    start = played["start"]
    if start is None and not played.get("episodes"):
        why = report.get("note") or "It says nothing of how it began."
        raise UsageError("this crash report", "one that can be played", why)
    if start is not None and not played["compiled"] and "nodes" in (start["state"] or ()):
        fix = "It begins with what an earlier version read from all attributes of the environment."
        raise UsageError("this crash report", "one that begins with a seed or an episode", fix)


def _play(report: dict[str, Any], environment: envs.Environment) -> tuple[Violation | None, int, int]:
    """What is wrong, after how many steps, and after how many it was due."""
    played = report["replay"]
    if episodes := played.get("episodes"):
        for episode in episodes:
            violation, steps = _play_episode(environment, episode)
            if violation is not None:
                return violation, steps, len(episode["actions"])
        return None, sum(len(episode["actions"]) for episode in episodes), 0
    start, actions, due = played["start"], played["actions"], played["steps"]
    if played["compiled"]:
        return *_play_compiled(environment, start, actions), due
    return *_play_whole(environment, report["copies"], report["vectorized"], start, actions), due


def _play_compiled(
    environment: envs.Environment, start: dict[str, Any], actions: np.ndarray
) -> tuple[Violation | None, int]:
    from a3c.envs.functional import sampler

    transitions = sampler.replay(environment, start["state"], actions)
    wrong = faults.find_violation(transitions.observations[1:], transitions.rewards)
    return (None, len(actions)) if wrong is None else (wrong[1], wrong[0] + 1)


def _play_whole(
    environment: envs.Environment, copies: int, vectorized: bool, start: dict[str, Any], actions: np.ndarray
) -> tuple[Violation | None, int]:
    """Steps of all copies, which are made and reset as `start` says."""
    generators.restore_globals(start["globals"])

    def prepare(env: VectorEnv) -> None:
        if start["state"] is not None:
            replay.put(env, start["state"])
            generators.restore_globals(start["globals"])

    return _play_steps(environment, copies, vectorized, start["seed"], actions, after_reset=prepare)


def _play_episode(environment: envs.Environment, episode: dict[str, Any]) -> tuple[Violation | None, int]:
    """The episode of one copy, played in a fresh one."""
    beginning = episode["beginning"]

    def prepare(env: VectorEnv) -> None:
        assert isinstance(env, Copies)
        generators.restore(env.layers[0], beginning["generators"])

    actions = episode["actions"][:, None]
    return _play_steps(environment, 1, False, [beginning["seed"]], actions, before_reset=prepare)


def _play_steps(
    environment: envs.Environment,
    copies: int,
    vectorized: bool,
    seed: Any,
    actions: np.ndarray,
    before_reset: Callable[[VectorEnv], None] = lambda env: None,
    after_reset: Callable[[VectorEnv], None] = lambda env: None,
) -> tuple[Violation | None, int]:
    """Make, reset, and step with `actions` [N, B, …]; stops at the first violation."""
    expected = environment.observations
    shape = expected.shape if expected.plain else None

    def attempt(call: Callable[..., tuple[Any, Any]], *arguments: Any) -> Violation | None:
        try:
            return _look(*call(*arguments), copies, expected)
        except MemoryError:
            raise
        except Exception as error:
            return faults.of_exception(error, env, shape)

    def reset() -> tuple[Any, None]:
        observation, _ = env.reset(seed=seed)
        return observation, None

    def step(action: Any) -> tuple[Any, Any]:
        observation, reward, _, _, _ = env.step(action)
        return observation, reward

    sent = environment.actions.to_env(actions.astype(environment.actions.dtype))
    try:
        env = envs.make_vector(environment.spec, copies, vectorized, checked=False)
    except MemoryError:
        raise
    except Exception as error:
        return faults.of_exception(error), 0
    try:
        before_reset(env)
        if (violation := attempt(reset)) is not None:
            return violation, 0
        after_reset(env)
        for taken, action in enumerate(sent, 1):
            if (violation := attempt(step, action)) is not None:
                return violation, taken
        return None, len(sent)
    finally:
        with contextlib.suppress(Exception):  # it may be broken
            env.close()


def _look(observation: Any, reward: Any, copies: int, expected: Observations) -> Violation | None:
    """What is wrong with what a reset or step returned."""
    try:
        packed = expected.pack(observation)
    except ObservationMismatch as error:
        return faults.of_mismatch(error)
    if np.shape(packed) != (copies, *expected.shape):
        return faults.of_shape(np.shape(packed), expected.shape)
    return faults.of_values(packed, reward)
