"""Scores over many environments: train, judge, and write the table of `docs/scores.md`.

    python benchmarks/scores.py                        # everything that is not recorded yet, then the table
    python benchmarks/scores.py --only Pendulum-v1     # this one anew
    python benchmarks/scores.py --table                # the table alone, from what is recorded

Each environment is trained with its preset and five seeds, but to no more steps than the published figure
took, and each best agent is judged by 100 episodes with seeds that chose nothing. The published figures are
those of the A2C agents of the RL Baselines3 Zoo (one run each, as its page says). Runs are recorded one by
one in `benchmarks/results/scores.json`, so that the table can grow.
"""

import argparse
import datetime
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from a3c.runs import versions
from solve import RESULTS, machine, one_run

RECORD = RESULTS / "scores.json"
TABLE = Path(__file__).parent.parent / "docs" / "scores.md"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        env_id: Which environment.
        steps: Environment steps of training, at most.
        published: Mean return of the published agent; None: there is none.
        published_steps: What that one took.
        extra: What has to be installed.
        later: Why it has not been run, if so.
        to_the_end: Train for all of these steps, since the published score is above the environment's own
            threshold, where training stops.
        record: The record of `benchmarks/solve.py` that has its runs, where they take too long for here.
        drawn: Judged by drawn actions, as the published agent was, and not by the most probable ones.
    """

    env_id: str
    steps: int
    published: float | None = None
    published_steps: int | None = None
    extra: str = ""
    later: str = ""
    to_the_end: bool = False
    record: str = ""
    drawn: bool = False


ROWS = (
    Row("CartPole-v1", 500_000, 500, 500_000),
    Row("Acrobot-v1", 500_000, -83, 500_000, to_the_end=True),
    Row("MountainCar-v0", 1_000_000, -111, 1_000_000),
    Row("MountainCarContinuous-v0", 100_000, 91, 100_000),
    Row("Pendulum-v1", 1_000_000, -163, 1_000_000),
    Row("LunarLander-v3", 200_000, 156, 200_000, "box2d"),
    Row("LunarLanderContinuous-v3", 2_500_000, 84, 5_000_000, "box2d"),
    Row("BipedalWalker-v3", 1_500_000, 300, 5_000_000, "box2d"),
    Row("HalfCheetah-v5", 1_000_000, 3041, 1_000_000, "mujoco"),
    Row("Hopper-v5", 1_000_000, 733, 1_000_000, "mujoco"),
    Row("Walker2d-v5", 1_000_000, 582, 1_000_000, "mujoco"),
    Row("gymnax/Breakout-MinAtar", 5_000_000, extra="gymnax"),
    Row("gymnax/SpaceInvaders-MinAtar", 5_000_000, extra="gymnax"),
    Row("gymnax/Asterix-MinAtar", 5_000_000, extra="gymnax"),
    Row("gymnax/Freeway-MinAtar", 5_000_000, extra="gymnax"),
    Row("PongNoFrameskip-v4", 3_600_000, 17.3, 10_000_000, "atari", record="pong", drawn=True),
    Row(
        "BreakoutNoFrameskip-v4",
        10_000_000,
        280,
        10_000_000,
        "atari",
        later="two hours for each of five seeds",
        drawn=True,
    ),
)


def run(row: Row, seed: int) -> dict:
    """Train once, and judge the best agent with seeds of its own."""
    arguments = [row.env_id, "--max-steps", str(row.steps)]
    arguments += ["--stop-return", "1e9"] if row.to_the_end else []
    with tempfile.TemporaryDirectory() as runs:
        return kept(one_run(seed, arguments, runs, cold=False))


def kept(summary: dict) -> dict:
    """What the record keeps of a run."""
    own = {name: summary[name] for name in ("seed", "solved", "steps", "train_seconds", "random_baseline")}
    return own | {name: summary["fresh"][name] for name in ("evaluation", "sampled")}


def interval(means: list[float]) -> tuple[float, float]:
    """95% interval of the mean over seeds, by a bootstrap of 10,000 draws."""
    draws = np.random.default_rng(0).choice(means, (10_000, len(means))).mean(1)
    return tuple(np.quantile(draws, (0.025, 0.975)))  # type: ignore[return-value]


def interquartile_mean(values: list[float]) -> float:
    """The mean of the middle half of the values (Agarwal et al. 2021)."""
    ordered = np.sort(values)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def fill(row: Row, record: dict, seeds: range) -> None:
    """Run and record what a row lacks, run by run."""
    entry = record["rows"].setdefault(row.env_id, {"runs": []})
    for seed in sorted(set(seeds) - {one["seed"] for one in entry["runs"]}):
        entry["runs"].append(run(row, seed))
        entry |= {"date": datetime.date.today().isoformat(), "versions": versions()}
        record["machine"] = machine()
        RECORD.write_text(json.dumps(record, indent=1) + "\n")


HEAD = """# Scores

