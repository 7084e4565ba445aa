"""Make the README's tables from the records in `benchmarks/results/`.

python benchmarks/table.py            # rewrites what stands between the marks in README.md
"""

import json
import statistics
from pathlib import Path

HERE = Path(__file__).parent
MARKS = "<!-- figures: made by benchmarks/table.py -->", "<!-- end of figures -->"
GAMES = ("Breakout", "SpaceInvaders", "Asterix", "Freeway")
PEER_MARKS = "<!-- peers: made by benchmarks/table.py -->", "<!-- end of peers -->"
COLUMNS = {  # a median's name: the column's title, its format, whether more is better
    "solved_seconds": ("process start to solved", "{:,.1f} s", False),
    "train_seconds": ("training", "{:,.1f} s", False),
    "steps": ("steps", "{:,.0f}", False),
    "steps_per_second": ("steps/s", "{:,.0f}", True),
    "peak_memory_mib": ("peak memory", "{:,.0f} MiB", False),
}
ROWS = {
    "cartpole": "CartPole-v1",
    "jax-cartpole-warm": "CartPole-v1, compiled",
    "jax-cartpole-cold": "the same, first run ever",
    "cartpole-tensorflow": "CartPole-v1, TensorFlow",
    "acrobot": "Acrobot-v1",
    "gymnax-acrobot": "Acrobot-v1 of gymnax, compiled",
    "tutorial": "CartPole-v0, the tutorial's settings",
}


