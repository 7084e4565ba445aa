"""`a3c random`: the baseline that every score is shown beside."""

import json

from a3c.cli import parsing
from a3c.config import Config
from a3c.utils.console import printable

COMMAND = parsing.Command(
    "random",
    "Play uniformly random actions: the baseline that every score is shown beside.",
    [
        parsing.positional("env_id", "Environment, as a3c train takes it (default: CartPole-v1)."),
        parsing.option("episodes", int, 100, "How many episodes.", at_least=1),
        parsing.option("seed", int | None, None, "Seed; default: drawn and shown.", at_least=0),
        parsing.JSON,
    ],
)


def run(argv: list[str]) -> int:
    """Parse, play, report. Returns the exit code."""
    arguments = COMMAND.parse(argv)
    return report(arguments.env_id or Config.env_id, arguments.episodes, arguments.seed, arguments.json)


def report(env_id: str, episodes: int, seed: int | None, as_json: bool) -> int:
    """Play `episodes` and print what came of it."""
    from a3c import envs
    from a3c.evaluation.evaluator import random_evaluation
    from a3c.utils import seeding

    environment = envs.find(env_id)
    seed = seeding.fresh_seed() if seed is None else seed
    evaluation = random_evaluation(environment, episodes, seed)
    summary = evaluation.as_dict()
    if as_json:
        print(json.dumps({"env_id": env_id, "algorithm": "random", "seed": seed, "evaluation": summary}))
        return 0
    interval = (
        f", 95% interval {summary['ci95'][0]:.1f} to {summary['ci95'][1]:.1f}" if summary["ci95"] else ""
    )
    print(
        f"{printable(env_id)}: random actions earn {summary['mean']:.1f} on average over {episodes} episodes "
        f"(std {summary['std']:.1f}, min {summary['min']:g}, max {summary['max']:g}{interval}), seed {seed}"
    )
    if evaluation.warning:
        print(evaluation.warning)
    return 0
