"""Checks whether a stopped serial run in an environment can go on exactly, by trying it out."""

import contextlib
import json
from typing import Any

import numpy as np

from a3c.cli.checks import Check, describe, ok, warning
from a3c.cli.checks.sampler import make_sampler
from a3c.envs import Environment, generators
from a3c.envs.vector_sampler import VectorSampler
from a3c.types import Act, Shapes, Snapshot, Transitions
from a3c.utils import serialization

_ROLLOUTS, _STEPS = 20, 10
_NO_WEIGHTS = Snapshot(None, 0)


def resumed(environment: Environment, seed: int) -> Check:
    """Whether a stopped serial run can go on exactly: tried out with fresh copies."""
    before = generators.global_states()
    try:
        told = _difference(environment, seed)
    except Exception as error:  # the environment's own, whatever it is
        told = f"it fails: {describe(error)}"
    finally:
        generators.restore_globals(before)
    if not told:
        steps = _ROLLOUTS * _STEPS
        return ok(f"a stopped serial run goes on bit for bit: {steps} steps are the same after resuming")
    fix = "Give it state_dict() and load_state_dict(state); without, a resumed run begins its episodes anew."
    return warning(told, fix)


def _difference(environment: Environment, seed: int) -> str:
    """What keeps a second sampler from going on as the first one does; empty: nothing."""
    shapes = Shapes.of(environment.observations, environment.actions, _STEPS, 2)
    parameters = np.zeros((2, environment.actions.outputs), np.float32)  # plays at random

    def policy(weights: Any) -> Act:
        return lambda seen, memory: (parameters, memory)

    with (
        contextlib.closing(make_sampler(environment, shapes, policy, seed)) as first,
        contextlib.closing(make_sampler(environment, shapes, policy, seed + 1)) as second,
    ):
        _play(first)
        stopped = json.dumps(serialization.to_json(first.state()))
        expected = _play(first)
        told = second.restore(serialization.from_json(json.loads(stopped)))
        return told or ("" if _play(second) == expected else "after resuming, it goes on differently")


def _play(sampler: VectorSampler) -> list[bytes]:
    """Play some rollouts. Returns all that came of them."""
    content = []
    for _ in range(_ROLLOUTS):
        transitions = sampler.collect(_NO_WEIGHTS).content
        assert isinstance(transitions, Transitions)
        kept = (transitions.observations, transitions.rewards, transitions.terminated, transitions.truncated)
        content += [array.tobytes() for array in kept]
    return content
