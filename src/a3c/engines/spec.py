"""What a worker is given to do, in a form that can be sent to it, and how it is set up there."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras
import numpy as np

from a3c import algorithms, envs, networks
from a3c.algorithms import Algorithm, reuse
from a3c.algorithms.optimizers import is_elementwise
from a3c.config import Config
from a3c.engines.learning import make_reuse_learner
from a3c.engines.stores import StoreState
from a3c.engines.stores.central import CentralStore, Rules
from a3c.engines.stores.local import LocalStore
from a3c.engines.stores.shared import SharedStore
from a3c.engines.stores.submissions import LocalSubmissions, SharedSubmissions
from a3c.engines.worker import Learn
from a3c.envs.faults import Description, Fault, OnFault
from a3c.envs.novelty import CuriousSampler, Novelty
from a3c.envs.vector_sampler import Explore, Sampler, VectorSampler
from a3c.errors import RunError
from a3c.networks import normalisation, saved_model
from a3c.networks.functional import Network
from a3c.networks.normalisation import Normaliser
from a3c.networks.numpy_policy import make_policy
from a3c.networks.parameters import non_trainable_of
from a3c.spaces.noise import EpsilonNoise, PolicyNoise
from a3c.types import ComputedGradients, Delta, Policy, Rollout, Shapes, Snapshot
from a3c.utils import seeding
from a3c.utils.lazy_imports import keras_saving


@dataclass(frozen=True)
class WorkerProgram:
    """What the workers of one process share, compiled once."""

    learn: Learn
    make_sampler: Callable[[int, int, OnFault, Callable[[], None]], Sampler]
    """The sampler of a worker, given its number, how often it was restarted, who is told of faults, and who
    of every step; of steps within a compiled program nobody is."""
    wait: Callable[[], Any] = lambda: None
    """Returns when everything is compiled."""


@dataclass(frozen=True)
class SerializedConfig:
    """A Keras object as its class and configuration, to be built anew elsewhere."""

    cls: type
    config: dict[str, Any]

    @classmethod
    def of(cls, thing: Any) -> "SerializedConfig":
        """The blueprint of an optimizer or of our own model."""
        with keras_saving():
            return cls(type(thing), thing.get_config())

    def build(self) -> Any:
        """A new object, with first weights or state of its own."""
        with keras_saving():
            return self.cls.from_config(copy.deepcopy(self.config))  # Keras takes some configurations apart


@dataclass(frozen=True)
class WorkerSpec:
    """Everything that the workers of one run have in common."""

    config: Config
    seed: int
    environment: envs.Environment
    model: SerializedConfig | saved_model.SerializedModel
    optimizer: SerializedConfig
    resumed: int = 0
    """How often the run was resumed with environments made anew; their seeds differ each time."""

    @classmethod
    def of(
        cls,
        config: Config,
        environment: envs.Environment,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
    ) -> "WorkerSpec":
        """The job of training `model` with `optimizer`.

        Raises:
            UsageError: for a model of the user's own that Keras cannot save and load.
        """
        assert config.seed is not None
        ours = type(model) in networks.OURS
        sent = SerializedConfig.of(model) if ours else saved_model.SerializedModel.of(model)
        return cls(config, config.seed, environment, sent, SerializedConfig.of(optimizer))

    @property
    def algorithm(self) -> Algorithm:
        """What is learned."""
        return algorithms.find(self.config.algorithm)

    @property
    def target_steps(self) -> int | None:
        """Steps between renewals of the target network; None: there is none."""
        return self.config.target_steps if self.algorithm.values else None

    def shapes(self, network: Network) -> Shapes:
        """Those of the rollouts of one worker."""
        return Shapes.of(
            self.environment.observations,
            self.environment.actions,
            self.config.t_max,
            self._copies,
            state=network.state_size,
            behaviour=self.algorithm.behaviour,
            ahead=self.algorithm.ahead,
            discount=self.config.gamma if self.config.normalise_returns else None,
        )

    @property
    def normaliser(self) -> Normaliser:
        """What is normalised."""
        config = self.config
        return normalisation.make(
            self.environment.observations,
            config.normalise_observations,
            config.normalise_returns,
            config.clip_rewards,
        )

    def make_network(self) -> Network:
        """A worker's network. Its trainable weights are never used: each worker pulls the global ones."""
        if isinstance(self.model, saved_model.SerializedModel):
            model = self.model.build()
            return Network(model, non_trainable_of(model), self.environment.observations, self.normaliser)
        # Not initialising saves the start a while, where the optimizer does not ask for the variables.
        with keras.StatelessScope(initialize_variables=not is_elementwise(self.optimizer.build())):
            model = self.model.build()
            networks.build(model, self.environment.observations)
        return Network(model, [], self.environment.observations, self.normaliser)

    def make_update(self, framework: ModuleType, network: Network) -> tuple[Callable, dict[str, np.ndarray]]:
        """The compiled update of the global parameters, given the steps until then, and the first state.

        It is a step of the shared optimizer, or the sum with what workers' own steps changed.
        """
        config = self.config
        update, state = framework.compile_update(network, self.optimizer.build(), config.eager)
        if self.algorithm.local_steps:
            add = framework.compile_function(functools.partial(reuse.add_delta, network), config.eager)
            return lambda weights, before, delta, steps: add(weights, before, delta), state

        def paced(weights: Any, before: Any, gradients: Any, steps: float) -> tuple[Any, dict]:
            share = self._share(steps)
            return update(weights, before, gradients, *(() if share is None else (share,)))

        return paced, state

    def _share(self, steps: float) -> np.float32 | None:
        """How far of its way the optimizer goes after so many steps; None: all of it."""
        if not self.config.anneal:
            return None
        assert self.config.max_steps is not None
        return np.float32(max(0.0, 1.0 - steps / self.config.max_steps))

    def warm_up(self, update: Callable, weights: Any, state: dict[str, Any]) -> None:
        """Compile an update, off the training clock, by one that changes nothing."""
        nothing = weights * 0
        if self.algorithm.local_steps:
            nothing = Delta(nothing, state)
        update(weights, state, nothing, 0)

    def make_local_store(self, framework: ModuleType, network: Network, contents: StoreState) -> LocalStore:
        """A store for workers in this process, its update compiled."""
        update, _ = self.make_update(framework, network)
        self.warm_up(update, contents.weights, contents.optimizer)
        config = self.config
        assert config.workers is not None
        return LocalStore(
            contents=contents,
            update=update,
            workers=config.workers,
            max_steps=config.max_steps,
            max_episodes=config.max_episodes,
            locking=config.locking,
            target_steps=self.target_steps,
            statistics=self.normaliser.size,
        )

    def make_thread_store(
        self, framework: ModuleType, network: Network, contents: StoreState
    ) -> LocalStore | CentralStore:
        """A store for threads of this process, compiled."""
        if self.algorithm.gathers is None:
            return self.make_local_store(framework, network, contents)
        store = self._central_store(network, contents, LocalSubmissions(self._workers))
        self.prepare_learner(framework, network, store)
        return store

    def make_shared_store(self, network: Network, contents: StoreState) -> SharedStore | CentralStore:
        """A store for processes; one in the middle is to be prepared when they have been started."""
        config, largest = self.config, self.config.t_max * self._copies
        if self.algorithm.gathers is None:
            return SharedStore(
                contents=contents,
                workers=self._workers,
                figures=self.algorithm.figure_names,
                max_steps=config.max_steps,
                max_episodes=config.max_episodes,
                locking=config.locking,
                largest=largest,
                target_steps=self.target_steps,
                statistics=self.normaliser.size,
                lends_optimizer=self.algorithm.local_steps,
            )
        rollouts = self.algorithm.gathers == "rollouts"
        submission_queue = SharedSubmissions(
            workers=self._workers,
            room=self._rules().room,
            size=contents.weights.size,
            content=self.shapes(network).blank() if rollouts else contents.weights,
            figures=() if rollouts else self.algorithm.figure_names,
            largest=largest,
        )
        return self._central_store(network, contents, submission_queue)

    @property
    def _workers(self) -> int:
        assert self.config.workers is not None
        return self.config.workers

    @property
    def _copies(self) -> int:
        assert self.config.envs_per_worker is not None
        return self.config.envs_per_worker

    def _rules(self) -> Rules:
        """How workers and a learner in the middle take turns."""
        if self.algorithm.gathers == "gradients":
            return Rules(in_step=True, batch=self._workers, room=1)
        batch = self.config.rollouts_per_update or self._workers
        queue = max(batch, self.config.queue_rollouts or 2 * batch)
        return Rules(in_step=False, batch=batch, room=-(-queue // self._workers))

    def _central_store(self, network: Network, contents: StoreState, submission_queue: Any) -> CentralStore:
        config = self.config
        return CentralStore(
            contents,
            self._rules(),
            submission_queue,
            self._workers,
            config.max_steps,
            config.max_episodes,
            self.normaliser,
            config.global_clipnorm,
            network.towers,
        )

    def prepare_learner(self, framework: ModuleType, network: Network, store: CentralStore) -> None:
        """Compile what the master does where it is the learner."""
        update, _ = self.make_update(framework, network)
        learn = None
        if self.algorithm.gathers == "rollouts":
            loss = self.algorithm.make_loss(self.config, self.environment.actions)
            learn = framework.compile_gradients(network, loss, self.config.global_clipnorm, self.config.eager)
        store.prepare(update, learn, self.shapes(network).blank())

    @property
    def _clipnorm(self) -> float | None:
        """Where workers clip their gradients: not where a learner clips the mean of them."""
        in_step = self.algorithm.gathers == "gradients" and self.config.engine != "serial"
        return None if in_step else self.config.global_clipnorm

    @property
    def _hands_rollouts(self) -> bool:
        """Whether workers only act, and somebody else learns; a single one does both."""
        return self.algorithm.gathers == "rollouts" and self.config.engine != "serial"

    def make_program(self, framework: ModuleType, network: Network, weights: Any) -> WorkerProgram:
        """What the workers of this process share."""
        config, environment = self.config, self.environment
        shapes = self.shapes(network)
        learn = self._make_learn(framework, network, shapes, weights)
        if environment.compiled and framework.FUSES and not config.eager:
            return self._compiled_kit(framework, network, shapes, learn, weights)
        policy, blank = make_policy(framework, network, config.eager), shapes.blank()
        policy(weights)(blank.observations[0], blank.state)
        return WorkerProgram(learn, functools.partial(self._vector_sampler, policy, shapes))

    def _make_learn(self, framework: ModuleType, network: Network, shapes: Shapes, weights: Any) -> Learn:
        """Steps 3 and 4 of the worker cycle, compiled."""
        config = self.config
        if self._hands_rollouts:
            return _hand_over
        if self.algorithm.reuses:
            how = self.algorithm.make_reuse(config, self.environment.actions)
            learner = make_reuse_learner(
                framework,
                network,
                shapes,
                how,
                optimizer=self.optimizer.build() if self.algorithm.local_steps else None,
                global_clipnorm=self._clipnorm,
                share=self._share,
                eager=config.eager,
                seed=self.seed,
            )
            learner.warm_up(weights)
            return learner
        if self._learns_while_acting(framework):
            return hand_over_learned
        loss = self.algorithm.make_loss(config, self.environment.actions)
        gradients = framework.compile_gradients(network, loss, self._clipnorm, config.eager)
        gradients(weights, shapes.blank(), weights if self.target_steps else None)

        def learn(snapshot: Snapshot, rollout: Rollout) -> tuple[Any, Any, None]:
            return *gradients(snapshot.weights, rollout.transitions, snapshot.target), None

        return learn

    def _learns_while_acting(self, framework: ModuleType) -> bool:
        """Whether acting, environment, losses and gradients are one program."""
        fuses = self.environment.compiled and framework.FUSES and not self.config.eager
        return fuses and not (self._hands_rollouts or self.algorithm.reuses)

    def _explore(self, worker: int, shapes: Shapes) -> Explore:
        """How a worker's actions are drawn."""
        kind, size = self.environment.actions.noise
        if not self.algorithm.values:
            return PolicyNoise(kind, (shapes.time, shapes.batch, size))
        return self._epsilon_noise(worker, shapes)

    def _epsilon_noise(self, worker: int, shapes: Shapes) -> EpsilonNoise:
        config, size = self.config, self.environment.actions.outputs
        assert config.epsilon_steps is not None
        shape = shapes.time + shapes.ahead, shapes.batch, size
        return EpsilonNoise(shape, config.epsilon_steps, seeding.generator(self.seed, "exploration", worker))

    def _vector_sampler(
        self,
        policy: Policy,
        shapes: Shapes,
        worker: int,
        restart: int,
        on_fault: OnFault,
        on_step: Callable[[], None],
    ) -> Sampler:
        config, environment = self.config, self.environment
        sampler = VectorSampler(
            make_env=lambda: envs.make_vector(
                environment.spec, self._copies, environment.vectorized, checked=False
            ),
            observations=environment.observations,
            actions=environment.actions,
            shapes=shapes,
            policy=policy,
            explore=self._explore(worker, shapes),
            generator=seeding.generator(self.seed, "actions", worker, (self.resumed, restart)),
            seeds=self._seeds(worker, restart),
            describe=self._describe(worker),
            on_fault=self._bounded(on_fault),
            episodic_life=config.episodic_life,
            on_step=on_step,
        )
        if config.exploration == "noise":
            return sampler
        generator = seeding.generator(self.seed, "novelty", worker, (self.resumed, restart))
        novelty = Novelty(environment.observations, self._copies, config.gamma, generator)
        return CuriousSampler(sampler, novelty, config.novelty_weight, config.gamma)

    def _seeds(self, worker: int, restart: int) -> Callable[[int], int]:
        """The seed of a worker's environments, each time that they are made anew."""

        def seed(making: int) -> int:
            again = (self.resumed, restart, making)
            return seeding.integer_seed(self.seed, "environments", worker, again)

        return seed

    def _describe(self, worker: int) -> Description:
        config = self.config
        return Description(config.env_id, worker, self._copies, self.environment.vectorized)

    def _bounded(self, on_fault: OnFault) -> OnFault:
        """`on_fault`, and an end where an environment fails again and again before anyone could stop it."""
        left = self.config.max_restarts

        def told(fault: Fault) -> None:
            nonlocal left
            on_fault(fault)
            left -= 1
            if left < 0:
                raise RunError(fault.summary)

        return told

    def _compiled_kit(
        self, framework: ModuleType, network: Network, shapes: Shapes, learn: Learn, weights: Any
    ) -> WorkerProgram:
        """For workers whose environment runs inside their program."""
        from a3c.envs.functional.sampler import CompiledSampler, Program
        from a3c.envs.functional.stepping import FunctionalEnvSpec

        values, differentiate = self.algorithm.values, None
        if self._learns_while_acting(framework):
            loss = self.algorithm.make_loss(self.config, self.environment.actions)
            differentiate = framework.gradient_function(network, loss, self._clipnorm)
        program = Program(
            env_spec=FunctionalEnvSpec.of(self.environment),
            shapes=shapes,
            policy=framework.policy_function(network),
            differentiate=differentiate,
            weights=weights,
            values=values,
        )

        def make_sampler(
            worker: int, restart: int, on_fault: OnFault, on_step: Callable[[], None]
        ) -> Sampler:
            seeds, describe = self._seeds(worker, restart), self._describe(worker)
            explore = self._epsilon_noise(worker, shapes) if values else None
            return CompiledSampler(program, explore, seeds, describe, self._bounded(on_fault))

        return WorkerProgram(learn, make_sampler, program.run.wait)


def _hand_over(snapshot: Snapshot, rollout: Rollout) -> tuple[Any, dict[str, float], None]:
    """Steps 3 and 4 of the worker cycle are left to a learner: what is pushed is the rollout."""
    return rollout.transitions, {}, None


def hand_over_learned(snapshot: Snapshot, rollout: Rollout) -> tuple[Any, Any, None]:
    """Steps 3 and 4 of the worker cycle, which the sampler's program has done already."""
    learned = rollout.transitions
    assert isinstance(learned, ComputedGradients)
    return learned.gradients, learned.losses, None
