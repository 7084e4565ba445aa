"""Environments that fail: what is told, how a sampler goes on, and that crash reports play faults again."""

import contextlib
import copy
import dataclasses
import json
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest

import faulty_module
from a3c import envs
from a3c.envs import history
from a3c.envs.faults import Description, read_crash_report, write_crash_report
from a3c.envs.functional.sampler import CompiledSampler
from a3c.envs.reproduce import reproduce
from a3c.errors import UsageError
from a3c.types import Snapshot
from parts import ANY, through_json, vector_sampler
from test_compiled import make_program


class Enough(Exception):
    pass


class Witness:
    """Keeps the faults, and raises when there are enough."""

    def __init__(self, limit=3):
        self.faults, self.limit = [], limit

    def __call__(self, told):
        self.faults.append(pickle.loads(pickle.dumps(told)))
        if len(self.faults) >= self.limit:
            raise Enough


def find_name(name):
    return name if "-" in name else f"faulty_module:test/{name}-v0"


def never_but(fails):
    """The environment that never fails, made to fail after it was found."""
    environment = envs.find(find_name("Never"))
    return dataclasses.replace(
        environment, spec=dataclasses.replace(environment.spec, kwargs={"fails": fails})
    )


def make_sampler(name, witness, copies=3, generator=0, environment=None):
    name, environment = find_name(name), environment or envs.find(find_name(name))
    describe = Description(name, 4, copies, environment.vectorized)
    return vector_sampler(
        environment, copies, generator=generator, seed=50, on_fault=witness, describe=describe
    )


def run_into_faults(name, copies, limit=3, **options):
    """The faults of a sampler that ran into `limit` of them."""
    witness = Witness(limit)
    collect(lambda: make_sampler(name, witness, copies, **options))
    return witness.faults


def collect(make, weights=None, look=lambda rollout: None):
    """Make a sampler and take rollouts until there are enough faults; `look` at each of them."""
    with contextlib.suppress(Enough):
        sampler = make()
        for _ in range(4000):
            look(sampler.collect(Snapshot(weights, 0)))
        pytest.fail("too few faults")


def check_reproduces(told, tmp_path):
    """Through a file, to the very same fault."""
    path = tmp_path / "card.json"
    write_crash_report(told, path)
    assert [file.name for file in tmp_path.iterdir()] == ["card.json"]
    played = reproduce(read_crash_report(path))
    assert played.same, (played, told.summary)
    assert played.summary == told.summary
    assert played.violation.traceback == told.traceback
    return played


# -- what is told -------------------------------------------------------------------------------------------

SINGLE = [
    ("Raise", "exception", "raised ZeroDivisionError: division by zero in step 100 of copy {copy}"),
    ("Chance", "exception", "raised Unlucky: by chance in step {step} of copy {copy}"),
    ("Sequence", "non-finite observation", "returned a non-finite observation (index 2: nan) in step"),
    ("Infinite", "non-finite observation", "returned a non-finite observation (index 1: inf) in step 100"),
    ("Reward", "non-finite reward", "returned a non-finite reward (nan) in step 100 of copy {copy}"),
    ("None", "non-finite reward", "returned a non-finite reward (nan) in step 100 of copy {copy}"),
    ("Shape", "observation shape", "returned an observation of shape (3,), expected (4,) in step 100"),
    ("Tuple", "exception", "raised ValueError: not enough values to unpack"),
    ("Reset", "exception", "raised Unlucky: in reset in a reset of copy {copy} after step {step}"),
    ("First", "exception", "raised Unlucky: in reset in the first reset of copy 0"),
]


@pytest.mark.parametrize("copies", [1, 5])
@pytest.mark.parametrize(("name", "kind", "text"), SINGLE)
def test_faults_of_single_copies_are_told_and_played_again(name, kind, text, copies, tmp_path):
    environment = None
    if name == "First":  # which cannot be found, since it cannot be reset, but is not asked to be there
        environment = never_but("first")
    for told in run_into_faults(name, copies, environment=environment):
        report = told.report
        assert text.format(**report) in told.summary
        assert told.summary.startswith(f"faulty_module:test/{name}-v0 ")
        assert (report["kind"], report["copies"], report["worker"]) == (kind, copies, 4)
        assert report["copy"] in range(copies)
        assert report["seed"] == 50 + 1000 * report["making"]
        assert len(report["last_actions"]) == min(10, report["replay"]["steps"])
        assert set(report["last_actions"]) <= {2, 3, 4}
        if name in ("Raise", "Chance", "Reset", "First"):
            assert told.traceback.splitlines()[0] == "Traceback (most recent call last):"
            assert "faulty_module.py" in told.traceback.splitlines()[1]
            assert told.traceback == report["traceback"]
        if name == "Sequence":
            assert report["numbers"]["observation"][2] == "nan"
            assert report["last_actions"][-3:] == [2, 4, 3]
        check_reproduces(told, tmp_path)


