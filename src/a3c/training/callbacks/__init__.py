"""What happens beside the training itself, a file for each; `base.py` says what a callback is told."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from a3c.errors import UsageError
from a3c.training.callbacks.base import Callback

if TYPE_CHECKING:
    from a3c.training.callbacks.display import Display


def in_order(display: "Display", of_the_user: Sequence[Callback] = ()) -> list[Callback]:
    """All callbacks of a run: files first, so that what comes after can rely on them; the user's last.

    Raises:
        UsageError: for what is none, or for two that have one name in checkpoints.
    """
    from a3c.training.callbacks.agents import SaveAgents
    from a3c.training.callbacks.checkpoints import WriteCheckpoints
    from a3c.training.callbacks.crash_reports import CrashReports
    from a3c.training.callbacks.csv_file import EpisodesCsv
    from a3c.training.callbacks.curve import DrawCurve
    from a3c.training.callbacks.evaluation import EvaluateCandidates, StopWhenSolved
    from a3c.training.callbacks.hints import NothingToLearnFrom
    from a3c.training.callbacks.jsonl import MetricsJsonl
    from a3c.training.callbacks.log import Log
    from a3c.training.callbacks.tensorboard import TensorBoard

    ours = [
        Log(),
        EpisodesCsv(),
        MetricsJsonl(),
        TensorBoard(),
        CrashReports(),
        WriteCheckpoints(),
        EvaluateCandidates(),
        StopWhenSolved(),
        SaveAgents(),
        DrawCurve(),
        NothingToLearnFrom(),
        display,
    ]
    keys = set()
    for callback in [*ours, *of_the_user]:
        if not isinstance(callback, Callback):
            fix = "Derive its class from a3c.Callback."
            raise UsageError(f"callback {type(callback).__name__}", "an a3c.Callback", fix)
        if callback.state_key in keys:
            fix = "Give each a state_key of its own."
            raise UsageError(f"two callbacks with the state_key {callback.state_key}", "one of each", fix)
        keys.add(callback.state_key)
    return [*ours, *of_the_user]
