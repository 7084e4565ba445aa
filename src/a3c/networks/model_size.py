"""How large a model file's network is: found out before its weights are made.

A file of a few bytes can describe a layer of a billion units. So the network is first built without any
numbers, and refused as soon as it has many more weights than the file. Called by `saved_model`.
"""

import io
import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from a3c.utils import archives
from a3c.utils.json_text import parse_json

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_LARGEST_CONFIG = 2**22
_MOST_OBJECTS = 10_000
"""Layers, initializers and the like in a model's description."""
_FREE, _RATIO = 2**25, 2
"""A network may have so many bytes more than its weights in the file, and be so many times as large."""


def check(archive: zipfile.ZipFile, own: type | None, safe: bool) -> None:
    """Raise where an agent's file describes a network that is much larger than its weights.

    Args:
        archive: The file.
        own: The class of a model of the user's own.
        safe: Whether code in the file is refused.

    Raises:
        ValueError: for such a file.
        Exception: whatever Keras raises for a description that it cannot build.
    """
    content = archives.read_member(archive, CONFIG, _LARGEST_CONFIG)
    config = parse_json(content)
    if not isinstance(config, dict) or content.count(b'"class_name"') > _MOST_OBJECTS:
        raise ValueError(f"its {CONFIG} is no model of at most {_MOST_OBJECTS:,} parts")
    _check_parts(config)
    stored = _stored_bytes(archives.read_member(archive, WEIGHTS))
    try:
        with _without_numbers(_FREE + _RATIO * stored), _sharing_objects():
            keras.saving.deserialize_keras_object(
                {**config, "compile_config": None},
                custom_objects={own.__name__: own} if own else None,
                safe_mode=safe,
            )
    except Exception as error:
        # Layers of the user's own may make variables of numbers that they have; none of Keras' do, see below.
        if "in a stateless scope" not in str(error):
            raise


def _check_parts(config: Any) -> None:
    """Raise `ValueError` for parts of a description that may take much memory, and are no variables.

    These are very long lists, each of whose numbers may be a layer, and layers that keep a state of their own
    for a number of copies that the description names. No network of a3c's has either.
    """
    todo = [config]
    while todo:
        node = todo.pop()
        if isinstance(node, dict) and node.get("stateful"):
            raise ValueError("It has a layer that keeps a state of its own (stateful).")
        if isinstance(node, list) and len(node) > _MOST_OBJECTS:
            raise ValueError(f"its {CONFIG} has a list of {len(node):,} entries")
        todo += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _stored_bytes(content: bytearray) -> int:
    """The bytes of all weights in an HDF5 file, which has to hold each of them itself.

    Raises:
        ValueError: if it does not.
    """
    import h5py

    stored = 0

    def visit(name: str, node: Any) -> None:
        nonlocal stored
        if isinstance(node, h5py.Dataset):
            size = math.prod(node.shape or ()) * node.dtype.itemsize
            if node.external or node.is_virtual or size > max(2**12, node.id.get_storage_size()):
                raise ValueError(f"the weights {name} are not in the file")
            stored += size

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(visit)
    return stored


class _Budget(list):
    """Keras' list of variables without numbers, which raises as soon as they would take too many bytes."""

    def __init__(self, largest: int):
        super().__init__()
        self.left = largest

    def append(self, variable: Any) -> None:
        """Take in one that was just described."""
        self.left -= math.prod(variable.shape) * _ITEM_BYTES
        if self.left < 0:
            raise ValueError("too large")
        # What is asked for its value meanwhile needs a shape alone; others compute for long.
        variable._initializer = keras.initializers.Zeros()
        super().append(variable)


_ITEM_BYTES = 4
"""Of a number; those of 8 bytes are few in any network."""


@contextmanager
def _without_numbers(largest: int) -> Iterator[None]:
    """Let Keras make variables that have shapes alone.

    Raises:
        ValueError: where they would take more than so many bytes, whatever Keras makes of that.
    """
    from keras.src.backend.common import global_state

    name, budget = "uninitialized_variables", _Budget(largest)
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(name, budget)
    try:
        with keras.StatelessScope(initialize_variables=False), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        global_state.set_global_attribute(name, before)
        if budget.left < 0:
            limit = f"{largest / 2**20:,.0f} MiB"
            raise ValueError(
                f"Its network would take more than {limit}, which its weights in the file do not."
            )


@contextmanager
def bounded(model: keras.Model) -> Iterator[None]:
    """Let Keras make variables that have shapes alone, of not many more numbers than `model` has.

    Raises:
        ValueError: where there are more.
    """
    with _without_numbers(_FREE + _RATIO * _ITEM_BYTES * model.count_params()):
        yield


@contextmanager
def _sharing_objects() -> Iterator[None]:
    """As Keras reads a file: what is described twice with one number is one object."""
    from keras.src.saving.serialization_lib import ObjectSharingScope

    with ObjectSharingScope():
        yield
