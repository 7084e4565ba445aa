"""Observations as one array each: how those of any supported Gymnasium space are packed, and what is in them.

All code between an environment and a network works on *packed* observations: one array of a fixed shape, of
bytes where the environment's are bytes, else of float32. A single `Box` is packed as it is. The parts of any
other space lie one after the other in a vector, images always with their channels last. `networks/inputs.py`
takes them apart again for the network.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from a3c.errors import UsageError

_MAX_CHOICES = 2**24
"""Of a Discrete space: float32 does not represent larger whole numbers exactly."""


@dataclass(frozen=True)
class Leaf:
    """One array of an observation.

    Attributes:
        kind: `vector`: numbers; `image`: [H, W, C] or [C, H, W] or [H, W]; `choices`: whole numbers that name
            one of several things each.
        shape: Of the array in the environment.
        scale: What its numbers are multiplied with: for bytes 1 by the largest, mostly 1/255.
        sizes: For `choices`: among how many things each number chooses.
        starts: For `choices`: the first of those numbers; packed they count from 0.
        dtype: In the environment.
    """

    kind: Literal["vector", "image", "choices"]
    shape: tuple[int, ...]
    scale: float = 1.0
    sizes: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def channels_first(self) -> bool:
        """Whether it is an image [C, H, W]."""
        return self.kind == "image" and len(self.shape) == 3 and self.shape[0] < self.shape[2]

    @property
    def packed_shape(self) -> tuple[int, ...]:
        """Its shape as it is packed: `shape`, but of images with the channels last."""
        return (*self.shape[1:], self.shape[0]) if self.channels_first else self.shape

    @property
    def seen_shape(self) -> tuple[int, ...]:
        """Its shape as the network sees it: images [H, W, C], anything else a vector."""
        if self.kind == "choices":
            return (sum(self.sizes),)
        if self.kind == "vector":
            return (self.size,)
        return (*self.shape, 1) if len(self.shape) == 2 else self.packed_shape


class ObservationMismatch(ValueError):
    """An observation of another shape than its space says."""


Tree = Leaf | dict[str, Any] | tuple[Any, ...]
"""A part, or a `dict` or `tuple` of trees, as the space has them."""


@dataclass(frozen=True)
class Observations:
    """The observations of one environment."""

    tree: Tree
    dtype: Literal["float32", "uint8"]
    """Of packed observations."""

    @property
    def plain(self) -> bool:
        """Whether the environment's own arrays are packed already."""
        part = self.tree
        return isinstance(part, Leaf) and not (
            part.kind == "choices" or part.channels_first or part.shape == ()
        )

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """*O, that of one packed observation."""
        if self.plain:
            assert isinstance(self.tree, Leaf)
            return self.tree.shape
        return (sum(part.size for part in leaves(self.tree)),)

    def pack(self, observations: Any) -> Any:
        """Observations of N copies, as a vector environment returns them, as one array [N, *shape].

        Raises:
            ObservationMismatch: where a part has another shape than its space.
        """
        if self.plain:
            return observations
        return self._joined(_pairs(self.tree, observations))

    def _joined(self, pairs: list[tuple[Leaf, Any]]) -> Any:
        """The arrays [N, …] of all parts, side by side in one array [N, size]."""
        rows = [_row(part, array, self.dtype) for part, array in pairs]
        return rows[0] if len(rows) == 1 else rows[0].__array_namespace__().concatenate(rows, -1)

    def restore(self, packed: np.ndarray) -> Any:
        """The opposite of `pack`: observations of N copies in the structure of the space."""
        if self.plain:
            return packed
        position = 0

        def take(part: Leaf) -> np.ndarray:
            nonlocal position
            position += part.size
            array = packed[:, position - part.size : position].reshape(-1, *part.packed_shape)
            array = (np.moveaxis(array, -1, 1) if part.channels_first else array).astype(part.dtype)
            return array + np.array(part.starts).reshape(part.shape) if any(part.starts) else array

        return map_parts(take, self.tree)

    def pack_any(self, observation: Any) -> tuple[np.ndarray, bool]:
        """One observation or a batch of them, packed [N, *shape], and whether it was a single one.

        Raises:
            ObservationMismatch: where it is neither.
        """
        pairs = _pairs(self.tree, observation)
        if any(np.asarray(array).dtype.kind not in "biuf" for _, array in pairs):
            raise ObservationMismatch("something that is no numbers")
        single = all(np.shape(array) == part.shape for part, array in pairs)
        if not (single or all(np.ndim(a) and np.shape(a)[1:] == part.shape for part, a in pairs)):
            shapes = ", ".join(str(np.shape(array)) for _, array in pairs)
            what = "an observation of shape" if len(pairs) == 1 else "parts of shapes"
            raise ObservationMismatch(f"{what} {shapes}")
        batch = [(part, np.asarray(array)[None] if single else np.asarray(array)) for part, array in pairs]
        return np.asarray(batch[0][1], self.dtype) if self.plain else self._joined(batch), single

    def describe(self) -> str:
        """In words, for people."""
        return _words(self.tree)


