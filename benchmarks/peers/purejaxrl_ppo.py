"""PureJaxRL PPO on CartPole-v1 with the settings at the end of its `ppo.py`, from a checkout of it.

Its `train` is one compiled call of a fixed number of steps that returns all training episodes. The moment
of reaching the goal is reckoned from the share of the steps done by then, as every step costs the same; that
favours it, for its user waits for the end. Steps per second are without compiling. Of brax and Navix it
needs only the names, for wrappers that CartPole does not use.
"""

# The packages are those of another environment.
# pyright: reportMissingImports=false

import argparse
import sys
import time
import types

import process_clock

SETTINGS = {
    "LR": 2.5e-4,
    "NUM_ENVS": 4,
    "NUM_STEPS": 128,
    "TOTAL_TIMESTEPS": 5e5,
    "UPDATE_EPOCHS": 4,
    "NUM_MINIBATCHES": 4,
    "GAMMA": 0.99,
    "GAE_LAMBDA": 0.95,
    "CLIP_EPS": 0.2,
    "ENT_COEF": 0.01,
    "VF_COEF": 0.5,
    "MAX_GRAD_NORM": 0.5,
    "ACTIVATION": "tanh",
    "ENV_NAME": "CartPole-v1",
    "ANNEAL_LR": True,
    "DEBUG": False,
}


def import_ppo(path: str):
    """Its module `ppo`, with empty stand-ins for brax and Navix."""
    names = ("brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training", "navix")
    modules = {name: types.ModuleType(name) for name in names}
    vars(modules["brax"])["envs"] = modules["brax.envs"]
    vars(modules[names[3]]).update(EpisodeWrapper=object, AutoResetWrapper=object)
    sys.modules.update(modules)
    sys.path.insert(0, path)
    import ppo

    return ppo


def main() -> None:
    """Train, and look up when it reached the goal."""
    chooser = argparse.ArgumentParser(add_help=False)
    chooser.add_argument("--path", required=True)
    chosen, sys.argv[1:] = chooser.parse_known_args()
    given = process_clock.arguments(__doc__)
    ppo = import_ppo(chosen.path)
    import jax
    import numpy as np

    key = jax.random.PRNGKey(given.seed)
    compiled = jax.jit(ppo.make_train(SETTINGS)).lower(key).compile()
    before, began = process_clock.seconds_since_start(), time.perf_counter()
    told = jax.block_until_ready(compiled(key))["metrics"]
    took = time.perf_counter() - began

    ended = np.asarray(told["returned_episode"]).reshape(-1)
    returns = np.asarray(told["returned_episode_returns"]).reshape(-1)[ended]
    means = np.convolve(returns, np.full(100, 0.01), "valid") if len(returns) >= 100 else np.zeros(0)
    good = np.flatnonzero(means >= given.goal)
    steps = int(np.flatnonzero(ended)[good[0] + 99]) + 1 if len(good) else len(ended)
    share = steps / len(ended)
    process_clock.report(before + share * took if len(good) else None, steps, share * took)


if __name__ == "__main__":
    main()
