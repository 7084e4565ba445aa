"""Into an environment: the objects of a captured state, found in a fresh one or made anew."""

import collections
import contextlib
import enum
import random
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from a3c.envs.state.objects import (
    BASES,
    BIT_GENERATORS,
    BY_KIND,
    DESCRIPTIONS,
    DICTS,
    HARMLESS_CLASSES,
    HARMLESS_CODE,
    INLINE,
    NOTHING,
    RANDOM,
    Unsaveable,
    attributes_of,
    class_name,
    code_name,
    dtype_of,
    has_hooks,
    is_code,
    kept_when_made,
    layout_of,
    method_of,
    module_of,
    offset_in,
    plain_copy,
    python_base,
    root_of,
    set_random_state,
    slots_of,
)
from a3c.envs.state.walk import Walk
from a3c.utils import serialization as trees


class Restoration:
    """Makes the objects of `nodes` from those of the fresh environment `env`, or anew where it has none.

    First every object is found or made, then all are filled: a tree that does not fit changes nothing.
    Sets and dictionaries are filled last: the hashes of what they hold may depend on attributes.
    """

    def __init__(self, env: Any, nodes: list[dict[str, Any]]):
        self._env, self._nodes, self._made = env, nodes, [NOTHING] * len(nodes)
        self._fresh = Walk(env, strict=False)
        self._homes = {path: thing for thing in self._fresh.data if (path := self._fresh.homes[id(thing)])}
        self._code = {code_name(thing): thing for thing in self._fresh.objects if is_code(thing)}
        self._code.update(HARMLESS_CODE)
        self._classes = HARMLESS_CLASSES | {
            class_name(type(thing)): type(thing) for thing in self._fresh.objects
        }
        modules = {module_of(cls).partition(".")[0] for cls in self._classes.values()}
        self._packages = modules - {*sys.stdlib_module_names, "numpy"} | modules & {"__main__"}
        self._claimed: set[int] = set()
        self._expansions: collections.deque[Callable[[], None]] = collections.deque()
        self._fills: list[Callable[[], None]] = []
        self._late_fills: list[Callable[[], None]] = []

    def run(self) -> None:
        """Restore the environment."""
        wanted, found = self._nodes[0]["class"], class_name(type(self._env))
        if wanted != found:
            raise ValueError(f"it is of {wanted}, not of {found}")
        self.make([0], self._env)
        while self._expansions:
            self._expansions.popleft()()
        for fill in self._fills + self._late_fills:
            fill()

    def make(self, value: Any, candidate: Any = NOTHING) -> Any:
        """What a node says by `value`; `candidate` is what the fresh environment has in its place."""
        if type(value) in INLINE:
            return value
        (index,) = value
        if type(index) is not int or index < 0:
            raise ValueError("it is damaged")
        if self._made[index] is NOTHING:
            node = self._nodes[index]
            candidate = self._homes.get(tuple(node.get("home", ())), candidate)
            self._made[index] = _UNDER_WAY
            made = _MAKERS[node["kind"]](self, index, node, candidate)
            # What is kept from the fresh environment may differ from place to place.
            self._made[index] = made if node["kind"] not in ("description", "code") else NOTHING
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
        if id(candidate) in self._fresh.homes and cls is not object and not isinstance(candidate, RANDOM):
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
        """Code of the fresh environment by its name; `NOTHING` if it has none such."""
        return self._code.get(name, NOTHING)

    def find_class(self, name: str, candidate: Any = NOTHING) -> type:
        """A class that objects may be made of: one of the fresh environment, or of its classes' packages."""
        if class_name(type(candidate)) == name:
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
        if not isinstance(found, type) or class_name(found) != name or hasattr(found, "__del__"):
            raise Unsaveable("", name, "", "which is no class of the fresh environment")
        return found


_UNDER_WAY: Any = object()
_Maker = Callable[[Restoration, int, dict[str, Any], Any], Any]


def _shell(
    restoration: Restoration, index: int, node: dict[str, Any], candidate: Any, base: type
) -> tuple[Any, bool]:
    """The object to be filled, and whether it is the fresh environment's own."""
    cls = restoration.find_class(node["class"], candidate) if "class" in node else base
    found = python_base(cls)
    if found is None or (found is not base and BASES[found] != node["kind"]):
        raise ValueError(f"{class_name(cls)} is no {node['kind']}")
    usable = base is not collections.deque or getattr(candidate, "maxlen", None) == node["maxlen"]
    if usable and restoration.claim(candidate, cls, node):
        return restoration.early(index, candidate), True
    if cls is object:  # it stands for nothing but itself
        raise Unsaveable("", "object()", why="which the fresh environment does not have")
    new = found.__new__(cls)
    if base is collections.deque:
        collections.deque.__init__(new, (), node["maxlen"])
    return restoration.early(index, new), False


