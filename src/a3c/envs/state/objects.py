"""Looking at the objects that environments are made of: what they are, and where they keep things.

Called by `walk`, which takes states out of environments, and by `restoration`, which puts them in.
"""

import ast
import collections
import contextlib
import functools
import logging
import random
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv
from numpy.lib import format as npy

from a3c.errors import A3CError

INLINE = frozenset([type(None), bool, int, float, str])
BIG = 2**1000  # Python refuses to write much longer ones as decimals, which is what JSON does
BIT_GENERATORS = {
    name: getattr(np.random, name) for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
}
RANDOM = (np.random.Generator, np.random.RandomState, random.Random)
DICTS: tuple[Any, ...] = (collections.OrderedDict, collections.defaultdict, dict)
CONTAINERS: tuple[Any, ...] = (*DICTS, list, set, collections.deque, tuple, frozenset)
BASES: dict[Any, str] = {base: base.__name__ for base in CONTAINERS} | {
    types.SimpleNamespace: "object",
    object: "object",
}
BY_KIND: dict[str, Any] = {kind: base for base, kind in BASES.items()}
DESCRIPTIONS = (EnvSpec, WrapperSpec, logging.Logger, logging.Handler)
CODE: tuple[type, ...] = (
    *(types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type, functools.partial, np.ufunc),
    *(types.MethodWrapperType, types.WrapperDescriptorType, types.MethodDescriptorType, property),
    *(types.ClassMethodDescriptorType, types.GenericAlias, types.UnionType, typing.TypeVar),
    *(type(np.mean), type(Ellipsis), type(NotImplemented), type(typing.Any), type(typing.Optional[int])),  # noqa: UP045
)
HARMLESS_CODE = {
    f"builtins:{cls.__qualname__}": cls for cls in (int, float, bool, str, bytes, list, dict, set, tuple)
}
HARMLESS_CLASSES: dict[str, type] = {
    "collections:Counter": collections.Counter,
    "types:SimpleNamespace": types.SimpleNamespace,
}
# Written in Python, but what they stand for is in the operating system.
SYSTEM = frozenset(
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
NOTHING: Any = object()


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


def module_of(cls: type) -> str:
    """Where a class was made; types of C code need not say."""
    return str(getattr(cls, "__module__", ""))


def class_name(cls: type) -> str:
    """By which a class is found again, its module and itself."""
    return f"{module_of(cls)}:{cls.__qualname__}"


def code_name(thing: Any) -> str:
    """A name by which code in one process is recognised in another."""
    if isinstance(thing, functools.partial):
        return f"partial {code_name(thing.func)}"
    if isinstance(thing, types.ModuleType):
        return f"module {thing.__name__}"
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    return f"{getattr(thing, '__module__', None)}:{name or type(thing).__qualname__}"


def is_code(thing: Any) -> bool:
    """Whether it is code, which is recognised and never written down."""
    return isinstance(thing, CODE) or (callable(thing) and "__wrapped__" in dir(type(thing)))


@functools.cache
def slots_of(cls: type) -> dict[str, Any]:
    """The descriptors of the slots of `cls`, by name."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        for name, member in vars(base).items():
            if type(member) is types.MemberDescriptorType and base not in BASES:
                found.setdefault(name, member)
    return found


@functools.cache
def python_base(cls: type) -> Any:
    """Which of `BASES` the class extends in Python alone; None if part of its instances lives in C."""
    built_in = [base for base in cls.__mro__ if base in BASES or not base.__flags__ & _HEAP_TYPE]
    base = built_in[0]
    if base not in BASES or any(other not in base.__mro__ for other in built_in):
        return None
    size = base.__basicsize__ + _POINTER * len(slots_of(cls))
    size += _POINTER * (cls.__dictoffset__ > 0 and not base.__dictoffset__)
    size += _POINTER * (cls.__weakrefoffset__ > 0 and not base.__weakrefoffset__)
    # The test of Python's own pickle: an instance bigger than its slots has fields that only C knows.
    return base if base.__itemsize__ or cls.__basicsize__ <= size else None


def attributes_of(thing: Any) -> dict[str, Any]:
    """The attributes of one instance, from its dictionary and its slots."""
    found = dict(getattr(thing, "__dict__", ()))
    for name, member in slots_of(type(thing)).items():
        with contextlib.suppress(AttributeError):  # an empty slot
            found[name] = member.__get__(thing)
    for name in kept_when_made(thing):
        found.pop(name, None)
    return found


def kept_when_made(thing: Any) -> tuple[str, ...]:
    """Attributes that describe how an object was made; a fresh one has them."""
    return ("_saved_kwargs", "_cached_spec") if isinstance(thing, RecordConstructorArgs) else ()


def has_hooks(thing: Any) -> bool:
    """Whether it is an environment that tells and takes its state itself."""
    cls = type(thing)
    ours = isinstance(thing, (gym.Env, VectorEnv))
    return (
        ours
        and callable(getattr(cls, "state_dict", None))
        and callable(getattr(cls, "load_state_dict", None))
    )


def root_of(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory of `array`, as far as arrays are concerned."""
    base = array.base
    while base is not None:
        if isinstance(base, np.ndarray):
            array = base
        elif type(base).__name__ != "DummyArray":  # what as_strided puts in between
            break
        base = base.base
    return array


def layout_of(array: np.ndarray) -> tuple:
    """Equal for arrays that lie in memory alike; strides of axes of length one mean nothing."""
    strides = tuple(s if n > 1 else 0 for n, s in zip(array.shape, array.strides, strict=True))
    return array.dtype, array.shape, strides


def is_reshaped(view: np.ndarray, root: np.ndarray) -> bool:
    """Whether `view` is all of `root`, in another shape."""
    return view.size == root.size and view.flags.c_contiguous and root.flags.c_contiguous


def offset_in(view: np.ndarray, root: np.ndarray) -> int:
    """How many bytes after the beginning of `root` the data of `view` begin."""
    return view.__array_interface__["data"][0] - root.__array_interface__["data"][0]


@functools.lru_cache(256)
def dtype_text(dtype: np.dtype) -> str | None:
    """A dtype as text; None if it cannot be told so."""
    if dtype.kind == "O":
        return "object"
    try:
        text = repr(npy.dtype_to_descr(dtype))
        return text if not dtype.hasobject and dtype_of(text) == dtype else None
    except (TypeError, ValueError, UserWarning):
        return None


def dtype_of(text: str) -> np.dtype:
    """The opposite of `dtype_text`."""
    return np.dtype(object) if text == "object" else npy.descr_to_dtype(ast.literal_eval(text))


def plain_copy(value: Any) -> Any:
    """A deep copy of a generator's state with NumPy's numbers as Python's."""
    if isinstance(value, dict):
        return {key: plain_copy(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_copy(each) for each in value]
    return (
        value.item()
        if isinstance(value, np.generic)
        else value.copy()
        if isinstance(value, np.ndarray)
        else value
    )


def random_state(generator: Any) -> dict[str, Any]:
    """The state of one of Python's own generators, as a plain tree."""
    version, words, gauss = generator.getstate()
    return {"version": version, "words": np.array(words, np.uint32), "gauss": gauss}


def set_random_state(generator: Any, state: dict[str, Any]) -> None:
    """Put that back."""
    generator.setstate((state["version"], tuple(state["words"].tolist()), state["gauss"]))


def module_data(module: str, limit: int) -> Iterator[tuple[Any, tuple | None]]:
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
        if isinstance(value, type) and module_of(value) == module:
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
        if cls in INLINE or isinstance(value, (*CODE, gym.Env, VectorEnv, gym.Space)):
            continue
        base = python_base(cls)
        if base is None and not isinstance(value, (np.ndarray, *RANDOM)):
            continue
        if cls not in (tuple, frozenset):
            yield value, path if constant else None
        if len(path) < 6 and base is not None:
            queue += [(v, (*path, k), constant) for k, v in parts_of(value, base)]


def parts_of(value: Any, base: type) -> list[tuple[Any, Any]]:
    """The parts of a container or an object, with plain keys."""
    if base in (list, tuple, collections.deque):
        return list(enumerate(value))
    pairs = base.items(value) if base in DICTS else getattr(value, "__dict__", {}).items()
    return [(key, part) for key, part in pairs if type(key) in (str, int)]


def method_of(owner: Any, name: str) -> Any:
    """The method `name` of an object, found without running code of its class; None if there is none."""
    found = next((vars(base)[name] for base in type(owner).__mro__ if name in vars(base)), None)
    if isinstance(found, types.FunctionType):
        return types.MethodType(found, owner)
    return getattr(owner, name) if isinstance(owner, RANDOM) and callable(found) else None
