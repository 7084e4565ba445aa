"""What a worker is given to do, in a form that can be sent to it, and how it is set up there."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras
import numpy as np

from a3c import algorithms, backend, checkpoint, envs, models, seeding
from a3c.config import Config
from a3c.dense import make_policy
from a3c.envs.sampler import Sampler, VectorSampler
from a3c.flat import Network, fixed_of, is_elementwise
from a3c.store.local import LocalStore
from a3c.types import Policy
from a3c.worker import Learn


@dataclass(frozen=True)
class Blueprint:
    """A Keras object as its class and configuration, to be built anew elsewhere."""

    cls: type
    config: dict[str, Any]

    @classmethod
    def of(cls, thing: Any) -> "Blueprint":
        """The blueprint of an optimizer or of our own model."""
        with backend.load().saving():
            return cls(type(thing), thing.get_config())

    def build(self) -> Any:
        """A new object, with first weights or state of its own."""
        with backend.load().saving():
            return self.cls.from_config(copy.deepcopy(self.config))  # Keras takes some configurations apart


@dataclass(frozen=True)
class Job:
    """Everything that the workers of one run have in common."""

    config: Config
    seed: int
    environment: envs.Environment
    model: Blueprint | checkpoint.Archive
    optimizer: Blueprint

    @classmethod
    def of(
        cls,
        config: Config,
        environment: envs.Environment,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
    ) -> "Job":
        """The job of training `model` with `optimizer`.

        Raises:
            UsageError: for a model of the user's own that Keras cannot save and load.
        """
        assert config.seed is not None
        ours = type(model) is models.ActorCritic
        sent = Blueprint.of(model) if ours else checkpoint.Archive.of(model)
        return cls(config, config.seed, environment, sent, Blueprint.of(optimizer))

    def make_network(self) -> Network:
        """A worker's network. Its trainable weights are never used: each worker pulls the global ones."""
        if isinstance(self.model, checkpoint.Archive):
            model = self.model.build()
            return Network(model, fixed_of(model))
        # Not initialising saves the start a while, where the optimizer does not ask for the variables.
        with keras.StatelessScope(initialize_variables=not is_elementwise(self.optimizer.build())):
            model = self.model.build()
            models.build(model, self.environment.observation_shape)
        return Network(model, [])

    def make_update(self, framework: ModuleType, network: Network) -> tuple[Callable, dict[str, np.ndarray]]:
        """The compiled update of the shared optimizer, and its first state."""
        return framework.compile_update(network.model, self.optimizer.build(), self.config.eager)

    def make_local_store(self, framework: ModuleType, network: Network, weights: np.ndarray) -> LocalStore:
        """A store for workers in this process, its update compiled."""
        update, state = self.make_update(framework, network)
        config = self.config
        store = LocalStore(weights, state, update, config.max_steps, config.max_episodes, config.locking)
        store.warm_up()
        return store

    def make_workers(
        self, framework: ModuleType, network: Network, weights: Any, workers: Iterable[int]
    ) -> list[tuple[Sampler, Learn]]:
        """The sampler and gradient function of each worker, compiled once; `Sampler.wait` tells when."""
        loss = algorithms.make_loss(self.config)
        if self.environment.compiled and framework.FUSES and not self.config.eager:
            return self._compiled_workers(framework, network, loss, weights, workers)
        config = self.config
        policy = make_policy(framework, network, config.eager)
        learn = framework.compile_gradients(network, loss, config.global_clipnorm, config.eager)
        samplers = [self._vector_sampler(policy, worker) for worker in workers]
        blank = samplers[0].blank_transitions()
        policy(weights)(blank.observations[0])
        learn(weights, blank)
        return [(sampler, learn) for sampler in samplers]

    def _vector_sampler(self, policy: Policy, worker: int) -> VectorSampler:
        config, environment = self.config, self.environment
        return VectorSampler(
            env=envs.make_vector(
                environment.spec, config.envs_per_worker, environment.vectorized, checked=False
            ),
            policy=policy,
            t_max=config.t_max,
            generator=seeding.generator(self.seed, "actions", worker),
            seed=seeding.integer_seed(self.seed, "environments", worker),
        )

    def _compiled_workers(
        self, framework: ModuleType, network: Network, loss: Callable, weights: Any, workers: Iterable[int]
    ) -> list[tuple[Sampler, Learn]]:
        """Workers whose environment runs inside their program."""
        from a3c.envs import compiled
        from a3c.envs.compiled.sampler import CompiledSampler, Program, hand_over

        spec = self.environment.spec
        program = Program(
            env=compiled.load(spec.kwargs["reference"]),
            limit=spec.max_episode_steps,
            num_actions=self.environment.num_actions,
            action_start=self.environment.action_start,
            batch=self.config.envs_per_worker,
            t_max=self.config.t_max,
            policy=framework.policy_function(network),
            differentiate=framework.gradient_function(network, loss, self.config.global_clipnorm),
            weights=weights,
        )
        seeds = (seeding.integer_seed(self.seed, "environments", worker) for worker in workers)
        return [(CompiledSampler(program, seed), hand_over) for seed in seeds]
