"""How a run ends: what its last words are, and what they say is saved is there."""

import json
import traceback

from a3c.errors import A3CError, RunError, describe
from a3c.training import checkpoint
from a3c.training.run import Run
from a3c.utils.files import write_whole

_TRACEBACK = "error.txt"


def write_result(run: Run) -> None:
    """Write `result.json`: what the run came to."""
    with run.saving("result.json"):
        run.result = run.summary()
        write_whole(run.directory / "result.json", json.dumps(run.result, indent=2) + "\n")


def report_failure(run: Run) -> None:
    """Raise what ended a run before its time, if something did.

    Raises:
        UsageError: as it is, if nothing was trained.
        RunError: for a fault of the run, with what is saved of it, and how to go on.
        BaseException: what a callback of the user's has raised, or an interruption, as it is.
    """
    error = run.error
    if error is None:
        return
    ours = isinstance(error, RunError)
    if isinstance(error, A3CError) and not ours:
        raise error
    others = [text for text in run.unsaved if text != str(error)]
    saved = "\n".join([*others, what_is_saved(run)])
    if isinstance(error, KeyboardInterrupt) or run.raised_by_user:
        run.message(saved)
        raise error
    text = str(error) if ours else _unknown(run, error)
    if ours and not isinstance(cause := error.__cause__, OSError | A3CError | None):
        text += f"\n{_unknown(run, cause)}"
    raise RunError(f"{text}\n{saved}") from error


def what_is_saved(run: Run) -> str:
    """A sentence on what there is of a run that has failed, by the files that are there."""
    directory = run.directory
    go_on = f"go on with: a3c resume {directory}"
    if not run.begun:
        return f"Nothing was trained since it began; {go_on}"
    steps = checkpoint.newest_steps(directory / checkpoint.FOLDER)
    agents = [name for name in ("best.keras", "last.keras") if (directory / name).exists()]
    if steps is None:
        what = f"Only {' and '.join(agents)} could be saved" if agents else "Nothing of it could be saved"
        return f"{what} in {directory}. It has no checkpoint to go on from."
    if steps >= run.metrics.steps or run.diverged:
        return f"What was learned until then is saved in {directory}; {go_on}"
    return f"What was learned until step {steps:,} of {run.metrics.steps:,} is saved in {directory}; {go_on}"


def _unknown(run: Run, error: BaseException) -> str:
    """An error that nobody has foreseen, in a sentence; its traceback goes to a file."""
    trace = "".join(traceback.format_exception(error))
    what = describe(error) if not isinstance(error, OSError) else _of_system(error)
    try:
        path = run.directory / _TRACEBACK
        write_whole(path, trace)
    except OSError:
        return what if isinstance(error, OSError) else f"{what}\n{trace.rstrip()}"
    return f"{what}\nWhere it happened is in {path}: please add that file if you report this."


def _of_system(error: OSError) -> str:
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror or error}"
