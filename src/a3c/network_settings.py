"""The settings of the network, which `networks.factory` builds.

They stand outside of `networks/`, whose import takes Keras, so that the command line can show them.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

from a3c.errors import SettingError
from a3c.settings import presentable, setting

_MOST_LAYERS, _MOST_WEIGHTS = 100, 2**26
"""Of dense layers and between them: a slip of the finger, or a file of others, takes no 100 GB."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """What the network of a run is like, and which running statistics stand behind its parameters."""

    model: str | None = setting(None, "Your own model as module:Class; default: what the next settings say.")
    network: Literal["auto", "mlp", "paper", "nature", "impala"] = setting(
        "auto",
        "mlp: dense layers, images flattened; convolutions of the A3C paper, of Nature's DQN, or IMPALA's "
        "residual ones; auto: the paper's where there is a large enough image, else mlp.",
    )
    hidden_units: tuple[int, ...] | None = setting(
        None, "Units of each dense layer; default: 64 64, after convolutions 256, Nature's 512.", at_least=1
    )
    activation: str | None = setting(
        None, "Their activation, any name that Keras knows; default: tanh, after convolutions relu."
    )
    shared_tower: bool = setting(
        False, "One tower for policy and value instead of one each; always with convolutions."
    )
    lstm_units: int = setting(0, "Units of an LSTM after the dense layers; 0: no memory.", at_least=0)
    action_bounds: Literal["clip", "squash"] = setting(
        "clip", "How continuous actions are kept inside their bounds: clipped, or squashed by a tanh."
    )
    initial_deviation: float | None = setting(
        None,
        "Standard deviation of continuous actions at first, where 1 is half the width of bounded ones; "
        "default: 0.83 for one number, 0.45 for two to four, 2 / n for n; "
        "0.83 where it depends on the state.",
        at_least=0.01,
        at_most=100,
    )
    state_dependent_deviation: bool = setting(
        False,
        "Let the deviation of continuous actions depend on the state, as in the paper; else it is one number "
        "per dimension.",
    )
    normalise_observations: bool | None = setting(
        None,
        "Subtract the running mean of observed vectors and images and divide by their deviation; default: "
        "vectors yes, images no.",
    )
    normalise_returns: bool = setting(
        True,
        "Divide rewards by the running standard deviation of discounted returns and cut them off at 10, or "
        "at --clip-rewards; in learning only.",
    )


def check_network_size(settings: NetworkSettings) -> None:
    """Raise `SettingError` for dense layers that nobody can have meant; those of the inputs do not count."""
    units = settings.hidden_units or ()
    if len(units) > _MOST_LAYERS:
        raise SettingError("hidden_units", f"{len(units)} layers", f"at most {_MOST_LAYERS} layers")
    last = units[-1] if units else 1
    memory = 4 * settings.lstm_units * (settings.lstm_units + last)
    weights = sum(a * b for a, b in itertools.pairwise((1, *units))) + memory
    if weights > _MOST_WEIGHTS:
        name, value = ("lstm_units", settings.lstm_units) if memory > weights / 2 else ("hidden_units", units)
        expected = f"layers of at most {_MOST_WEIGHTS:,} weights together"
        raise SettingError(name, presentable(value), expected, f"These have {weights:,}.")
