"""Out of an environment: every object that can be reached, described by a node."""

import enum
import functools
import random
import types
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv

from a3c.envs.state.objects import (
    BASES,
    BIG,
    BIT_GENERATORS,
    BY_KIND,
    CODE,
    CONTAINERS,
    DESCRIPTIONS,
    DICTS,
    INLINE,
    SYSTEM,
    Unsaveable,
    attributes_of,
    class_name,
    code_name,
    dtype_text,
    has_hooks,
    is_code,
    is_reshaped,
    method_of,
    module_data,
    module_of,
    offset_in,
    plain_copy,
    python_base,
    random_state,
    root_of,
)
from a3c.utils import serialization as trees


class Walk:
    """Visits all that can be reached from `root`, breadth first, and describes each object by a node.

    Args:
        root: Where to begin.
        strict: Raise `Unsaveable` for what cannot be read, rather than passing over it.
    """

    def __init__(self, root: Any, strict: bool = True):
        self.nodes: list[dict[str, Any]] = []
        self.objects: list[Any] = []  # also keeps them alive, so that their ids stay theirs
        self.homes: dict[int, tuple | None] = {}
        """The paths of module data met, by id; None for what is no constant."""
        self.data: list[Any] = []
        self.strict = strict
        self._indices: dict[int, int] = {}
        self._origins: list[tuple[int, str, Any]] = []
        self._modules: set[str] = set()
        self._encoders: dict[type, Callable] = {}
        self.refer(root, -1)
        for at, thing in enumerate(self.objects):  # the list grows under way
            self.nodes.append(self._encode(at, thing))

    def refer(self, value: Any, parent: int, label: str = "", key: Any = None) -> Any:
        """How a node says `value`: itself if it is plain, or the number of its own node."""
        cls = type(value)
        if cls in INLINE and (cls is not int or -BIG < value < BIG):
            return value
        index = self._indices.get(id(value))
        if index is None:
            index = self._indices[id(value)] = len(self.objects)
            self.objects.append(value)
            self._origins.append((parent, label, key))
        return [index]

    def enter(self, cls: type) -> None:
        """Take notice of the data of the module that `cls` belongs to."""
        if (module := module_of(cls)) in self._modules:
            return
        self._modules.add(module)
        # Large tables are not worth the time in a capture; in a fresh environment all must be known.
        for value, path in module_data(module, 3000 if self.strict else 10**6):
            self.data.append(value)
            if self.homes.get(id(value)) is None:
                self.homes[id(value)] = path

    def refuse(self, at: int, why: str = "whose state cannot be read") -> dict[str, Any]:
        """Raise `Unsaveable` for object number `at`."""
        if not self.strict:
            return {"kind": "opaque"}
        if self._origins[at][2] == "this":  # a SWIG proxy's pointer: name the proxy
            at = self._origins[at][0]
        where, environment = self._where(at)
        raise Unsaveable(where, type(self.objects[at]).__name__, environment, why)

    def _encode(self, at: int, thing: Any) -> dict[str, Any]:
        cls = type(thing)
        encoder = self._encoders.get(cls)
        if encoder is None:
            encoder = self._encoders[cls] = _encoder(thing)
        node = encoder(self, at, thing)
        home = self.homes.get(id(thing))
        if home is not None and at:
            node["home"] = list(home)
        return node

    def _where(self, at: int) -> tuple[str, str]:
        """The path of object number `at`, and the name of the environment that holds it."""
        path, environment = "", ""
        while at >= 0:
            parent, label, key = self._origins[at]
            thing = self.objects[at]
            if isinstance(thing, (gym.Env, VectorEnv)) and not environment:
                spec = getattr(thing, "spec", None)
                environment = spec.id if isinstance(spec, EnvSpec) else type(thing).__name__
            if isinstance(thing, gym.Env) and not isinstance(thing, gym.Wrapper) and key == "env":
                while key == "env":  # through the wrappers
                    at = parent
                    parent, label, key = self._origins[at]
                path = f".unwrapped{path}"
            path = label.format(key=key) + path
            at = parent
        return path.removeprefix("."), environment


_ATTRIBUTE, _ITEM, _INSIDE = ".{key}", "[{key!r}]", ""


