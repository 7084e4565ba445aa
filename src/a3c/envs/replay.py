"""Exact resume: what is saved of environments under way, and how fresh ones are brought to the same state.

Single copies: if the environment has `state_dict()` and `load_state_dict(state)`, these are called. Else its
episode is played again, from the states of the random generators when it began and from the actions since; it
has to come to the same observation, return and random numbers. Vector environments with code of their own: by
the same two methods; or by their attributes, if these are numbers, arrays and generators; or all is played
again since they were made. Where none of this works the episode begins anew, and the user is told why.

Called by `VectorSampler`, and by `reproduce` for crash reports.
"""

import contextlib
import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from a3c.envs import generators
from a3c.envs.copies import Copies
from a3c.envs.history import KEPT_STEPS, ActionHistory
from a3c.errors import describe
from a3c.utils import serialization

_FORMAT = "replay"
_BY_MAKE = (OrderEnforcing, PassiveEnvChecker, TimeLimit)
"""Wrappers that `gym.make` puts around environments; only the last has a state, the steps that it counts."""
_DESCRIPTIONS = ("metadata", "spec", "_saved_kwargs")
"""Attributes that say how an environment was made, which a fresh one has as well."""
_TRIALS, _TRIAL_STEPS = 3, 100


@dataclass(frozen=True)
class ExpectedState:
    """What B copies showed when they were saved, as fresh ones have to; and how they are played."""

    observations: np.ndarray
    """The last ones, packed, [B, *O]."""
    returns: np.ndarray
    """Rewards of the episodes under way so far, [B]."""
    ended: np.ndarray
    """[B]: whether the next step only resets."""
    to_env: Callable[[np.ndarray], Any]
    """From recorded actions [N, B, …] to those that environments take."""
    pack: Callable[[Any], np.ndarray]
    """From observations that environments return to [B, *O]."""


@dataclass(frozen=True)
class ResumeResult:
    """What became of resuming B copies."""

    restarted: np.ndarray
    """[B]: which episodes begin anew, with the next step."""
    reason: str
    """Why the first of them does; empty: none."""
    unusable: bool = False
    """Whether the environments have to be made anew, since they failed on the way."""


class _Differs(Exception):
    """An episode that was played again came to something else."""


def save(env: VectorEnv, history: ActionHistory) -> dict[str, Any]:
    """The state of `env` between two of its steps, and that of the global random generators: a plain tree."""
    tree = {"format": _FORMAT, "globals": generators.global_states()}
    if isinstance(env, Copies):
        copies = [_save_copy(env, i, actions) for i, actions in enumerate(history.under_way())]
        return tree | {"kind": "copies", "copies": copies}
    if (state := snapshot(env)) is not None:
        return tree | {"kind": "state", "state": state}
    taken = history.all()
    if taken is not None and history.start is not None and taken.shape[0] * taken.shape[1] <= KEPT_STEPS:
        return tree | {"kind": "making", "seed": history.start["seed"], "actions": taken}
    return tree | {"kind": "long"}


def resume(env: VectorEnv, tree: dict[str, Any], expected: ExpectedState) -> ResumeResult:
    """Bring `env` to where `save` was called.

    Args:
        env: Freshly made, and not reset yet.
        tree: What `save` returned, or an older version's state of an environment.
        expected: What the environment showed then.
    """
    kind = tree.get("kind") if tree.get("format") == _FORMAT else None
    copies = len(expected.ended)
    try:
        if kind == "copies" and isinstance(env, Copies):
            result = _resume_copies(env, tree["copies"], expected)
        else:
            _resume_whole(env, kind, tree, expected)
            result = ResumeResult(np.zeros(copies, bool), "")
    except _Differs as why:
        result = ResumeResult(np.ones(copies, bool), str(why), unusable=True)
    except Exception as error:  # foreign code, and whatever a foreign file leads to
        reason = f"taking them up raised {describe(error)}"
        result = ResumeResult(np.ones(copies, bool), reason, unusable=True)
    if kind is not None:
        generators.restore_globals(tree["globals"])
    return result


# -- single copies ------------------------------------------------------------------------------------------