def _make_object(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    target, own = _shell(restoration, index, node, candidate, object)
    restoration.later(lambda: _expand_attributes(restoration, node, target, own))
    return target


def _expand_attributes(restoration: Restoration, node: dict[str, Any], target: Any, own: bool) -> None:
    if "attributes" not in node:
        return
    old = attributes_of(target) if own else {}
    new = {
        name: restoration.make(value, old.get(name, NOTHING)) for name, value in node["attributes"].items()
    }
    slots = slots_of(type(target))
    if not hasattr(target, "__dict__") and not set(new) <= set(slots):
        raise ValueError(f"{class_name(type(target))} has no attributes {sorted(set(new) - set(slots))}")
    restoration.fill(lambda: _set_attributes(target, new))


def _set_attributes(target: Any, new: dict[str, Any]) -> None:
    """Give `target` these attributes and no others, past whatever its class does on assignment."""
    slots, fields = slots_of(type(target)), getattr(target, "__dict__", {})
    plain = {name: fields[name] for name in kept_when_made(target) if name in fields}
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


def _make_sequence(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    """A list, a deque or a set."""
    base = BY_KIND[node["kind"]]
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


def _made_items(restoration: Restoration, items: list[Any], old: Any) -> list[Any]:
    return [restoration.make(v, old[i] if i < len(old) else NOTHING) for i, v in enumerate(items)]


def _make_dict(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    base = BY_KIND[node["kind"]]
    target, own = _shell(restoration, index, node, candidate, base)

    def expand() -> None:
        old = dict(base.items(target)) if own else {}
        keys = _made_items(restoration, node["keys"], list(old))
        known = [old.get(key, NOTHING) if old and _is_plain_key(key) else NOTHING for key in keys]
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
    return type(key) in INLINE or isinstance(key, (bytes, complex, np.generic, enum.Enum))


def _make_tuple(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    """A tuple, a named tuple or a frozen set: made of parts that exist, filled or not."""
    base = BY_KIND[node["kind"]]
    cls = restoration.find_class(node["class"], candidate) if "class" in node else base
    if python_base(cls) is not base:
        raise ValueError(f"{class_name(cls)} is no {node['kind']}")
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


def _make_bytearray(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    content = bytes.fromhex(node["hex"])
    target = candidate if restoration.claim(candidate, bytearray, node) else bytearray()
    restoration.fill(lambda: target.__setitem__(slice(None), content))
    return target


def _number_dtype(text: str) -> np.dtype:
    """A dtype of numbers or texts: bytes of a file must never be taken for the addresses of objects."""
    dtype = dtype_of(text)
    if dtype.hasobject:
        raise ValueError("its numbers are objects")
    return dtype


def _make_array(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    data = trees.from_bytes(node["npy"].tobytes()) if "npy" in node else node["data"]
    if not isinstance(data, np.ndarray) or data.dtype.hasobject:
        raise ValueError("an array is damaged")
    wanted = data.transpose(np.argsort(node["axes"])) if "axes" in node else data
    target = _own_array(restoration, node, candidate, wanted)
    restoration.fill(lambda: np.copyto(target, wanted))
    return _set_flags(restoration, node, target)


def _own_array(
    restoration: Restoration, node: dict[str, Any], candidate: Any, wanted: np.ndarray
) -> np.ndarray:
    """The array of the fresh environment if it owns its memory and lies in it like `wanted`, or a new one."""
    fits = (
        type(candidate) is np.ndarray and candidate.base is None and layout_of(candidate) == layout_of(wanted)
    )
    if not fits or not restoration.claim(candidate, np.ndarray, node):
        return np.empty_like(wanted, order="K")
    candidate.flags.writeable = True
    return candidate


def _set_flags(restoration: Restoration, node: dict[str, Any], array: np.ndarray) -> np.ndarray:
    if node.get("readonly"):
        restoration.fill(lambda: array.setflags(write=False), late=True)
    return array


def _make_object_array(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
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


def _make_view(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    has = type(candidate) is np.ndarray
    root = restoration.make(node["of"], root_of(candidate) if has else NOTHING)
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
    if has and candidate is not root and root_of(candidate) is root and candidate.strides == view.strides:
        same = layout_of(candidate) == layout_of(view) and offset_in(candidate, root) == offset_in(view, root)
        if same and candidate.flags.writeable == view.flags.writeable:
            view = candidate if restoration.claim(candidate, np.ndarray, node) else view
    return _set_flags(restoration, node, view)


def _make_scalar(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    dtype, content = _number_dtype(node["dtype"]), bytes.fromhex(node["hex"])
    return np.frombuffer(content, dtype)[0]


def _make_generator(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    has = type(candidate) is np.random.Generator
    bits = restoration.make(node["bits"], candidate.bit_generator if has else NOTHING)
    if type(bits) not in BIT_GENERATORS.values():
        raise ValueError("a generator is damaged")
    if has and candidate.bit_generator is bits and restoration.claim(candidate, np.random.Generator, node):
        return candidate
    return np.random.Generator(bits)


def _make_bits(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    cls, state = BIT_GENERATORS[node["name"]], plain_copy(node["state"])
    seeds = restoration.make(node["seeds"])
    target = candidate if restoration.claim(candidate, cls, node) else cls(0)
    if isinstance(seeds, np.random.SeedSequence):  # they matter to `spawn`
        restoration.fill(lambda: target.__setstate__((state, seeds)))
    else:
        restoration.fill(lambda: setattr(target, "state", state))
    return target


def _make_seeds(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    fields = {name: node[name] for name in ("entropy", "spawn_key", "pool_size", "n_children_spawned")}
    return np.random.SeedSequence(**fields)


def _make_legacy(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    state, cls = plain_copy(node["state"]), np.random.RandomState
    name = state["bit_generator"]
    fits = type(candidate) is cls and candidate.get_state(legacy=False)["bit_generator"] == name  # type: ignore
    fits = fits and restoration.claim(candidate, cls, node)
    target = candidate if fits else cls(BIT_GENERATORS[name](0))
    restoration.fill(lambda: target.set_state(state))
    return target


def _make_random(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    target = candidate if restoration.claim(candidate, random.Random, node) else random.Random(0)
    restoration.fill(lambda: set_random_state(target, node["state"]))
    return target


def _make_enum(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    cls = restoration.find_class(node["class"], candidate)
    if issubclass(cls, enum.Enum) and "name" in node:
        return cls.__members__[node["name"]]
    if issubclass(cls, enum.Flag) and type(node["value"]) is int:
        return cls(node["value"])
    raise ValueError(f"{class_name(cls)} is no enumeration")


def _make_method(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    has = isinstance(candidate, (types.MethodType, types.BuiltinFunctionType))
    owner = restoration.make(node["self"], candidate.__self__ if has else NOTHING)
    if has and candidate.__self__ is owner and candidate.__name__ == node["name"]:
        return candidate
    method = method_of(owner, node["name"])
    if method is None:
        raise ValueError(f"{class_name(type(owner))} has no method {node['name']}")
    return method


def _make_code(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    name = node["name"]
    found = candidate if is_code(candidate) and code_name(candidate) == name else restoration.find_code(name)
    if found is NOTHING:
        raise Unsaveable("", name, why="which the fresh environment does not have")
    return found


def _make_hook(restoration: Restoration, index: int, node: dict[str, Any], candidate: Any) -> Any:
    if class_name(type(candidate)) != node["class"] or not has_hooks(candidate):
        raise ValueError(f"the fresh environment has no {node['class']} in its place")
    if not restoration.claim(candidate, type(candidate), node):
        raise ValueError(f"the fresh environment has too few {node['class']}")
    restoration.fill(lambda: candidate.load_state_dict(plain_copy(node["tree"])))
    return candidate


def _value(read: Callable[[dict[str, Any]], Any]) -> _Maker:
    """Makes what a node alone determines."""
    return lambda restoration, index, node, candidate: read(node)


_MAKERS: dict[str, _Maker] = {
    **{base.__name__: _make_dict for base in DICTS},
    **dict.fromkeys(("list", "deque", "set"), _make_sequence),
    **dict.fromkeys(("tuple", "frozenset"), _make_tuple),
    "object": _make_object,
    "hook": _make_hook,
    "code": _make_code,
    "description": lambda restoration, index, node, candidate: (
        candidate if isinstance(candidate, DESCRIPTIONS) else None
    ),
    "method": _make_method,
    "enum": _make_enum,
    "array": _make_array,
    "objects": _make_object_array,
    "view": _make_view,
    "scalar": _make_scalar,
    "text": _value(lambda node: np.str_(node["text"])),
    "raw": _value(lambda node: np.bytes_(bytes.fromhex(node["hex"]))),
    "dtype": _value(lambda node: dtype_of(node["name"])),
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
