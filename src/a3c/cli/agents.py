"""What `play` and `evaluate` share: the flags that name an agent, and loading it."""

import os
from typing import TYPE_CHECKING, Any

from a3c.cli import parsing

if TYPE_CHECKING:
    from a3c.agent import Agent

ARGUMENTS = [
    parsing.positional(
        "agent", "A run directory, an environment id, or a .keras file (default: the newest run)."
    ),
    parsing.option("env_id", str | None, None, "Environment; default: the one the agent was trained on."),
    parsing.option(
        "model", str | None, None, "Your own model as module:Class, where the file does not name it."
    ),
    parsing.switch(
        "unsafe_load", "Load a file that brings code of its own, which is run: only if you trust it."
    ),
    parsing.TRUST,
    parsing.option("backend", str, "auto", "Keras backend: auto, jax or tensorflow."),
    parsing.option("save_dir", str, "runs", "Where runs are looked for."),
    parsing.option("seed", int | None, None, "Seed; default: drawn and shown.", at_least=0),
]


def load(arguments: Any) -> "tuple[Agent, str, int]":
    """The agent that the flags name, the file it came from, and the seed to use."""
    from a3c import backend
    from a3c.training import lookup
    from a3c.utils import seeding
    from a3c.utils.lazy_imports import import_keras

    file = lookup.find_model(arguments.agent, arguments.save_dir)
    backend.select(arguments.backend)
    import_keras(plotting=False)
    from a3c.agent import Agent

    env_id = arguments.env_id
    if env_id is None and ":" in (arguments.agent or "") and not os.path.exists(arguments.agent):
        env_id = arguments.agent  # then the user has typed its module
    agent = Agent.load(
        file, env_id, arguments.model, arguments.backend, arguments.unsafe_load, arguments.trust
    )
    return agent, str(file), seeding.fresh_seed() if arguments.seed is None else arguments.seed
