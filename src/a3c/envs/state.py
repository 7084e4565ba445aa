"""The state of environments as plain trees: taken out of running copies, put into freshly made ones.

A captured state is a list of numbered nodes, one per object; a list of one number refers to a node. So shared
references, cycles and views of arrays stay what they are. `restore` fills the objects of the fresh
environment in place where it can. It imports nothing, and makes new objects without calling their
constructors, only of classes that belong to the environment. Called by whatever writes samplers to disk, and
by `continuity`.

What it cannot see: variables of closures, module and class variables that no instance refers to, and the
order of a set after many removals.
"""

import ast
import collections
import contextlib
import enum
import functools
import logging
import random
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv
from numpy.lib import format as npy

from a3c import tree as trees
from a3c.errors import A3CError, describe

_VERSION = 1
_INLINE = frozenset([type(None), bool, int, float, str])
_BIG = 2**1000  # Python refuses to write much longer ones as decimals, which is what JSON does
_BIT_GENERATORS = {
    name: getattr(np.random, name) for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
}
_RANDOM = (np.random.Generator, np.random.RandomState, random.Random)
_DICTS: tuple[Any, ...] = (collections.OrderedDict, collections.defaultdict, dict)
_CONTAINERS: tuple[Any, ...] = (*_DICTS, list, set, collections.deque, tuple, frozenset)
_BASES: dict[Any, str] = {base: base.__name__ for base in _CONTAINERS} | {
    types.SimpleNamespace: "object",
    object: "object",
}
_BY_KIND: dict[str, Any] = {kind: base for base, kind in _BASES.items()}
_DESCRIPTIONS = (EnvSpec, WrapperSpec, logging.Logger, logging.Handler)
_CODE: tuple[type, ...] = (
    *(types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type, functools.partial, np.ufunc),
    *(types.MethodWrapperType, types.WrapperDescriptorType, types.MethodDescriptorType, property),
    *(types.ClassMethodDescriptorType, types.GenericAlias, types.UnionType, typing.TypeVar),
    *(type(np.mean), type(Ellipsis), type(NotImplemented), type(typing.Any), type(typing.Optional[int])),  # noqa: UP045
)
_HARMLESS_CODE = {
    f"builtins:{cls.__qualname__}": cls for cls in (int, float, bool, str, bytes, list, dict, set, tuple)
}
_HARMLESS_CLASSES: dict[str, type] = {
    "collections:Counter": collections.Counter,
    "types:SimpleNamespace": types.SimpleNamespace,
}
# Written in Python, but what they stand for is in the operating system.
_SYSTEM = frozenset(
    (
        "asyncio",
        "concurrent",
        "ctypes",
        "mmap",
        "multiprocessing",
        "queue",
        "selectors",
        "socket",
        "sqlite3",
        "subprocess",
        "threading",
    )
)
_HEAP_TYPE = 1 << 9
_POINTER = np.dtype(np.intp).itemsize
_NOTHING: Any = object()


class Unsaveable(A3CError):
    """An environment holds what cannot be written down, or a state what cannot be made again.

    Args:
        where: The path of attributes from the environment, such as `envs[3].unwrapped.world`.
        what: The type of what is there.
        environment: The id of the environment that holds it, if known.
        why: The end of the sentence.
    """

    def __init__(self, where: str, what: str, environment: str = "", why: str = "whose state cannot be read"):
        self.where, self.what, self.environment = where, what, environment
        short = where.rpartition("unwrapped")[2] if "unwrapped" in where else where
        short = short if not short or short[0] in ".[" else f".{short}"
        article = "an" if what[:1].lower() in "aeiou" else "a"
        subject = f"{environment}: {short or 'it'}" if environment else short or "something in the state"
        super().__init__(f"{subject} is {article} {what}, {why}")


def capture(env: gym.Env | VectorEnv) -> dict[str, Any]:
    """The state of `env` as a plain tree, which shares nothing with it.

    An environment with `state_dict() -> plain tree` and `load_state_dict(tree)` is asked; others are walked.

    Raises:
        Unsaveable: if some of it cannot be read.
    """
    try:
        return {"version": _VERSION, "nodes": _Walk(env).nodes}
    except Unsaveable:
        raise
    except Exception as error:  # foreign objects may do anything when they are looked at
        why = f"some of which cannot be looked at: {describe(error)}"
        raise Unsaveable("", type(env.unwrapped).__name__, why=why) from error


def restore(env: gym.Env | VectorEnv, tree: dict[str, Any]) -> None:
    """Put the state `tree` into `env`, a freshly made environment of the same kind that was reset once.

    Raises:
        ValueError: if `tree` is not the state of such an environment. Nothing has changed then, unless a
            generator or the environment's own `load_state_dict` refused.
        Unsaveable: if it would need objects of classes that are not the environment's.
    """
    try:
        if tree["version"] != _VERSION:
            raise ValueError(f"version {tree['version']}, not {_VERSION}")
        _Restoration(env, tree["nodes"]).run()
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"This is not the state of such an environment: {error}") from error