VECTOR = [
    ("Raise", "raised ZeroDivisionError: division by zero in step 100 of an unknown copy"),
    ("Chance", "raised Unlucky: by chance"),
    ("Sequence", "returned a non-finite observation (index 2: nan) in"),
    ("Reward", "returned a non-finite reward (-inf) in"),
    ("Shape", "returned an observation of shape (1, 1), expected (4,) in step"),
    ("First", "raised Unlucky: in reset in the first reset of"),
]


@pytest.mark.parametrize("copies", [1, 5])
@pytest.mark.parametrize(("name", "text"), VECTOR)
def test_faults_of_vector_code_are_told_and_played_again(name, text, copies, tmp_path):
    if copies == 1:
        text = text.replace("an unknown copy", "copy 0").replace("step 100 of", "step {step} of")
    for told in run_into_faults(f"Vector{name}", copies):
        assert told.report["vectorized"]
        assert text.format(**told.report) in told.summary
        assert told.report["copy"] == (copies - 1 if name in ("Sequence", "Reward") or copies == 1 else None)
        check_reproduces(told, tmp_path)


def test_global_generators_belong_to_what_is_played_again(tmp_path):
    for told in run_into_faults("Global", 2):
        check_reproduces(told, tmp_path)


def test_what_cannot_be_made_is_told(tmp_path):
    with pytest.raises(UsageError, match="not made"):
        envs.find(find_name("Making"))
    environment = never_but("making")
    (told, *_) = run_into_faults("Making", 2, environment=environment)
    assert told.summary == "faulty_module:test/Making-v0 raised Unlucky: not made when it was made"
    check_reproduces(told, tmp_path)


# -- going on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Chance", "Sequence", "Reset", "Shape", "VectorChance", "VectorReward"])
def test_the_run_goes_on_with_sane_rollouts(name):
    """Episodes under way are dropped, none is counted twice, and steps after a fault begin anew."""
    witness, copies = Witness(10**9), 4
    sampler = make_sampler(name, witness, copies)
    lengths, seen, anew, episodes = np.zeros(copies, int), 0, True, 0
    while seen < 6:
        rollout = sampler.collect(ANY)
        transitions = rollout.content
        if len(witness.faults) > seen:
            seen, anew = len(witness.faults), True
        if anew:
            lengths[:], anew = 0, False
            assert not transitions.observations[0].any(), "a first observation"
            assert transitions.valid[0].all()
        assert np.isfinite(transitions.observations).all()
        assert rollout.steps == transitions.valid.sum()
        expected = []
        for t, b in np.ndindex(transitions.valid.shape):
            lengths[b] += transitions.valid[t, b]
            if transitions.terminated[t, b] or transitions.truncated[t, b]:
                expected.append((lengths[b], lengths[b]))
                lengths[b] = 0
        assert rollout.episodes == expected
        episodes += len(expected)
    assert episodes > 10


def test_the_first_making_may_fail_as_well():
    environment = envs.find(find_name("Never"))
    made = []

    def make():
        made.append(True)
        if len(made) < 3:
            raise OSError("busy")
        return envs.make_vector(environment.spec, 2, False)

    witness = Witness()
    sampler = vector_sampler(environment, 2, make_env=make, vectorized=False, on_fault=witness)
    assert [told.report["making"] for told in witness.faults] == [0, 1]
    assert sampler.collect(ANY).steps > 0


def test_a_sampler_that_was_given_up_closes_without_a_word():
    sampler = make_sampler("Raise", Witness(1), 2)
    collect(lambda: sampler)
    sampler.close()
    sampler.close()


def test_faults_of_the_policy_are_not_the_environments():
    sampler = make_sampler("Never", Witness())
    sampler._policy = lambda weights: lambda seen, state: 1 / 0
    with pytest.raises(ZeroDivisionError):
        sampler.collect(ANY)


def test_great_numbers_are_finite():
    sampler = make_sampler("Never", Witness())
    sampler.collect(ANY)
    for number, finite in ((3e38, True), (-3e38, True), (np.inf, False), (np.nan, False)):
        for array in sampler._transitions.observations, sampler._transitions.rewards:
            kept = array.copy()
            array[...] = number
            assert sampler._is_finite() == finite
            array[...] = kept


