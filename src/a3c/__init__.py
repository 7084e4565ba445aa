"""a3c: asynchronous advantage actor-critic on Keras 3 and Gymnasium.

    from a3c import Agent

    agent = Agent("CartPole-v1")
    agent.fit()

Importing this package imports no framework; the first `Agent` does.
"""

from typing import TYPE_CHECKING, Any

from a3c.errors import A3CError, RunError, SettingError, UsageError

if TYPE_CHECKING:
    from a3c.agent import Agent, History, random_baseline
    from a3c.evaluation.evaluator import Evaluation
    from a3c.training.callbacks.base import Callback

__version__ = "0.1.0"
__all__ = [
    "A3CError",
    "Agent",
    "Callback",
    "Evaluation",
    "History",
    "RunError",
    "SettingError",
    "UsageError",
    "__version__",
    "random_baseline",
]

_HOMES = {
    "Agent": "a3c.agent",
    "History": "a3c.agent",
    "random_baseline": "a3c.agent",
    "Callback": "a3c.training.callbacks.base",
    "Evaluation": "a3c.evaluation.evaluator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'a3c' has no attribute {name!r}")
    import importlib

    from a3c import backend

    backend.select()  # before the modules below import Keras
    return getattr(importlib.import_module(_HOMES[name]), name)
