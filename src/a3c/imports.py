"""Importing Keras without what training does not use."""

import contextlib
import os
import sys
from collections.abc import Iterator

_PLOTTING = ("matplotlib", "matplotlib.pyplot", "pandas")


def import_keras(plotting: bool = True) -> None:
    """Import Keras, and with `plotting=False` without the half second for matplotlib and pandas.

    Keras imports them only for its own visualisation tools. They can still be imported afterwards.
    """
    quiet = _silenced() if os.environ.get("KERAS_BACKEND") == "tensorflow" else contextlib.nullcontext()
    with quiet, contextlib.nullcontext() if plotting else _hidden(_PLOTTING):
        import keras  # noqa: F401


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