def _save_copy(env: Copies, i: int, actions: np.ndarray | None) -> dict[str, Any]:
    layers, waits = env.layers[i], env.waits(i)
    return {
        "waits": waits,
        "beginning": env.beginnings[i],
        "actions": None if waits or actions is None else actions.copy(),
        "generators": generators.states(layers),
        "own": _own_state(layers),
    }


def _resume_copies(env: Copies, saved: list[dict[str, Any]], expected: ExpectedState) -> ResumeResult:
    restarted, reason = np.zeros(env.num_envs, bool), ""
    replayed = any(each["own"] is None and each["actions"] is not None for each in saved)
    repeats = not replayed or _repeats(env.env_fns[0])
    for i, each in enumerate(saved):
        try:
            _resume_copy(env, i, each, expected, repeats)
        except Exception as error:  # foreign code
            why = str(error) if isinstance(error, _Differs) else f"it raised {describe(error)}"
            reason = reason or f"of copy {i}, {why}"
            restarted[i] = True
        generators.restore(env.layers[i], each["generators"])
        if restarted[i] or each["waits"]:
            env.reset_next(i)
    return ResumeResult(restarted, reason)


def _resume_copy(env: Copies, i: int, saved: dict[str, Any], expected: ExpectedState, repeats: bool) -> None:
    if saved["own"] is not None:
        env.begin(i, saved["beginning"] | {"seed": None})
        env.beginnings[i] = saved["beginning"]
        _load_own_state(env.layers[i], saved["own"])
    elif not saved["waits"]:
        if saved["actions"] is None:
            raise _Differs(f"the episode is longer than the {KEPT_STEPS:,} steps that are played again")
        if not repeats:
            raise _Differs("an episode differs from the same one in a copy that was played in before")
        _play(env, i, saved, expected)


def _play(env: Copies, i: int, saved: dict[str, Any], expected: ExpectedState) -> None:
    """Play the episode of one copy again, and compare."""
    env.begin(i, saved["beginning"])
    total, ended = 0.0, False
    for action in expected.to_env(saved["actions"][:, None]):
        if ended:
            break
        reward, ended = env.take(i, action[0])
        total += reward
    space = env.single_observation_space
    one = concatenate(space, [env.shown(i)], create_empty_array(space, n=1))
    seen = expected.pack(one)[0].astype(expected.observations.dtype)
    drawn, saved_drawn = (
        json.dumps(serialization.to_json(states))
        for states in (generators.states(env.layers[i]), saved["generators"])
    )
    for what, same in (
        ("ends earlier", not ended),
        ("shows another observation", np.array_equal(seen, expected.observations[i])),
        ("earns another return", math.isclose(total, expected.returns[i], rel_tol=1e-9, abs_tol=1e-9)),
        ("draws other random numbers", drawn == saved_drawn),
    ):
        if not same:
            raise _Differs(f"the episode {what} when it is played again")


def _repeats(make: Callable[[], gym.Env]) -> bool:
    """Whether an episode is the same in a fresh copy and in one that was played in.

    Else a fresh copy may look as the old one did, and yet go on differently.
    """
    env = make()
    try:
        env.action_space.seed(0)
        actions = [env.action_space.sample() for _ in range(_TRIAL_STEPS)]
        layers = generators.layers_of(env)
        beginning = generators.states(layers)
        first = _trace(env, actions)
        for seed in range(1, _TRIALS + 1):
            env.reset(seed=seed)  # and not played in
            generators.restore(layers, beginning)
            trace = _trace(env, actions)
            same = (data_equivalence(*each, exact=True) for each in zip(first, trace, strict=False))
            if len(trace) != len(first) or not all(same):
                return False
        return True
    finally:
        with contextlib.suppress(Exception):
            env.close()


def _trace(env: gym.Env, actions: list[Any]) -> list[Any]:
    """All that a copy returns from one episode."""
    trace = [env.reset(seed=0)[0]]
    for action in actions:
        *outcome, _ = env.step(action)
        trace += outcome
        if outcome[2] or outcome[3]:
            break
    return trace


# -- environments with hooks for their state ----------------------------------------------------------------


def has_hooks(env: Any) -> bool:
    """Whether it has `state_dict` and `load_state_dict`."""
    return all(callable(getattr(type(env), name, None)) for name in ("state_dict", "load_state_dict"))


