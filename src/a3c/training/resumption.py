"""What a run begins with: its first parameters, or all that a checkpoint holds of where it stood.

`describe` is what must not have changed in between. Called by the main process.
"""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a3c import backend
from a3c.config import Config
from a3c.engines.stores import StoreState
from a3c.errors import UsageError, first_line
from a3c.training import checkpoint, run_directory
from a3c.training.metrics import EpisodeHistory, TrainingMetrics
from a3c.training.state_schema import state_of, upgraded
from a3c.utils.files import read_plain, replacing, write_whole
from a3c.utils.json_text import parse_json
from a3c.utils.lazy_imports import keras_saving
from a3c.utils.schema import find_wrong

if TYPE_CHECKING:
    from a3c.engines.spec import WorkerSpec

_MODEL = "model.keras"
_OPTIMIZER = "optimizer.json"
_LARGEST_OPTIMIZER = 2**20


@dataclass(frozen=True)
class Resumed:
    """Where a run stands when its workers start."""

    contents: StoreState
    metrics: TrainingMetrics = field(default_factory=TrainingMetrics)
    callbacks: dict[str, Any] = field(default_factory=dict)
    """The states of callbacks, by their `state_key`."""
    sampler: Any = None
    """The state of the serial engine's sampler, if it could be saved."""
    new: bool = True
    """Whether there is no checkpoint yet."""
    seconds: float = 0.0
    """Of training, so far."""
    wall_seconds: float = 0.0
    baseline: float | None = None
    reached_seconds: float | None = None
    solved: bool = False
    count: int = 0
    """How often environments were begun anew by resuming."""
    notes: tuple[str, ...] = ()
    """What the user must be told."""


def begin(directory: Path, worker_spec: "WorkerSpec", model: Any, optimizer: Any) -> Resumed:
    """The start of a new run; what its settings do not say of model and optimizer is written down.

    Args:
        directory: The run directory.
        worker_spec: What its workers do.
        model: The network with its first weights.
        optimizer: The user's own, or None for that of the settings.
    """
    from a3c.engines.updates import make_update
    from a3c.networks.functional import Network
    from a3c.networks.parameters import non_trainable_of, parameters_of

    _write_objects(directory, worker_spec, optimizer)
    network = Network(
        model, non_trainable_of(model), worker_spec.environment.observations, worker_spec.normaliser
    )
    _, state = make_update(worker_spec, backend.load(), network)
    return Resumed(StoreState(parameters_of(model), state))


def _write_objects(directory: Path, worker_spec: "WorkerSpec", optimizer: Any) -> None:
    """Write down a model and an optimizer of the user's own, which the settings do not describe."""
    from a3c.networks.saved_model import SerializedModel

    if isinstance(worker_spec.model, SerializedModel) and worker_spec.config.model is None:
        with replacing(directory / _MODEL) as temporary:
            temporary.write_bytes(worker_spec.model.content)
    if optimizer is not None:
        write_whole(directory / _OPTIMIZER, json.dumps(described(optimizer), indent=1))


def take_up(directory: Path, worker_spec: "WorkerSpec", model: Any, optimizer: Any) -> Resumed:
    """Where another run stood, whose checkpoint is in the new `directory`: its files begin here.

    Raises:
        UsageError: as `load`.
    """
    _write_objects(directory, worker_spec, optimizer)
    found = load(directory, worker_spec, model, optimizer, here=False)
    states = {name: state for name, state in found.callbacks.items() if name not in _FILES}
    return replace(found, callbacks=states, solved=False, reached_seconds=None)


_FILES = ("episodes.csv", "metrics.jsonl", "tensorboard")
"""Callbacks whose states are about files of a run directory."""


def load(
    directory: Path, worker_spec: "WorkerSpec", model: Any, optimizer: Any, here: bool = True
) -> Resumed:
    """Where the run in `directory` stood in its newest whole checkpoint.

    With `here` unset, that was in another directory.

    Raises:
        UsageError: if it has none that is whole, or it is of another environment or network.
    """
    files = checkpoint.Files(directory / checkpoint.FOLDER, worker_spec.config.keep_checkpoints)
    path, state, notes = checkpoint.newest(files, _checking(worker_spec, model))
    if path is None:
        run_directory.record_resumption(directory, worker_spec.config)
        note = "it was stopped before its first checkpoint: it begins anew"
        return replace(begin(directory, worker_spec, model, optimizer), notes=(note,))
    if changes := checkpoint.differences(state["about"], describe(worker_spec, model)):
        fix = "It differs in " + "; ".join(changes) + "."
        raise UsageError(f"checkpoint {path}", "one of this environment and network", fix)
    if here:
        run_directory.record_resumption(directory, worker_spec.config)
    history = _history(directory, state, notes) if here else EpisodeHistory()
    steps = state["store"]["steps"]
    exact = worker_spec.config.engine == "serial" and (state["sampler"] is not None or steps == 0)
    verb = "resumed" if here else "goes on"
    notes.append(f"{verb} at step {steps:,}" + ("" if exact else "; episodes begin anew"))
    return Resumed(
        contents=StoreState(**state["store"]),
        metrics=TrainingMetrics.restored(state["metrics"], history),
        callbacks=state["callbacks"],
        sampler=state["sampler"] if exact else None,
        new=False,
        seconds=state["seconds"],
        wall_seconds=state["wall_seconds"],
        baseline=state["baseline"],
        reached_seconds=state["reached_seconds"],
        solved=state["solved"] and worker_spec.config.stop_return == state["goal"],
        count=state["count"] + (not exact),
        notes=tuple(notes),
    )


