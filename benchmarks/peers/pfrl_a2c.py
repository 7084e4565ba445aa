"""PFRL A2C on CartPole-v1: its own agent and heads, the settings of its A2C example, 8 environments.

PFRL speaks the old Gym interface, so the loop of its `train_agent_batch` is written out here on Gymnasium's
environments. The judge sees every training episode. One thread, as for Stable-Baselines3. Steps per second
are steps through the time of the loop; nothing is compiled.
"""

# The packages are those of another environment.
# pyright: reportMissingImports=false

import time

import process_clock

ENVIRONMENTS = 8


def make_agent():
    """PFRL's A2C with two hidden layers of 64 units for policy and for value."""
    import pfrl
    import torch
    from torch import nn

    def layers(outputs: int) -> list[nn.Module]:
        return [nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)]

    policy = nn.Sequential(*layers(2), pfrl.policies.SoftmaxCategoricalHead())
    model = pfrl.nn.Branched(policy, nn.Sequential(*layers(1)))
    optimizer = pfrl.optimizers.RMSpropEpsInsideSqrt(model.parameters(), lr=7e-4, eps=1e-5, alpha=0.99)
    torch.set_num_threads(1)
    return pfrl.agents.A2C(
        model, optimizer, gamma=0.99, num_processes=ENVIRONMENTS, update_steps=5, max_grad_norm=0.5
    )


def main() -> None:
    """Train until the goal."""
    given = process_clock.arguments(__doc__)
    import gymnasium
    import numpy as np
    import pfrl

    pfrl.utils.set_random_seed(given.seed)
    agent = make_agent()
    selector = process_clock.ModelSelector(given.goal)
    environments = [gymnasium.make("CartPole-v1") for _ in range(ENVIRONMENTS)]
    observations = [one.reset(seed=1000 * given.seed + i)[0] for i, one in enumerate(environments)]
    returns = np.zeros(ENVIRONMENTS)
    steps, solved, began = 0, False, time.perf_counter()
    while steps < given.max_steps and not solved:
        actions = agent.batch_act(observations)
        results = [one.step(int(a)) for one, a in zip(environments, actions, strict=True)]
        observations, rewards, terminated, truncated, _ = map(list, zip(*results, strict=True))
        returns += rewards
        steps += ENVIRONMENTS
        agent.batch_observe(observations, rewards, terminated, truncated)
        for i in np.flatnonzero(np.logical_or(terminated, truncated)):
            solved |= selector.episode(returns[i])
            returns[i] = 0.0
            observations[i] = environments[i].reset()[0]
    process_clock.report(selector.solved_seconds, steps, time.perf_counter() - began)


if __name__ == "__main__":
    main()
