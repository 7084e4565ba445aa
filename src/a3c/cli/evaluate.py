"""`a3c evaluate`: evaluate an agent on whole episodes, in environments and with seeds of its own."""

import json

from a3c.cli import agents, parsing
from a3c.utils.console import printable

COMMAND = parsing.Command(
    "evaluate",
    """Evaluate an agent on whole episodes, in environments and with seeds of its own.

Greedy play takes the most probable action, sampled play draws from the policy, as in training.""",
    [
        *agents.ARGUMENTS,
        parsing.option("episodes", int, 100, "Episodes for each of greedy and sampled play.", at_least=1),
        parsing.JSON,
    ],
)


def run(argv: list[str]) -> int:
    """Parse, play, report. Returns the exit code."""
    arguments = COMMAND.parse(argv)
    agent, file, seed = agents.load(arguments)
    results = {mode: agent.evaluate(arguments.episodes, mode, seed) for mode in ("greedy", "sampled")}
    threshold = agent.environment.reward_threshold
    baseline = agent.card.get("random_baseline")
    if arguments.json:
        summary = dict(
            model=file,
            env_id=agent.config.env_id,
            backend=agent.config.backend,
            seed=seed,
            threshold=threshold,
            solved=None if threshold is None else results["greedy"].mean >= threshold,
            evaluation=results["greedy"].as_dict(),
            sampled=results["sampled"].as_dict(),
            random_baseline=baseline,
        )
        print(json.dumps(summary))
        return 0
    print(printable(f"{file} on {agent.config.env_id}, {arguments.episodes} episodes each, seed {seed}"))
    for mode, result in results.items():
        s = result.as_dict()
        interval = f"  95% interval {s['ci95'][0]:.1f} to {s['ci95'][1]:.1f}" if s["ci95"] else ""
        solved = "" if threshold is None else "  solved" if result.mean >= threshold else "  not solved"
        print(
            f"{mode:8} mean {s['mean']:.1f}  std {s['std']:.1f}  min {s['min']:g}  max {s['max']:g}"
            f"{interval}{solved}"
        )
        if result.warning:
            print(result.warning)
    goal = "no threshold of its own" if threshold is None else f"solved means {threshold:g} on average"
    print(f"{goal}" + ("" if baseline is None else f"; random actions earn {baseline:.1f}"))
    return 0
