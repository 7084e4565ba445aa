"""From settings to the things they describe: the environment, the network, the optimizer.

Called by the master and by `Agent`, before anything is started.
"""

import dataclasses
from typing import Any

from a3c import backend, engines, envs, seeding
from a3c.config import Config
from a3c.envs import Environment
from a3c.errors import SettingError, UsageError


def settle(config: Config) -> tuple[Config, Environment]:
    """Decide what the settings left open, and refuse what cannot work, before anything is started."""
    if config.algorithm == "random":
        raise SettingError("algorithm", "random", "one that learns", "For the baseline: a3c random.")
    config = dataclasses.replace(
        engines.resolve_workers(config),
        backend=backend.select(config.backend),
        seed=seeding.fresh_seed() if config.seed is None else config.seed,
    )
    assert config.workers is not None
    with backend.compute_threads(config.workers):  # a compiled environment may start JAX
        environment = envs.find(config.env_id)
    config = engines.resolve_engine(config, environment.compiled)
    if config.stop_return is None:
        config = dataclasses.replace(config, stop_return=environment.reward_threshold)
    return config, environment


def make_model(config: Config, environment: Environment, model: Any = None) -> Any:
    """The network of a run, built and checked against the environment; `model` if one is given."""
    backend.load()
    import keras

    from a3c import models

    seed = seeding.integer_seed(config.seed or 0, "model")
    if model is None and config.model is not None:
        cls = models.import_model(config.model)
        with backend.load().saving():  # else it imports an installed TensorFlow to seed that as well
            keras.utils.set_random_seed(seed)  # the only way to seed the first weights of a foreign class
        try:
            model = cls(num_actions=environment.num_actions)
        except TypeError as error:
            fix = f"{error}. It is made as {cls.__name__}(num_actions={environment.num_actions})."
            raise UsageError(f"model {config.model}", "a class that takes num_actions", fix) from error
    elif model is None:
        try:
            keras.activations.get(config.activation)
        except ValueError as error:
            raise SettingError(
                "activation", config.activation, "a name that Keras knows, such as tanh"
            ) from error
        model = models.ActorCritic(
            environment.num_actions, config.hidden_units, config.activation, config.shared_tower, seed
        )
    models.check_model(model, environment.observation_shape, environment.num_actions)
    return model


def make_optimizer(config: Config) -> Any:
    """The shared optimizer of a run, annealed linearly over the run if so wished."""
    import keras

    rate: Any = config.learning_rate
    if config.anneal:
        assert config.max_steps is not None
        updates = max(1, config.max_steps // (config.envs_per_worker * config.t_max))
        rate = keras.optimizers.schedules.PolynomialDecay(rate, updates, end_learning_rate=0.0, power=1.0)
    if config.optimizer == "rmsprop":
        # The paper's shared RMSProp: decay 0.99, no momentum, epsilon inside the root, where Keras has it.
        return keras.optimizers.RMSprop(rate, rho=0.99, epsilon=1e-5)
    return keras.optimizers.Adam(rate)
