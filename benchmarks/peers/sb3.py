"""Stable-Baselines3 A2C and PPO on CartPole-v1, with the settings of RL Baselines3 Zoo.

The judge sees every finished training episode (the monitor's `info["episode"]`) and stops training at the
goal. One thread: torch's own choice of threads was slower on two cores, much slower when others use them
too. Steps per second are steps through the time of `learn`; nothing is compiled.
"""

# The packages are those of another environment.
# pyright: reportMissingImports=false

import time

import process_clock

PPO_STEPS = 100_000  # the zoo's; learning rate and clip range fall to 0 by then


def main() -> None:
    """Train until the goal."""
    given = process_clock.arguments(__doc__, threads=1, ppo=0)
    import torch
    from stable_baselines3 import A2C, PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    selector = process_clock.ModelSelector(given.goal)

    class StopAtGoal(BaseCallback):
        def _on_step(self) -> bool:
            ended = [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
            return not any(selector.episode(r) for r in ended)

    if given.threads:
        torch.set_num_threads(given.threads)
    environments = make_vec_env("CartPole-v1", n_envs=8, seed=given.seed)
    common = dict(env=environments, ent_coef=0.0, seed=given.seed, device="cpu")
    if given.ppo:
        model = PPO(
            "MlpPolicy",
            n_steps=32,
            batch_size=256,
            gae_lambda=0.8,
            gamma=0.98,
            n_epochs=20,
            learning_rate=lambda left: 1e-3 * left,
            clip_range=lambda left: 0.2 * left,
            **common,
        )
    else:
        model = A2C("MlpPolicy", **common)
    began = time.perf_counter()
    model.learn(min(given.max_steps, PPO_STEPS) if given.ppo else given.max_steps, callback=StopAtGoal())
    process_clock.report(selector.solved_seconds, model.num_timesteps, time.perf_counter() - began)


if __name__ == "__main__":
    main()