def _encoder(thing: Any) -> Callable[[Walk, int, Any], dict[str, Any]]:
    """The function that describes objects of the type of `thing`."""
    cls = type(thing)
    if cls in _ENCODERS:
        return _ENCODERS[cls]
    for base, encoder in _FAMILIES:
        if issubclass(cls, base):
            return encoder
    if has_hooks(thing):
        return _encode_hook
    base = None if module_of(cls).partition(".")[0] in SYSTEM else python_base(cls)
    if base is None:
        return _encode_code if is_code(thing) else _refuse
    return _encode_object if BASES[base] == "object" else functools.partial(_encode_subclass, base)


def _refuse(walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    return walk.refuse(at)


def _encode_items(kind: str, walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    base, refer = BY_KIND[kind], walk.refer
    items = [refer(each, at, _ITEM, i) for i, each in enumerate(base.__iter__(thing))]
    node: dict[str, Any] = {"kind": kind, "items": items}
    if kind == "deque":
        node["maxlen"] = thing.maxlen
    if kind == "frozenset" and any(_hashes_itself(each) for each in thing):
        return walk.refuse(at, "whose elements hash themselves")
    return node


def _hashes_itself(thing: Any) -> bool:
    """Whether a hash may depend on attributes, which are restored after frozen sets are made."""
    cls = type(thing)
    return cls not in BASES and python_base(cls) is not None and cls.__hash__ is not object.__hash__


def _encode_dict(kind: str, walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    pairs, refer = BY_KIND[kind].items(thing), walk.refer
    node: dict[str, Any] = {"kind": kind, "keys": [], "values": []}
    for key, value in pairs:
        node["keys"].append(refer(key, at, _INSIDE))
        node["values"].append(refer(value, at, _ITEM, key))
    if kind == "defaultdict":
        node["factory"] = refer(thing.default_factory, at, _ATTRIBUTE, "default_factory")
    return node


def _encode_object(walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    walk.enter(type(thing))
    refer, attributes = walk.refer, attributes_of(thing)
    if not all(type(name) is str and name != "$array" for name in attributes):
        return walk.refuse(at, "with attributes that have no proper names")
    described = {name: refer(value, at, _ATTRIBUTE, name) for name, value in attributes.items()}
    return {"kind": "object", "class": class_name(type(thing)), "attributes": described}


def _encode_subclass(base: type, walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    """An instance of a class that extends a container."""
    node = _encode_object(walk, at, thing)
    if base in (tuple, frozenset) and node.get("attributes"):
        return walk.refuse(at, "which has attributes of its own")
    return node | _ENCODERS[base](walk, at, thing)


def _encode_hook(walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    walk.enter(type(thing))
    node = {"kind": "hook", "class": class_name(type(thing))}
    if not walk.strict:
        return node
    try:
        skeleton, arrays = trees.pack(thing.state_dict())
    except TypeError as error:
        return walk.refuse(at, f"whose state_dict() is no plain tree: {error}")
    return node | {"tree": trees.unpack(skeleton, [array.copy() for array in arrays])}


def _encode_code(walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    return {"kind": "code", "name": code_name(thing)}


def _encode_description(walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    return {"kind": "description"}


def _encode_method(walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    owner = thing.__self__
    if method_of(owner, thing.__name__) is None or isinstance(owner, (*CODE, *DESCRIPTIONS)):
        return _encode_code(walk, at, thing)
    return {"kind": "method", "self": walk.refer(owner, at, _ATTRIBUTE, "__self__"), "name": thing.__name__}


def _encode_enum(walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    walk.enter(type(thing))
    node = {"kind": "enum", "class": class_name(type(thing))}
    if thing.name in type(thing).__members__:
        return node | {"name": thing.name}
    return node | {"value": thing.value} if type(thing.value) is int else walk.refuse(at)


def _encode_array(walk: Walk, at: int, array: np.ndarray) -> dict[str, Any]:
    text, root = dtype_text(array.dtype), root_of(array)
    if text is None:
        return walk.refuse(at, f"whose numbers are of the type {array.dtype}, which cannot be written down")
    flags = {} if array.flags.writeable else {"readonly": True}
    if root is not array:
        if array.dtype.hasobject and not is_reshaped(array, root):
            return walk.refuse(at, "which is a part of an array of objects")
        node = {
            "kind": "view",
            "of": walk.refer(root, at, _ATTRIBUTE, "base"),
            "offset": offset_in(array, root),
        }
        return node | {"shape": list(array.shape), "strides": list(array.strides), "dtype": text} | flags
    if array.base is not None and array.flags.writeable and not isinstance(array.base, (bytes, bytearray)):
        return walk.refuse(at, f"whose memory belongs to a {type(array.base).__name__}")
    if array.dtype.hasobject:
        items = [walk.refer(each, at, _ITEM, i) for i, each in enumerate(array.ravel().tolist())]
        return {"kind": "objects", "shape": list(array.shape), "items": items} | flags
    node: dict[str, Any] = {"kind": "array"} | flags
    if not array.flags.c_contiguous:
        axes = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
        node["axes"], array = axes, array.transpose(axes)
    data = np.array(array, order="C")
    if data.dtype.kind in "biufc":
        return node | {"data": data}
    return node | {"npy": np.frombuffer(trees.to_bytes(data), np.uint8)}


def _encode_scalar(walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    if isinstance(thing, np.str_):
        return {"kind": "text", "text": str(thing)}
    if isinstance(thing, np.bytes_):
        return {"kind": "raw", "hex": thing.hex()}
    text = None if isinstance(thing, (np.void, np.object_)) else dtype_text(thing.dtype)
    return {"kind": "scalar", "dtype": text, "hex": thing.tobytes().hex()} if text else walk.refuse(at)


def _encode_dtype(walk: Walk, at: int, thing: np.dtype) -> dict[str, Any]:
    text = dtype_text(thing)
    return {"kind": "dtype", "name": text} if text else _encode_code(walk, at, thing)


def _encode_generator(walk: Walk, at: int, thing: np.random.Generator) -> dict[str, Any]:
    return {"kind": "Generator", "bits": walk.refer(thing.bit_generator, at, _ATTRIBUTE, "bit_generator")}


def _encode_bits(walk: Walk, at: int, thing: Any) -> dict[str, Any]:
    seeds = thing.seed_seq if type(thing.seed_seq) is np.random.SeedSequence else None
    node = {"kind": "bits", "name": type(thing).__name__, "state": plain_copy(thing.state)}
    return node | {"seeds": walk.refer(seeds, at, _ATTRIBUTE, "seed_seq")}


def _encode_seeds(walk: Walk, at: int, thing: np.random.SeedSequence) -> dict[str, Any]:
    entropy = thing.entropy
    if entropy is not None and not isinstance(entropy, (int, np.integer)):
        entropy = np.asarray(entropy).tolist()
    fields = dict(entropy=entropy, spawn_key=list(thing.spawn_key), pool_size=thing.pool_size)
    return {"kind": "seeds"} | plain_copy(fields) | {"n_children_spawned": int(thing.n_children_spawned)}


def _encode_legacy(walk: Walk, at: int, thing: np.random.RandomState) -> dict[str, Any]:
    state = plain_copy(thing.get_state(legacy=False))
    return (
        {"kind": "RandomState", "state": state}
        if state["bit_generator"] in BIT_GENERATORS
        else walk.refuse(at)
    )


_ENCODERS: dict[type, Callable[[Walk, int, Any], dict[str, Any]]] = {
    **{base: functools.partial(_encode_dict, base.__name__) for base in DICTS},
    **{base: functools.partial(_encode_items, base.__name__) for base in CONTAINERS if base not in DICTS},
    **dict.fromkeys(BIT_GENERATORS.values(), _encode_bits),
    bytes: lambda walk, at, thing: {"kind": "bytes", "hex": thing.hex()},
    bytearray: lambda walk, at, thing: {"kind": "bytearray", "hex": thing.hex()},
    complex: lambda walk, at, thing: {"kind": "complex", "parts": [thing.real, thing.imag]},
    int: lambda walk, at, thing: {"kind": "int", "hex": hex(thing)},
    range: lambda walk, at, thing: {
        "kind": "range",
        "parts": [hex(n) for n in (thing.start, thing.stop, thing.step)],
    },
    slice: lambda walk, at, thing: {
        "kind": "slice",
        "parts": [walk.refer(part, at, _INSIDE) for part in (thing.start, thing.stop, thing.step)],
    },
    np.ndarray: _encode_array,
    np.random.Generator: _encode_generator,
    np.random.RandomState: _encode_legacy,
    np.random.SeedSequence: _encode_seeds,
    random.Random: lambda walk, at, thing: {"kind": "Random", "state": random_state(thing)},
    types.MethodType: _encode_method,
    types.BuiltinFunctionType: _encode_method,
}
_FAMILIES: list[tuple[Any, Callable[[Walk, int, Any], dict[str, Any]]]] = [
    (np.generic, _encode_scalar),
    (np.dtype, _encode_dtype),
    (enum.Enum, _encode_enum),
    (DESCRIPTIONS, _encode_description),
    (CODE, _encode_code),
]
