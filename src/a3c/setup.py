"""From settings to the things they describe: the environment, the network, the optimizer.

Called by the master and by `Agent`, before anything is started.
"""

import dataclasses
from typing import Any

from a3c import algorithms, backend, engines, envs, seeding
from a3c.config import Config
from a3c.distributions.gaussian import Gaussian
from a3c.envs import Environment
from a3c.errors import SettingError, UsageError
from a3c.spaces import leaves

_USUAL_STEPS = 1_000_000  # of a run, where it has no limit


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
        environment = envs.find(config.env_id, config.action_bounds)
    algorithms.check_actions(config, environment.actions)
    algorithm = algorithms.find(config.algorithm)
    if algorithm.gathers and not config.locking:
        fix = f"With --algorithm {config.algorithm} workers update nothing themselves."
        raise SettingError("locking", False, "true where a learner makes all updates", fix)
    if config.kl_limit is not None and not algorithm.local_steps:
        fix = "In step, all workers make the same passes; --algorithm appo has one."
        raise SettingError("kl_limit", config.kl_limit, f"none with --algorithm {config.algorithm}", fix)
    copies = config.envs_per_worker or 1
    if algorithm.reuses and config.t_max * copies < 2:
        fix = "The advantage of a single step is no better or worse than any other."
        raise SettingError("t_max", config.t_max, "at least 2 with one environment per worker", fix)
    if config.episodic_life and (environment.compiled or not envs.shows_lives(environment)):
        fix = f"{environment.id} counts no lives in its info."
        raise SettingError("episodic_life", True, "false where there are no lives to lose", fix)
    if config.exploration == "rnd" and environment.compiled:
        fix = f"{environment.id} runs inside the compiled program. Use its Gymnasium id, if it has one."
        raise SettingError("exploration", "rnd", "noise where the environment is compiled", fix)
    if config.initial_deviation is not None and not isinstance(environment.actions, Gaussian):
        fix = f"{environment.id} has {environment.actions.describe()}."
        expected = "none where actions are not continuous"
        raise SettingError("initial_deviation", config.initial_deviation, expected, fix)
    if config.epsilon_steps is None and algorithm.values:
        # Decided now, for a run that is resumed with more steps would explore anew.
        steps = (config.max_steps or _USUAL_STEPS) // 20
        config = dataclasses.replace(config, epsilon_steps=steps)
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
        count = environment.actions.outputs
        try:
            model = cls(num_actions=count)
        except TypeError as error:
            fix = f"{error}. It is made as {cls.__name__}(num_actions={count})."
            raise UsageError(f"model {config.model}", "a class that takes num_actions", fix) from error
    elif model is None:
        model = _own_model(config, environment, seed)
    models.check_model(model, environment.observations, environment.actions)
    _carry_statistics(model, config, environment)
    return model


def _carry_statistics(model: Any, config: Config, environment: Environment) -> None:
    """Have `model` carry the running statistics of what is normalised: its own, if it has been trained so."""
    from a3c import flat, normalisation

    wanted = normalisation.make(
        environment.observations, config.normalise_observations, config.normalise_returns
    )
    if flat.statistics_of(model).size != wanted.size:
        flat.set_statistics(model, wanted.first())


def _own_model(config: Config, environment: Environment, seed: int) -> Any:
    """Our network as the settings describe it."""
    import keras

    from a3c import models

    convolutions, images = _convolutions(config, environment)
    units = {None: (64, 64), "nature": (512,)}.get(convolutions, (256,))
    activation = config.activation or ("relu" if convolutions else "tanh")
    try:
        keras.activations.get(activation)
    except ValueError as error:
        raise SettingError("activation", activation, "a name that Keras knows, such as tanh") from error
    settings: dict[str, Any] = dict(
        num_actions=environment.actions.outputs,
        hidden_units=units if config.hidden_units is None else config.hidden_units,
        activation=activation,
        seed=seed,
        convolutions=convolutions,
        images=images,
        lstm_units=config.lstm_units,
    )
    if algorithms.find(config.algorithm).values:
        return models.ActionValues(**settings)
    shared = config.shared_tower or bool(convolutions)
    if isinstance(environment.actions, Gaussian):
        settings["state_dependent_deviation"] = config.state_dependent_deviation
        settings["policy_bias"] = _first_policy(config, environment.actions)
    return models.ActorCritic(**settings, shared_tower=shared)


def _first_policy(config: Config, actions: Gaussian) -> tuple[float, ...] | None:
    """The first biases of the policy; None: 0, as in the paper, whose deviations depend on the state."""
    if config.initial_deviation is not None:
        return actions.centred(config.initial_deviation)
    return None if config.state_dependent_deviation else actions.centred(actions.first_deviation)


def _convolutions(config: Config, environment: Environment) -> tuple[str | None, int]:
    """The kind of convolutions, None for none, and how many images there are.

    Raises:
        SettingError: for images that are too small for them.
    """
    from a3c.models.layers import SMALLEST

    images = [part.seen_shape for part in leaves(environment.observations.tree) if part.kind == "image"]
    sides = [min(height, width) for height, width, _ in images]
    network = config.network
    if network == "auto":
        network = "paper" if images and min(sides) >= SMALLEST["nature"] else "mlp"
    if network == "mlp":
        return None, 0
    if not images or min(sides) < SMALLEST[network]:
        seen = environment.observations.describe()
        pixels = f"one for images of at least {SMALLEST[network]} × {SMALLEST[network]}"
        raise SettingError("network", network, f"another: it is {pixels}", f"{environment.id} shows {seen}.")
    return network, len(images)


def make_optimizer(config: Config) -> Any:
    """The shared optimizer of a run."""
    import keras

    if config.optimizer == "rmsprop":
        # The paper's shared RMSProp: decay 0.99, no momentum, epsilon inside the root, where Keras has it.
        return keras.optimizers.RMSprop(config.learning_rate, rho=0.99, epsilon=1e-5)
    return keras.optimizers.Adam(config.learning_rate, epsilon=1e-5)
