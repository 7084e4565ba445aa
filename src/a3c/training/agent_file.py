"""An agent's file as `Agent` writes and reads it: its network, and what a training goes on from."""

import contextlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from a3c.config import FIELDS, Config
from a3c.errors import SettingError, UsageError
from a3c.networks import saved_model
from a3c.networks.functional import Network
from a3c.settings import may_be_none
from a3c.training import checkpoint, lookup, resumption
from a3c.training.continuation import Continuation
from a3c.utils import archives

_CHECKPOINT = "a3c_checkpoint.zip"
_OF_THE_MACHINE = ("env_id", "preset", "model", "save_dir", "backend", "cache")
"""Settings that say nothing of how was learned, or are given to `Agent` in another way."""


def write(
    path: Path,
    network: Network,
    settings: Mapping[str, Any],
    summary: Mapping[str, Any],
    optimizer: Any,
    continuation: Continuation | None,
) -> None:
    """Write an agent's file.

    Args:
        path: It.
        network: The agent's.
        settings: All those of its training.
        summary: What the training came to.
        optimizer: One of the user's own, or None.
        continuation: Where its training stands; None: it is not to go on.

    Raises:
        UsageError: for a path that is none.
        OSError: if it cannot be written.
    """
    if path.suffix != ".keras":
        raise UsageError(f"path {path}", "one ending in .keras")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"path {path}", "one in an existing directory")
    card = saved_model.describe(settings, network.model, None, summary.get("steps", 0), None)
    known = ("evaluation", "random_baseline", "solved", "episodes")
    card |= {name: summary[name] for name in known if name in summary}
    members = {}
    if optimizer is not None:
        card["optimizer"] = resumption.described(optimizer)
    if continuation is not None:
        card["continues"] = {"steps": continuation.steps, "episodes": continuation.episodes}
        members[_CHECKPOINT] = continuation.content
    saved_model.save_model(path, network, card, members)


@dataclass(frozen=True)
class Found:
    """What an agent's file holds.

    Attributes:
        path: It.
        card: Its card.
        env_id: The environment that the agent is for, or that the user has typed.
        model: Its network.
        optimizer: One of the user's own; None: that of the settings.
    """

    path: Path
    card: dict[str, Any]
    env_id: str
    model: Any
    optimizer: Any

    @property
    def settings(self) -> dict[str, Any]:
        """Those of its training, without what is of that machine."""
        given = self.card.get("settings")
        if not isinstance(given, dict) or "gamma" not in given:
            return saved_model.acting_settings(self.card)
        found = {name: given[name] for name in FIELDS if name in given}
        if self.card.get("format", 1) < 2:  # which left those out that were None
            found |= {
                name: None for name, field in FIELDS.items() if name not in given and may_be_none(field)
            }
        if found.get("engine") != "serial":
            found.pop("workers", None)
        return {name: value for name, value in found.items() if name not in _OF_THE_MACHINE}

    @property
    def scores(self) -> dict[str, Any]:
        """What is known of how good it is."""
        return saved_model.scores_in(self.card, self.env_id)

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Say where something does not fit that it is the file's."""
        try:
            yield
        except SettingError as error:
            expected = "settings that this a3c has"
            raise UsageError(f"model file {self.path}", expected, str(error)) from error
        except UsageError as error:
            trained = self.card.get("env_id")
            if not trained or trained == self.env_id:
                raise
            fix = f"It was trained on {trained}. {error.received} returned, {error.expected} expected."
            raise UsageError(f"model file {self.path}", f"a model for {self.env_id}", fix) from error

    def check_statistics(self, model: Any) -> None:
        """Raise `UsageError` where it has other statistics than `model` needs here."""
        saved_model.check_statistics(self.path, self.card, model)

    def continuation(self, config: Config, weights: np.ndarray) -> Continuation | None:
        """Where its training stands, by the file itself or the run directory that it is in; None: unknown.

        Args:
            config: The settings.
            weights: Those of the file, [P] float32.
        """
        if self.card.get("env_id") != self.env_id:
            return None
        until = self.card.get("continues")
        if until is None:
            return self._of_run(config, weights)
        with archives.opened(Path(os.path.realpath(self.path))) as archive:
            try:
                content = bytes(archives.read_member(archive, _CHECKPOINT))
            except (KeyError, zipfile.BadZipFile):
                return None
        return Continuation(content, config, until["steps"], until["episodes"], weights)

    def _of_run(self, config: Config, weights: np.ndarray) -> Continuation | None:
        folder = self.path.parent / checkpoint.FOLDER
        steps = None if folder.is_symlink() else checkpoint.newest_steps(folder)
        if steps is None:
            return None
        try:
            path = next(iter(checkpoint.Files(folder, 1)))
            episodes = checkpoint.read(path)["store"]["episodes"]
            return Continuation(path.read_bytes(), config, steps, int(episodes), weights)
        except (checkpoint.Damaged, OSError, KeyError, TypeError, ValueError):
            return None


def read(path: Path, env_id: str | None, model_class: str | None, unsafe: bool, trust: bool) -> Found:
    """What is in an agent's file, or in the best one of a run directory; see `Agent.load`.

    Raises:
        UsageError: if it cannot be loaded.
    """
    file = lookup.find_model(str(path), save_dir="runs") if path.is_dir() else path
    card = saved_model.read_card(file)
    model_class = saved_model.check_names(file, card, env_id, model_class, trust)
    env_id = env_id or card.get("env_id")
    if env_id is None:
        raise UsageError(f"model file {file}", "one that names its environment", "Give it with --env-id.")
    model = saved_model.load_model(file, model_class, unsafe)
    described = card.get("optimizer")
    optimizer = None if described is None else resumption.optimizer_of(described, f"model file {file}")
    return Found(file, card, env_id, model, optimizer)