def capture_globals() -> dict[str, Any]:
    """The state of the module-level generators of `random` and `numpy.random`, as a plain tree."""
    return {"random": _random_state(random), "numpy": _plain(np.random.get_state(legacy=False))}


def restore_globals(tree: dict[str, Any]) -> None:
    """Put back what `capture_globals` returned.

    Raises:
        ValueError: for anything else.
    """
    try:
        _set_random_state(random, tree["random"])
        np.random.set_state(_plain(tree["numpy"]))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"This is not the state of the global generators: {error}") from error


# --- Looking at objects -------------------------------------------------------


def _module(cls: type) -> str:
    """Where a class was made; types of C code need not say."""
    return str(getattr(cls, "__module__", ""))


def _name(cls: type) -> str:
    return f"{_module(cls)}:{cls.__qualname__}"


def _code_name(thing: Any) -> str:
    """A name by which code in one process is recognised in another."""
    if isinstance(thing, functools.partial):
        return f"partial {_code_name(thing.func)}"
    if isinstance(thing, types.ModuleType):
        return f"module {thing.__name__}"
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    return f"{getattr(thing, '__module__', None)}:{name or type(thing).__qualname__}"


def _is_code(thing: Any) -> bool:
    return isinstance(thing, _CODE) or (callable(thing) and "__wrapped__" in dir(type(thing)))


@functools.cache
def _slots(cls: type) -> dict[str, Any]:
    """The descriptors of the slots of `cls`, by name."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        for name, member in vars(base).items():
            if type(member) is types.MemberDescriptorType and base not in _BASES:
                found.setdefault(name, member)
    return found


@functools.cache
def _python_base(cls: type) -> Any:
    """Which of `_BASES` the class extends in Python alone; None if part of its instances lives in C."""
    built_in = [base for base in cls.__mro__ if base in _BASES or not base.__flags__ & _HEAP_TYPE]
    base = built_in[0]
    if base not in _BASES or any(other not in base.__mro__ for other in built_in):
        return None
    size = base.__basicsize__ + _POINTER * len(_slots(cls))
    size += _POINTER * (cls.__dictoffset__ > 0 and not base.__dictoffset__)
    size += _POINTER * (cls.__weakrefoffset__ > 0 and not base.__weakrefoffset__)
    # The test of Python's own pickle: an instance bigger than its slots has fields that only C knows.
    return base if base.__itemsize__ or cls.__basicsize__ <= size else None


def _attributes(thing: Any) -> dict[str, Any]:
    """The attributes of one instance, from its dictionary and its slots."""
    found = dict(getattr(thing, "__dict__", ()))
    for name, member in _slots(type(thing)).items():
        with contextlib.suppress(AttributeError):  # an empty slot
            found[name] = member.__get__(thing)
    for name in _kept(thing):
        found.pop(name, None)
    return found


def _kept(thing: Any) -> tuple[str, ...]:
    """Attributes that describe how an object was made; a fresh one has them."""
    return ("_saved_kwargs", "_cached_spec") if isinstance(thing, RecordConstructorArgs) else ()


def _has_hooks(thing: Any) -> bool:
    cls = type(thing)
    ours = isinstance(thing, (gym.Env, VectorEnv))
    return (
        ours
        and callable(getattr(cls, "state_dict", None))
        and callable(getattr(cls, "load_state_dict", None))
    )


def _root(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory of `array`, as far as arrays are concerned."""
    base = array.base
    while base is not None:
        if isinstance(base, np.ndarray):
            array = base
        elif type(base).__name__ != "DummyArray":  # what as_strided puts in between
            break
        base = base.base
    return array


def _layout(array: np.ndarray) -> tuple:
    """Equal for arrays that lie in memory alike; strides of axes of length one mean nothing."""
    strides = tuple(s if n > 1 else 0 for n, s in zip(array.shape, array.strides, strict=True))
    return array.dtype, array.shape, strides


def _is_reshaped(view: np.ndarray, root: np.ndarray) -> bool:
    return view.size == root.size and view.flags.c_contiguous and root.flags.c_contiguous


def _offset(view: np.ndarray, root: np.ndarray) -> int:
    return view.__array_interface__["data"][0] - root.__array_interface__["data"][0]


@functools.lru_cache(256)
def _dtype_text(dtype: np.dtype) -> str | None:
    """A dtype as text; None if it cannot be told so."""
    if dtype.kind == "O":
        return "object"
    try:
        text = repr(npy.dtype_to_descr(dtype))
        return text if not dtype.hasobject and _dtype(text) == dtype else None
    except (TypeError, ValueError, UserWarning):
        return None