def _checking(worker_spec: "WorkerSpec", model: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What a state is checked by: that it has what this run reads from it, in the shapes that it has here."""
    from a3c.engines.updates import make_update
    from a3c.networks.functional import Network
    from a3c.networks.parameters import non_trainable_of, parameters_of

    present = describe(worker_spec, model)
    observations, normaliser = worker_spec.environment.observations, worker_spec.normaliser
    network = Network(model, non_trainable_of(model), observations, normaliser)
    _, optimizer = make_update(worker_spec, backend.load(), network)
    size = parameters_of(model).size

    def widened(weights: Any) -> Any:
        if not isinstance(weights, np.ndarray) or weights.shape != (size - normaliser.size // 2,):
            return weights
        end = size - normaliser.size
        return np.concatenate([weights[:end], normaliser.widened(weights[end:])])

    def check(state: dict[str, Any]) -> dict[str, Any]:
        state = upgraded(state, widened)
        fits = not (isinstance(about := state.get("about"), dict) and checkpoint.differences(about, present))
        # Of another network, shapes say nothing: what differs is told instead.
        expected = state_of(size, optimizer) if fits else state_of(None, None)
        if wrong := find_wrong(state, expected):
            raise checkpoint.Damaged(wrong)
        return state

    return check


def _history(directory: Path, state: dict[str, Any], notes: list[str]) -> EpisodeHistory:
    """The rows of `episodes.csv` until the checkpoint, or as many as there still are."""
    path, episodes = directory / "episodes.csv", state["metrics"]["episodes"]
    history, found = EpisodeHistory(), 0
    with contextlib.suppress(OSError, ValueError):
        found = history.read(path, state["callbacks"].get("episodes.csv", {}).get("end", 0))
    if found != episodes:
        notes.append(f"{path} has {found} of the {episodes} episodes before the checkpoint")
    return history


def describe(worker_spec: "WorkerSpec", model: Any) -> dict[str, Any]:
    """What a checkpoint fits to: environment, network, optimizer."""
    environment = worker_spec.environment
    network = {}
    for variable in model.trainable_variables:
        # Keras numbers models by how many there were before; that number says nothing of the network.
        name = variable.path.replace(variable.path.split("/")[0], "network", 1)
        network[name] = list(map(int, variable.shape))
    return {
        "environment": environment.id,
        "observations": environment.observations.describe(),
        "actions": environment.actions.describe(),
        "algorithm": worker_spec.config.algorithm,
        "optimizer": worker_spec.optimizer.cls.__name__,
        **network,
    }


def load_model(directory: Path, config: Config) -> Any:
    """The model of the user's own that a run was given as an object; None where the settings describe it."""
    path = directory / _MODEL
    if config.model is not None or not os.path.lexists(path):
        return None
    run_directory.refuse_link(path)
    from a3c.networks import saved_model

    return saved_model.load_model(path)


def load_optimizer(directory: Path) -> Any:
    """The optimizer of the user's own that a run was given; None where the settings describe it.

    Raises:
        UsageError: if Keras cannot make it again in safe mode.
    """
    path = directory / _OPTIMIZER
    if not os.path.lexists(path):
        return None
    try:
        content = parse_json(read_plain(path, _LARGEST_OPTIMIZER))
    except (OSError, ValueError) as error:
        raise UsageError(f"optimizer in {path}", _OPTIMIZER_EXPECTED, f"{first_line(error)}.") from error
    return optimizer_of(content, f"optimizer in {path}")


_OPTIMIZER_EXPECTED = "one that Keras can make again in safe mode"


def described(optimizer: Any) -> dict[str, Any]:
    """An optimizer of the user's own as Keras describes it."""
    import keras

    with keras_saving():
        return keras.saving.serialize_keras_object(optimizer)


def optimizer_of(description: Any, where: str) -> Any:
    """The optimizer that `described` describes.

    Args:
        description: It.
        where: Where it was found, for errors.

    Raises:
        UsageError: if Keras cannot make it again in safe mode.
    """
    import keras

    try:
        if _is_more_than_an_optimizer(description):
            raise ValueError("It describes something else than an optimizer.")
        with keras_saving():
            found = keras.saving.deserialize_keras_object(description, safe_mode=True)
        if not isinstance(found, keras.optimizers.Optimizer):
            raise ValueError("It describes no optimizer.")
        return found
    except Exception as error:
        fix = f"{first_line(error)} Resume it from Python, with Agent(..., optimizer=...).fit(resume=...)."
        raise UsageError(where, _OPTIMIZER_EXPECTED, fix) from error


def _is_more_than_an_optimizer(tree: Any) -> bool:
    """Whether parts of Keras are described that are none of an optimizer: a model may be large."""
    if isinstance(tree, list):
        return any(map(_is_more_than_an_optimizer, tree))
    if not isinstance(tree, dict):
        return False
    module = str(tree.get("module"))
    foreign = module.startswith("keras") and ".optimizers" not in module
    return foreign or any(map(_is_more_than_an_optimizer, tree.values()))


def is_finite(contents: StoreState) -> bool:
    """Whether the parameters are numbers: no others are kept as a checkpoint."""
    return bool(np.isfinite(contents.weights).all())
