"""How much of the environments' own speed is left for training: steps/s as a fraction of random stepping.

    python benchmarks/throughput.py

Floor: as many processes as workers step the same environment, in batches of the same size, with random
actions from `action_space.sample()`, and do nothing else. Training: `a3c train` on the same, with the
preset of CartPole-v1 and the `t_max` of the case. Floor and training take turns, so that a noisy hour hits
both; the ratio is that of each pair. Compiled environments have no floor outside of their program: for
them steps/s and the speed-up from one worker to two are given. Writes `benchmarks/results/throughput.json`.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import statistics
import tempfile
import time

from solve import RESULTS, command, machine

FLOOR_SECONDS = 3.0
NEVER = ("--stop-return", "1e9", "--quiet")
VECTOR = ("CartPole-v1", "vector_entry_point", 8_000_000)
SYNC = ("sync_cartpole:SyncCartPole-v1", "sync", 2_000_000)
CASES = {  # name: environment, how Gymnasium makes it, training steps, t_max
    "vector code, t_max 32": (*VECTOR, 32),
    "vector code, t_max 20": (*VECTOR, 20),
    "vector code, the preset's t_max 10": (*VECTOR, 10),
    "single copies in turn, t_max 20": (*SYNC, 20),
    "single copies in turn, the preset's t_max 10": (*SYNC, 10),
}


def step_at_random(env_id: str, mode: str, num_envs: int, started: object, results: object) -> None:
    """Step for a while with random actions; put steps per second."""
    import gymnasium as gym

    env = gym.make_vec(env_id, num_envs=num_envs, vectorization_mode=mode)
    env.reset(seed=os.getpid())
    env.action_space.seed(os.getpid())
    started.wait()  # type: ignore[attr-defined]
    begin, steps = time.perf_counter(), 0
    while time.perf_counter() - begin < FLOOR_SECONDS:
        for _ in range(20):
            env.step(env.action_space.sample())
        steps += 20 * num_envs
    results.put(steps / (time.perf_counter() - begin))  # type: ignore[attr-defined]


def floor(env_id: str, mode: str, num_envs: int, workers: int) -> float:
    """Steps per second of `workers` processes that only step."""
    context = multiprocessing.get_context("spawn")
    started, results = context.Event(), context.Queue()
    arguments = (env_id, mode, num_envs, started, results)
    processes = [context.Process(target=step_at_random, args=arguments) for _ in range(workers)]
    for process in processes:
        process.start()
    time.sleep(2)  # until all have imported Gymnasium
    started.set()
    total = sum(results.get() for _ in processes)
    for process in processes:
        process.join()
    return total


def train(env_id: str, workers: int, num_envs: int, max_steps: int, *more: str) -> float:
    """Training steps per second."""
    limits = ("--workers", str(workers), "--envs-per-worker", str(num_envs), "--max-steps", str(max_steps))
    with tempfile.TemporaryDirectory() as runs:
        return command("train", env_id, *limits, *NEVER, *more, "--save-dir", runs)["steps_per_second"]


def gymnasium_case(name: str, num_envs: int, workers: int, rounds: int) -> dict:
    """Floor and training in turn."""
    env_id, mode, max_steps, t_max = CASES[name]
    settings = ("--preset", "CartPole-v1", "--t-max", str(t_max))
    pairs = []
    for _ in range(rounds):
        below = floor(env_id, mode, num_envs, workers)
        ours = train(env_id, workers, num_envs, max_steps, *settings)
        pairs.append({"floor": round(below), "training": round(ours), "ratio": round(ours / below, 3)})
        print(name, json.dumps(pairs[-1]), flush=True)
    medians = {key: statistics.median(pair[key] for pair in pairs) for key in pairs[0]}
    what = {"env_id": env_id, "envs_per_worker": num_envs, "workers": workers, "t_max": t_max}
    return {**what, "medians": medians, "rounds": pairs}


def compiled_case(num_envs: int, rounds: int) -> dict:
    """Compiled CartPole with one worker and with two, in turn, both on the thread engine."""
    rows = []
    for _ in range(rounds):
        one, two = (
            train("jax/CartPole-v1", workers, num_envs, workers * 12_000_000, "--engine", "threads")
            for workers in (1, 2)
        )
        rows.append({"1 worker": round(one), "2 workers": round(two), "speed_up": round(two / one, 3)})
        print("compiled", json.dumps(rows[-1]), flush=True)
    medians = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    return {"env_id": "jax/CartPole-v1", "envs_per_worker": num_envs, "medians": medians, "rounds": rows}


def main() -> None:
    """Parse, measure, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs-per-worker", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    os.chdir(os.path.dirname(os.path.abspath(__file__)))  # where sync_cartpole is found
    from a3c.utils.versions import versions

    record = {
        name: gymnasium_case(name, given.envs_per_worker, given.workers, given.rounds) for name in CASES
    }
    record["compiled"] = compiled_case(given.envs_per_worker, given.rounds)
    record |= {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
    }
    (RESULTS / "throughput.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
