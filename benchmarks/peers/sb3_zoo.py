"""Stable-Baselines3 A2C with the zoo's settings, trained anew: what other seeds make of a published score.

    python benchmarks/peers/sb3_zoo.py LunarLander-v3 --seed 101

in an environment of its own (torch, stable-baselines3, gymnasium[box2d]). Trains for the steps of the
published agent on one thread, plays 100 episodes greedily, and prints a line of JSON, which
`benchmarks/results/sb3-zoo.json` keeps.
"""

# The packages are those of another environment.
# pyright: reportMissingImports=false

import argparse
import json
import time

import numpy as np

SETTINGS = {
    "LunarLander-v3": dict(
        steps=200_000, copies=8, n_steps=5, gamma=0.995, learning_rate=0.00083, ent_coef=1e-5
    ),
}
"""As in the zoo's a2c.yml; all learning rates fall linearly to 0."""


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("env_id", choices=SETTINGS)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    import torch
    from stable_baselines3 import A2C
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    torch.set_num_threads(1)
    settings = dict(SETTINGS[given.env_id])
    steps, copies, rate = (settings.pop(name) for name in ("steps", "copies", "learning_rate"))
    environments = make_vec_env(given.env_id, n_envs=copies, seed=given.seed)
    model = A2C(
        "MlpPolicy",
        environments,
        seed=given.seed,
        device="cpu",
        learning_rate=lambda left: rate * left,
        **settings,
    )
    began = time.perf_counter()
    model.learn(steps)
    seconds = time.perf_counter() - began
    judged = make_vec_env(given.env_id, n_envs=8, seed=given.seed + 10_000)
    returns, _ = evaluate_policy(model, judged, 100, deterministic=True, return_episode_rewards=True)
    figures = dict(mean=float(np.mean(returns)), std=float(np.std(returns)), train_seconds=seconds)
    print(json.dumps(dict(env_id=given.env_id, seed=given.seed, steps=steps, **figures)))


if __name__ == "__main__":
    main()
