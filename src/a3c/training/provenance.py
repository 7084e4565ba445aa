"""What ran, where the settings do not say it: objects and code of the user's, settings without effect."""

import hashlib
import inspect
import json
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from a3c import algorithms
from a3c.config import Config
from a3c.envs import Environment
from a3c.spaces.distributions.gaussian import Gaussian

OF_OPTIMIZER = ("optimizer", "learning_rate")
"""Settings that an optimizer of the user's own takes the place of."""
OF_NETWORK = (
    "network",
    "hidden_units",
    "activation",
    "shared_tower",
    "lstm_units",
    "initial_deviation",
    "state_dependent_deviation",
)
"""Settings that a model of the user's own takes the place of."""


def replaced(own_model: bool, own_optimizer: bool) -> tuple[str, ...]:
    """The settings that say nothing of a run beside such objects."""
    return (OF_NETWORK if own_model else ()) + (OF_OPTIMIZER if own_optimizer else ())


def origins(environment: Environment, model: Any, optimizer: Any) -> dict[str, dict[str, Any]]:
    """Where environment, model and optimizer come from: tables of plain values, for `config.toml`.

    Args:
        environment: The run's.
        model: The user's own, or None.
        optimizer: The user's own, or None.
    """
    entry_point = environment.spec.entry_point
    tables = {"environment": _code_of(entry_point)}
    if model is not None:
        parameters = sum(math.prod(variable.shape) for variable in model.trainable_variables)
        tables["model"] = {**_code_of(type(model)), "parameters": parameters}
    if optimizer is not None:
        from a3c.training.resumption import described

        config = described(optimizer)["config"]
        tables["optimizer"] = {**_code_of(type(optimizer)), "config": json.dumps(config, default=str)}
    return tables


def _code_of(thing: Any) -> dict[str, Any]:
    """`module:name` of a class or an entry point, and its file by line and SHA-256, where that is known."""
    if isinstance(thing, str):
        module, _, name = thing.partition(":")
        thing = getattr(sys.modules.get(module), name, None) or thing
    if thing is None or isinstance(thing, str):
        return {"code": str(thing)}
    name = getattr(thing, "__qualname__", str(thing))
    found: dict[str, Any] = {"code": f"{thing.__module__}:{name}"}
    try:
        file = Path(inspect.getsourcefile(thing) or "")
        content = file.read_bytes()
    except (OSError, TypeError):  # of a program in C, a notebook, or what is no code
        return found
    # Searched for, since Python would parse the whole file.
    place = re.search(
        rb"^[ \t]*(class|def) " + re.escape(name.rpartition(".")[2].encode()) + rb"\b", content, re.M
    )
    line = {} if place is None else {"line": content.count(b"\n", 0, place.start()) + 1}
    return {**found, "file": file.name, **line, "sha256": hashlib.sha256(content).hexdigest()}


def without_effect(
    config: Config, environment: Environment, given: Iterable[str], own_model: bool, own_optimizer: bool
) -> list[str]:
    """A sentence for each setting that the user has given and that changes nothing in this run.

    Args:
        config: All settings.
        environment: The run's.
        given: Names of settings.
        own_model: Whether the model is the user's own.
        own_optimizer: Whether the optimizer is.
    """
    told = []
    continuous = isinstance(environment.actions, Gaussian)
    for name in given:
        why = ""
        owners = algorithms.owners(name)
        if owners and name not in algorithms.find(config.algorithm).settings.__dataclass_fields__:
            why = f"only {owners} have it, and this is {config.algorithm}"
        elif own_model and name in OF_NETWORK:
            why = "the model is your own"
        elif own_optimizer and name in OF_OPTIMIZER:
            why = "the optimizer is your own"
        elif name == "novelty_weight" and config.exploration != "rnd":
            why = "only --exploration rnd has it"
        elif name in ("action_bounds", "state_dependent_deviation") and not continuous:
            why = f"actions are {environment.actions.describe()}, not continuous"
        if why:
            told.append(f"{name.replace('_', '-')} has no effect: {why}")
    return told
