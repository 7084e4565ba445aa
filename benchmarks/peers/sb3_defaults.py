"""Stable-Baselines3's PPO or A2C with its own defaults on one environment, for `benchmarks/defaults.py`.

    python benchmarks/peers/sb3_defaults.py --algorithm ppo --env CartPole-v1 --seed 1 --episodes out.csv

in an environment of its own (torch, stable-baselines3, gymnasium[box2d,mujoco], minatar). Nothing is set but
the seed and the policy's name, CnnPolicy for images and MlpPolicy else: one copy of the environment, and as
many threads as torch takes, unless `--threads` says otherwise. Writes steps, seconds since process start and
return of each training episode, as its Monitor counts them, and prints a line of JSON.
"""

# The packages are those of another environment.
# pyright: reportMissingImports=false

import argparse
import csv
import json
import platform
import time
from importlib import metadata

from process_clock import seconds_since_start

PACKAGES = ("torch", "stable-baselines3", "gymnasium", "numpy", "mujoco", "minatar")


def main() -> None:
    """Train until the steps or the time are used up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algorithm", choices=("ppo", "a2c"), required=True)
    parser.add_argument("--env", required=True, help="Gymnasium id, or module:id")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--max-steps", type=int, default=1_000_000)
    parser.add_argument("--max-seconds", type=float, default=600.0, help="since process start")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    parser.add_argument("--episodes", required=True, help="the file to write")
    given = parser.parse_args()
    import gymnasium as gym
    import torch
    from stable_baselines3 import A2C, PPO
    from stable_baselines3.common.callbacks import BaseCallback

    if given.threads:
        torch.set_num_threads(given.threads)
    env = gym.make(given.env)
    image = len(env.observation_space.shape or ()) == 3
    algorithm = {"ppo": PPO, "a2c": A2C}[given.algorithm]
    model = algorithm("CnnPolicy" if image else "MlpPolicy", env, seed=given.seed)
    age = seconds_since_start() - time.monotonic()
    with open(given.episodes, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("steps", "seconds", "return"))

        class Watch(BaseCallback):
            def _on_step(self) -> bool:
                seconds = age + time.monotonic()
                for info in self.locals["infos"]:
                    if "episode" in info:
                        writer.writerow((self.num_timesteps, round(seconds, 3), info["episode"]["r"]))
                return seconds < given.max_seconds and self.num_timesteps < given.max_steps

        began = time.monotonic()
        model.learn(given.max_steps, callback=Watch())
    ended = time.monotonic()
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    result = {"steps": model.num_timesteps, "seconds": age + ended, "train_seconds": ended - began}
    print(json.dumps({**result, "versions": versions}), flush=True)


if __name__ == "__main__":
    main()
