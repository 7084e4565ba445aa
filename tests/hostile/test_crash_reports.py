"""Crash reports from others: what cannot be played is said, and never called reproduced."""

import copy
import os
import sys

import numpy as np
import pytest

from a3c import envs
from a3c.envs import generators
from a3c.envs.copies import Copies
from a3c.envs.faults import Fault, write_crash_report


def report_of(**changed):
    """A report of two copies of CartPole-v1 that did nothing wrong in three steps."""
    start = {"seed": 3, "state": None, "globals": generators.global_states()}
    replay = {"compiled": False, "start": start, "actions": np.zeros((3, 2), np.uint8), "steps": 3}
    report = dict(
        summary="CartPole-v1 raised ValueError: x",
        kind="exception",
        env_id="CartPole-v1",
        worker=0,
        copies=2,
        vectorized=False,
        seed=3,
        when="step",
        copy=None,
        note="",
        replay=replay,
    )
    return report | changed


def with_replay(**changed):
    report = report_of()
    return report | {"replay": report["replay"] | changed}


def with_start(**changed):
    report = report_of()
    return with_replay(start=report["replay"]["start"] | changed)


def of_episode(generators_of=None, seed=5, number=0, actions=(0, 1, 0), **changed):
    """A report of the episode of one copy."""
    env = envs.make_vector(envs.find("CartPole-v1").spec, 1, False, checked=False)
    assert isinstance(env, Copies)
    states = generators.states(env.layers[0])
    env.close()
    beginning = {"seed": seed, "generators": (generators_of or (lambda found: found))(states)}
    episode = {"copy": number, "beginning": beginning, "actions": np.array(actions, np.uint8)}
    return with_replay(start=None, episodes=[episode]) | {"copy": 0} | changed


def play(call, tmp_path, report):
    write_crash_report(Fault(str(report.get("summary")), "", report), tmp_path / "card.json")
    return call("reproduce", "card.json", "--trust")


@pytest.mark.parametrize("report", [report_of(), report_of(vectorized=True), of_episode()])
def test_what_fits_is_played(call, tmp_path, report):
    outcome = play(call, tmp_path, report)
    assert (outcome.code, "Not reproduced: 3 steps" in outcome.out) == (0, True), outcome


UNPLAYABLE = {
    "negative seed": with_start(seed=-1),
    "seed that is a text": with_start(seed="3"),
    "seed that is a float": with_start(seed=1.5),
    "seed that is too large": with_start(seed=2**70),
    "no actions": with_replay(actions=np.zeros((0, 2), np.uint8), steps=0),
    "actions that are missing": with_replay(actions=None),
    "actions out of the space": with_replay(actions=np.full((3, 2), 2, np.uint8)),
    "negative actions": with_replay(actions=np.full((3, 2), -1, np.int8)),
    "actions that are floats": with_replay(actions=np.zeros((3, 2))),
    "actions of another shape": with_replay(actions=np.zeros((3, 2, 1), np.uint8)),
    "actions of one copy": with_replay(actions=np.zeros((3, 1), np.uint8)),
    "other number of copies": report_of(copies=3),
    "no copies": report_of(copies=0),
    "copies without number": report_of(copies=10**8),
    "many copies without actions": report_of(copies=10**5, when="first reset")
    | {"replay": with_replay(actions=np.zeros((0, 10**5), np.uint8), steps=0)["replay"]},
    "more steps than actions": with_replay(steps=4),
    "environment of another shape": report_of(env_id="Pendulum-v1"),
    "unknown environment": report_of(env_id="Nowhere-v0"),
    "unknown environment that was never made": report_of(env_id="Nowhere-v0", when="making"),
    "other time": report_of(when="never"),
    "compiled, where it is not": with_replay(compiled=True),
    "vector code, where there is none": report_of(env_id="MountainCarContinuous-v0", vectorized=True)
    | {"replay": with_replay(actions=np.zeros((3, 2, 1), np.float32))["replay"]},
    "actions that are not finite": report_of(env_id="Pendulum-v1")
    | {"replay": with_replay(actions=np.full((3, 2, 1), np.nan, np.float32))["replay"]},
    "global generators that are none": with_start(globals={"random": 1, "numpy": 2}),
    "no global generators": with_start(globals=None),
    "state of nothing": with_start(state={"kind": "attributes"}) | {"vectorized": True},
    "state in place of a method": with_start(
        state={"kind": "attributes", "values": {"step": 1}, "generators": [{}]}
    )
    | {"vectorized": True},
    "state of another shape": with_start(
        state={"kind": "attributes", "values": {"state": np.zeros((9, 9))}, "generators": [{}]}
    )
    | {"vectorized": True},
    "neither beginning nor episodes": with_replay(start=None),
    "replay that is none": report_of(replay=[1]),
    "no replay": report_of(replay={}),
    "episodes that are none": with_replay(start=None, episodes=[1]),
    "episode of a copy that is not there": of_episode(number=2),
    "episode with a negative seed": of_episode(seed=-1),
    "episode without actions": of_episode(actions=()),
    "episode with actions out of the space": of_episode(actions=(0, 2)),
    "episode with other layers": of_episode(lambda found: found[1:]),
    "episode with a generator for a method": of_episode(
        lambda found: [{"step": {"kind": "Random", "state": None}}, *found[1:]]
    ),
    "episode with a generator of no kind": of_episode(
        lambda found: [{"_np_random": {"kind": "x", "state": {}}}, *found[1:]]
    ),
}


@pytest.mark.parametrize("name", UNPLAYABLE)
def test_what_cannot_be_played_is_said(call, tmp_path, name):
    outcome = play(call, tmp_path, copy.deepcopy(UNPLAYABLE[name]))
    assert outcome.code == 2, outcome
    assert "eproduced" not in outcome.out
    assert "Traceback" not in outcome.err
    assert len(outcome.err.strip().splitlines()) <= 2, outcome.err


FAILS = """
import gymnasium

class Fails(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (4,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample() * 0, {}

    def step(self, action):
        raise ZeroDivisionError("of its own")

gymnasium.register("Fails-v0", Fails)
"""


def test_where_the_environment_fails_a_difference_is_told(call, tmp_path):
    (tmp_path / "failing_here.py").write_text(FAILS)
    outcome = play(call, tmp_path, report_of(env_id="failing_here:Fails-v0"))
    assert outcome.code == 1, outcome
    assert "Reproduced with a difference: failing_here:Fails-v0 raised ZeroDivisionError" in outcome.out
    assert "of its own" in outcome.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_reports_that_are_no_plain_files(call, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "device.json").symlink_to("/dev/zero")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe.json", "device.json", "folder.json"):
        outcome = call("reproduce", name)
        assert (outcome.code, "not a plain file" in outcome.err) == (2, True), outcome


def test_a_link_that_the_user_names_is_followed(call, tmp_path):
    play(call, tmp_path, report_of())
    (tmp_path / "link.json").symlink_to(tmp_path / "card.json")
    assert call("reproduce", "link.json").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="files with holes")
def test_reports_that_are_very_large(call, tmp_path):
    with open(tmp_path / "card.json", "wb") as file:
        file.truncate(2**28)
    outcome = call("reproduce", "card.json")
    assert (outcome.code, "more than 134,217,728 bytes" in outcome.err) == (2, True), outcome
