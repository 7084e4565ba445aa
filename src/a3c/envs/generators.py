"""The random generators of an environment: finding them, their states as plain trees, and setting them.

Called by `copies` where an episode begins, and by `replay` where one is played again.
"""

import functools
import gc
import random
from typing import Any

import gymnasium as gym
import numpy as np

KINDS = (np.random.Generator, np.random.RandomState, random.Random)


def layers_of(env: gym.Env) -> list[gym.Env]:
    """The wrappers of `env` from the outside in, and the environment itself as the last."""
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


def states(layers: list[Any]) -> list[dict[str, Any]]:
    """The states of the generators that are attributes of each layer, by name: plain trees."""
    return [{name: _read(generator) for name, generator in _generators_of(layer).items()} for layer in layers]


def restore(layers: list[Any], saved: list[dict[str, Any]]) -> None:
    """Put back what `states` returned, into generators that are there, or into new ones.

    Raises:
        ValueError, LookupError or TypeError: if it is of other layers, or of other generators.
    """
    for layer, by_name in zip(layers, saved, strict=True):
        for name, state in by_name.items():
            _write(layer, name, state)


def global_states() -> dict[str, Any]:
    """The states of the generators of `random` and `numpy.random` themselves, as a plain tree."""
    return {"random": _of_python(random), "numpy": np.random.get_state(legacy=False)}


def restore_globals(saved: dict[str, Any]) -> None:
    """Put back what `global_states` returned."""
    _set_python(random, saved["random"])
    np.random.set_state(saved["numpy"])


def _generators_of(layer: Any) -> dict[str, Any]:
    """The generators that are attributes of `layer`, by name."""
    drawn = None if isinstance(layer, gym.Wrapper) else getattr(layer, "_np_random", None)
    found = {"_np_random": drawn} if isinstance(drawn, KINDS) else {}
    if _is_gymnasiums(type(layer)):
        return found  # they have no others
    # Before Python 3.13, listing an object's attributes slows it for good: only where there may be one.
    if any(isinstance(thing, (dict, *KINDS)) and thing is not drawn for thing in gc.get_referents(layer)):
        found |= {name: thing for name, thing in vars(layer).items() if isinstance(thing, KINDS)}
    return found


@functools.cache
def _is_gymnasiums(cls: type) -> bool:
    return cls.__module__.startswith("gymnasium.")


def _read(generator: Any) -> dict[str, Any]:
    if isinstance(generator, random.Random):
        return {"kind": "Random", "state": _of_python(generator)}
    if isinstance(generator, np.random.RandomState):
        return {"kind": "RandomState", "state": generator.get_state(legacy=False)}
    return {"kind": "Generator", "state": generator.bit_generator.state}


def _write(layer: Any, name: str, saved: dict[str, Any]) -> None:
    kind, state, found = saved["kind"], saved["state"], getattr(layer, name, None)
    if found is not None and not isinstance(found, KINDS):
        raise TypeError(f"its {name} is no random generator")
    if kind == "Random":
        if not isinstance(found, random.Random):
            setattr(layer, name, found := random.Random())
        _set_python(found, state)
    elif kind == "RandomState":
        if not isinstance(found, np.random.RandomState):
            setattr(layer, name, found := np.random.RandomState(_bits(state)))
        found.set_state(state)
    else:
        named = state["bit_generator"]
        if not (isinstance(found, np.random.Generator) and type(found.bit_generator).__name__ == named):
            setattr(layer, name, found := np.random.Generator(_bits(state)))
        found.bit_generator.state = state


def _bits(state: dict[str, Any]) -> Any:
    """A new bit generator of the kind that `state` is of; NumPy's own only."""
    cls = getattr(np.random, state["bit_generator"])
    if not (isinstance(cls, type) and issubclass(cls, np.random.BitGenerator)):
        raise TypeError(f"{state['bit_generator']} is no bit generator of NumPy")
    return cls()


def _of_python(generator: Any) -> dict[str, Any]:
    version, words, gauss = generator.getstate()
    return {"version": version, "words": np.array(words, np.uint32), "gauss": gauss}


def _set_python(generator: Any, saved: dict[str, Any]) -> None:
    generator.setstate((saved["version"], tuple(saved["words"].tolist()), saved["gauss"]))
