"""Scores over many environments: train, judge, and write the table of `docs/scores.md`.

    python benchmarks/scores.py                        # everything that is not recorded yet, then the table
    python benchmarks/scores.py --only Pendulum-v1     # what this environment lacks
    python benchmarks/scores.py --only Pendulum-v1 --seeds 201-201 --anew  # this run once more
    python benchmarks/scores.py --table                # the table alone, from what is recorded

Each run is `a3c train ENV` with as many steps as the line says and nothing else chosen: the environment's own
preset, or the defaults where it has none. There are five seeds a line, and each best agent is judged by 100
episodes with seeds that chose nothing. The published figures are those of the A2C and PPO agents of the RL
Baselines3 Zoo (one run each, as its page says). No line has more steps than the longer of the two. Where they
took different numbers of steps, there is a second line after the smaller one.

The first seed of every line comes before the second of any. Runs are recorded one by one in
`benchmarks/results/scores.json`, so that this can be stopped and started again. A run counts as long as
`a3c train ENV` still chooses the algorithm and the preset that the run was made with.
"""

import argparse
import datetime
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from a3c.presets import make_config
from a3c.training.run_directory import CONFIG, read_config
from a3c.utils.versions import versions
from solve import RESULTS, machine, one_run

ROOT = Path(__file__).resolve().parent.parent
RECORD = RESULTS / "scores.json"
TABLE = ROOT / "docs" / "scores.md"


@dataclass(frozen=True)
class Published:
    """What a published agent earned on average, and after how many steps of training."""

    score: float
    steps: int


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        env_id: Which environment.
        steps: Environment steps of training, at most.
        a2c: The published A2C agent; None: there is none.
        ppo: The published PPO agent.
        extra: What has to be installed.
        later: Why it has not been run, if so; it is when `--only` names it.
        to_the_end: Train for all of these steps, since a published score is above the environment's own
            threshold, where training stops, or less than a point below.
        earlier: Runs of an earlier version count, whose algorithm and preset were not recorded: both are what
            they were. Run anew when `--only` names it.
        record: The record of `benchmarks/solve.py` that has its runs, where they take too long for here.
        drawn: Judged by drawn actions, as the published agents were, and not by the most probable ones.
    """

    env_id: str
    steps: int
    a2c: Published | None = None
    ppo: Published | None = None
    extra: str = ""
    later: str = ""
    to_the_end: bool = False
    earlier: bool = False
    record: str = ""
    drawn: bool = False


def _two(
    env_id: str, a2c: tuple[float, int], ppo: tuple[float, int], steps: tuple[int, ...], extra: str = "",
    to_the_end: bool = False,
) -> tuple[Row, ...]:  # fmt: skip
    """The lines of an environment, one for each number of steps, beside the two published agents."""
    return tuple(
        Row(env_id, one, Published(*a2c), Published(*ppo), extra, to_the_end=to_the_end) for one in steps
    )


K, M = 1_000, 1_000_000
ROWS = (
    *_two("CartPole-v1", (500, 500 * K), (500, 100 * K), (500 * K, 100 * K), to_the_end=True),
    *_two("Acrobot-v1", (-83.4, 500 * K), (-73.5, M), (M, 500 * K), to_the_end=True),
    *_two("MountainCar-v0", (-111.3, M), (-110.4, M), (M,), to_the_end=True),
    *_two("MountainCarContinuous-v0", (91.2, 100 * K), (88.3, 20 * K), (100 * K, 20 * K), to_the_end=True),
    *_two("Pendulum-v1", (-163.0, M), (-172.2, 100 * K), (M, 100 * K)),
    *_two("LunarLander-v3", (155.8, 200 * K), (242.1, M), (M, 200 * K), "box2d", to_the_end=True),
    *_two("LunarLanderContinuous-v3", (84.2, 5 * M), (270.9, M), (2_500 * K, M), "box2d", to_the_end=True),
    *_two("BipedalWalker-v3", (299.8, 5 * M), (287.9, 5 * M), (1_500 * K,), "box2d", to_the_end=True),
    *_two("HalfCheetah-v5", (3041.2, M), (5819.1, M), (M,), "mujoco", to_the_end=True),
    *_two("Hopper-v5", (733.5, M), (2410.4, M), (M,), "mujoco"),
    *_two("Walker2d-v5", (581.8, M), (3478.8, M), (M,), "mujoco"),
    *_two("Swimmer-v5", (200.6, M), (281.6, M), (M,), "mujoco"),
    *_two("Ant-v5", (-44.0, M), (1327.2, M), (M,), "mujoco"),
    Row("gymnax/Breakout-MinAtar", 5 * M, extra="gymnax", earlier=True),
    Row("gymnax/SpaceInvaders-MinAtar", 5 * M, extra="gymnax", earlier=True),
    Row("gymnax/Asterix-MinAtar", 5 * M, extra="gymnax", earlier=True),
    Row("gymnax/Freeway-MinAtar", 5 * M, extra="gymnax", earlier=True),
    Row(
        "PongNoFrameskip-v4",
        3_600 * K,
        Published(17.3, 10 * M),
        Published(21.0, 10 * M),
        "atari",
        record="pong",
        drawn=True,
    ),
    Row(
        "BreakoutNoFrameskip-v4",
        10 * M,
        Published(279.8, 10 * M),
        Published(398.0, 10 * M),
        "atari",
        later="it takes hours",
        drawn=True,
    ),
)
COLUMNS = {"A2C": "a2c", "PPO": "ppo"}
NEAR_RANDOM = {("Ant-v5", "a2c")}
"""Published agents so near random play that nothing can be measured relative to the difference."""


# -- runs ----------------------------------------------------------------------------------------------------


def run(row: Row, seed: int) -> dict:
    """Train once, and judge the best agent with seeds of its own."""
    arguments = [row.env_id, "--max-steps", str(row.steps)]
    arguments += ["--stop-return", "1e9"] if row.to_the_end else []
    of = commit()
    with tempfile.TemporaryDirectory() as runs:
        summary = one_run(seed, arguments, runs, cold=False)
        config = read_config(next(Path(runs).rglob(CONFIG)).parent)
    return {
        **kept(summary),
        "preset": config.preset,
        "max_steps": row.steps,
        "minutes": round(summary["train_seconds"] / 60, 2),
        "commit": of,
    }


def kept(summary: dict) -> dict:
    """What the record keeps of a run's summary."""
    names = ("seed", "algorithm", "solved", "steps", "train_seconds", "random_baseline")
    own = {name: summary[name] for name in names}
    return own | {name: summary["fresh"][name] for name in ("evaluation", "sampled")}


