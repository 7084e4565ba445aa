"""Versions of what decides what a run computes."""

import importlib.metadata
import platform

_PACKAGES = ("a3c", "keras", "jax", "tensorflow-cpu", "tensorflow", "gymnasium", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run computes."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