def row(name: str, title: str) -> str:
    """One line of the table."""
    record = json.loads((HERE / "results" / f"{name}.json").read_text())
    medians = record["medians"]
    fresh = [run["fresh"]["evaluation"]["mean"] for run in record["runs"]]
    cells = [
        title,
        f"`{record['command']}`",
        record["solved"],
        f"{medians['steps']:,.0f}",
        f"{medians['train_seconds']:.1f} s",
        f"{medians['solved_seconds']:.1f} s",
        f"{medians['wall_seconds']:.1f} s",
        f"{medians['steps_per_second']:,.0f}",
        f"{min(fresh):.1f} … {max(fresh):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def figures() -> list[str]:
    """The table of our own figures."""
    records = [json.loads((HERE / "results" / f"{name}.json").read_text()) for name in ROWS]
    places = [one["machine"] for one in records]
    machines = sorted({f"{place['cores']} shared cores ({place['cpu']})" for place in places})
    return [
        f"Medians over fresh seeds on {' or '.join(machines)}, recorded in "
        "[benchmarks/results](benchmarks/results) by `python benchmarks/solve.py`:",
        "",
        "| | command | solved | steps | training | process start to solved | all | steps/s | re-judged |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row(name, title) for name, title in ROWS.items()),
        "",
        "*Solved* is the environment's own criterion, confirmed (475 on CartPole-v1, 195 on v0, −100 on "
        "Acrobot). *Re-judged*: lowest and highest mean return of `best.keras` over 100 more episodes, by "
        "`a3c evaluate`.",
        "",
        *scores(),
        "",
        *throughput(),
    ]


def best(sides: list[dict], key: str) -> float | None:
    """The best median of a column among sides that learn."""
    values = [side["medians"][key] for side in sides if side["learns"] and key in side["medians"]]
    return (max if COLUMNS[key][2] else min)(values, default=None)


def peer_row(side: dict, bests: dict[str, float | None]) -> str:
    """One line of the comparison; the best of each column is bold."""
    cells = [side["title"], side["solved"] or "–"]
    for key, (_, form, _) in COLUMNS.items():
        value = side["medians"].get(key)
        cell = "–" if value is None else form.format(value)
        cells.append(f"**{cell}**" if side["learns"] and value is not None and value == bests[key] else cell)
    return "| " + " | ".join(cells) + " |"


def losses(sides: dict[str, dict]) -> list[str]:
    """For each run of ours the peers that are ahead of it, column by column."""
    lines = []
    for name, own in sides.items():
        if not (name.startswith("ours") and own["learns"]):
            continue
        told = []
        for key, (title, _, _) in COLUMNS.items():
            ahead = [
                peer["title"]
                for other, peer in sides.items()
                if not other.startswith("ours")
                and peer["learns"]
                and {key} <= own["medians"].keys() & peer["medians"].keys()
                and best([own, peer], key) != own["medians"][key]
            ]
            told += [f"{title}: {', '.join(ahead)}"] if ahead else []
        lines.append(f"- Ahead of *{own['title']}* in {'; in '.join(told) or 'nothing: no peer'}.")
    return lines


def comparison() -> list[str]:
    """The table beside other projects."""
    record = json.loads((HERE / "results" / "compare.json").read_text())
    sides, machine = record["sides"], record["machine"]
    bests = {key: best(list(sides.values()), key) for key in COLUMNS}
    titles = [title for title, _, _ in COLUMNS.values()]
    return [
        f"CartPole-v1, medians over seeds {record['seeds']} on {machine['cores']} shared cores "
        f"({machine['cpu']}), all in turn by `python benchmarks/compare.py`; every run and version stands in "
        "[compare.json](benchmarks/results/compare.json):",
        "",
        "| | solved | " + " | ".join(titles) + " |",
        "|---|---" + "|---" * len(titles) + "|",
        *(peer_row(side, bests) for side in sides.values()),
        "",
        f"*Solved*: the mean of the last 100 training episodes reached {record['goal']:g}; ours is confirmed "
        "by evaluations as well, rejax is judged by evaluations instead. Times and steps are medians of the "
        "runs that solved it, **bold** the best of a column among those that learn.",
        "",
        *losses(sides),
    ]


def throughput() -> list[str]:
    """The table of training speed beside stepping at random."""
    record = json.loads((HERE / "results" / "throughput.json").read_text())
    cases = {name: case for name, case in record.items() if "t_max" in case}
    first, compiled = next(iter(cases.values())), record["compiled"]["medians"]
    return [
        f"Training beside processes that only step the environment at random, {first['workers']} workers × "
        f"{first['envs_per_worker']} environments, steps/s, medians of {len(first['rounds'])} pairs by "
        "`python benchmarks/throughput.py`:",
        "",
        "| CartPole-v1 by | at random | training | median of the pairs' ratios |",
        "|---|---|---|---|",
        *(
            f"| {name} | {case['medians']['floor']:,.0f} | {case['medians']['training']:,.0f} | "
            f"{case['medians']['ratio']:.2f} |"
            for name, case in cases.items()
        ),
        "",
        f"Compiled, in the same size: {compiled['1 worker']:,.0f} steps/s of training with one worker, "
        f"{compiled['2 workers']:,.0f} with two (median of the pairs' ratios: {compiled['speed_up']:.2f}).",
    ]


def scores() -> list[str]:
    """What the presets of games learn, which no threshold calls solved."""
    record = json.loads((HERE / "results" / "scores.json").read_text())
    lines = [
        "MinAtar's games of gymnax, compiled, `a3c train gymnax/<game>-MinAtar`: lowest and highest mean "
        "return of 100 episodes over 5 seeds, by `python benchmarks/scores.py`:",
        "",
        "| game | steps | training | most probable actions | drawn actions | random |",
        "|---|---|---|---|---|---|",
    ]
    for game in GAMES:
        runs = record["rows"][f"gymnax/{game}-MinAtar"]["runs"]
        spans = [sorted(run[kind]["mean"] for run in runs) for kind in ("evaluation", "sampled")]
        cells = [
            game,
            f"{statistics.median(run['steps'] for run in runs) / 1e6:.0f} M",
            f"{statistics.median(run['train_seconds'] for run in runs):.0f} s",
            *(f"{span[0]:.1f} … {span[-1]:.1f}" for span in spans),
            f"{statistics.median(run['random_baseline'] for run in runs):.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def rewrite(text: str, marks: tuple[str, str], lines: list[str]) -> str:
    """A text with other lines between its marks."""
    before, rest = text.split(marks[0])
    return before + "\n".join([marks[0], *lines, marks[1]]) + rest.split(marks[1])[1]


def main() -> None:
    """Rewrite the tables."""
    readme = HERE.parent / "README.md"
    text = rewrite(readme.read_text(), MARKS, figures())
    if PEER_MARKS[0] in text and (HERE / "results" / "compare.json").exists():
        text = rewrite(text, PEER_MARKS, comparison())
    readme.write_text(text)


if __name__ == "__main__":
    main()
