"""Agents on disk: a `.keras` file that also says which environment it is for.

The file is an ordinary Keras model file with one more member, `a3c.json`, the card. Its model is the whole of
the agent, see `export`; one of our networks is made again from the card, and takes its weights. The file is
written whole or not at all, and read in Keras' safe mode, so that a downloaded agent runs no code.
"""

import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from a3c import networks
from a3c.errors import UsageError, first_line
from a3c.networks import export, model_size
from a3c.networks.functional import Network
from a3c.networks.parameters import set_statistics, statistics_of
from a3c.utils import archives, trust
from a3c.utils.files import replacing
from a3c.utils.json_text import parse_json
from a3c.utils.lazy_imports import keras_saving
from a3c.utils.schema import Absent, Anything, Maybe, Number, Rows, Table, Text, Truth, Whole, find_wrong
from a3c.utils.versions import versions

CARD = "a3c.json"
FORMAT = 2
"""In format 1 the model in the file is the network alone, which sees packed and normalised observations."""


def describe(
    settings: Mapping[str, Any], model: keras.Model, evaluation: Any, steps: int, baseline: float | None
) -> dict[str, Any]:
    """What an agent's file says of itself, its card; `settings` are all those of the training."""
    cls = type(model)
    own = not cls.__module__.startswith(("a3c.", "keras."))
    name = f"{cls.__module__}:{cls.__qualname__}" if own else None
    return dict(
        env_id=settings["env_id"],
        algorithm=settings["algorithm"],
        steps=steps,
        model=name,
        network=None if type(model) not in networks.OURS else _described(model),
        signatures=trust.sign(settings["env_id"], name),
        settings=dict(settings),
        versions=versions(),
        evaluation=None if evaluation is None else evaluation.as_dict(),
        random_baseline=baseline,
    )


def _described(model: keras.Model) -> dict[str, Any]:
    """One of our networks as the card has it, to be made again by `_made_again`."""
    return {"class": type(model).__name__, "settings": model.settings, "seen": model.seen}


def _made_again(card: Mapping[str, Any], whole: keras.Model) -> keras.Model:
    """The network of an agent: one of ours by the card, or the user's own, which is a layer of the whole.

    Raises:
        ValueError: where the card is of another network than the file.
        Exception: whatever Keras raises for a description that it cannot build.
    """
    if card.get("format", 1) < FORMAT:
        return whole
    if (described := card.get("network")) is None:
        nested = [layer for layer in whole.layers if isinstance(layer, keras.Model)]
        if len(nested) != 1:
            raise ValueError(f"It has {len(nested)} models in the place of a network.")
        return nested[0]
    cls = {ours.__name__: ours for ours in networks.OURS}[described["class"]]

    def make() -> keras.Model:
        model = cls(**described["settings"])
        model.build_from_config({"seen": described["seen"]})
        return model

    with model_size.bounded(whole):
        make()
    model = make()
    export.copy_into(model, whole)
    return model


ACTING_SETTINGS = ("algorithm", "action_bounds", "normalise_observations", "normalise_returns")
"""Those settings of a training that say how the network acts."""


