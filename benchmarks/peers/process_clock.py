"""What every peer script needs: the age of its process, the last 100 episodes, one line of JSON.

Standard library only, for it is imported in every peer's own environment.
"""

import argparse
import collections
import json
import os
import time


def seconds_since_start() -> float:
    """Seconds since this process was created, imports and all (Linux)."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def arguments(description: str | None, **more: int) -> argparse.Namespace:
    """Parse `--seed`, `--goal`, `--max-steps` and integers of a script's own, given by their defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--goal", type=float, default=475.0)
    parser.add_argument("--max-steps", type=int, default=1_000_000)
    for name, value in more.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    return parser.parse_args()


class ModelSelector:
    """Notes the moment when the mean of the last 100 training episodes first reaches the goal."""

    def __init__(self, goal: float) -> None:
        self.goal = goal
        self.returns: collections.deque[float] = collections.deque(maxlen=100)
        self.solved_seconds: float | None = None

    def episode(self, episode_return: float) -> bool:
        """Add an episode; whether the goal is reached."""
        self.returns.append(float(episode_return))
        if self.solved_seconds is None and len(self.returns) == 100 and sum(self.returns) >= 100 * self.goal:
            self.solved_seconds = seconds_since_start()
        return self.solved_seconds is not None


def report(
    solved_seconds: float | None,
    steps: int | None = None,
    train_seconds: float | None = None,
    steps_per_second: float | None = None,
) -> None:
    """Print the result, the last line of standard output."""
    if steps_per_second is None and steps is not None and train_seconds:
        steps_per_second = steps / train_seconds
    result = {
        "solved": solved_seconds is not None,
        "steps": steps,
        "solved_seconds": solved_seconds,
        "train_seconds": train_seconds,
        "steps_per_second": steps_per_second,
    }
    print(json.dumps(result), flush=True)
