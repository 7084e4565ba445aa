"""`a3c play`: watch an agent play one episode."""

from pathlib import Path

from a3c.cli import agents, parsing
from a3c.utils.console import printable

COMMAND = parsing.Command(
    "play",
    """Watch an agent play one episode.

In a window where there is a display; to a file with --video anywhere.""",
    [
        *agents.ARGUMENTS,
        parsing.option(
            "video", str | None, None, "Write a film to this .mp4 or .gif file instead of a window."
        ),
        parsing.switch("sampled", "Draw actions from the policy instead of taking the most probable ones."),
        parsing.switch("quiet", "Do not print each step."),
    ],
)


def run(argv: list[str]) -> int:
    """Parse, play, report. Returns the exit code."""
    from a3c.evaluation import play

    arguments = COMMAND.parse(argv)
    video = None if arguments.video is None else Path(arguments.video)
    if video is not None:
        play.check_video(video)
    agent, file, seed = agents.load(arguments)
    mode = "sampled" if arguments.sampled else "greedy"
    print(printable(f"{file} plays {agent.config.env_id} ({mode}, seed {seed})"))
    if video is None and not play.has_display():
        print("There is no display here, so no window opens; --video play.gif makes a film.")

    def tell(step: int, reward: float, action: int) -> None:
        print(f"step {step}  reward {reward:g}  action {action}")

    episode = agent.play(video, mode, seed, None if arguments.quiet else tell)
    baseline = agent.card.get("random_baseline")
    beside = "" if baseline is None else f" (random actions earn {baseline:.1f} on average)"
    print(f"Return {episode.episode_return:g} in {episode.length} steps{beside}.")
    if video is not None:
        print(printable(f"Film: {video}"))
    return 0
