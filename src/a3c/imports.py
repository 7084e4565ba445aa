"""Importing Keras without what training does not use."""

import contextlib
import sys
from collections.abc import Iterator

_PLOTTING = ("matplotlib", "matplotlib.pyplot", "pandas")


def import_keras(plotting: bool = True) -> None:
    """Import Keras, and with `plotting=False` without the half second for matplotlib and pandas.

    Keras imports them only for its own visualisation tools. They can still be imported afterwards.
    """
    with contextlib.nullcontext() if plotting else _hidden(_PLOTTING):
        import keras  # noqa: F401


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
