"""From settings to a network: one of ours, or one of the user's own."""

from typing import Any

import keras

from a3c import networks
from a3c.config import Config
from a3c.errors import SettingError, UsageError
from a3c.networks import normalisation, parameters
from a3c.networks.layers import SMALLEST
from a3c.spaces.distributions import Distribution
from a3c.spaces.distributions.gaussian import Gaussian
from a3c.spaces.observations import Observations, leaves
from a3c.utils.lazy_imports import keras_saving
from a3c.utils.seeding import integer_seed


def make_model(
    config: Config, observations: Observations, actions: Distribution, values: bool, model: Any = None
) -> keras.Model:
    """The network of a run, built and checked against what it sees and does; `model` if one is given.

    Args:
        config: The settings that describe it.
        observations: What the network sees.
        actions: What its policy is over.
        values: Whether the algorithm learns the values of actions, and no policy.
        model: One of the user's own.

    Raises:
        SettingError: for settings that cannot be carried out with these observations.
        UsageError: for a model of the user's own that does not fit.
    """
    seed = integer_seed(config.seed or 0, "model")
    if model is None and config.model is not None:
        cls = networks.import_model(config.model)
        with keras_saving():  # else it imports an installed TensorFlow to seed that as well
            keras.utils.set_random_seed(seed)  # the only way to seed the first weights of a foreign class
        count = actions.outputs
        try:
            model = cls(num_actions=count)
        except TypeError as error:
            fix = f"{error}. It is made as {cls.__name__}(num_actions={count})."
            raise UsageError(f"model {config.model}", "a class that takes num_actions", fix) from error
    elif model is None:
        model = _own_model(config, observations, actions, values, seed)
    networks.check_model(model, observations, actions)
    _carry_statistics(model, config, observations)
    return model


def _carry_statistics(model: keras.Model, config: Config, observations: Observations) -> None:
    """Have `model` carry the running statistics of what is normalised: its own, if it has been trained so."""
    wanted = normalisation.make(observations, config.normalise_observations, config.normalise_returns)
    if parameters.statistics_of(model).size != wanted.size:
        parameters.set_statistics(model, wanted.first())


def _own_model(
    config: Config, observations: Observations, actions: Distribution, values: bool, seed: int
) -> keras.Model:
    """Our network as the settings describe it."""
    convolutions, images = _convolutions(config, observations)
    units = {None: (64, 64), "nature": (512,)}.get(convolutions, (256,))
    activation = config.activation or ("relu" if convolutions else "tanh")
    try:
        keras.activations.get(activation)
    except ValueError as error:
        raise SettingError("activation", activation, "a name that Keras knows, such as tanh") from error
    settings: dict[str, Any] = dict(
        num_actions=actions.outputs,
        hidden_units=units if config.hidden_units is None else config.hidden_units,
        activation=activation,
        seed=seed,
        convolutions=convolutions,
        images=images,
        lstm_units=config.lstm_units,
    )
    if values:
        return networks.ActionValues(**settings)
    shared = config.shared_tower or bool(convolutions)
    if isinstance(actions, Gaussian):
        settings["state_dependent_deviation"] = config.state_dependent_deviation
        settings["policy_bias"] = _first_policy(config, actions)
    return networks.ActorCritic(**settings, shared_tower=shared)


def _first_policy(config: Config, actions: Gaussian) -> tuple[float, ...] | None:
    """The first biases of the policy; None: 0, as in the paper, whose deviations depend on the state."""
    if config.initial_deviation is not None:
        return actions.centred(config.initial_deviation)
    return None if config.state_dependent_deviation else actions.centred(actions.first_deviation)


def _convolutions(config: Config, observations: Observations) -> tuple[str | None, int]:
    """The kind of convolutions, None for none, and how many images there are.

    Raises:
        SettingError: for images that are too small for them.
    """
    images = [part.seen_shape for part in leaves(observations.tree) if part.kind == "image"]
    sides = [min(height, width) for height, width, _ in images]
    network = config.network
    if network == "auto":
        network = "paper" if images and min(sides) >= SMALLEST["nature"] else "mlp"
    if network == "mlp":
        return None, 0
    if not images or min(sides) < SMALLEST[network]:
        seen = observations.describe()
        pixels = f"one for images of at least {SMALLEST[network]} × {SMALLEST[network]}"
        raise SettingError("network", network, f"another: it is {pixels}", f"{config.env_id} shows {seen}.")
    return network, len(images)
