"""What the workers of a run have in common, in a form that can be sent to another process."""

import copy
from dataclasses import dataclass
from typing import Any

import keras

from a3c import algorithms, envs, networks
from a3c.algorithms.base import Algorithm
from a3c.algorithms.optimizers import is_elementwise
from a3c.config import Config
from a3c.networks import normalisation, saved_model
from a3c.networks.functional import Network
from a3c.networks.normalisation import Normaliser
from a3c.networks.parameters import non_trainable_of
from a3c.types import Shapes
from a3c.utils.lazy_imports import keras_saving


@dataclass(frozen=True)
class SerializedConfig:
    """A Keras object as its class and configuration, to be built anew elsewhere."""

    cls: type
    config: dict[str, Any]

    @classmethod
    def of(cls, thing: Any) -> "SerializedConfig":
        """That of an optimizer or of our own model."""
        with keras_saving():
            return cls(type(thing), thing.get_config())

    def build(self) -> Any:
        """A new object, with first weights or state of its own."""
        with keras_saving():
            return self.cls.from_config(copy.deepcopy(self.config))  # Keras changes some configurations


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
        """That of training `model` with `optimizer`.

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
    def workers(self) -> int:
        """Number of workers."""
        assert self.config.workers is not None
        return self.config.workers

    @property
    def copies(self) -> int:
        """Environments of each worker: B."""
        assert self.config.envs_per_worker is not None
        return self.config.envs_per_worker

    @property
    def target_steps(self) -> int | None:
        """Steps between renewals of the target network; None: there is none."""
        return self.config.target_steps if self.algorithm.values else None

    @property
    def hands_in_rollouts(self) -> bool:
        """Whether workers only act, and a central learner computes gradients; a single worker does both."""
        return self.algorithm.gathers == "rollouts" and self.config.engine != "serial"

    @property
    def worker_clipnorm(self) -> float | None:
        """Where workers clip their gradients; None: nowhere, or the learner clips the mean of them."""
        in_step = self.algorithm.gathers == "gradients" and self.config.engine != "serial"
        return None if in_step else self.config.global_clipnorm

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

    def shapes(self, network: Network) -> Shapes:
        """Those of the rollouts of one worker."""
        return Shapes.of(
            self.environment.observations,
            self.environment.actions,
            self.config.t_max,
            self.copies,
            state=network.state_size,
            behaviour=self.algorithm.behaviour,
            ahead=self.algorithm.ahead,
            discount=self.config.gamma if self.config.normalise_returns else None,
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