def _layer_with_hooks(layers: list[Any]) -> int | None:
    """The number of the first layer that has hooks, if only wrappers of `gym.make` lie around it."""
    for number, layer in enumerate(layers):
        if has_hooks(layer):
            return number
        if not isinstance(layer, _BY_MAKE):
            return None
    return None


def _own_state(layers: list[Any]) -> dict[str, Any] | None:
    """The state that one of the layers returns, and the steps that time limits around it have counted."""
    number = _layer_with_hooks(layers)
    state = None if number is None else _state_dict(layers[number])
    if state is None:
        return None
    counted = [layer._elapsed_steps for layer in layers[:number] if isinstance(layer, TimeLimit)]
    return {"state": state, "counted": counted}


def _load_own_state(layers: list[Any], saved: dict[str, Any]) -> None:
    """Give the layers, which were reset, what `_own_state` returned."""
    number = _layer_with_hooks(layers)
    if number is None:
        raise _Differs("the environment no longer takes its state")
    layers[number].load_state_dict(saved["state"])
    limits = [layer for layer in layers[:number] if isinstance(layer, TimeLimit)]
    for limit, steps in zip(limits, saved["counted"], strict=True):
        limit._elapsed_steps = steps


def _state_dict(env: Any) -> Any:
    """What its `state_dict()` returns; None if that is no plain tree, or it fails."""
    try:
        state = serialization.plain(copy.deepcopy(env.state_dict()))
        serialization.pack(state)
        return state
    except Exception:  # the environment's own code
        return None


# -- vector code --------------------------------------------------------------------------------------------


def snapshot(env: VectorEnv) -> dict[str, Any] | None:
    """The state of a vector environment with code of its own, a plain tree; None if it cannot be read."""
    if has_hooks(env) and (state := _state_dict(env)) is not None:
        return {"kind": "hooks", "state": state}
    values: dict[str, Any] = {}
    for name, value in vars(env).items():
        if isinstance(value, (gym.Space, *generators.KINDS)) or name in _DESCRIPTIONS:
            continue
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc":
            values[name] = np.array(value)
        elif value is None or type(value) in (bool, int, float, str):
            values[name] = value
        else:
            return None
    return {"kind": "attributes", "values": values, "generators": generators.states([env])}


def put(env: VectorEnv, saved: dict[str, Any]) -> None:
    """Put back what `snapshot` returned into an environment of the same kind that was reset.

    Raises:
        Exception: of any kind, if it is of another one.
    """
    if saved["kind"] == "hooks":
        return env.load_state_dict(saved["state"])  # type: ignore[attr-defined] - it has hooks
    for name, value in saved["values"].items():
        found = getattr(env, name, None)
        if not _may_become(found, value):
            raise TypeError(f"its {name} is another kind of value")
        if not isinstance(value, np.ndarray):
            setattr(env, name, value)
        elif isinstance(found, np.ndarray) and (found.shape, found.dtype) == (value.shape, value.dtype):
            found[...] = value  # which keeps views of it
        else:
            setattr(env, name, value.copy() if value.ndim else value[()])
    generators.restore([env], saved["generators"])


def _may_become(found: Any, value: Any) -> bool:
    """Whether an attribute of an environment can have this value at another moment."""
    if isinstance(found, np.ndarray):
        return value is None or (np.ndim(value) == found.ndim and np.shape(value)[:1] == found.shape[:1])
    return found is None or isinstance(found, (bool, int, float, str, np.generic))


def _resume_whole(env: VectorEnv, kind: str | None, tree: dict[str, Any], expected: ExpectedState) -> None:
    if kind == "state":
        env.reset(seed=0)
        return put(env, tree["state"])
    if kind == "long":
        raise _Differs("their state cannot be read, and too much was done since they were made")
    if kind != "making":
        raise _Differs("they were saved by another version of a3c, or are stepped in another way now")
    seen, _ = env.reset(seed=tree["seed"])
    ended = np.zeros(env.num_envs, bool)
    for action in expected.to_env(tree["actions"]):
        seen, _, terminated, truncated, _ = env.step(action)
        ended = terminated | truncated
    packed = expected.pack(seen).astype(expected.observations.dtype)
    if not (np.array_equal(packed, expected.observations) and np.array_equal(ended, expected.ended)):
        raise _Differs("they show something else when all is played again since they were made")
    return None
