"""Checks whether a stopped serial run in an environment can go on exactly, by trying it out."""

import json

import numpy as np

from a3c import envs
from a3c.cli.checks import Check, describe, ok, warning
from a3c.envs import Environment, generators
from a3c.envs.faults import Description, Fault
from a3c.envs.vector_sampler import VectorSampler
from a3c.errors import RunError
from a3c.spaces.noise import PolicyNoise
from a3c.types import Shapes, Snapshot, Transitions
from a3c.utils import serialization

_RESUME_STEPS, _ROLLOUT = 200, 10
_NO_WEIGHTS = Snapshot(None, 0)


def resumed(environment: Environment, seed: int) -> Check:
    """Whether a stopped serial run can go on exactly: tried out with fresh copies."""
    before = generators.global_states()
    first = second = None
    try:
        first = _random_sampler(environment, seed)
        for _ in range(_RESUME_STEPS // _ROLLOUT):
            first.collect(_NO_WEIGHTS)
        stopped = json.dumps(serialization.to_json(first.state()))
        expected = [_outcome(first) for _ in range(_RESUME_STEPS // _ROLLOUT)]
        second = _random_sampler(environment, seed + 1)
        told = second.restore(serialization.from_json(json.loads(stopped)))
        if not told and [_outcome(second) for _ in expected] != expected:
            told = "after resuming, it goes on differently"
    except Exception as error:  # the environment's own, whatever it is
        told = f"it fails: {describe(error)}"
    finally:
        generators.restore_globals(before)
        for sampler in filter(None, (first, second)):
            sampler.close()
    if not told:
        text = f"a stopped serial run goes on bit for bit: {_RESUME_STEPS} steps are the same after resuming"
        return ok("resume", text)
    fix = "Give it state_dict() and load_state_dict(state); without, a resumed run begins its episodes anew."
    return warning("resume", told, fix)


def _random_sampler(environment: Environment, seed: int) -> VectorSampler:
    """Plays at random in two copies."""
    shapes = Shapes.of(environment.observations, environment.actions, _ROLLOUT, 2)
    nothing = np.zeros((2, environment.actions.outputs), np.float32)
    kind, size = environment.actions.noise

    def fail(fault: Fault) -> None:
        raise RunError(fault.summary)

    return VectorSampler(
        make_env=lambda: envs.make_vector(environment.spec, 2, environment.vectorized, checked=False),
        observations=environment.observations,
        actions=environment.actions,
        shapes=shapes,
        policy=lambda weights: lambda seen, memory: (nothing, memory),
        explore=PolicyNoise(kind, (_ROLLOUT, 2, size)),
        generator=np.random.default_rng(seed),
        seeds=lambda making: seed + making,
        describe=Description(environment.id, 0, 2, environment.vectorized),
        on_fault=fail,
    )


def _outcome(sampler: VectorSampler) -> list[bytes]:
    """What a rollout came to."""
    transitions = sampler.collect(_NO_WEIGHTS).transitions
    assert isinstance(transitions, Transitions)
    kept = (transitions.observations, transitions.rewards, transitions.terminated, transitions.truncated)
    return [array.tobytes() for array in kept]