def _dtype(text: str) -> np.dtype:
    return np.dtype(object) if text == "object" else npy.descr_to_dtype(ast.literal_eval(text))


def _plain(value: Any) -> Any:
    """A deep copy of a generator's state with NumPy's numbers as Python's."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return (
        value.item()
        if isinstance(value, np.generic)
        else value.copy()
        if isinstance(value, np.ndarray)
        else value
    )


def _random_state(generator: Any) -> dict[str, Any]:
    version, words, gauss = generator.getstate()
    return {"version": version, "words": np.array(words, np.uint32), "gauss": gauss}


def _set_random_state(generator: Any, state: dict[str, Any]) -> None:
    generator.setstate((state["version"], tuple(state["words"].tolist()), state["gauss"]))


def _module_data(module: str, limit: int) -> Iterator[tuple[Any, tuple | None]]:
    """What can change of the data of one module, and its path if it is a constant by its name.

    An environment's attribute may refer to such an object: `self.level = LEVELS[2]`. It must not be filled
    with the content of another.
    """
    if module not in sys.modules or module.partition(".")[0] in {*sys.stdlib_module_names, "numpy"} - {
        "__main__"
    }:
        return
    queue: collections.deque[tuple[Any, tuple, bool]] = collections.deque()
    for name, value in list(vars(sys.modules[module]).items()):
        if isinstance(value, type) and _module(value) == module:
            queue += [
                (v, (module, name, n), n.isupper()) for n, v in list(vars(value).items()) if n[:2] != "__"
            ]
        elif name[:2] != "__":
            queue.append((value, (module, name), name.isupper()))
    for _ in range(limit):
        if not queue:
            return
        value, path, constant = queue.popleft()
        cls = type(value)
        if cls in _INLINE or isinstance(value, (*_CODE, gym.Env, VectorEnv, gym.Space)):
            continue
        base = _python_base(cls)
        if base is None and not isinstance(value, (np.ndarray, *_RANDOM)):
            continue
        if cls not in (tuple, frozenset):
            yield value, path if constant else None
        if len(path) < 6 and base is not None:
            queue += [(v, (*path, k), constant) for k, v in _parts(value, base)]


def _parts(value: Any, base: type) -> list[tuple[Any, Any]]:
    """The parts of a container or an object, with plain keys."""
    if base in (list, tuple, collections.deque):
        return list(enumerate(value))
    pairs = base.items(value) if base in _DICTS else getattr(value, "__dict__", {}).items()
    return [(key, part) for key, part in pairs if type(key) in (str, int)]


# --- Out of the environment ---------------------------------------------------


class _Walk:
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
        if cls in _INLINE and (cls is not int or -_BIG < value < _BIG):
            return value
        index = self._indices.get(id(value))
        if index is None:
            index = self._indices[id(value)] = len(self.objects)
            self.objects.append(value)
            self._origins.append((parent, label, key))
        return [index]

    def enter(self, cls: type) -> None:
        """Take notice of the data of the module that `cls` belongs to."""
        if (module := _module(cls)) in self._modules:
            return
        self._modules.add(module)
        # Large tables are not worth the time in a capture; in a fresh environment all must be known.
        for value, path in _module_data(module, 3000 if self.strict else 10**6):
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


def _encoder(thing: Any) -> Callable[[_Walk, int, Any], dict[str, Any]]:
    """The function that describes objects of the type of `thing`."""
    cls = type(thing)
    if cls in _ENCODERS:
        return _ENCODERS[cls]
    for base, encoder in _FAMILIES:
        if issubclass(cls, base):
            return encoder
    if _has_hooks(thing):
        return _encode_hook
    base = None if _module(cls).partition(".")[0] in _SYSTEM else _python_base(cls)
    if base is None:
        return _encode_code if _is_code(thing) else _refuse
    return _encode_object if _BASES[base] == "object" else functools.partial(_encode_subclass, base)


def _refuse(walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    return walk.refuse(at)


def _encode_items(kind: str, walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    base, refer = _BY_KIND[kind], walk.refer
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
    return cls not in _BASES and _python_base(cls) is not None and cls.__hash__ is not object.__hash__


def _encode_dict(kind: str, walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    pairs, refer = _BY_KIND[kind].items(thing), walk.refer
    node: dict[str, Any] = {"kind": kind, "keys": [], "values": []}
    for key, value in pairs:
        node["keys"].append(refer(key, at, _INSIDE))
        node["values"].append(refer(value, at, _ITEM, key))
    if kind == "defaultdict":
        node["factory"] = refer(thing.default_factory, at, _ATTRIBUTE, "default_factory")
    return node


def _encode_object(walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    walk.enter(type(thing))
    refer, attributes = walk.refer, _attributes(thing)
    if not all(type(name) is str and name != "$array" for name in attributes):
        return walk.refuse(at, "with attributes that have no proper names")
    described = {name: refer(value, at, _ATTRIBUTE, name) for name, value in attributes.items()}
    return {"kind": "object", "class": _name(type(thing)), "attributes": described}


def _encode_subclass(base: type, walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    """An instance of a class that extends a container."""
    node = _encode_object(walk, at, thing)
    if base in (tuple, frozenset) and node.get("attributes"):
        return walk.refuse(at, "which has attributes of its own")
    return node | _ENCODERS[base](walk, at, thing)


def _encode_hook(walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    walk.enter(type(thing))
    node = {"kind": "hook", "class": _name(type(thing))}
    if not walk.strict:
        return node
    try:
        skeleton, arrays = trees.pack(thing.state_dict())
    except TypeError as error:
        return walk.refuse(at, f"whose state_dict() is no plain tree: {error}")
    return node | {"tree": trees.unpack(skeleton, [array.copy() for array in arrays])}


def _encode_code(walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    return {"kind": "code", "name": _code_name(thing)}


def _encode_description(walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    return {"kind": "description"}


def _encode_method(walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    owner = thing.__self__
    if _method(owner, thing.__name__) is None or isinstance(owner, (*_CODE, *_DESCRIPTIONS)):
        return _encode_code(walk, at, thing)
    return {"kind": "method", "self": walk.refer(owner, at, _ATTRIBUTE, "__self__"), "name": thing.__name__}


def _method(owner: Any, name: str) -> Any:
    """The method `name` of an object, found without running code of its class; None if there is none."""
    found = next((vars(base)[name] for base in type(owner).__mro__ if name in vars(base)), None)
    if isinstance(found, types.FunctionType):
        return types.MethodType(found, owner)
    return getattr(owner, name) if isinstance(owner, _RANDOM) and callable(found) else None


def _encode_enum(walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    walk.enter(type(thing))
    node = {"kind": "enum", "class": _name(type(thing))}
    if thing.name in type(thing).__members__:
        return node | {"name": thing.name}
    return node | {"value": thing.value} if type(thing.value) is int else walk.refuse(at)


def _encode_array(walk: _Walk, at: int, array: np.ndarray) -> dict[str, Any]:
    text, root = _dtype_text(array.dtype), _root(array)
    if text is None:
        return walk.refuse(at, f"whose numbers are of the type {array.dtype}, which cannot be written down")
    flags = {} if array.flags.writeable else {"readonly": True}
    if root is not array:
        if array.dtype.hasobject and not _is_reshaped(array, root):
            return walk.refuse(at, "which is a part of an array of objects")
        node = {
            "kind": "view",
            "of": walk.refer(root, at, _ATTRIBUTE, "base"),
            "offset": _offset(array, root),
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


def _encode_scalar(walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    if isinstance(thing, np.str_):
        return {"kind": "text", "text": str(thing)}
    if isinstance(thing, np.bytes_):
        return {"kind": "raw", "hex": thing.hex()}
    text = None if isinstance(thing, (np.void, np.object_)) else _dtype_text(thing.dtype)
    return {"kind": "scalar", "dtype": text, "hex": thing.tobytes().hex()} if text else walk.refuse(at)


def _encode_dtype(walk: _Walk, at: int, thing: np.dtype) -> dict[str, Any]:
    text = _dtype_text(thing)
    return {"kind": "dtype", "name": text} if text else _encode_code(walk, at, thing)


def _encode_generator(walk: _Walk, at: int, thing: np.random.Generator) -> dict[str, Any]:
    return {"kind": "Generator", "bits": walk.refer(thing.bit_generator, at, _ATTRIBUTE, "bit_generator")}


def _encode_bits(walk: _Walk, at: int, thing: Any) -> dict[str, Any]:
    seeds = thing.seed_seq if type(thing.seed_seq) is np.random.SeedSequence else None
    node = {"kind": "bits", "name": type(thing).__name__, "state": _plain(thing.state)}
    return node | {"seeds": walk.refer(seeds, at, _ATTRIBUTE, "seed_seq")}


def _encode_seeds(walk: _Walk, at: int, thing: np.random.SeedSequence) -> dict[str, Any]:
    entropy = thing.entropy
    if entropy is not None and not isinstance(entropy, (int, np.integer)):
        entropy = np.asarray(entropy).tolist()
    fields = dict(entropy=entropy, spawn_key=list(thing.spawn_key), pool_size=thing.pool_size)
    return {"kind": "seeds"} | _plain(fields) | {"n_children_spawned": int(thing.n_children_spawned)}


def _encode_legacy(walk: _Walk, at: int, thing: np.random.RandomState) -> dict[str, Any]:
    state = _plain(thing.get_state(legacy=False))
    return (
        {"kind": "RandomState", "state": state}
        if state["bit_generator"] in _BIT_GENERATORS
        else walk.refuse(at)
    )


_ENCODERS: dict[type, Callable[[_Walk, int, Any], dict[str, Any]]] = {
    **{base: functools.partial(_encode_dict, base.__name__) for base in _DICTS},
    **{base: functools.partial(_encode_items, base.__name__) for base in _CONTAINERS if base not in _DICTS},
    **dict.fromkeys(_BIT_GENERATORS.values(), _encode_bits),
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
    random.Random: lambda walk, at, thing: {"kind": "Random", "state": _random_state(thing)},
    types.MethodType: _encode_method,
    types.BuiltinFunctionType: _encode_method,
}
_FAMILIES: list[tuple[Any, Callable[[_Walk, int, Any], dict[str, Any]]]] = [
    (np.generic, _encode_scalar),
    (np.dtype, _encode_dtype),
    (enum.Enum, _encode_enum),
    (_DESCRIPTIONS, _encode_description),
    (_CODE, _encode_code),
]


# --- Into the environment -----------------------------------------------------


class _Restoration:
    """Makes the objects of `nodes` from those of the fresh environment `env`, or anew where it has none.

    First every object is found or made, then all are filled: a tree that does not fit changes nothing.
    Sets and dictionaries are filled last: the hashes of what they hold may depend on attributes.
    """

    def __init__(self, env: Any, nodes: list[dict[str, Any]]):
        self._env, self._nodes, self._made = env, nodes, [_NOTHING] * len(nodes)
        self._fresh = _Walk(env, strict=False)
        self._homes = {path: thing for thing in self._fresh.data if (path := self._fresh.homes[id(thing)])}
        self._code = {_code_name(thing): thing for thing in self._fresh.objects if _is_code(thing)}
        self._code.update(_HARMLESS_CODE)
        self._classes = _HARMLESS_CLASSES | {_name(type(thing)): type(thing) for thing in self._fresh.objects}
        modules = {_module(cls).partition(".")[0] for cls in self._classes.values()}
        self._packages = modules - {*sys.stdlib_module_names, "numpy"} | modules & {"__main__"}
        self._claimed: set[int] = set()
        self._expansions: collections.deque[Callable[[], None]] = collections.deque()
        self._fills: list[Callable[[], None]] = []
        self._late_fills: list[Callable[[], None]] = []

    def run(self) -> None:
        """Restore the environment."""
        wanted, found = self._nodes[0]["class"], _name(type(self._env))
        if wanted != found:
            raise ValueError(f"it is of {wanted}, not of {found}")
        self.make([0], self._env)
        while self._expansions:
            self._expansions.popleft()()
        for fill in self._fills + self._late_fills:
            fill()

    def make(self, value: Any, candidate: Any = _NOTHING) -> Any:
        """What a node says by `value`; `candidate` is what the fresh environment has in its place."""
        if type(value) in _INLINE:
            return value
        (index,) = value
        if type(index) is not int or index < 0:
            raise ValueError("it is damaged")
        if self._made[index] is _NOTHING:
            node = self._nodes[index]
            candidate = self._homes.get(tuple(node.get("home", ())), candidate)
            self._made[index] = _UNDER_WAY
            made = _MAKERS[node["kind"]](self, index, node, candidate)
            # What is kept from the fresh environment may differ from place to place.
            self._made[index] = made if node["kind"] not in ("description", "code") else _NOTHING
            return made
        if self._made[index] is _UNDER_WAY:
            raise ValueError("it contains itself")
        return self._made[index]

    def early(self, index: int, made: Any) -> Any:
        """Register an object before its parts are made, as they may refer to it."""
        self._made[index] = made
        return made

    def claim(self, candidate: Any, cls: type, node: dict[str, Any]) -> bool:
        """Whether `candidate` can be filled for `node`: it is of that very class, and nobody else's.

        Data of modules is filled only as what it is itself.
        """
        if type(candidate) is not cls or id(candidate) in self._claimed:
            return False
        if id(candidate) in self._fresh.homes and cls is not object and not isinstance(candidate, _RANDOM):
            home = node.get("home")
            if home is None or self._homes.get(tuple(home)) is not candidate:
                return False
        self._claimed.add(id(candidate))
        return True

    def later(self, expand: Callable[[], None]) -> None:
        """Make the parts of an object when those before it have been made."""
        self._expansions.append(expand)

    def fill(self, action: Callable[[], Any], late: bool = False) -> None:
        """Change the fresh environment, once everything has been made."""
        (self._late_fills if late else self._fills).append(action)

    def find_code(self, name: str) -> Any:
        """Code of the fresh environment by its name; `_NOTHING` if it has none such."""
        return self._code.get(name, _NOTHING)

    def find_class(self, name: str, candidate: Any = _NOTHING) -> type:
        """A class that objects may be made of: one of the fresh environment, or of its classes' packages."""
        if _name(type(candidate)) == name:
            return type(candidate)
        if name in self._classes:
            return self._classes[name]
        module, _, qualified = name.partition(":")
        found: Any = sys.modules.get(module) if module.partition(".")[0] in self._packages else None
        for part in qualified.split(".") if found is not None else ():
            found = vars(found).get(part)
            if found is None or not isinstance(found, type):
                break
        # A finalizer would run when the object goes, whatever it was filled with.
        if not isinstance(found, type) or _name(found) != name or hasattr(found, "__del__"):
            raise Unsaveable("", name, "", "which is no class of the fresh environment")
        return found


