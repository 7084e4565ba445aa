"""Agents on disk: a `.keras` file that also says which environment it is for.

The file is an ordinary Keras model file with one more member, `a3c.json`. It is written whole or not at
all, and read in Keras' safe mode, so that a downloaded agent runs no code.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from a3c import backend, models
from a3c.errors import UsageError

CARD = "a3c.json"
FORMAT = 1


def save_model(path: Path, model: keras.Model, card: Mapping[str, Any]) -> None:
    """Write `model` and its `card` to `path`, replacing what was there in one step."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        with backend.load().saving():
            model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(CARD, json.dumps({"format": FORMAT, **card}))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_card(path: Path) -> dict[str, Any]:
    """The card of an agent's file; empty for a plain Keras model.

    Raises:
        UsageError: if the file is missing or no `.keras` file.
    """
    expected = "an agent saved by a3c, or a Keras model in a .keras file"
    if not path.is_file():
        raise UsageError(f"model file {path}", "an existing .keras file")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None or "config.json" not in archive.namelist():
                raise zipfile.BadZipFile("parts of it are damaged or missing")
            return json.loads(archive.read(CARD)) if CARD in archive.namelist() else {}
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise UsageError(f"model file {path}", expected, f"It cannot be read: {error}.") from error


def load_model(path: Path, model_class: str | None = None) -> keras.Model:
    """Load a model in safe mode.

    Args:
        path: A `.keras` file.
        model_class: `module:Class` of a model of the user's own; default: what the card says.

    Raises:
        UsageError: if the file cannot be loaded.
    """
    card = read_card(path)
    reference = model_class or card.get("model")
    own = models.import_model(reference) if reference else None
    try:
        with backend.load().saving():
            model = keras.models.load_model(
                path, custom_objects={own.__name__: own} if own else None, compile=False, safe_mode=True
            )
        assert isinstance(model, keras.Model)
        return model
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        fix = f"{reason}\nA model of your own is loaded with --model module:Class."
        raise UsageError(f"model file {path}", "a model that Keras can load in safe mode", fix) from error
