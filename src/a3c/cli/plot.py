"""`a3c plot`: the learning curves of one or several runs in one picture."""

from pathlib import Path

from a3c.cli import parsing
from a3c.errors import UsageError
from a3c.training import run_directory
from a3c.utils.console import printable
from a3c.utils.files import replacing

COMMAND = parsing.Command(
    "plot",
    "Draw the learning curves of one or several runs in one picture.",
    [
        parsing.positional("runs", "Run directories.", many=True),
        parsing.option("output", str, "learning_curves.png", "The picture to write: .png, .svg or .pdf."),
    ],
)


def run(argv: list[str]) -> int:
    """Parse, read, draw. Returns the exit code."""
    arguments = COMMAND.parse(argv)
    output = Path(arguments.output)
    if output.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"output {output}", "a file ending in .png, .svg or .pdf")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"output {output}", "a file in an existing directory")
    if not arguments.runs:
        raise UsageError("no run", "one or more run directories", "They are made by a3c train, in runs/.")
    draw([Path(name) for name in arguments.runs], output)
    print(printable(str(output)))
    return 0


def draw(directories: list[Path], output: Path) -> None:
    """Draw the curves of these runs to `output`."""
    from a3c.training.metrics import read_episodes
    from a3c.training.plotting import learning_curve

    configs = [run_directory.read_config(directory) for directory in directories]
    curves = []
    for directory, config in zip(directories, configs, strict=True):
        try:
            episodes = read_episodes(directory / "episodes.csv")
        except (OSError, ValueError, IndexError) as error:
            raise UsageError(f"run {directory}", "one with a readable episodes.csv", str(error)) from error
        curves.append((printable(f"{config.env_id} {directory.name}"), episodes))
    goals = {config.stop_return for config in configs}
    baselines = {run_directory.read_result(directory).get("random_baseline") for directory in directories}
    with replacing(output) as temporary:  # a link of that name is replaced as well, and not written through
        learning_curve(
            curves,
            temporary,
            title=printable(", ".join(sorted({config.env_id for config in configs}))),
            threshold=goals.pop() if len(goals) == 1 else None,
            baseline=baselines.pop() if len(baselines) == 1 else None,
        )
