"""From settings to the things they describe: the environment, the network, the optimizer.

Called by the main process and by `Agent`, before anything is started.
"""

import dataclasses
from typing import Any

from a3c import algorithms, backend, engines, envs
from a3c.config import Config
from a3c.envs import Environment
from a3c.errors import SettingError
from a3c.spaces.distributions.gaussian import Gaussian
from a3c.utils import seeding

_USUAL_STEPS = 1_000_000  # of a run, where it has no limit


def resolve_config(config: Config) -> tuple[Config, Environment]:
    """Decide what the settings left open, and refuse what cannot work, before anything is started."""
    if config.algorithm == "random":
        raise SettingError("algorithm", "random", "one that learns", "For the baseline: a3c random.")
    config = dataclasses.replace(
        engines.resolve_workers(config),
        backend=backend.select(config.backend),
        seed=seeding.fresh_seed() if config.seed is None else config.seed,
    )
    assert config.workers is not None
    with backend.compute_threads(config.workers):  # a compiled environment may start JAX
        environment = envs.find(config.env_id, config.action_bounds)
    algorithms.check_actions(config.algorithm, config.env_id, environment.actions)
    algorithm = algorithms.find(config.algorithm)
    if algorithm.gathers and not config.locking:
        fix = f"With --algorithm {config.algorithm} workers update nothing themselves."
        raise SettingError("locking", False, "true where a learner makes all updates", fix)
    if config.kl_limit is not None and not algorithm.local_steps:
        fix = "In step, all workers make the same passes; --algorithm appo has one."
        raise SettingError("kl_limit", config.kl_limit, f"none with --algorithm {config.algorithm}", fix)
    copies = config.envs_per_worker or 1
    if algorithm.reuses and config.t_max * copies < 2:
        fix = "The advantage of a single step is no better or worse than any other."
        raise SettingError("t_max", config.t_max, "at least 2 with one environment per worker", fix)
    if config.episodic_life and (environment.compiled or not envs.shows_lives(environment)):
        fix = f"{environment.id} counts no lives in its info."
        raise SettingError("episodic_life", True, "false where there are no lives to lose", fix)
    if config.exploration == "rnd" and environment.compiled:
        fix = f"{environment.id} runs inside the compiled program. Use its Gymnasium id, if it has one."
        raise SettingError("exploration", "rnd", "noise where the environment is compiled", fix)
    if config.initial_deviation is not None and not isinstance(environment.actions, Gaussian):
        fix = f"{environment.id} has {environment.actions.describe()}."
        expected = "none where actions are not continuous"
        raise SettingError("initial_deviation", config.initial_deviation, expected, fix)
    if config.epsilon_steps is None and algorithm.values:
        # Decided now, for a run that is resumed with more steps would explore anew.
        steps = (config.max_steps or _USUAL_STEPS) // 20
        config = dataclasses.replace(config, epsilon_steps=steps)
    config = engines.resolve_engine(config, environment.compiled)
    if config.stop_return is None:
        config = dataclasses.replace(config, stop_return=environment.reward_threshold)
    return config, environment


def make_model(config: Config, environment: Environment, model: Any = None) -> Any:
    """The network of a run, see `networks.factory.make_model`; on the backend that was chosen."""
    backend.load()
    from a3c.networks import factory

    values = algorithms.find(config.algorithm).values
    seen, actions = environment.observations, environment.actions
    return factory.make_model(config, config.env_id, seen, actions, values, config.seed or 0, model)