def commit() -> str:
    """Which version of the package runs, with a + where its files were changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "--", "src") else "")


def load() -> dict:
    """What is recorded."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {"rows": {}}


def store(row: Row, new: dict) -> None:
    """Record a run, in the place of one with its seed and steps, and drop those that no longer count."""
    record = load()
    entry = record["rows"].setdefault(row.env_id, {"runs": []})
    rows = [other for other in ROWS if other.env_id == row.env_id]
    entry["runs"] = [
        one
        for one in entry["runs"]
        if any(counts(other, one) for other in rows)
        and (one["seed"], one.get("max_steps", row.steps)) != (new["seed"], row.steps)
    ] + [new]
    entry |= {"date": datetime.date.today().isoformat(), "versions": versions(), "machine": machine()}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


def counts(row: Row, run: dict) -> bool:
    """Whether a recorded run is one of the line's: by the algorithm and preset that would be chosen now."""
    if "commit" not in run:
        return row.earlier
    now = make_config(env_id=row.env_id)
    return (run["max_steps"], run["algorithm"], run["preset"]) == (row.steps, now.algorithm, now.preset)


def runs_of(row: Row, record: dict) -> list[dict]:
    """The runs of a line; none, where there are none yet."""
    if row.record:
        return [kept(run) for run in _solved(row)["runs"]]
    return [run for run in record["rows"].get(row.env_id, {"runs": []})["runs"] if counts(row, run)]


def _solved(row: Row) -> dict:
    return json.loads((RESULTS / f"{row.record}.json").read_text())


def fill(rows: list[Row], seeds: Iterable[int], anew: bool) -> list[str]:
    """Run and record what is lacking, the first seed of every row first. Returns what failed, in words."""
    failed = []
    for seed in seeds:
        for row in rows:
            if not anew and any(one["seed"] == seed for one in runs_of(row, load())):
                continue
            print(f"{row.env_id}, {_steps(row.steps)} steps, seed {seed}:", flush=True)
            try:
                store(row, run(row, seed))
            except SystemExit as error:  # so to say, an extra that is not installed
                print(error, flush=True)
                failed.append(f"{row.env_id}, {_steps(row.steps)} steps, seed {seed}")
    return failed


