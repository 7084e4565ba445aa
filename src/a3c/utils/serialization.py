"""Plain trees: what checkpoints and crash reports hold without pickle, and how arrays are taken out of them.

A plain tree is None, bool, int, float, str, a NumPy array of numbers, or a list or a dict with texts as keys
of plain trees. Called by whatever writes state to disk.
"""

import base64
import io
from typing import Any

import numpy as np

_ARRAY = "$array"


def plain(tree: Any) -> Any:
    """The state of a bit generator, with NumPy's own numbers made Python's."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return tree.item() if isinstance(tree, np.generic) else tree


def pack(tree: Any) -> tuple[Any, list[np.ndarray]]:
    """`tree` with each array replaced by its number, fit for JSON, and the arrays.

    Raises:
        TypeError: for what is no plain tree.
    """
    arrays: list[np.ndarray] = []

    def visit(node: Any) -> Any:
        if node is None or type(node) in (bool, int, float, str):
            return node
        if isinstance(node, np.ndarray) and node.dtype.kind in "biufc":
            arrays.append(node)
            return {_ARRAY: len(arrays) - 1}
        if type(node) is dict and all(type(key) is str and key != _ARRAY for key in node):
            return {key: visit(value) for key, value in node.items()}
        if type(node) is list:
            return [visit(value) for value in node]
        raise TypeError(f"{type(node).__name__} in a plain tree")

    return visit(tree), arrays


def check_plain(tree: Any, what: str) -> None:
    """Raise `TypeError` where `tree` is no plain tree; `what` it is."""
    try:
        pack(tree)
    except TypeError as error:
        kinds = "None, bool, int, float, str, arrays of numbers, and lists and dicts of these"
        raise TypeError(f"{what} cannot be saved: {error}. It may have {kinds}, keys being texts.") from None


def unpack(skeleton: Any, arrays: list[np.ndarray]) -> Any:
    """The tree that `pack` took apart."""
    if isinstance(skeleton, dict):
        if set(skeleton) == {_ARRAY}:
            return arrays[skeleton[_ARRAY]]
        return {key: unpack(value, arrays) for key, value in skeleton.items()}
    if isinstance(skeleton, list):
        return [unpack(value, arrays) for value in skeleton]
    return skeleton


def to_bytes(array: np.ndarray) -> bytes:
    """One array in NumPy's `.npy` format, without pickle."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def from_bytes(content: bytes) -> np.ndarray:
    """The array of a `.npy` file.

    Raises:
        ValueError: for anything else, and for what would need pickle.
    """
    try:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (EOFError, OverflowError, MemoryError, SyntaxError) as error:
        raise ValueError(f"no array: {error}") from error


def to_json(tree: Any) -> dict[str, Any]:
    """A plain tree as one JSON value, its arrays in base64."""
    skeleton, arrays = pack(tree)
    return {"tree": skeleton, "arrays": [base64.b64encode(to_bytes(a)).decode("ascii") for a in arrays]}


def from_json(value: dict[str, Any]) -> Any:
    """The tree of `to_json`.

    Raises:
        ValueError, KeyError, TypeError: for anything else.
    """
    return unpack(value["tree"], [from_bytes(base64.b64decode(text)) for text in value["arrays"]])
