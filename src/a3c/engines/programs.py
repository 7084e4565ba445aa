"""What the workers of one process run: samplers (step 2 of the worker cycle), losses and gradients (3, 4)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from a3c import envs
from a3c.engines.learning import make_reuse_learner
from a3c.engines.spec import WorkerSpec
from a3c.engines.updates import annealing
from a3c.engines.worker import Learn
from a3c.envs.faults import Description, Fault, OnFault
from a3c.envs.novelty import CuriousSampler, Novelty
from a3c.envs.vector_sampler import Explore, Sampler, VectorSampler
from a3c.errors import RunError
from a3c.networks.functional import Network
from a3c.networks.numpy_policy import make_policy
from a3c.spaces.noise import EpsilonNoise, PolicyNoise
from a3c.types import ComputedGradients, Policy, Rollout, Shapes, Snapshot
from a3c.utils import seeding

MakeSampler = Callable[[int, int, OnFault, Callable[[], None]], Sampler]
"""The sampler of a worker, given its number, how often it was restarted, who is told of faults, and who of
every step. Of the steps inside a compiled program nobody is told."""


@dataclass(frozen=True)
class WorkerProgram:
    """What the workers of one process share, compiled once."""

    learn: Learn
    make_sampler: MakeSampler
    wait: Callable[[], Any] = lambda: None
    """Returns when everything is compiled."""


def make_program(spec: WorkerSpec, framework: ModuleType, network: Network, weights: Any) -> WorkerProgram:
    """Compile it, given any weights [P]."""
    shapes = spec.shapes(network)
    if _is_fused(spec, framework):
        return _fused_program(spec, framework, network, shapes, weights)
    learn = _make_learn(spec, framework, network, shapes, weights)
    policy, blank = make_policy(framework, network, spec.config.eager), shapes.blank()
    policy(weights)(blank.observations[0], blank.state)
    return WorkerProgram(learn, functools.partial(_vector_sampler, spec, policy, shapes))


def _is_fused(spec: WorkerSpec, framework: ModuleType) -> bool:
    """Whether acting and environment are one program."""
    return spec.environment.compiled and framework.FUSES and not spec.config.eager


def _learns_while_acting(spec: WorkerSpec, framework: ModuleType) -> bool:
    """Whether losses and gradients are in that program, too."""
    return _is_fused(spec, framework) and not (spec.hands_in_rollouts or spec.algorithm.reuses)


# -- steps 3 and 4: losses and gradients --------------------------------------------------------------------


def _make_learn(
    spec: WorkerSpec, framework: ModuleType, network: Network, shapes: Shapes, weights: Any
) -> Learn:
    """Steps 3 and 4 of the worker cycle, compiled."""
    config, actions = spec.config, spec.environment.actions
    if spec.hands_in_rollouts:
        return _hand_over
    if spec.algorithm.reuses:
        learner = make_reuse_learner(
            framework,
            network,
            shapes,
            spec.algorithm.make_reuse(config, actions),
            optimizer=spec.optimizer.build() if spec.algorithm.local_steps else None,
            global_clipnorm=spec.worker_clipnorm,
            share=functools.partial(annealing, spec),
            eager=config.eager,
            seed=spec.seed,
        )
        learner.warm_up(weights)
        return learner
    if _learns_while_acting(spec, framework):
        return hand_over_learned
    loss = spec.algorithm.make_loss(config, actions)
    gradients = framework.compile_gradients(network, loss, spec.worker_clipnorm, config.eager)
    gradients(weights, shapes.blank(), weights if spec.target_steps else None)

    def learn(snapshot: Snapshot, rollout: Rollout) -> tuple[Any, Any, None]:
        return *gradients(snapshot.weights, rollout.content, snapshot.target), None

    return learn


def _hand_over(snapshot: Snapshot, rollout: Rollout) -> tuple[Any, dict[str, float], None]:
    """Leave steps 3 and 4 to a central learner: what is pushed is the rollout."""
    return rollout.content, {}, None


def hand_over_learned(snapshot: Snapshot, rollout: Rollout) -> tuple[Any, Any, None]:
    """Hand over what the sampler's program has done already."""
    learned = rollout.content
    assert isinstance(learned, ComputedGradients)
    return learned.gradients, learned.losses, None