def acting_settings(card: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings in an agent's metadata; a file without metadata is a model of raw observations."""
    settings = card.get("settings")
    if not isinstance(settings, dict):
        return dict(algorithm="a3c", normalise_observations=False, normalise_returns=False)
    return {name: settings[name] for name in ACTING_SETTINGS if name in settings}


def scores_in(card: Mapping[str, Any], env_id: str) -> dict[str, Any]:
    """What a card says of how good the agent is; scores hold for the environment of its training alone."""
    names = ("steps", "evaluation", "random_baseline") if card.get("env_id") == env_id else ("steps",)
    return {name: card[name] for name in names if name in card}


def check_statistics(path: Path, card: Mapping[str, Any], model: keras.Model) -> None:
    """Raise `UsageError` where a card has other running statistics than `model` needs in its environment."""
    found, needed = card.get("statistics"), statistics_of(model).size
    if found is not None and needed not in (len(found), 2 * len(found)):  # twice those of version 0.1.0
        fix = f"It has {len(found)}, and they are {needed} in this environment."
        raise UsageError(f"model file {path}", "one with the statistics that its network needs", fix)


def save_model(
    path: Path, network: Network, card: Mapping[str, Any], members: Mapping[str, bytes] | None = None
) -> None:
    """Write a network, with weights and statistics, its `card` and further members, in one step.

    Raises:
        OSError: if that fails; `path` is what it was then.
    """
    model = network.model
    whole = export.export(model, network.observations, network.normaliser)
    with replacing(path) as temporary:
        with keras_saving():
            whole.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            statistics = statistics_of(model).tolist()
            archive.writestr(CARD, json.dumps({"format": FORMAT, **card, "statistics": statistics}))
            for name, content in (members or {}).items():
                archive.writestr(name, content)


@dataclass(frozen=True)
class SerializedModel:
    """A model as the bytes of its `.keras` file, to be sent to another process.

    All that Keras can save arrives there, such as the statistics of a normalisation layer; what it cannot
    save is found out before training and not after it.
    """

    content: bytes
    cls: type

    @classmethod
    def of(cls, model: keras.Model) -> "SerializedModel":
        """The archive of `model`.

        Raises:
            UsageError: if Keras cannot save it, or load again in safe mode what it saved.
        """
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "model.keras"
            try:
                with keras_saving():
                    model.save(path)
                archive = cls(path.read_bytes(), type(model))
                _check_same_weights(model, archive.build())
            except Exception as error:
                name = f"model {type(model).__name__}"
                fix = f"{first_line(error)} See the guide on saving, at get_config and build."
                if networks.state_size(model):
                    fix += " One with a memory needs build_from_config, as in examples/recurrent_model.py."
                raise UsageError(name, "one that Keras can save and load in safe mode", fix) from error
        return archive

    def build(self) -> keras.Model:
        """The model, with the weights it was saved with."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "model.keras"
            path.write_bytes(self.content)
            with warnings.catch_warnings(action="ignore"):
                return _load(path, self.cls)


def _load(path: Path, own: type | None, safe: bool = True) -> keras.Model:
    """Load a `.keras` file, in safe mode or not; `own` is the class of a model of the user's own."""
    with keras_saving():
        model = keras.models.load_model(
            path, custom_objects={own.__name__: own} if own else None, compile=False, safe_mode=safe
        )
    assert isinstance(model, keras.Model)
    if not model.built:  # Keras only warns, and its weights would be random ones
        raise ValueError("Keras cannot build it from the file: it lacks build or build_from_config.")
    return model


def _check_same_weights(model: keras.Model, loaded: keras.Model) -> None:
    """Raise `ValueError` unless `loaded` has the weights of `model`, in the same order."""
    ours, theirs = model.get_weights(), loaded.get_weights()
    same = len(ours) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    if not same:
        raise ValueError(f"Of its {len(ours)} weights, Keras loads {len(theirs)}, or others.")


def read_card(path: Path) -> dict[str, Any]:
    """The card of an agent's file; empty for a plain Keras model.

    Raises:
        UsageError: if the file is missing or no `.keras` file.
    """
    expected = "an agent saved by a3c, or a Keras model in a .keras file"
    if not os.path.isfile(path):  # Path.is_file raises for a name too long
        raise UsageError(f"model file {path}", "an existing .keras file")
    try:
        with archives.opened(_at_the_end(path)) as archive:
            names = archive.namelist()
            if archive.testzip() is not None or model_size.CONFIG not in names:
                raise zipfile.BadZipFile("parts of it are damaged or missing")
            card = parse_json(archives.read_member(archive, CARD, _LARGEST_CARD)) if CARD in names else {}
        _check_card(card)
        return card
    except Exception as error:  # whatever a damaged file leads to in a reader
        fix = f"It cannot be read: {first_line(error)}."
        raise UsageError(f"model file {path}", expected, fix) from error


def _at_the_end(path: Path) -> Path:
    """The file that `path` leads to. Who names a link has chosen it; those in run directories are refused."""
    return Path(os.path.realpath(path))


_LARGEST_CARD = 2**24
_SETTINGS = {
    "algorithm": Absent(Text()),
    "action_bounds": Absent(Maybe(Text())),
    "normalise_observations": Absent(Maybe(Truth())),
    "normalise_returns": Absent(Maybe(Truth())),
}
_NETWORK = {
    "class": Text(tuple(cls.__name__ for cls in networks.OURS)),
    "settings": Table(
        Anything(), known={"hidden_units": Rows(Whole(1), at_most=100), "images": Whole(0, 100)}
    ),
    "seen": Text(longest=2**16),
}
_CARD = {
    "env_id": Absent(Maybe(Text(longest=1000))),
    "steps": Absent(Whole()),
    "model": Absent(Maybe(Text(longest=1000))),
    "network": Absent(Maybe(_NETWORK)),
    "settings": Absent(Maybe(Table(Anything(), known=_SETTINGS))),
    "evaluation": Absent(Maybe(Table(Anything(), known={"mean": Number(), "episodes": Whole()}))),
    "random_baseline": Absent(Maybe(Number())),
    "statistics": Absent(Rows(Number())),
    "continues": Absent(Maybe(Table(Anything(), known={"steps": Whole(), "episodes": Whole()}))),
}
"""What is made use of in a card; it may have more."""


def _check_card(card: Any) -> None:
    """Raise `ValueError` unless `card` has what is made use of in the types that it is written with."""
    if isinstance(card, dict) and (found := card.get("format", FORMAT)) not in (1, FORMAT):
        raise ValueError(f"its {CARD} has format {found!r:.40}, this a3c reads up to {FORMAT}")
    if wrong := find_wrong(card, Table(Anything(), known=_CARD), CARD):
        raise ValueError(f"its {CARD} is none of a3c's: {wrong}")


def check_names(
    path: Path, card: Mapping[str, Any], env_id: str | None, model_class: str | None, trusted: bool
) -> str | None:
    """Refuse an agent that names a module which must not be imported; see `trust.check`.

    Args:
        path: Its file.
        card: What `read_card` found there.
        env_id: The environment that the user has typed, in place of the card's.
        model_class: `module:Class` that the user has typed, in place of the card's.
        trusted: Whether the user allows all of its names.

    Returns:
        `module:Class` of its model; None: it is of this package or of Keras.

    Raises:
        UsageError: with the module, and how to allow it.
    """
    names = env_id or card.get("env_id"), model_class or card.get("model")
    trust.check(f"model file {path}", names, card.get("signatures"), (env_id, model_class), trusted)
    return names[1]


def load_model(path: Path, model_class: str | None = None, unsafe: bool = False) -> keras.Model:
    """Load a model, in safe mode unless `unsafe` is set.

    Args:
        path: A `.keras` file.
        model_class: `module:Class` of a model of the user's own; None: it is of this package or of Keras.
        unsafe: Let the file bring code of its own, such as that of a Lambda layer, which will be run.

    Raises:
        UsageError: if the file cannot be loaded.
    """
    card = read_card(path)
    own = networks.import_model(model_class) if model_class else None
    path = _at_the_end(path)
    try:
        with archives.opened(path) as archive, keras_saving():
            model_size.check(archive, own, safe=not unsafe)
        model = _made_again(card, _load(path, own, safe=not unsafe))
        set_statistics(model, card.get("statistics", []))
        if not all(np.isfinite(array).all() for array in [*model.get_weights(), statistics_of(model)]):
            raise ValueError("It has weights that are not finite numbers: its training went wrong.")
        return model
    except Exception as error:
        if not unsafe and "safe" in str(error) and ("ambda" in str(error) or "unsafe" in str(error)):
            fix = (
                "It brings code of its own (a Lambda layer), which would be run with all your rights. If you "
                "trust its author: --unsafe-load."
            )
        else:
            fix = f"{first_line(error)} A model of your own is loaded with --model module:Class."
        raise UsageError(f"model file {path}", "a model that Keras can load in safe mode", fix) from error
