"""Exact resume: what is written down of environments under way, and how fresh ones come to stand there.

Single copies tell their state themselves, by `state_dict()` and `load_state_dict(state)`; or their episode is
played again, from the states of its random generators when it began and the actions taken since, and has to
come to the same observation, return and random numbers. Vector environments with code of their own tell their
state themselves, or it is read from their attributes, if these are numbers, arrays and generators; or all is
played again since they were made. What cannot be done so begins anew, and why is told.

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
from a3c.envs.history import KEPT_STEPS, History
from a3c.errors import describe
from a3c.utils import serialization

_FORMAT = "replay"
_BY_MAKE = (OrderEnforcing, PassiveEnvChecker, TimeLimit)
"""Wrappers that `gym.make` puts around environments; only the last has a state, the steps that it counts."""
_DESCRIPTIONS = ("metadata", "spec", "_saved_kwargs")
"""Attributes that say how an environment was made, which a fresh one has as well."""
_TRIALS, _TRIAL_STEPS = 3, 100


@dataclass(frozen=True)
class Standing:
    """What copies show to whoever played in them, which fresh ones have to show as well."""

    observations: np.ndarray
    """The last ones, packed, [B, *O]."""
    returns: np.ndarray
    """Rewards of the episodes under way so far, [B]."""
    ended: np.ndarray
    """[B]: whether the next step only resets."""


@dataclass(frozen=True)
class Outcome:
    """What became of resuming B copies."""

    anew: np.ndarray
    """[B]: which episodes begin anew, with the next step."""
    reason: str
    """Why the first of them does; empty: none."""
    reset: bool = False
    """Whether the environments are in no state to go on from, and have to be made anew."""


@dataclass(frozen=True)
class Conversion:
    """How environments are spoken to."""

    to_env: Callable[[np.ndarray], Any]
    """From recorded actions [N, B, …] to those that environments take."""
    pack: Callable[[Any], np.ndarray]
    """From observations that environments return to [B, *O]."""


class _Differs(Exception):
    """An episode that was played again came to something else."""


def save(env: VectorEnv, history: History) -> dict[str, Any]:
    """Where `env` stands, between two of its steps, with the global random generators: a plain tree."""
    tree = {"format": _FORMAT, "globals": generators.global_states()}
    if isinstance(env, Copies):
        actions = history.underway()
        return tree | {
            "kind": "copies",
            "copies": [_save_copy(env, i, each) for i, each in enumerate(actions)],
        }
    if (state := snapshot(env)) is not None:
        return tree | {"kind": "state", "state": state}
    taken = history.all()
    if taken is not None and history.start is not None and taken.shape[0] * taken.shape[1] <= KEPT_STEPS:
        return tree | {"kind": "making", "seed": history.start["seed"], "actions": taken}
    return tree | {"kind": "long"}


def resume(env: VectorEnv, tree: dict[str, Any], expected: Standing, conversion: Conversion) -> Outcome:
    """Bring `env` to where `save` was called.

    Args:
        env: Freshly made, and not reset yet.
        tree: What `save` returned, or an older version's state of an environment.
        expected: What the environment showed then.
        conversion: How it is spoken to.
    """
    kind = tree.get("kind") if tree.get("format") == _FORMAT else None
    copies = len(expected.ended)
    try:
        if kind == "copies" and isinstance(env, Copies):
            outcome = _resume_copies(env, tree["copies"], expected, conversion)
        else:
            _resume_whole(env, kind, tree, expected, conversion)
            outcome = Outcome(np.zeros(copies, bool), "")
    except _Differs as why:
        outcome = Outcome(np.ones(copies, bool), str(why), reset=True)
    except Exception as error:  # foreign code, and whatever a foreign file leads to
        outcome = Outcome(np.ones(copies, bool), f"taking them up raised {describe(error)}", reset=True)
    if kind is not None:
        generators.restore_globals(tree["globals"])
    return outcome


# -- single copies ------------------------------------------------------------------------------------------


def _save_copy(env: Copies, i: int, actions: np.ndarray | None) -> dict[str, Any]:
    layers, waits = env.layers[i], env.waits(i)
    return {
        "waits": waits,
        "beginning": env.beginnings[i],
        "actions": None if waits or actions is None else actions.copy(),
        "generators": generators.states(layers),
        "own": _tell(layers),
    }


def _resume_copies(
    env: Copies, told: list[dict[str, Any]], expected: Standing, conversion: Conversion
) -> Outcome:
    anew, reason = np.zeros(env.num_envs, bool), ""
    replayed = any(each["own"] is None and each["actions"] is not None for each in told)
    repeats = not replayed or _repeats(env.env_fns[0])
    for i, each in enumerate(told):
        try:
            _resume_copy(env, i, each, expected, conversion, repeats)
        except Exception as error:  # foreign code
            why = str(error) if isinstance(error, _Differs) else f"it raised {describe(error)}"
            reason = reason or f"of copy {i}, {why}"
            anew[i] = True
        generators.restore(env.layers[i], each["generators"])
        if anew[i] or each["waits"]:
            env.reset_next(i)
    return Outcome(anew, reason)


def _resume_copy(
    env: Copies, i: int, told: dict[str, Any], expected: Standing, conversion: Conversion, repeats: bool
) -> None:
    if told["own"] is not None:
        env.begin(i, told["beginning"] | {"seed": None})
        env.beginnings[i] = told["beginning"]
        _take(env.layers[i], told["own"])
    elif not told["waits"]:
        if told["actions"] is None:
            raise _Differs(f"the episode is longer than the {KEPT_STEPS:,} steps that are played again")
        if not repeats:
            raise _Differs("an episode differs from the same one in a copy that was played in before")
        _play(env, i, told, expected, conversion)


def _play(env: Copies, i: int, told: dict[str, Any], expected: Standing, conversion: Conversion) -> None:
    """Play the episode of one copy again, and compare."""
    env.begin(i, told["beginning"])
    total, ended = 0.0, False
    for action in conversion.to_env(told["actions"][:, None]):
        if ended:
            break
        reward, ended = env.take(i, action[0])
        total += reward
    space = env.single_observation_space
    one = concatenate(space, [env.shown(i)], create_empty_array(space, n=1))
    seen = conversion.pack(one)[0].astype(expected.observations.dtype)
    for what, same in (
        ("ends earlier", not ended),
        ("shows another observation", np.array_equal(seen, expected.observations[i])),
        ("earns another return", math.isclose(total, expected.returns[i], rel_tol=1e-9, abs_tol=1e-9)),
        ("draws other random numbers", _same(generators.states(env.layers[i]), told["generators"])),
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


def _same(one: Any, other: Any) -> bool:
    """Whether two plain trees are equal."""
    return json.dumps(serialization.to_json(one)) == json.dumps(serialization.to_json(other))


# -- what environments tell themselves ----------------------------------------------------------------------


def has_hooks(env: Any) -> bool:
    """Whether it tells and takes its state itself."""
    return all(callable(getattr(type(env), name, None)) for name in ("state_dict", "load_state_dict"))


def _teller(layers: list[Any]) -> int | None:
    """The layer that tells its state, if only the wrappers of `gym.make` lie around it."""
    for number, layer in enumerate(layers):
        if has_hooks(layer):
            return number
        if not isinstance(layer, _BY_MAKE):
            return None
    return None


def _tell(layers: list[Any]) -> dict[str, Any] | None:
    """The state that one of the layers tells, and the steps that time limits around it have counted."""
    number = _teller(layers)
    state = None if number is None else _asked(layers[number])
    if state is None:
        return None
    counted = [layer._elapsed_steps for layer in layers[:number] if isinstance(layer, TimeLimit)]
    return {"state": state, "counted": counted}


def _take(layers: list[Any], told: dict[str, Any]) -> None:
    """Give them what `_tell` returned; they have been reset."""
    number = _teller(layers)
    if number is None:
        raise _Differs("the environment no longer takes its state")
    layers[number].load_state_dict(told["state"])
    limits = [layer for layer in layers[:number] if isinstance(layer, TimeLimit)]
    for limit, steps in zip(limits, told["counted"], strict=True):
        limit._elapsed_steps = steps


def _asked(env: Any) -> Any:
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
    if has_hooks(env) and (state := _asked(env)) is not None:
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


def put(env: VectorEnv, told: dict[str, Any]) -> None:
    """Put back what `snapshot` returned into an environment of the same kind that was reset.

    Raises:
        Exception: of any kind, if it is of another one.
    """
    if told["kind"] == "hooks":
        return env.load_state_dict(told["state"])  # type: ignore[attr-defined] - it has hooks
    for name, value in told["values"].items():
        found = getattr(env, name, None)
        if not isinstance(value, np.ndarray):
            setattr(env, name, value)
        elif isinstance(found, np.ndarray) and (found.shape, found.dtype) == (value.shape, value.dtype):
            found[...] = value  # which keeps views of it
        else:
            setattr(env, name, value.copy() if value.ndim else value[()])
    generators.restore([env], told["generators"])


def _resume_whole(
    env: VectorEnv, kind: str | None, tree: dict[str, Any], expected: Standing, conversion: Conversion
) -> None:
    if kind == "state":
        env.reset(seed=0)
        return put(env, tree["state"])
    if kind == "long":
        raise _Differs("their state cannot be read, and too much was done since they were made")
    if kind != "making":
        raise _Differs("they were saved by another version of a3c, or are stepped in another way now")
    seen, _ = env.reset(seed=tree["seed"])
    ended = np.zeros(env.num_envs, bool)
    for action in conversion.to_env(tree["actions"]):
        seen, _, terminated, truncated, _ = env.step(action)
        ended = terminated | truncated
    packed = conversion.pack(seen).astype(expected.observations.dtype)
    if not (np.array_equal(packed, expected.observations) and np.array_equal(ended, expected.ended)):
        raise _Differs("they show something else when all is played again since they were made")
    return None
