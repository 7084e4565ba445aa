"""Checkpoints with right checksums and wrong contents: the one before is taken, or it is said in words."""

import copy
import functools
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from a3c.errors import UsageError
from a3c.training import checkpoint, state_schema
from a3c.utils.schema import find_wrong

OLD_RUN = Path(__file__).parents[1] / "references" / "old_run"
NAME = "step-000000003955.zip"


@functools.cache
def old_state():
    return state_schema.upgraded(checkpoint.read(OLD_RUN / "checkpoints" / NAME), lambda weights: weights)


@pytest.fixture
def state():
    """What a run has written, which a test may change."""
    return copy.deepcopy(old_state())


def wrong_with(state):
    """What is said of a state by the run that wrote it."""
    store = old_state()["store"]
    return find_wrong(state, state_schema.state_of(store["weights"].size, store["optimizer"]))


def test_what_runs_write_is_right(state):
    assert wrong_with(state) == ""


EVALUATION = "callbacks.evaluation"
OTHER = ["x", -1, 2**70, 1.5, None, [], {}, True, np.zeros(3)]
"""Contents that at most one kind of part may have."""
GOOD = {
    "about": [{}],
    "store.target": [None],
    "metrics.moving_average": [-1, 1.5, None],
    "metrics.lag": [-1, 1.5],
    "metrics.recent": [[]],
    "metrics.losses": [{}],
    "seconds": [1.5],
    "wall_seconds": [1.5],
    "baseline": [-1, 1.5, None],
    "reached_seconds": [1.5, None],
    "goal": [-1, 1.5, None],
    "solved": [True],
    "sampler": [{}, None],
    "callbacks": [{}],
    "callbacks.tensorboard": [{}],
    f"{EVALUATION}.best": [None],
    f"{EVALUATION}.candidate": [None],
    f"{EVALUATION}.best.candidate.reached": [True],
}
"""Those of `OTHER` that are right."""
PARTS = [
    *GOOD,
    "store",
    "store.weights",
    "store.optimizer",
    "store.steps",
    "store.updates",
    "metrics",
    "metrics.episodes",
    "metrics.skipped",
    "callbacks.episodes.csv",
    EVALUATION,
    f"{EVALUATION}.next_steps",
    f"{EVALUATION}.best.candidate",
    f"{EVALUATION}.best.candidate.weights",
    f"{EVALUATION}.best.evaluation.mode",
    f"{EVALUATION}.best.evaluation.returns",
    "count",
]


def parent_of(state, part):
    """The table that has a part, and its name there."""
    *path, name = part.replace("episodes.csv", "episodes:csv").split(".")
    for step in path:
        state = state[step]
    return state, name.replace(":", ".")


def alike(a, b):
    return type(a) is type(b) and (a == b if not isinstance(a, np.ndarray) else True)


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_other_types_are_wrong(state, part):
    table, name = parent_of(state, part)
    for other in OTHER:
        if any(alike(other, good) for good in GOOD.get(part, [])):
            continue
        if part.endswith("returns") and isinstance(other, np.ndarray):
            continue
        table[name] = other
        assert wrong_with(state), f"{part} = {other!r}"
    del table[name]
    optional = part in ("store.target", "callbacks.tensorboard", "callbacks.episodes.csv", EVALUATION)
    assert bool(wrong_with(state)) != optional, f"without {part}"


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("seconds", float("nan")),
        ("seconds", -1.0),
        ("wall_seconds", float("inf")),
        ("store.steps", -1),
        ("store.steps", 10**100),
        ("store.steps", "7"),
        ("store.weights", np.zeros(118, np.float32)),
        ("store.weights", np.zeros(119, np.float64)),
        ("store.weights", np.full(119, np.nan, np.float32)),
        ("store.optimizer", {"float32": np.zeros(215, np.float32)}),
        ("store.optimizer", {"float32": np.zeros(9, np.float32), "int32": np.zeros(1, np.int32)}),
        ("metrics.recent", [1.0] * 101),
        ("metrics.recent", ["1"]),
        ("metrics.losses", {"loss": "1"}),
        ("metrics.unknown", 1),
        ("metrics.moving_average", float("nan")),
        ("store.unknown", 1),
        ("unknown", 1),
        ("callbacks.episodes.csv", {"end": -1}),
        ("callbacks.tensorboard", {"events": "1"}),
        (f"{EVALUATION}.best.evaluation.returns", np.zeros(0)),
        (f"{EVALUATION}.best.evaluation.returns", np.array([np.nan])),
        (f"{EVALUATION}.best.evaluation.mode", "loud"),
        (f"{EVALUATION}.best.candidate.steps", 1.5),
    ],
)
def test_contents_that_no_run_writes_are_wrong(state, part, content):
    table, name = parent_of(state, part)
    table[name] = content
    assert part.rpartition(".")[2].split(".")[0] in wrong_with(state)


def test_folders_that_are_links_are_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "theirs")
    files = checkpoint.Files(tmp_path / "checkpoints", 3)
    with pytest.raises(UsageError, match="not a link"):
        checkpoint.newest(files)


def test_a_best_that_is_a_link_is_damaged(tmp_path):
    files = checkpoint.Files(tmp_path / "checkpoints", 3)
    path = files.write(1, {"steps": 1}, best=False)
    path.rename(tmp_path / "theirs.zip")
    (files.folder / "best.zip").symlink_to(tmp_path / "theirs.zip")
    with pytest.raises(UsageError, match="not a plain file"):
        checkpoint.newest(files)


def test_names_of_more_than_twelve_digits_are_in_order_and_pruned(tmp_path):
    files = checkpoint.Files(tmp_path / "checkpoints", keep=2)
    for step in (5, 10**12 - 1, 10**12, 10**13, 2 * 10**12):
        files.write(step, {"step": step}, best=False)
    assert [path.name for path in files] == ["step-10000000000000.zip", "step-2000000000000.zip"]
    assert checkpoint.newest(files)[1] == {"step": 10**13}


# -- resuming -----------------------------------------------------------------------------------------------


def resume(cli, tmp_path, change):
    """Resume an old run whose newest checkpoint is a changed one."""
    run = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    state = copy.deepcopy(old_state())
    change(state)
    checkpoint.write(run / "checkpoints" / "step-000000004000.zip", state)
    outcome = cli("resume", str(run), "--max-steps", "4200", "--json")
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.json["steps"] >= 4200
    return outcome.err


made_with_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="made with JAX")


@made_with_jax
def test_the_one_before_is_taken(cli, tmp_path):
    told = resume(cli, tmp_path, lambda state: state["metrics"].update(recent="none"))
    assert "is damaged (metrics.recent is 'none', not a list of at most 100)" in told
    assert f"going on from the one before, {NAME}" in told


@made_with_jax
@pytest.mark.parametrize(
    "change",
    [
        lambda sampler: sampler.update(observation=np.zeros((3, 4), np.float32)),
        pytest.param(lambda sampler: sampler.update(steps="many"), marks=pytest.mark.long_faults),
        pytest.param(lambda sampler: sampler.update(generator={}), marks=pytest.mark.long_faults),
        pytest.param(lambda sampler: sampler.clear(), marks=pytest.mark.long_faults),
        pytest.param(lambda sampler: sampler.update(environments={}), marks=pytest.mark.long_faults),
    ],
)
def test_a_sampler_that_does_not_fit_begins_anew(cli, tmp_path, change):
    assert "episodes under way begin anew: " in resume(cli, tmp_path, lambda state: change(state["sampler"]))