def describe_observations(space: gym.Space, env_id: str) -> Observations:
    """How observations of `space` are packed.

    Raises:
        UsageError: for a space that is not supported, by name.
    """
    tree = _tree(space, env_id)
    parts = leaves(tree)
    if not parts or any(part.size == 0 for part in parts):
        raise UsageError(f"{env_id} with observations {_brief(space)}", "at least one number in each part")
    return Observations(tree, "uint8" if all(part.dtype == "uint8" for part in parts) else "float32")


def leaves(tree: Tree) -> list[Leaf]:
    """The parts, in the order in which they are packed."""
    found: list[Leaf] = []
    map_parts(found.append, tree)
    return found


def map_parts(function: Callable[[Leaf], Any], tree: Tree) -> Any:
    """`tree` with what `function` makes of each part in its place, in the order of packing."""
    if isinstance(tree, Leaf):
        return function(tree)
    if isinstance(tree, dict):
        return {name: map_parts(function, branch) for name, branch in tree.items()}
    return tuple(map_parts(function, branch) for branch in tree)


def _tree(space: gym.Space, env_id: str, within: str = "") -> Tree:
    spaces = gym.spaces
    match space:
        case spaces.Dict():
            return {name: _tree(inner, env_id, f"{within}[{name!r}]") for name, inner in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_tree(inner, env_id, f"{within}[{k}]") for k, inner in enumerate(space.spaces))
        case spaces.Box():
            largest = int(space.high.max()) if space.dtype == np.uint8 and space.high.size else 0
            scale = 1 / largest if largest else 1.0
            kind = "image" if _is_image(space.shape) else "vector"
            return Leaf(kind, space.shape, scale, dtype=str(space.dtype))
        case spaces.Discrete() if space.n <= _MAX_CHOICES:
            return Leaf("choices", (), 1.0, (int(space.n),), (int(space.start),), "int64")
        case spaces.MultiDiscrete() if space.nvec.sum() <= _MAX_CHOICES:
            sizes, starts = space.nvec.ravel().tolist(), space.start.ravel().tolist()
            return Leaf("choices", space.shape, 1.0, tuple(sizes), tuple(starts), "int64")
        case spaces.MultiBinary():
            return Leaf("vector", tuple(space.shape), dtype="int8")
    raise UsageError(
        f"{env_id} with observations{within and f' {within}:'} {_brief(space)}",
        "Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these",
        _WRAPPERS.get(
            type(space).__name__, "gymnasium.wrappers.TransformObservation can make it one of those."
        ),
    )


_WRAPPERS = {
    "Text": "gymnasium.wrappers.TransformObservation can make an array of its letters.",
    "Sequence": "gymnasium.wrappers.TransformObservation can cut or fill it up to an array of one length.",
    "Graph": "gymnasium.wrappers.TransformObservation can make an array of its nodes and edges.",
}


def _is_image(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape is a picture: two long axes, and perhaps a short one for channels."""
    if len(shape) == 2:
        return min(shape) >= 8
    return len(shape) == 3 and sorted(shape)[1] >= 8


def _pairs(tree: Tree, observation: Any) -> list[tuple[Leaf, Any]]:
    """Each part with its array."""
    if isinstance(tree, Leaf):
        return [(tree, observation)]
    if isinstance(tree, dict):
        fits = isinstance(observation, dict) and set(observation) == set(tree)
        names, expected = list(tree), f"a dict of {', '.join(tree)}"
    else:
        fits = isinstance(observation, tuple | list) and len(observation) == len(tree)
        names, expected = range(len(tree)), f"a tuple of {len(tree)}"
    if not fits:
        raise ObservationMismatch(f"a {type(observation).__name__} in the place of {expected}")
    return [pair for name in names for pair in _pairs(tree[name], observation[name])]  # type: ignore[index]


def _row(part: Leaf, array: Any, dtype: str) -> Any:
    """The array [N, *shape] of one part as [N, size] of `dtype`."""
    if not hasattr(array, "__array_namespace__"):
        array = np.asarray(array)
    if array.shape[1:] != part.shape:
        raise ObservationMismatch(f"an observation of shape {array.shape[1:]}, expected {part.shape}")
    if any(part.starts):
        array = array - np.array(part.starts).reshape(part.shape)  # in integers, whose size has no bounds
    if part.channels_first:  # three times as fast as NumPy copies a `transpose`
        channels = [array[:, channel] for channel in range(part.shape[0])]
        array = array.__array_namespace__().stack(channels, axis=-1)
    return array.reshape(array.shape[0], -1).astype(dtype, copy=False)


def _words(tree: Tree) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{name}: {_words(branch)}" for name, branch in tree.items()) + "}"
    if isinstance(tree, tuple):
        return "(" + ", ".join(map(_words, tree)) + ")"
    size = " × ".join(map(str, tree.shape or (1,)))
    if tree.kind == "choices":
        return "one of " + " × ".join(map(str, tree.sizes))
    return f"{'images' if tree.kind == 'image' else 'vectors'} of {size}"


def _brief(space: gym.Space) -> str:
    if isinstance(space, gym.spaces.Box):
        return f"Box(shape={space.shape}, {space.dtype})"
    text = str(space)
    return text if len(text) <= 100 else f"{text[:100]}…"