# -- the table -----------------------------------------------------------------------------------------------

HEAD = """# Scores

What `a3c train ENV` learns with as many steps as the table says, and nothing else chosen. It takes the
environment's own preset. Where there is none, it takes the defaults, which train by `appo`.

*Seeds*: how many have been run so far. Five are to be run for each line. *Minutes*: training alone, mean over
seeds. *Ours*: each run's best agent plays 100 new episodes and takes the most probable action in each step. This
is the mean over seeds. *95%*: the interval of that mean, by a bootstrap over seeds. *Worst*: the lowest seed.

*A2C* and *PPO* are the published agents of the [RL Baselines3 Zoo][zoo], with the steps that each took. The last
column says which of them our mean is above, or as high as. No line has more steps than the longer of the two
took. Where the two took different numbers of steps, a second line has ours after the smaller number, or less.
LunarLanderContinuous-v3 and BipedalWalker-v3 get fewer than the five million steps of the published agents, to
save time.

What to know about the comparison:

- Each published score is that of one run, as the zoo's page says. How much one run says: the zoo's own settings
  of A2C for LunarLander, trained anew by Stable-Baselines3 with four other seeds, gave −18, 32, 62 and −5
  ([record](../benchmarks/results/sb3-zoo.json)). The published run has 156.
- The zoo has settings tuned for each environment. Ours are tuned where there is a preset. The defaults are the
  same everywhere.
- The zoo's LunarLander agents were trained on version 2, its MuJoCo agents on version 3. These differ a little
  from the versions here.
- Training stops where the environment counts as solved. It goes on to the last step where a published score is
  higher than that, or less than a point lower.
- On Ant-v5 an agent that stands still earns nearly 1000. The published A2C agent has about as little as random
  play. It is left out of the number below the table.
- On Atari the published agents were judged by drawn actions, and so are ours.

Since the defaults have changed, all lines are run anew but those of MinAtar and Pong. Their presets are what they
were, with `a3c`. Their runs are those of an earlier version, which clipped the gradients of policy and value
together and not each by itself.

Pong is one seed, which stopped at the preset's goal of 18.5 and has
[a record of its own](../benchmarks/results/pong.json). Two earlier seeds, with earlier presets, came to
[19.0](../benchmarks/results/pong-seed-1.json) and [17.2](../benchmarks/results/pong-seed-2.json).

`python benchmarks/scores.py` made this page. `benchmarks/results/scores.json` has every run, with its algorithm,
preset and commit.

[zoo]: https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md

| environment | algorithm | seeds | steps | minutes | random | ours | 95% | worst | A2C (steps) | PPO (steps) | |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""  # noqa: E501 - a table's row is one line


def table(record: dict) -> str:
    """`docs/scores.md`."""
    parts = [
        "\n".join(line(row, runs_of(row, record)) for row in ROWS),
        "\n".join([RELATIVE, *(relative_line(title, record) for title in COLUMNS)]),
        footer(record),
    ]
    return HEAD + "\n\n".join(parts) + "\n"


def line(row: Row, runs: list[dict]) -> str:
    """One line of the table."""
    published = " | ".join(_published(one) for one in (row.a2c, row.ppo))
    if not runs:
        why = f"not run: {row.later}" if row.later else "not run yet"
        return f"| {row.env_id} | | 0 | {_steps(row.steps)} | | | {why} | | | {published} | |"
    means = [score(row, one) for one in runs]
    mean, (low, high) = float(np.mean(means)), interval(means)
    spread = f"{low:.1f} to {high:.1f}" if len(means) > 1 else "–"
    algorithms = ", ".join(sorted({one.get("algorithm", "a3c") for one in runs}))
    minutes = np.mean([one["train_seconds"] for one in runs]) / 60
    took = _steps(max(one["steps"] for one in runs))
    return (
        f"| {row.env_id} | {algorithms} | {len(runs)} | {took} | {minutes:.1f} | {random_play(runs):.0f} "
        f"| **{mean:.1f}** | {spread} | {min(means):.1f} | {published} | {outcome(row, mean)} |"
    )


def outcome(row: Row, mean: float) -> str:
    """Which published agents the mean is above, or as high as."""
    published = {title: getattr(row, name) for title, name in COLUMNS.items()}
    above = [title for title, one in published.items() if one is not None and mean >= one.score]
    if not any(published.values()):
        return ""
    return "above both" if len(above) == len(COLUMNS) else f"above {above[0]}" if above else "below"


def score(row: Row, run: dict) -> float:
    """What the run's best agent earned on average."""
    return run["sampled" if row.drawn else "evaluation"]["mean"]