# -- step 2: samplers ---------------------------------------------------------------------------------------


def _vector_sampler(
    spec: WorkerSpec,
    policy: Policy,
    shapes: Shapes,
    worker: int,
    restart: int,
    on_fault: OnFault,
    on_step: Callable[[], None],
) -> Sampler:
    """A sampler of environments that are stepped from outside."""
    config, environment, again = spec.config, spec.environment, (spec.resumed, restart)
    sampler = VectorSampler(
        make_env=lambda: envs.make_vector(
            environment.spec, spec.copies, environment.vectorized, checked=False
        ),
        observations=environment.observations,
        actions=environment.actions,
        shapes=shapes,
        policy=policy,
        explore=_explore(spec, worker, shapes),
        generator=seeding.generator(spec.seed, "actions", worker, again),
        seeds=_seeds(spec, worker, restart),
        describe=_describe(spec, worker),
        on_fault=_limited(spec, on_fault),
        episodic_life=config.episodic_life,
        on_step=on_step,
    )
    if config.exploration == "noise":
        return sampler
    generator = seeding.generator(spec.seed, "novelty", worker, again)
    novelty = Novelty(environment.observations, spec.copies, config.gamma, generator)
    return CuriousSampler(sampler, novelty, config.novelty_weight, config.gamma)


def _fused_program(
    spec: WorkerSpec, framework: ModuleType, network: Network, shapes: Shapes, weights: Any
) -> WorkerProgram:
    """For workers whose environment runs inside their program."""
    from a3c.envs.functional.sampler import CompiledSampler, Program
    from a3c.envs.functional.stepping import FunctionalEnvSpec

    learn = _make_learn(spec, framework, network, shapes, weights)
    values, differentiate = spec.algorithm.values, None
    if _learns_while_acting(spec, framework):
        loss = spec.algorithm.make_loss(spec.config, spec.environment.actions)
        differentiate = framework.gradient_function(network, loss, spec.worker_clipnorm)
    program = Program(
        env_spec=FunctionalEnvSpec.of(spec.environment),
        shapes=shapes,
        policy=framework.policy_function(network),
        differentiate=differentiate,
        weights=weights,
        values=values,
    )

    def make_sampler(worker: int, restart: int, on_fault: OnFault, on_step: Callable[[], None]) -> Sampler:
        explore = _epsilon_noise(spec, worker, shapes) if values else None
        seeds, describe = _seeds(spec, worker, restart), _describe(spec, worker)
        return CompiledSampler(program, explore, seeds, describe, _limited(spec, on_fault))

    return WorkerProgram(learn, make_sampler, program.run.wait)


def _explore(spec: WorkerSpec, worker: int, shapes: Shapes) -> Explore:
    """How a worker's actions are drawn."""
    if spec.algorithm.values:
        return _epsilon_noise(spec, worker, shapes)
    kind, size = spec.environment.actions.noise
    return PolicyNoise(kind, (shapes.time, shapes.batch, size))


def _epsilon_noise(spec: WorkerSpec, worker: int, shapes: Shapes) -> EpsilonNoise:
    assert spec.config.epsilon_steps is not None
    shape = shapes.time + shapes.ahead, shapes.batch, spec.environment.actions.outputs
    periods = functools.partial(seeding.generator, spec.seed, "exploration", worker)
    return EpsilonNoise(shape, spec.config.epsilon_steps, lambda period: periods((period,)))


def _seeds(spec: WorkerSpec, worker: int, restart: int) -> Callable[[int], int]:
    """The seed of a worker's environments, each time that they are made anew."""
    return lambda making: seeding.integer_seed(
        spec.seed, "environments", worker, (spec.resumed, restart, making)
    )


def _describe(spec: WorkerSpec, worker: int) -> Description:
    return Description(spec.config.env_id, worker, spec.copies, spec.environment.vectorized)


def _limited(spec: WorkerSpec, on_fault: OnFault) -> OnFault:
    """`on_fault`, and an end where an environment fails again and again before anyone could stop it."""
    left = spec.config.max_restarts

    def told(fault: Fault) -> None:
        nonlocal left
        on_fault(fault)
        left -= 1
        if left < 0:
            raise RunError(fault.summary)

    return told
