"""Make the README's table of figures from the records in `benchmarks/results/`.

python benchmarks/table.py            # rewrites what stands between the marks in README.md
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
MARKS = "<!-- figures: made by benchmarks/table.py -->", "<!-- end of figures -->"
ROWS = {
    "cartpole": "CartPole-v1",
    "cartpole-tensorflow": "CartPole-v1, TensorFlow",
    "acrobot": "Acrobot-v1",
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


def main() -> None:
    """Rewrite the table."""
    machine = json.loads((HERE / "results" / "cartpole.json").read_text())["machine"]
    lines = [
        MARKS[0],
        f"Medians over fresh seeds on {machine['cores']} shared cores ({machine['cpu']}), recorded in "
        "[benchmarks/results](benchmarks/results) by `python benchmarks/solve.py`:",
        "",
        "| | command | solved | steps | training | process start to solved | all | steps/s | re-judged |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row(name, title) for name, title in ROWS.items()),
        "",
        "*Solved* is the environment's own criterion, confirmed (475 on CartPole-v1, 195 on v0, −100 on "
        "Acrobot). *Re-judged*: lowest and highest mean return of `best.keras` over 100 more episodes, by "
        "`a3c evaluate`.",
        MARKS[1],
    ]
    readme = HERE.parent / "README.md"
    before, rest = readme.read_text().split(MARKS[0])
    readme.write_text(before + "\n".join(lines) + rest.split(MARKS[1])[1])


if __name__ == "__main__":
    main()
