"""Play again, from a crash report, how an environment failed. Called by `a3c reproduce`; needs no Keras.

The environment is made as it was and begins as the card says, with a seed, with a state, or with the episode
of one copy; then it is given the actions. No network acts, so that what happens depends on the environment
alone.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from a3c import envs
from a3c.envs import faults, generators, replay
from a3c.envs.copies import Copies
from a3c.envs.faults import Finding
from a3c.errors import UsageError
from a3c.spaces.observations import ObservationMismatch, Observations


@dataclass(frozen=True)
class Reproduction:
    """What came of playing a card."""

    finding: Finding | None
    """What the environment did; None: nothing wrong."""
    steps: int
    """Steps of the batch that were played, the faulty one included."""
    same: bool
    """Whether it is the fault of the card: of the same kind, after the same number of steps."""
    summary: str
    """One line; empty where nothing is wrong."""


def reproduce(card: dict[str, Any]) -> Reproduction:
    """Play `card`, as `faults.read_card` returns it, until the environment fails or the actions end.

    Raises:
        UsageError: if the environment is not there, or the card does not fit it or cannot be played.
    """
    try:
        _check(card)
        finding, steps, due = _play(card)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        fix = f"{type(error).__name__}: {error}. Has the environment changed since?"
        raise UsageError("this crash report", f"one that fits {card['env_id']}", fix) from error
    if finding is None:
        return Reproduction(None, steps, False, "")
    same = finding.kind == card["kind"] and steps == due  # messages may hold addresses
    if same:
        return Reproduction(finding, steps, True, card["summary"])
    copy = "" if finding.copy is None else f" of copy {finding.copy}"
    return Reproduction(finding, steps, False, f"{card['env_id']} {finding.message}, {steps} steps on{copy}")


def _check(card: dict[str, Any]) -> None:
    """Raise `UsageError` for a card that cannot be played."""
    start = card["replay"]["start"]
    if start is None and not card["replay"].get("episodes"):
        raise UsageError("this crash report", "one that can be played", card["note"])
    if start is not None and not card["replay"]["compiled"] and "nodes" in (start["state"] or ()):
        fix = "It begins with what an earlier version read from all attributes of the environment."
        raise UsageError("this crash report", "one that begins with a seed or an episode", fix)


def _play(card: dict[str, Any]) -> tuple[Finding | None, int, int]:
    """What was found, after how many steps, and after how many it was due."""
    try:
        environment = envs.find(card["env_id"])
    except UsageError as error:
        if card["when"] == "making" and isinstance(error.__cause__, Exception):
            return faults.of_exception(error.__cause__, None, None), 0, 0
        raise
    played = card["replay"]
    if episodes := played.get("episodes"):
        for episode in episodes:
            finding, steps = _play_episode(environment, episode)
            if finding is not None:
                return finding, steps, len(episode["actions"])
        return None, sum(len(episode["actions"]) for episode in episodes), 0
    start, actions, due = played["start"], played["actions"], played["steps"]
    if played["compiled"]:
        return *_play_compiled(environment, start, actions), due
    return *_play_vector(environment, card["copies"], card["vectorized"], start, actions), due


def _play_compiled(
    environment: envs.Environment, start: dict[str, Any], actions: np.ndarray
) -> tuple[Finding | None, int]:
    from a3c.envs.functional import sampler

    transitions = sampler.replay(environment, start["state"], actions)
    wrong = sampler.find_fault(transitions)
    return (None, len(actions)) if wrong is None else (wrong[1], wrong[0] + 1)


def _play_vector(
    environment: envs.Environment, copies: int, vectorized: bool, start: dict[str, Any], actions: np.ndarray
) -> tuple[Finding | None, int]:
    """Steps of an environment that is made and reset as `start` says; stops at the first fault."""
    env, seen_as, taken = None, environment.observations, 0
    shape = seen_as.shape if seen_as.plain else None
    generators.restore_globals(start["globals"])
    with contextlib.ExitStack() as stack:
        try:
            env = envs.make_vector(environment.spec, copies, vectorized, checked=False)
            stack.callback(_close, env)
            seen, _ = env.reset(seed=start["seed"])
            finding = _look(seen, None, copies, seen_as)
        except Exception as error:
            return faults.of_exception(error, env, shape), 0
        if finding is not None:
            return finding, 0
        if start["state"] is not None:
            replay.put(env, start["state"])
            generators.restore_globals(start["globals"])
        for action in environment.actions.to_env(actions.astype(environment.actions.dtype)):
            taken += 1
            try:
                seen, reward, _, _, _ = env.step(action)
            except Exception as error:
                return faults.of_exception(error, env, shape), taken
            if (finding := _look(seen, reward, copies, seen_as)) is not None:
                return finding, taken
    return None, taken


def _play_episode(environment: envs.Environment, episode: dict[str, Any]) -> tuple[Finding | None, int]:
    """The episode of one copy, played in a fresh one; stops at the first fault."""
    seen_as, taken = environment.observations, 0
    shape = seen_as.shape if seen_as.plain else None
    env = envs.make_vector(environment.spec, 1, False, checked=False)
    assert isinstance(env, Copies)
    with contextlib.ExitStack() as stack:
        stack.callback(_close, env)
        generators.restore(env.layers[0], episode["beginning"]["generators"])
        try:
            seen, _ = env.reset(seed=[episode["beginning"]["seed"]])
            if (finding := _look(seen, None, 1, seen_as)) is not None:
                return finding, 0
            for action in environment.actions.to_env(episode["actions"].astype(environment.actions.dtype)):
                taken += 1
                seen, reward, _, _, _ = env.step(action[None])
                if (finding := _look(seen, reward, 1, seen_as)) is not None:
                    return finding, taken
        except Exception as error:
            return faults.of_exception(error, env, shape), taken
    return None, taken


def _look(seen: Any, reward: Any, copies: int, observations: Observations) -> Finding | None:
    try:
        seen = observations.pack(seen)
    except ObservationMismatch as error:
        return faults.of_misfit(error)
    if np.shape(seen) != (copies, *observations.shape):
        return faults.of_shape(seen, observations.shape)
    return faults.of_values(seen, reward)


def _close(env: Any) -> None:
    with contextlib.suppress(Exception):  # it may be broken
        env.close()
