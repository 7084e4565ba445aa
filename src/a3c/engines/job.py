"""What a worker is given to do, in a form that can be sent to it, and how it is set up there."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras
import numpy as np

from a3c import algorithms, backend, checkpoint, envs, models, seeding
from a3c.config import Config
from a3c.envs.sampler import VectorSampler
from a3c.flat import Network, fixed_of, is_elementwise
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

    def make_worker(
        self, framework: ModuleType, network: Network, weights: Any, worker: int
    ) -> tuple[VectorSampler, Learn]:
        """The sampler and the gradient of one worker, compiled before the training clock starts."""
        config, environment = self.config, self.environment
        env = envs.make_vector(environment.spec, config.envs_per_worker, environment.vectorized)
        policy = framework.compile_policy(network, config.eager)
        sampler = VectorSampler(
            env=env,
            policy=policy,
            t_max=config.t_max,
            generator=seeding.generator(self.seed, "actions", worker),
            seed=seeding.integer_seed(self.seed, "environments", worker),
        )
        learn = framework.compile_gradients(
            network, algorithms.make_loss(config), config.global_clipnorm, config.eager
        )
        blank = sampler.blank_transitions()
        policy(weights, blank.observations[0])
        learn(weights, blank)
        return sampler, learn