# -- long histories -----------------------------------------------------------------------------------------


def test_long_histories_are_cut_where_episodes_begin(monkeypatch, tmp_path):
    monkeypatch.setattr(history, "WHOLE_STEPS", 20)
    late = [told for told in run_into_faults("Chance", 3, limit=12) if told.report["step"] > 40]
    assert late
    for told in late:
        (episode,) = told.report["replay"]["episodes"]
        assert episode["copy"] == told.report["copy"]
        assert episode["beginning"]["seed"] is None or told.report["episode_step"] == told.report["step"]
        assert len(episode["actions"]) == told.report["episode_step"]
        assert len(told.report["last_actions"]) == 10
        check_reproduces(told, tmp_path)
    # Where it is not known which copy it was, all are played.
    report = copy.deepcopy(late[0].report)
    first = {"copy": 0, "beginning": {"seed": 3, "generators": [{}, {}]}, "actions": np.zeros(0, np.uint8)}
    report["replay"]["episodes"].insert(0, first)
    assert reproduce(report).same


def test_histories_of_vector_code_begin_with_its_attributes(monkeypatch, tmp_path):
    monkeypatch.setattr(history, "WHOLE_STEPS", 50)
    for told in run_into_faults("VectorLate", 3, limit=2):
        assert told.report["replay"]["start"]["state"]["kind"] == "attributes"
        assert len(told.report["replay"]["actions"]) <= 57
        check_reproduces(told, tmp_path)


def test_what_cannot_be_read_has_a_long_history(monkeypatch, tmp_path):
    monkeypatch.setattr(history, "WHOLE_STEPS", 50)
    (told,) = run_into_faults("VectorOpaque", 2, limit=1)
    assert told.report["replay"]["start"]["state"] is None
    assert len(told.report["replay"]["actions"]) == 400
    check_reproduces(told, tmp_path)

    monkeypatch.setattr(history, "KEPT_STEPS", 300)
    (told,) = run_into_faults("VectorOpaque", 2, limit=1)
    assert "cannot be played again" in told.report["note"]
    assert len(told.report["last_actions"]) == 10
    with pytest.raises(UsageError, match="too long"):
        reproduce(told.report)


def test_reports_of_earlier_versions(tmp_path):
    """Those that begin with a seed are played; those with a captured state are refused."""
    write_crash_report(run_into_faults("Chance", 2, limit=1)[0], tmp_path / "card.json")
    document = json.loads((tmp_path / "card.json").read_text())
    document["version"] = 1
    (tmp_path / "card.json").write_text(json.dumps(document))
    report = read_crash_report(tmp_path / "card.json")
    assert reproduce(report).same
    report["replay"]["start"]["state"] = {"version": 1, "nodes": []}
    with pytest.raises(UsageError, match="begins with a seed or an episode"):
        reproduce(report)


# -- going on from a state ----------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "Forgetful", "VectorChance"])
def test_a_restored_sampler_goes_on_bit_for_bit(env_id, tmp_path):
    """Through faults, too: the reports of both say the same."""
    first, second = Witness(10**9), Witness(10**9)
    sampler = make_sampler(env_id, first)
    for _ in range(60):
        sampler.collect(ANY)
    before, kept = len(first.faults), through_json(sampler.state())
    expected = []
    for _ in range(60):
        rollout = sampler.collect(ANY)
        transitions = copy.deepcopy(rollout.content)
        expected.append((transitions, rollout.episodes, rollout.steps))

    other = make_sampler(env_id, second, generator=99)
    second.faults.clear()
    assert other.restore(kept) == ""
    for transitions, episodes, steps in expected:
        rollout = other.collect(ANY)
        assert (rollout.episodes, rollout.steps) == (episodes, steps)
        for x, y in zip(rollout.content, transitions, strict=True):
            np.testing.assert_array_equal(x, y)
    later = first.faults[before:]
    assert [told.summary for told in later] == [told.summary for told in second.faults]
    assert "CartPole" in env_id or "Acrobot" in env_id or len(later) > 1
    for told in second.faults[:2]:
        check_reproduces(told, tmp_path)


