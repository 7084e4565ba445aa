"""A worker's sampler for the checks that need a rollout."""

import functools

from a3c import envs
from a3c.envs import Environment
from a3c.envs.faults import Description, Fault
from a3c.envs.vector_sampler import VectorSampler
from a3c.errors import RunError
from a3c.spaces.noise import PolicyNoise
from a3c.types import Policy, Shapes
from a3c.utils import seeding


def make_sampler(environment: Environment, shapes: Shapes, policy: Policy, seed: int) -> VectorSampler:
    """A sampler of rollouts of these shapes; a fault of the environment is raised as a `RunError`."""
    copies, vectorized = shapes.batch, environment.vectorized
    kind, size = environment.actions.noise
    return VectorSampler(
        make_env=functools.partial(envs.make_vector, environment.spec, copies, vectorized, checked=False),
        observations=environment.observations,
        actions=environment.actions,
        shapes=shapes,
        policy=policy,
        explore=PolicyNoise(kind, (shapes.time, copies, size)),
        generator=seeding.generator(seed, "actions"),
        seeds=lambda making: seed + making,
        describe=Description(environment.id, 0, copies, vectorized),
        on_fault=_give_up,
    )


def _give_up(fault: Fault) -> None:
    raise RunError(fault.summary)