def random_play(runs: list[dict]) -> float:
    """What random actions earn on average, as the runs found it."""
    return float(np.mean([one["random_baseline"] for one in runs]))


def interval(means: list[float]) -> tuple[float, float]:
    """95% interval of the mean over seeds, by a bootstrap of 10,000 draws."""
    draws = np.random.default_rng(0).choice(means, (10_000, len(means))).mean(1)
    return tuple(np.quantile(draws, (0.025, 0.975)))  # type: ignore[return-value]


RELATIVE = """In one number, the interquartile mean of all runs (Agarwal et al. 2021): 0 is random play, 1 the
published agent. Each environment counts with its line of no more steps than that agent took.

| | environments | runs | interquartile mean |
|---|---|---|---|"""


def relative_line(title: str, record: dict) -> str:
    """Ours relative to one of the published columns."""
    rows = fair_rows(COLUMNS[title])
    values, run = [], 0
    for row in rows:
        runs, published = runs_of(row, record), getattr(row, COLUMNS[title])
        run += bool(runs)
        values += [relative_score(published.score, score(row, one), random_play(runs)) for one in runs]
    mean = f"**{interquartile_mean(values):.2f}**" if values else "–"
    return f"| relative to {title} | {run} of {len(rows)} | {len(values)} | {mean} |"


def fair_rows(column: str) -> list[Row]:
    """Of each environment, the line with the most steps that are not more than the published agent's.

    Left out are environments without one, and where it is no better than random play.
    """
    rows: dict[str, Row] = {}
    for row in sorted(ROWS, key=lambda row: row.steps):
        published = getattr(row, column)
        if published is None or (row.env_id, column) in NEAR_RANDOM:
            continue
        if row.steps <= published.steps:
            rows[row.env_id] = row
    return list(rows.values())


def relative_score(published: float, mean: float, random: float) -> float:
    """0 for random play, 1 for the published agent."""
    return (mean - random) / (published - random)


def interquartile_mean(values: list[float]) -> float:
    """The mean of the middle half of the values (Agarwal et al. 2021)."""
    ordered = np.sort(values)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def footer(record: dict) -> str:
    """Which machines and which versions of the package the runs of the table were made with."""
    rows = [(row, runs) for row in ROWS if (runs := runs_of(row, record))]
    entries = [_solved(row) if row.record else record["rows"][row.env_id] for row, _ in rows]
    places = [entry.get("machine") or record["machine"] for entry in entries]
    machines = {f"{place['cores']} cores, {place['cpu']}" for place in places}
    commits = Counter(one.get("commit", "not recorded") for _, runs in rows for one in runs)
    made = ", ".join(f"{name} ({count} runs)" for name, count in commits.items())
    return f"Machines: {'; '.join(sorted(machines))}. Commits: {made}."


def _published(one: Published | None) -> str:
    return "–" if one is None else f"{one.score:.1f} ({_steps(one.steps)})"


def _steps(steps: int) -> str:
    return f"{steps / 1e6:.3g} M" if steps >= 1e6 else f"{steps / 1e3:.0f} k"


def main() -> None:
    """Parse, run, record, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="these environments")
    parser.add_argument("--seeds", default="201-205", help="first-last")
    parser.add_argument("--anew", action="store_true", help="also what is recorded already")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    runnable = {row.env_id for row in ROWS if not row.record}
    if wrong := set(given.only) - runnable:
        parser.error(f"--only takes some of {', '.join(sorted(runnable))}; got {', '.join(sorted(wrong))}.")
    first, last = map(int, given.seeds.split("-"))
    rows = [
        row
        for row in ROWS
        if row.env_id in given.only or not (given.only or row.later or row.earlier or row.record)
    ]
    failed = [] if given.table else fill(rows, range(first, last + 1), given.anew)
    TABLE.write_text(table(load()))
    if failed:
        raise SystemExit("Failed: " + "; ".join(failed))


if __name__ == "__main__":
    main()
