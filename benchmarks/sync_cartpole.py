"""CartPole without its vector code: single copies stepped one by one, as most environments are."""

import gymnasium as gym

gym.register(
    "SyncCartPole-v1",
    entry_point="gymnasium.envs.classic_control.cartpole:CartPoleEnv",
    max_episode_steps=500,
    reward_threshold=475.0,
)
