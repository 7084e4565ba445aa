"""Random steps of 64 CartPole-v1 environments in one process: what the environments alone allow.

Gymnasium's one-by-one vector (`sync`) and its vectorised CartPole (`vector`), or EnvPool with one thread or
its own choice, whichever is faster. No learning, so there is nothing to solve.
"""

# The packages are those of another environment.
# pyright: reportMissingImports=false

import argparse
import time

import process_clock

ENVIRONMENTS = 64


def measure(environments, actions, seconds: float = 3.0) -> float:
    """Environment steps per second."""
    environments.reset()
    for row in actions[:100]:
        environments.step(row)
    rounds, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        environments.step(actions[rounds % len(actions)])
        rounds += 1
    return rounds * ENVIRONMENTS / (time.perf_counter() - began)


def make(kind: str) -> list:
    """The candidates of a kind."""
    if kind == "envpool":
        import envpool

        common = dict(task_id="CartPole-v1", num_envs=ENVIRONMENTS)
        return [envpool.make_gymnasium(**common, num_threads=1), envpool.make_gymnasium(**common)]
    import gymnasium

    mode = {"sync": "sync", "vector": "vector_entry_point"}[kind]
    return [gymnasium.make_vec("CartPole-v1", num_envs=ENVIRONMENTS, vectorization_mode=mode)]


def main() -> None:
    """Measure one kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("sync", "vector", "envpool"), required=True)
    parser.add_argument("--seed", type=int, default=1)
    given, _ = parser.parse_known_args()  # --goal and --max-steps mean nothing here
    import numpy as np

    actions = np.random.default_rng(given.seed).integers(0, 2, (1000, ENVIRONMENTS), dtype=np.int32)
    speed = max(measure(environments, actions) for environments in make(given.kind))
    process_clock.report(None, steps_per_second=speed)


if __name__ == "__main__":
    main()