# -- reports and the command --------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"format": "other"}', "\0\1", "cut"])
def test_foreign_and_damaged_reports_are_refused(tmp_path, content):
    path = tmp_path / "card.json"
    if content == "cut":
        write_crash_report(run_into_faults("Raise", 1, limit=1)[0], path)
        text = path.read_text()
        path.write_text(text[: len(text) // 2])
    elif content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match="crash report"):
        read_crash_report(path)


def test_a_report_is_readable_for_people(tmp_path):
    (told,) = run_into_faults("Sequence", 3, limit=1)
    write_crash_report(told, tmp_path / "card.json")
    document = json.loads((tmp_path / "card.json").read_text(), parse_constant=pytest.fail)
    assert document["summary"] == told.summary
    assert document["card"]["tree"]["last_actions"] == told.report["last_actions"]


def test_the_command_plays_a_report_again(cli, tmp_path):
    source = Path(faulty_module.__file__).read_text()
    (tmp_path / "faulty_module.py").write_text(source)
    write_crash_report(run_into_faults("Chance", 3, limit=1)[0], tmp_path / "card.json")
    done = cli("reproduce", "card.json", "--trust", "--json")
    assert done.code == 1, done
    assert "Reproduced: faulty_module:test/Chance-v0 raised Unlucky: by chance in step" in done.out
    assert 'raise Unlucky("by chance")' in done.err
    assert "reproduce.py" not in done.err
    assert done.json["same"]

    (tmp_path / "faulty_module.py").write_text(source.replace('raise Unlucky("by chance")', "pass"))
    done = cli("reproduce", "card.json", "--trust")
    assert done.code == 0, done
    assert "Not reproduced" in done.out
    assert "steps passed without a fault" in done.out

    assert cli("reproduce", "nothing.json").code == 2


# -- compiled programs --------------------------------------------------------------------------------------

compiled = pytest.mark.skipif(keras.backend.backend() != "jax", reason="fused on JAX only")


@pytest.fixture(scope="module")
def program():
    program, _, weights, _ = make_program(faulty_module.Functional(), batch=4, t_max=7, limit=20)
    return program, weights


def make_compiled_sampler(program, witness, name="Functional", copies=4):
    description = Description(f"faulty_module:{name}", 4, copies, True)
    return CompiledSampler(program, None, lambda making: 7 + 1000 * making, description, witness)


@compiled
def test_faults_of_compiled_environments_are_told_and_played_again(program, tmp_path):
    program, weights = program
    witness = Witness(4)

    def look(rollout):
        assert np.isfinite(np.asarray(rollout.content.gradients)).all()
        assert all(np.isfinite(list(rollout.content.losses.values())))
        assert all(length <= 20 and earned == length for earned, length in rollout.episodes)

    collect(lambda: make_compiled_sampler(program, witness), weights, look)
    for making, told in enumerate(witness.faults):
        report = told.report
        expected = (
            f"faulty_module:Functional returned a non-finite reward (nan) in step {report['step']} of copy"
        )
        assert told.summary.startswith(expected)
        assert report["last_actions"][-5:] == [4] * 5
        assert (report["making"], report["seed"]) == (making, 7 + 1000 * making)
        assert report["episode_step"] >= 5
        check_reproduces(told, tmp_path)


@compiled
def test_infinite_observations_of_compiled_environments_are_found(tmp_path):
    program, _, weights, _ = make_program(faulty_module.Blind(), batch=1, t_max=5, limit=20)
    witness = Witness(1)
    collect(lambda: make_compiled_sampler(program, witness, "Blind", 1), weights)
    assert "returned a non-finite observation (index 1: inf)" in witness.faults[0].summary
    check_reproduces(witness.faults[0], tmp_path)


@compiled
def test_a_restored_compiled_sampler_goes_on_bit_for_bit(program):
    program, weights = program
    first, second = Witness(10**9), Witness(10**9)
    sampler, other = make_compiled_sampler(program, first), make_compiled_sampler(program, second)
    for _ in range(60):
        sampler.collect(Snapshot(weights, 0))
    before = len(first.faults)
    other.restore(through_json(sampler.state()))
    for _ in range(60):
        a, b = sampler.collect(Snapshot(weights, 0)), other.collect(Snapshot(weights, 0))
        assert (a.episodes, a.steps, a.content.losses) == (b.episodes, b.steps, b.content.losses)
        np.testing.assert_array_equal(np.asarray(a.content.gradients), np.asarray(b.content.gradients))
    assert before > 0
    assert [told.summary for told in first.faults[before:]] == [told.summary for told in second.faults]


@compiled
def test_states_of_other_programs_are_refused(program):
    sampler = make_compiled_sampler(program[0], Witness())
    kept = sampler.state()
    kept["copies"][0] = kept["copies"][0][:2]
    with pytest.raises(ValueError, match="not the copies"):
        sampler.restore(kept)