_UNDER_WAY: Any = object()
_Maker = Callable[[_Restoration, int, dict[str, Any], Any], Any]


def _shell(
    restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any, base: type
) -> tuple[Any, bool]:
    """The object to be filled, and whether it is the fresh environment's own."""
    cls = restoration.find_class(node["class"], candidate) if "class" in node else base
    found = _python_base(cls)
    if found is None or (found is not base and _BASES[found] != node["kind"]):
        raise ValueError(f"{_name(cls)} is no {node['kind']}")
    usable = base is not collections.deque or getattr(candidate, "maxlen", None) == node["maxlen"]
    if usable and restoration.claim(candidate, cls, node):
        return restoration.early(index, candidate), True
    if cls is object:  # it stands for nothing but itself
        raise Unsaveable("", "object()", why="which the fresh environment does not have")
    new = found.__new__(cls)
    if base is collections.deque:
        collections.deque.__init__(new, (), node["maxlen"])
    return restoration.early(index, new), False


def _make_object(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    target, own = _shell(restoration, index, node, candidate, object)
    restoration.later(lambda: _expand_attributes(restoration, node, target, own))
    return target


def _expand_attributes(restoration: _Restoration, node: dict[str, Any], target: Any, own: bool) -> None:
    if "attributes" not in node:
        return
    old = _attributes(target) if own else {}
    new = {
        name: restoration.make(value, old.get(name, _NOTHING)) for name, value in node["attributes"].items()
    }
    slots = _slots(type(target))
    if not hasattr(target, "__dict__") and not set(new) <= set(slots):
        raise ValueError(f"{_name(type(target))} has no attributes {sorted(set(new) - set(slots))}")
    restoration.fill(lambda: _set_attributes(target, new))


def _set_attributes(target: Any, new: dict[str, Any]) -> None:
    """Give `target` these attributes and no others, past whatever its class does on assignment."""
    slots, fields = _slots(type(target)), getattr(target, "__dict__", {})
    plain = {name: fields[name] for name in _kept(target) if name in fields}
    plain.update({name: value for name, value in new.items() if name not in slots})
    if list(fields) != list(plain):
        fields.clear()
    fields.update(plain)
    for name, member in slots.items():
        if name in new:
            member.__set__(target, new[name])
        else:
            with contextlib.suppress(AttributeError):  # an empty slot
                member.__delete__(target)


def _make_sequence(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    """A list, a deque or a set."""
    base = _BY_KIND[node["kind"]]
    target, own = _shell(restoration, index, node, candidate, base)

    def expand() -> None:
        old = list(base.__iter__(target)) if own and base is not set else []
        items = _made_items(restoration, node["items"], old)

        def fill() -> None:
            base.clear(target)
            (base.update if base is set else base.extend)(target, items)

        restoration.fill(fill, late=base is set)
        _expand_attributes(restoration, node, target, own)

    restoration.later(expand)
    return target


def _made_items(restoration: _Restoration, items: list[Any], old: Any) -> list[Any]:
    return [restoration.make(v, old[i] if i < len(old) else _NOTHING) for i, v in enumerate(items)]


def _make_dict(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    base = _BY_KIND[node["kind"]]
    target, own = _shell(restoration, index, node, candidate, base)

    def expand() -> None:
        old = dict(base.items(target)) if own else {}
        keys = _made_items(restoration, node["keys"], list(old))
        known = [old.get(key, _NOTHING) if old and _is_plain_key(key) else _NOTHING for key in keys]
        values = [restoration.make(v, c) for v, c in zip(node["values"], known, strict=True)]
        factory = target.default_factory if base is collections.defaultdict else None
        factory = restoration.make(node["factory"], factory) if base is collections.defaultdict else None

        def fill() -> None:
            base.clear(target)
            for key, value in zip(keys, values, strict=True):
                base.__setitem__(target, key, value)
            if base is collections.defaultdict:
                target.default_factory = factory

        restoration.fill(fill, late=True)
        _expand_attributes(restoration, node, target, own)

    restoration.later(expand)
    return target


def _is_plain_key(key: Any) -> bool:
    """Whether a key can be hashed before attributes are restored."""
    if isinstance(key, (tuple, frozenset)):
        return all(map(_is_plain_key, key))
    return type(key) in _INLINE or isinstance(key, (bytes, complex, np.generic, enum.Enum))


def _make_tuple(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    """A tuple, a named tuple or a frozen set: made of parts that exist, filled or not."""
    base = _BY_KIND[node["kind"]]
    cls = restoration.find_class(node["class"], candidate) if "class" in node else base
    if _python_base(cls) is not base:
        raise ValueError(f"{_name(cls)} is no {node['kind']}")
    old = candidate if isinstance(candidate, tuple) else ()
    items = _made_items(restoration, node["items"], old)
    if (
        type(candidate) is cls
        and len(old) == len(items)
        and all(map(lambda a, b: a is b, old, items))
        and old
    ):
        return candidate
    return base.__new__(cls, items)


def _make_bytearray(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    content = bytes.fromhex(node["hex"])
    target = candidate if restoration.claim(candidate, bytearray, node) else bytearray()
    restoration.fill(lambda: target.__setitem__(slice(None), content))
    return target


def _number_dtype(text: str) -> np.dtype:
    """A dtype of numbers or texts: bytes of a file must never be taken for the addresses of objects."""
    dtype = _dtype(text)
    if dtype.hasobject:
        raise ValueError("its numbers are objects")
    return dtype


def _make_array(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    data = trees.from_bytes(node["npy"].tobytes()) if "npy" in node else node["data"]
    if not isinstance(data, np.ndarray) or data.dtype.hasobject:
        raise ValueError("an array is damaged")
    wanted = data.transpose(np.argsort(node["axes"])) if "axes" in node else data
    target = _own_array(restoration, node, candidate, wanted)
    restoration.fill(lambda: np.copyto(target, wanted))
    return _set_flags(restoration, node, target)


def _own_array(
    restoration: _Restoration, node: dict[str, Any], candidate: Any, wanted: np.ndarray
) -> np.ndarray:
    """The array of the fresh environment if it owns its memory and lies in it like `wanted`, or a new one."""
    fits = type(candidate) is np.ndarray and candidate.base is None and _layout(candidate) == _layout(wanted)
    if not fits or not restoration.claim(candidate, np.ndarray, node):
        return np.empty_like(wanted, order="K")
    candidate.flags.writeable = True
    return candidate


def _set_flags(restoration: _Restoration, node: dict[str, Any], array: np.ndarray) -> np.ndarray:
    if node.get("readonly"):
        restoration.fill(lambda: array.setflags(write=False), late=True)
    return array


def _make_object_array(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    target = _own_array(restoration, node, candidate, np.empty(node["shape"], object))
    restoration.early(index, target)
    if len(node["items"]) != target.size:
        raise ValueError("an array is damaged")

    def expand() -> None:
        items = _made_items(restoration, node["items"], target.ravel().tolist())

        def fill() -> None:
            flat = target.reshape(-1)
            for i, item in enumerate(items):
                flat[i] = item

        restoration.fill(fill)

    restoration.later(expand)
    return _set_flags(restoration, node, target)


def _make_view(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    has = type(candidate) is np.ndarray
    root = restoration.make(node["of"], _root(candidate) if has else _NOTHING)
    if type(root) is not np.ndarray or root.dtype.hasobject != (node["dtype"] == "object"):
        raise ValueError("a part of an array is damaged")
    shape, strides, offset = tuple(node["shape"]), tuple(node["strides"]), node["offset"]
    if root.dtype.hasobject:
        view = root.reshape(shape)
    else:
        axes = sorted(range(root.ndim), key=lambda axis: -root.strides[axis])
        whole = root if root.flags.c_contiguous else root.transpose(axes)
        # This constructor checks the bounds.
        view = np.ndarray(shape, _number_dtype(node["dtype"]), whole, offset, strides)
    if has and candidate is not root and _root(candidate) is root and candidate.strides == view.strides:
        same = _layout(candidate) == _layout(view) and _offset(candidate, root) == _offset(view, root)
        if same and candidate.flags.writeable == view.flags.writeable:
            view = candidate if restoration.claim(candidate, np.ndarray, node) else view
    return _set_flags(restoration, node, view)


def _make_scalar(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    dtype, content = _number_dtype(node["dtype"]), bytes.fromhex(node["hex"])
    return np.frombuffer(content, dtype)[0]


def _make_generator(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    has = type(candidate) is np.random.Generator
    bits = restoration.make(node["bits"], candidate.bit_generator if has else _NOTHING)
    if type(bits) not in _BIT_GENERATORS.values():
        raise ValueError("a generator is damaged")
    if has and candidate.bit_generator is bits and restoration.claim(candidate, np.random.Generator, node):
        return candidate
    return np.random.Generator(bits)


def _make_bits(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    cls, state = _BIT_GENERATORS[node["name"]], _plain(node["state"])
    seeds = restoration.make(node["seeds"])
    target = candidate if restoration.claim(candidate, cls, node) else cls(0)
    if isinstance(seeds, np.random.SeedSequence):  # they matter to `spawn`
        restoration.fill(lambda: target.__setstate__((state, seeds)))
    else:
        restoration.fill(lambda: setattr(target, "state", state))
    return target


def _make_seeds(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    fields = {name: node[name] for name in ("entropy", "spawn_key", "pool_size", "n_children_spawned")}
    return np.random.SeedSequence(**fields)


def _make_legacy(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    state, cls = _plain(node["state"]), np.random.RandomState
    name = state["bit_generator"]
    fits = type(candidate) is cls and candidate.get_state(legacy=False)["bit_generator"] == name  # type: ignore
    fits = fits and restoration.claim(candidate, cls, node)
    target = candidate if fits else cls(_BIT_GENERATORS[name](0))
    restoration.fill(lambda: target.set_state(state))
    return target


def _make_random(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    target = candidate if restoration.claim(candidate, random.Random, node) else random.Random(0)
    restoration.fill(lambda: _set_random_state(target, node["state"]))
    return target


def _make_enum(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    cls = restoration.find_class(node["class"], candidate)
    if issubclass(cls, enum.Enum) and "name" in node:
        return cls.__members__[node["name"]]
    if issubclass(cls, enum.Flag) and type(node["value"]) is int:
        return cls(node["value"])
    raise ValueError(f"{_name(cls)} is no enumeration")


def _make_method(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    has = isinstance(candidate, (types.MethodType, types.BuiltinFunctionType))
    owner = restoration.make(node["self"], candidate.__self__ if has else _NOTHING)
    if has and candidate.__self__ is owner and candidate.__name__ == node["name"]:
        return candidate
    method = _method(owner, node["name"])
    if method is None:
        raise ValueError(f"{_name(type(owner))} has no method {node['name']}")
    return method


def _make_code(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    name = node["name"]
    found = (
        candidate if _is_code(candidate) and _code_name(candidate) == name else restoration.find_code(name)
    )
    if found is _NOTHING:
        raise Unsaveable("", name, why="which the fresh environment does not have")
    return found


def _make_hook(restoration: _Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    if _name(type(candidate)) != node["class"] or not _has_hooks(candidate):
        raise ValueError(f"the fresh environment has no {node['class']} in its place")
    if not restoration.claim(candidate, type(candidate), node):
        raise ValueError(f"the fresh environment has too few {node['class']}")
    restoration.fill(lambda: candidate.load_state_dict(_plain(node["tree"])))
    return candidate


def _value(read: Callable[[dict[str, Any]], Any]) -> _Maker:
    """Makes what a node alone determines."""
    return lambda restoration, index, node, candidate: read(node)


_MAKERS: dict[str, _Maker] = {
    **{base.__name__: _make_dict for base in _DICTS},
    **dict.fromkeys(("list", "deque", "set"), _make_sequence),
    **dict.fromkeys(("tuple", "frozenset"), _make_tuple),
    "object": _make_object,
    "hook": _make_hook,
    "code": _make_code,
    "description": lambda restoration, index, node, candidate: (
        candidate if isinstance(candidate, _DESCRIPTIONS) else None
    ),
    "method": _make_method,
    "enum": _make_enum,
    "array": _make_array,
    "objects": _make_object_array,
    "view": _make_view,
    "scalar": _make_scalar,
    "text": _value(lambda node: np.str_(node["text"])),
    "raw": _value(lambda node: np.bytes_(bytes.fromhex(node["hex"]))),
    "dtype": _value(lambda node: _dtype(node["name"])),
    "bytes": _value(lambda node: bytes.fromhex(node["hex"])),
    "bytearray": _make_bytearray,
    "complex": _value(lambda node: complex(*node["parts"])),
    "int": _value(lambda node: int(node["hex"], 16)),
    "range": _value(lambda node: range(*(int(part, 16) for part in node["parts"]))),
    "slice": lambda restoration, index, node, candidate: slice(*map(restoration.make, node["parts"])),
    "Generator": _make_generator,
    "bits": _make_bits,
    "seeds": _make_seeds,
    "RandomState": _make_legacy,
    "Random": _make_random,
}
