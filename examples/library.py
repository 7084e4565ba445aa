"""The library in ten lines: train, judge, film, save, load, act.

python library.py
"""

import gymnasium as gym

from a3c import Agent, random_baseline


def main() -> None:
    """Train on CartPole-v1 and use the agent."""
    print("random:", random_baseline("CartPole-v1", episodes=100).mean)
    agent = Agent("CartPole-v1", seed=1)
    history = agent.fit()
    print("solved:", history.summary["solved"], "after", history.summary["steps"], "steps")
    print("greedy:", agent.evaluate(episodes=100).mean)
    agent.play(video="cartpole.gif")
    agent.save("cartpole.keras")

    agent = Agent.load("cartpole.keras")
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=0)
    total, done = 0.0, False
    while not done:
        observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
        total, done = total + float(reward), terminated or truncated
    print("by hand:", total)


if __name__ == "__main__":
    main()
