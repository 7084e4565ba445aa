"""From settings to a network: one of ours, or one of the user's own."""

from typing import Any

import keras

from a3c import networks
from a3c.errors import SettingError, UsageError
from a3c.network_settings import NetworkSettings
from a3c.networks import normalisation, parameters
from a3c.networks.layers import SMALLEST
from a3c.spaces.distributions import Distribution
from a3c.spaces.distributions.gaussian import Gaussian
from a3c.spaces.observations import Observations, leaves
from a3c.utils.lazy_imports import keras_saving
from a3c.utils.seeding import integer_seed


def make_model(
    settings: NetworkSettings,
    env_id: str,
    observations: Observations,
    actions: Distribution,
    values: bool,
    seed: int,
    model: Any = None,
) -> keras.Model:
    """The network of a run, built and checked against what it sees and does; `model` if one is given.

    Args:
        settings: Those that describe it.
        env_id: The environment, for errors.
        observations: What the network sees.
        actions: What its policy is over.
        values: Whether the algorithm learns the values of actions, and no policy.
        seed: That of the run.
        model: One of the user's own.

    Raises:
        SettingError: for settings that cannot be carried out with these observations.
        UsageError: for a model of the user's own that does not fit.
    """
    seed = integer_seed(seed, "model")
    if model is None and settings.model is not None:
        cls = networks.import_model(settings.model)
        with keras_saving():  # else it imports an installed TensorFlow to seed that as well
            keras.utils.set_random_seed(seed)  # the only way to seed the first weights of a foreign class
        count = actions.outputs
        try:
            model = cls(num_actions=count)
        except TypeError as error:
            fix = f"{error}. It is made as {cls.__name__}(num_actions={count})."
            raise UsageError(f"model {settings.model}", "a class that takes num_actions", fix) from error
    elif model is None:
        model = _own_model(settings, env_id, observations, actions, values, seed)
    networks.check_model(model, observations, actions)
    _carry_statistics(model, settings, observations)
    return model


def _carry_statistics(model: keras.Model, settings: NetworkSettings, observations: Observations) -> None:
    """Have `model` carry the running statistics of what is normalised: its own, if it has been trained so."""
    wanted = normalisation.make(observations, settings.normalise_observations, settings.normalise_returns)
    found = wanted.widened(parameters.statistics_of(model))
    parameters.set_statistics(model, found if found.size == wanted.size else wanted.first())


def _own_model(
    settings: NetworkSettings,
    env_id: str,
    observations: Observations,
    actions: Distribution,
    values: bool,
    seed: int,
) -> keras.Model:
    """Our network as the settings describe it."""
    convolutions, images = _convolutions(settings, env_id, observations)
    units = {None: (64, 64), "nature": (512,)}.get(convolutions, (256,))
    activation = settings.activation or ("relu" if convolutions else "tanh")
    try:
        keras.activations.get(activation)
    except ValueError as error:
        raise SettingError("activation", activation, "a name that Keras knows, such as tanh") from error
    arguments: dict[str, Any] = dict(
        num_actions=actions.outputs,
        hidden_units=units if settings.hidden_units is None else settings.hidden_units,
        activation=activation,
        seed=seed,
        convolutions=convolutions,
        images=images,
        lstm_units=settings.lstm_units,
    )
    if values:
        return networks.ActionValues(**arguments)
    shared = settings.shared_tower or bool(convolutions)
    if isinstance(actions, Gaussian):
        arguments["state_dependent_deviation"] = settings.state_dependent_deviation
        arguments["policy_bias"] = _first_policy(settings, actions)
    return networks.ActorCritic(**arguments, shared_tower=shared)


def _first_policy(settings: NetworkSettings, actions: Gaussian) -> tuple[float, ...] | None:
    """The first biases of the policy; None: 0, as in the paper, whose deviations depend on the state."""
    if settings.initial_deviation is not None:
        return actions.centred(settings.initial_deviation)
    return None if settings.state_dependent_deviation else actions.centred(actions.first_deviation)


def _convolutions(
    settings: NetworkSettings, env_id: str, observations: Observations
) -> tuple[str | None, int]:
    """The kind of convolutions, None for none, and how many images there are.

    Raises:
        SettingError: for images that are too small for them.
    """
    images = [part.seen_shape for part in leaves(observations.tree) if part.kind == "image"]
    sides = [min(height, width) for height, width, _ in images]
    network = settings.network
    if network == "auto":
        network = "paper" if images and min(sides) >= SMALLEST["nature"] else "mlp"
    if network == "mlp":
        return None, 0
    if not images or min(sides) < SMALLEST[network]:
        seen = observations.describe()
        pixels = f"one for images of at least {SMALLEST[network]} × {SMALLEST[network]}"
        raise SettingError("network", network, f"another: it is {pixels}", f"{env_id} shows {seen}.")
    return network, len(images)
