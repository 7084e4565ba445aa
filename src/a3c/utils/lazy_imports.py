"""Importing Keras late, and without what training does not use.

`keras`, `ops` and `np` of this module stand for what they are named after and import it when something uses
them: for files that the command line reads for their settings, and workers for their functions.

Of the second that `import keras` takes on JAX, half goes into modules that Keras names at its top but that
no training here touches. They are put off until something touches them, or hidden where Keras can do
without.
"""

import contextlib
import importlib
import os
import sys
import types
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any


class _Lazy(ModuleType):
    """Stands for a module, which the first use of one of its attributes imports."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import keras
    import keras.ops as ops
    import numpy as np
else:
    keras, np, ops = _Lazy("keras"), _Lazy("numpy"), _Lazy("keras.ops")

# Keras tries to import these and goes on without them: for plots, summaries of data, images.
_OPTIONAL = ("matplotlib", "matplotlib.pyplot", "pandas", "cv2")

# Keras needs these only when files are read or written, when attention runs on a TPU, or for sparse arrays.
_SPLASH = "jax.experimental.pallas.ops.tpu.splash_attention"
_SPARSE = "jax.experimental.sparse"
_DEFERRED = ("h5py", _SPARSE, _SPLASH)


def import_keras(plotting: bool = True) -> None:
    """Import Keras; with `plotting=False` in half the time, for processes that only train.

    What was left out can still be imported afterwards.
    """
    quiet = _silenced() if os.environ.get("KERAS_BACKEND") == "tensorflow" else contextlib.nullcontext()
    with quiet:
        if plotting or "keras" in sys.modules:
            import keras
        elif os.environ.get("KERAS_BACKEND") == "jax":
            with _hidden(_OPTIONAL), _deferred(_DEFERRED):
                import keras
        else:
            with _hidden(_OPTIONAL):
                import keras  # noqa: F401


class Deferred(ModuleType):
    """Stands for a module until one of its attributes is used for more than its type."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        real = sys.modules.get(self.__name__)
        if real is None or real is self:
            if name in _PLACEHOLDERS:
                return _PLACEHOLDERS[name]
            if name.startswith("splash_attention"):
                return Deferred(f"{self.__name__}.{name}")
            sys.modules.pop(self.__name__, None)
            real = importlib.import_module(self.__name__)
        return getattr(real, name)


class _NoInstance:
    """A class that nothing is an instance of, as nothing can be of a class that was never imported."""


def _sparsify(function: Any) -> Any:
    """Keras wraps a few functions with this as it is imported; wrapped when they are called."""
    return lambda *args, **kwargs: importlib.import_module(_SPARSE).sparsify(function)(*args, **kwargs)


# Keras asks of every array whether it is one of these classes.
_PLACEHOLDERS = {"JAXSparse": _NoInstance, "BCOO": _NoInstance, "sparsify": _sparsify}


@contextlib.contextmanager
def _deferred(names: tuple[str, ...]) -> Iterator[None]:
    """Have imports of these modules yield `Deferred` ones meanwhile, unless they are imported already."""
    put = {name: Deferred(name) for name in names if name not in sys.modules}
    sys.modules.update(put)
    try:
        yield
    finally:
        for name, module in put.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
            parent, _, child = name.rpartition(".")
            if parent in sys.modules and getattr(sys.modules[parent], child, None) is module:
                delattr(sys.modules[parent], child)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Drop what native code writes to standard error meanwhile.

    TensorFlow greets on import with lines about the processor that no log level silences. Failures still
    raise.
    """
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


@contextlib.contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Make imports of these modules fail meanwhile, unless they are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] - None is how Python blocks an import
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


@contextlib.contextmanager
def keras_saving() -> Iterator[None]:
    """Keep Keras from importing an installed TensorFlow, which takes seconds, only to look for its types."""
    if "tensorflow" in sys.modules:
        yield
        return
    from keras.src.utils import module_utils

    sys.modules["tensorflow"] = None  # type: ignore[assignment] - the documented way to block an import
    # A layer that normalises asks TensorFlow, wherever its name is known, whether it is at work.
    module_utils.tensorflow.module = types.SimpleNamespace(executing_eagerly=lambda: True)
    try:
        yield
    finally:
        del sys.modules["tensorflow"]
        # Keras remembers that it found no TensorFlow; let it look again when someone else needs it.
        module_utils.tensorflow.module = None
        if getattr(module_utils.tensorflow, "_available", None) is False:
            module_utils.tensorflow._available = None
