"""What a worker is given to do, in a form that can be sent to it, and how it is set up there."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras
import numpy as np

from a3c import algorithms, envs, models, seeding
from a3c.config import Config
from a3c.envs.sampler import VectorSampler
from a3c.flat import Network
from a3c.worker import Learn


@dataclass(frozen=True)
class Blueprint:
    """A Keras model or optimizer as its class and configuration, to be built anew elsewhere."""

    cls: type
    config: dict[str, Any]

    @classmethod
    def of(cls, thing: Any) -> "Blueprint":
        """The blueprint of a model or an optimizer."""
        return cls(type(thing), thing.get_config())

    def build(self) -> Any:
        """A new object, with first weights or state of its own."""
        return self.cls.from_config(self.config)


@dataclass(frozen=True)
class Job:
    """Everything that the workers of one run have in common."""

    config: Config
    seed: int
    environment: envs.Environment
    model: Blueprint
    fixed: list[np.ndarray]
    """The model's non-trainable weights."""
    optimizer: Blueprint

    def make_network(self) -> Network:
        """The network of a worker. Its own weights are not even initialised: each worker pulls the global ones."""
        with keras.StatelessScope(initialize_variables=False):
            model = self.model.build()
            models.build(model, self.environment.observation_shape)
        return Network(model, self.fixed)

    def make_update(self, backend: ModuleType, network: Network) -> tuple[Callable, dict[str, np.ndarray]]:
        """The compiled update of the shared optimizer, and its first state."""
        return backend.compile_update(network.model, self.optimizer.build(), self.config.eager)

    def make_worker(
        self, backend: ModuleType, network: Network, weights: Any, worker: int
    ) -> tuple[VectorSampler, Learn]:
        """The sampler and the gradient of one worker, compiled before the training clock starts."""
        config, environment = self.config, self.environment
        env = envs.make_vector(environment.spec, config.envs_per_worker, environment.vectorized)
        policy = backend.compile_policy(network, config.eager)
        sampler = VectorSampler(
            env=env,
            policy=policy,
            t_max=config.t_max,
            generator=seeding.generator(self.seed, "actions", worker),
            seed=seeding.integer_seed(self.seed, "environments", worker),
        )
        learn = backend.compile_gradients(
            network, algorithms.make_loss(config), config.global_clipnorm, config.eager
        )
        blank = sampler.blank_transitions()
        policy(weights, blank.observations[0])
        learn(weights, blank)
        return sampler, learn
