"""Modules that the user names, such as `module:EnvId`: they may lie in the working directory.

The working directory is searched last, and only from the moment that such a module is asked for. So a file
there never takes the place of a module of Python, of a package, or of one that is optional.
"""

import contextlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

SAFE_START = {"PYTHONSAFEPATH": os.environ.get("PYTHONSAFEPATH") or "a3c"}
"""Environment variables of Python processes that are started here: they search no working directory."""


def import_named(name: str) -> ModuleType:
    """Import a module that the user has named.

    Raises:
        Exception: whatever its code does then.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return importlib.import_module(name)


def hidden_file(name: str) -> str:
    """A sentence where the working directory has such a module, but Python found another; else empty."""
    top = name.partition(".")[0]
    files = [Path(f"{top}.py"), Path(top, "__init__.py")]
    if not any(file.exists() for file in files):
        return ""
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ""
    origin = None if found is None else found.origin
    if origin is None or Path(origin).resolve() in [file.resolve() for file in files]:
        return ""
    return f"Python has another module {top} ({origin}), which hides yours: give your file another name."


def leave_working_directory() -> None:
    """Take the working directory from the front of the search path, where `python -m` has put it."""
    with contextlib.suppress(OSError):  # a directory that was removed holds no module
        _leave(os.getcwd())


def _leave(directory: str) -> None:
    if sys.path and sys.path[0] == directory and not sys.flags.safe_path:
        first = sys.path.pop(0)
        if Path(__file__).is_relative_to(first):  # this package is found by it
            sys.path.append(first)


def close_library_path() -> None:
    """Keep the working directory out of the search path of libraries, for programs that are started here.

    An empty entry means that directory. OpenCV, where it is imported, writes its own entry in front of what
    there is, and so an empty one behind that where there was nothing.
    """
    if sys.platform == "linux" and not os.environ.get("LD_LIBRARY_PATH"):
        os.environ["LD_LIBRARY_PATH"] = os.devnull  # an entry that holds no libraries


def end_safe_start() -> None:
    """In a process that was started with `SAFE_START`: let processes of the user's code start as usual."""
    if os.environ.get("PYTHONSAFEPATH") == "a3c":
        del os.environ["PYTHONSAFEPATH"]