Means of 100 greedy episodes of the best agent of each run, over the seeds that were run, with 95% intervals
(bootstrap over seeds). Each run takes the environment's preset, but no more steps than the published agent,
and stops where the environment counts as solved (on Acrobot-v1 after all steps, as the published score is
higher). LunarLander-v3's preset is made for 2.5 million steps, after which the means of five seeds are
[173 to 270](../benchmarks/results/lunarlander.json); after the table's 200,000 it is far from there.

*Published*: A2C agents of the RL Baselines3 Zoo, one run each, as its page says. They were trained on
LunarLander-v2, LunarLanderContinuous-v2, HalfCheetah-v3, Hopper-v3 and Walker2d-v3, which differ a little
from the versions here, and on Atari they were judged by drawn actions. How much one run says: the zoo's
own settings for LunarLander, trained anew by Stable-Baselines3 with four other seeds, gave −18, 32, 62 and −5
([record](../benchmarks/results/sb3-zoo.json)), where the published run has 156.

Pong takes an hour for a seed: the line is that of one with the preset as it is, judged by drawn actions
as the published one was, [with a record of its own](../benchmarks/results/pong.json). Two earlier seeds,
with earlier presets, came to [19.0](../benchmarks/results/pong-seed-1.json) and
[17.2](../benchmarks/results/pong-seed-2.json).

BipedalWalker-v3 has had two seeds so far, beside other work of the machine, which its minutes show.

`python benchmarks/scores.py` made this page; `benchmarks/results/scores.json` has every run.

| environment | seeds | steps | minutes | random | a3c | 95% | worst | published | its steps | |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def table(record: dict) -> str:
    """`docs/scores.md`."""
    lines, relative = [], []
    for row in ROWS:
        runs = runs_of(row, record)
        lines.append(line(row, runs))
        if row.published is not None:
            relative += [
                relative_score(row.published, score(row, one), one["random_baseline"]) for one in runs
            ]
    text = HEAD + "\n".join(lines) + "\n"
    if relative:
        compared = [bool(runs_of(row, record)) for row in ROWS if row.published is not None]
        text += (
            f"\nInterquartile mean over the {sum(compared)} environments (of {len(compared)} with a "
            "published score) that have been run, and their seeds, where 0 is random play and 1 the "
            f"published agent: **{interquartile_mean(relative):.2f}** ({len(relative)} runs).\n"
        )
    return f"{text}\nMachine: {record['machine']['cores']} cores, {record['machine']['cpu']}.\n"


def runs_of(row: Row, record: dict) -> list[dict]:
    """The runs of a line; none, where there are none yet."""
    if row.record:
        return [kept(run) for run in json.loads((RESULTS / f"{row.record}.json").read_text())["runs"]]
    return record["rows"].get(row.env_id, {"runs": []})["runs"]


def line(row: Row, runs: list[dict]) -> str:
    """One line of the table."""
    published = f"{_number(row.published)} | {_steps(row.published_steps)}"
    if not runs:
        why = f"not run: {row.later}" if row.later else "not run yet"
        return f"| {row.env_id} | | | | | {why} | | | {published} | |"
    means = [score(row, one) for one in runs]
    mean, (low, high) = float(np.mean(means)), interval(means)
    spread = f"{low:.1f} to {high:.1f}" if len(means) > 1 else "–"
    random = np.mean([one["random_baseline"] for one in runs])
    minutes = np.mean([one["train_seconds"] for one in runs]) / 60
    took = _steps(max(one["steps"] for one in runs))
    verdict = "" if row.published is None else "reached" if mean >= row.published else "below"
    return (
        f"| {row.env_id} | {len(runs)} | {took} | {minutes:.1f} | {random:.0f} | **{mean:.1f}** "
        f"| {spread} | {min(means):.1f} | {published} | {verdict} |"
    )


def score(row: Row, run: dict) -> float:
    """What the run's best agent earned on average."""
    return run["sampled" if row.drawn else "evaluation"]["mean"]


def relative_score(published: float, mean: float, random: float) -> float:
    """0 for random play, 1 for the published agent."""
    return (mean - random) / (published - random)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _steps(steps: int | None) -> str:
    if steps is None:
        return "–"
    return f"{steps / 1e6:.3g} M" if steps >= 1e6 else f"{steps / 1e3:.0f} k"


def main() -> None:
    """Parse, run, record, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="these environments, anew")
    parser.add_argument("--seeds", default="101-105", help="first-last")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    runnable = {row.env_id for row in ROWS if not row.record}
    if wrong := set(given.only) - runnable:
        parser.error(f"--only takes some of {', '.join(sorted(runnable))}; got {', '.join(sorted(wrong))}.")
    first, last = map(int, given.seeds.split("-"))
    record: dict = json.loads(RECORD.read_text()) if RECORD.exists() else {"rows": {}}
    for env_id in given.only:
        record["rows"].pop(env_id, None)
    for row in () if given.table else ROWS:
        if row.env_id in given.only or not (given.only or row.later or row.record):
            fill(row, record, range(first, last + 1))
    TABLE.write_text(table(record))


if __name__ == "__main__":
    main()
