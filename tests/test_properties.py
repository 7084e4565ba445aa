"""Whatever is given, typed or found in a file: a sentence or a result, and never a traceback."""

import contextlib
import io
import json
import math
import os
import random
import shutil
import signal
import tempfile
import tomllib
import types
import unicodedata
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import a3c.agent
import a3c.envs.reproduce  # noqa: F401 - so that it can be replaced
from a3c import cli
from a3c.config import FIELDS, Config
from a3c.envs import faults
from a3c.envs.report_schema import REPORT
from a3c.errors import A3CError, UsageError
from a3c.presets import make_config
from a3c.training import checkpoint, lookup, run_directory
from a3c.utils import serialization

LIMITED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(LIMITED, max_examples=60)

texts = st.one_of(
    st.text(max_size=30), st.sampled_from(["", "none", "auto", "\n\n\n\n", "\x1b[2J", "x" * 300])
)
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 2**63, -(2**63), 10**400, -(10**400), math.nan, math.inf, -math.inf, 5e-324]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=6,
)
names = st.one_of(st.sampled_from(list(FIELDS)), st.sampled_from(list(FIELDS)), texts)
tables = st.dictionaries(names, anything, max_size=4)


def is_storable(value):
    """Whether TOML can hold it."""
    try:
        tomllib.loads(tomli_w.dumps({"x": value}))
        return True
    except Exception:
        return False


storable = anything.filter(is_storable)


@pytest.fixture(scope="module", autouse=True)
def elsewhere():
    """An empty directory, in which relative paths are looked for; and signals as they were."""
    before = os.getcwd()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        yield Path(directory)
        os.chdir(before)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def check_message(error):
    """One or two lines that fit a screen, with what was expected."""
    text = error.as_flag() if hasattr(error, "as_flag") else str(error)
    assert "expected" in text
    assert "Traceback" not in text
    assert len(text.splitlines()) <= 2, text
    assert len(text) < 2000, text


def result_of(function, *arguments, **keywords):
    """What it returns; the error, if that is a sentence."""
    try:
        return function(*arguments, **keywords)
    except A3CError as error:
        check_message(error)
        return error


# -- settings -----------------------------------------------------------------------------------------------


@LIMITED
@given(tables)
def test_settings_lead_to_a_config_or_a_sentence(given_settings):
    config = result_of(make_config, **given_settings)
    if isinstance(config, Config):
        document = tomli_w.dumps({k: "none" if v is None else v for k, v in vars(config).items()})
        assert tomllib.loads(document), "what is accepted can be written down"


@LIMITED
@given(st.sampled_from(list(FIELDS)), anything)
def test_one_setting_leads_to_a_config_or_a_sentence(name, value):
    for make in (make_config, Config):
        config = result_of(make, **{name: value})
        kept = getattr(config, name, None)
        assert not (isinstance(config, Config) and isinstance(kept, float)) or math.isfinite(kept)


def test_integers_of_more_digits_than_python_prints_are_sentences():
    for name in FIELDS:
        for value in (10**5000, -(10**5000), [10**5000]):
            assert isinstance(result_of(make_config, **{name: value}), UsageError)


contents = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"x = " + b"[" * 5000,
            b"x = " + b"9" * 5000,
            b"t_max = 1" + b"0" * 400,
            b"learning_rate = 1" + b"0" * 400,
            b"x = 2020-13-45",
            b'env_id = "a\\nb\\nc\\nd"',
            b"\xef\xbb\xbft_max = 3",
            b"t_max = 3\r\n",
            b"\0" * 100,
            b"settings = 3",
            b"settings = []",
            b'settings = ["t_max"]',
            b"settings = [[1], {}]",
            b"[[settings]]\nt_max = 3",
            b"[settings.t_max]\nx = 1",
            b"[settings]\nt_max = 1" + b"0" * 5000,
            b"[settings]\nt_max = " + b"[" * 5000,
            b'[settings]\nhidden_units = "64"',
            b"[settings]\nhidden_units = [[64]]",
            b"[settings]\nanneal = true\nmax_steps = 'none'",
            b"[settings]",
        ]
    ),
)
documents = st.dictionaries(names, storable, max_size=4).map(tomli_w.dumps).map(str.encode)


@LIMITED
@given(st.one_of(contents, documents))
def test_presets_lead_to_a_config_or_a_sentence(content):
    Path("mine.toml").write_bytes(content)
    said = str(result_of(make_config, preset="mine.toml"))
    assert "mine.toml" in said or "anneal" in said, "it says in which file"


def test_a_preset_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    for preset in ("x" * 300 + ".toml", str(tmp_path / "folder.toml"), "a\0.toml", "/proc/self/mem.toml"):
        assert isinstance(result_of(make_config, preset=preset), UsageError)


settings_tables = st.one_of(
    storable, st.dictionaries(st.one_of(st.sampled_from(list(FIELDS)), names), storable, max_size=4)
)


@LIMITED
@given(st.one_of(contents, documents, settings_tables.map(lambda s: tomli_w.dumps({"settings": s}).encode())))
def test_config_toml_leads_to_a_config_or_a_sentence(content):
    Path("config.toml").write_bytes(content)
    assert isinstance(result_of(run_directory.read_config, Path(".")), Config | UsageError)


@LIMITED
@given(st.one_of(st.binary(max_size=50), anything.map(lambda v: _json(v)), st.just(b"[" * 100_000)))
def test_result_json_leads_to_a_result_or_to_none(content):
    Path("result.json").write_bytes(content)
    result = run_directory.read_result(Path("."))
    assert isinstance(result, dict)
    assert run_directory.is_over(Path(".")) in (True, False)
    if run_directory.is_over(Path(".")):
        assert f"{result['steps']:,}", "what `a3c resume` says of it"


def _json(value):
    try:
        return json.dumps(value).encode()
    except (ValueError, TypeError):
        return b"{}"


@FEW
@given(st.fixed_dictionaries({}, optional=dict(ended=scalars, steps=scalars, random_baseline=anything)))
def test_a_result_with_wrong_entries_is_none(result):
    Path("result.json").write_bytes(_json(result))
    read = run_directory.read_result(Path("."))
    assert not read or isinstance(read["steps"], int)


@LIMITED
@given(st.one_of(texts, st.text(alphabet="./:\\~-. ax\n", max_size=12)))
def test_folder_names_are_safe(env_id):
    for name in (run_directory.folder_name(env_id), run_directory.folder_name("module:" + env_id)):
        assert all(sign in "._-" or unicodedata.category(sign)[0] in "LMN" for sign in name), name
        assert not name.startswith("."), name
        assert len(name) <= 100, name
        assert len(name.encode()) <= 255, name
        assert unicodedata.is_normalized("NFC", name)
        assert len((Path("parent") / name).parts) == 2
    assert lookup.list_runs("runs", env_id) == []


def test_folder_names_are_what_they_were():
    known = {"CartPole-v1": "CartPole-v1", "module:Env-v0": "Env-v0", "jax/CartPole-v1": "jax-CartPole-v1"}
    known |= {"用户环境-v0": "用户环境-v0", "Über-v0": "Über-v0", "U\u0308ber-v0": "Über-v0", "a b*?": "a-b-"}
    assert {env_id: run_directory.folder_name(env_id) for env_id in known} == known


# -- command lines ------------------------------------------------------------------------------------------

FLAGS = [f"--{name.replace('_', '-')}" for name in FIELDS] + [
    alias for field in FIELDS.values() for alias in field.metadata["aliases"]
]
OTHERS = "--json --quiet --resume --episodes --seeds --output --video --sampled --no-cache --no-locking --"
FLAGS += [*OTHERS.split(), "--unsafe-load", "--no-anneal", "--help", "-h", "--lr=1", "--gamma=", "-1", "---"]
VALUES = """
1 0 -1 1.5 1e400 nan inf none None auto jax tensorflow torch a3c appo random serial 1,2,4 1,,2 True
CartPole-v1 CartPole-v9 os:Env-v0 :: ..:.. .a:b /nowhere ../.. . / ~ config.toml best.keras x.mp4 x.gif
x.png mine.toml tutorial 64 999999999999999999999999
"""
values = st.sampled_from(VALUES.split())
arguments = st.one_of(
    st.sampled_from(FLAGS),
    values,
    values,
    st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=10),
    st.tuples(st.sampled_from(FLAGS), values).map("=".join),
    st.sampled_from(
        ["", "x" * 300, "\udcff", "a\n\n\n\nb", "--\n", "--env-id=\x1b[2J", "│ ╰─", "@file", "[red]x"]
    ),
)


@pytest.fixture(scope="module")
def harmless():
    """Commands parse and check as they do, and stop where they would begin to work."""
    judged = types.SimpleNamespace(
        mean=1.0, warning="", as_dict=lambda: dict(mean=1.0, std=0.0, min=1.0, max=1.0, ci95=None, episodes=1)
    )
    agent = types.SimpleNamespace(
        environment=types.SimpleNamespace(reward_threshold=None),
        config=Config(),
        card={},
        evaluate=lambda *_: judged,
        play=lambda *_: types.SimpleNamespace(episode_return=1.0, length=1),
    )
    played = types.SimpleNamespace(violation=None, steps=1, same=False, summary="")
    environment = types.SimpleNamespace(reward_threshold=None)

    def stub(value):
        return lambda *_, **__: value

    plan = types.SimpleNamespace(directory=Path("scaling"))
    with contextlib.ExitStack() as stack:
        for target, value in {
            "a3c.cli.train.carry_out": 0,
            "a3c.envs.find": environment,
            "a3c.evaluation.evaluator.random_evaluation": judged,
            "a3c.agent.Agent.load": agent,
            "a3c.envs.reproduce.reproduce": played,
            "a3c.cli.scaling._plan": plan,
            "a3c.cli.scaling._run_all": ([], 0),
            "a3c.training.plotting.learning_curve": None,
            "a3c.cli.doctor._all": [],
        }.items():
            stack.enter_context(mock.patch(target, stub(value)))
        yield


def run(argv):
    """`a3c ARGV` in this process: exit code, standard output, standard error."""
    shutil.rmtree("scaling", ignore_errors=True)
    Path("scaling").mkdir()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(argv)
        except SystemExit as end:
            code = end.code or 0
            assert {"--help", "-h"} & set(argv), argv
    return code, out.getvalue(), err.getvalue()


@settings(LIMITED, max_examples=60)
@given(argv=st.lists(arguments, max_size=6))
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_command_lines_lead_to_an_exit_code(command, argv, harmless):
    code, out, err = run([command, *argv])
    assert code in (0, 1, 2, 130), (code, err)
    assert "Traceback" not in out + err
    if code == 2:
        assert len(err.strip().splitlines()) <= 3, err
        assert err.startswith("a3c: ")
        assert "expected" in err, err


@FEW
@given(argv=st.lists(st.one_of(st.sampled_from(FLAGS), values, texts), max_size=3))
def test_other_commands_are_refused(argv):
    assume(not argv or argv[0] not in cli.COMMANDS)
    code, out, err = run(argv)
    assert code == (0 if argv and argv[0] in ("-h", "--help", "help", "-V", "--version") else 2)
    assert "Traceback" not in out + err


@FEW
@given(st.dictionaries(st.sampled_from(list(FIELDS)), values, min_size=1, max_size=3))
def test_settings_that_are_typed_are_the_settings(typed):
    """Whatever is accepted arrives in the configuration; nothing is quietly dropped."""
    taken = []
    typed = {k: v for k, v in typed.items() if k not in ("env_id", "preset", "algorithm", "hidden_units")}
    valued = {k: v for k, v in typed.items() if FIELDS[k].type not in (bool, bool | None)}
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in valued.items()]
    with mock.patch("a3c.cli.train.carry_out", lambda config, *_, **__: taken.append(config) or 0):
        code, _, err = run(["train", *flags])
    assert (code == 0) == bool(taken), err
    for flag in flags if taken else []:
        name, _, text = flag.removeprefix("--").partition("=")
        value = getattr(taken[0], name.replace("-", "_"))
        assert str(value) == text or (value is None and text in ("none", "None")) or float(text) == value


# -- files --------------------------------------------------------------------------------------------------

jsons = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
ours = {"format": "a3c crash card", "version": 1}
required = sorted(set(REPORT) - {"note"})
cards = st.one_of(
    jsons,
    st.fixed_dictionaries({k: st.just(v) for k, v in ours.items()}, optional={"card": jsons}),
    st.fixed_dictionaries({"tree": jsons, "arrays": st.lists(st.text(max_size=8), max_size=2)}).map(
        lambda card: {**ours, "card": card}
    ),
    st.just({**ours, "card": {"tree": required, "arrays": []}}),
    st.fixed_dictionaries(dict.fromkeys(required, jsons)).map(
        lambda card: {**ours, "card": {"tree": card, "arrays": []}}
    ),
)


@LIMITED
@given(st.one_of(st.binary(max_size=100), cards.map(json.dumps).map(str.encode), st.just(b"[" * 100_000)))
def test_crash_cards_lead_to_a_card_or_a_sentence(content):
    Path("card.json").write_bytes(content)
    card = result_of(faults.read_crash_report, "card.json")
    assert isinstance(card, UsageError) or set(card) >= set(required)


def test_a_real_crash_card_with_a_flipped_byte_is_a_sentence_or_a_card(tmp_path):
    replay = {"compiled": False, "start": None, "actions": np.zeros((3, 2), np.int8), "steps": 3}
    card = dict.fromkeys(required, "x") | {"replay": replay}
    path = tmp_path / "card.json"
    faults.write_crash_report(faults.Fault("it failed", "", card), path)
    content = path.read_bytes()
    random.seed(0)
    for at in random.sample(range(len(content)), 200):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :])
        with contextlib.suppress(UsageError):
            assert set(faults.read_crash_report(path)) >= set(required)


@LIMITED
@given(
    st.one_of(
        st.binary(max_size=100),
        st.tuples(st.binary(max_size=40), st.integers(0, 200), st.integers(1, 255)),
        jsons,
    )
)
def test_agents_files_lead_to_a_card_or_a_sentence(content):
    from a3c.networks import saved_model

    path = Path("agent.keras")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("a3c.json", content[0] if isinstance(content, tuple) else json.dumps(content))
        if isinstance(content, tuple):
            whole = bytearray(path.read_bytes())
            whole[content[1] % len(whole)] ^= content[2]
            path.write_bytes(whole)
    card = result_of(saved_model.read_card, path)
    assert isinstance(card, UsageError) or isinstance(card.get("env_id"), str | None)


kinds = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    arrays.complex_number_dtypes(endianness="?", sizes=(64, 128)),
)
shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**130), 2**130),
        st.floats(),
        st.text(st.characters(exclude_categories=()), max_size=8),
        arrays.arrays(kinds, shapes),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=8).filter(lambda key: key != "$array"), inner, max_size=3),
    ),
    max_leaves=8,
)


def same(a, b):
    """Whether two plain trees are the same, bit for bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or repr(a) == repr(b)


@LIMITED
@given(plain)
def test_plain_trees_come_back_as_they_were(value):
    skeleton, found = serialization.pack(value)
    assert same(serialization.unpack(json.loads(json.dumps(skeleton)), found), value)
    assert same(serialization.from_json(json.loads(json.dumps(serialization.to_json(value)))), value)


@FEW
@given(plain)
def test_checkpoints_come_back_as_they_were(value):
    checkpoint.write(Path("it.zip"), {"state": value})
    assert same(checkpoint.read(Path("it.zip")), {"state": value})


@FEW
@given(
    st.one_of(st.binary(max_size=100), st.binary(max_size=20).map(lambda b: b"\x93NUMPY\x01\x00\x76\x00" + b))
)
def test_bytes_are_an_array_or_a_value_error(content):
    with contextlib.suppress(ValueError):
        assert isinstance(serialization.from_bytes(content), np.ndarray)


def test_archives_and_pickles_are_no_arrays():
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    with pytest.raises(ValueError, match=r"."):
        serialization.from_bytes(buffer.getvalue())
    buffer = io.BytesIO()
    np.save(buffer, np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        serialization.from_bytes(buffer.getvalue())


STATE = {
    "about": {"environment": "CartPole-v1", "observation shape": [4]},
    "store": {"weights": np.arange(50, dtype=np.float32), "optimizer": {"float32": np.ones(20)}, "steps": 7},
    "statistics": [1, 2.5, None, "é", {"rng": {"state": 2**127 + 1}}],
    "sampler": None,
}


def outcome(path):
    """`damaged`, `same`, or `other`, which must not be."""
    try:
        state = checkpoint.read(path)
    except checkpoint.Damaged as damage:
        return "damaged" if len(str(damage).splitlines()) == 1 else "damaged, in many lines"
    return "same" if same(state, STATE) else "other"


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "step-000000000007.zip"
    checkpoint.write(path, STATE)
    return path, path.read_bytes()


def test_truncated_checkpoints_are_damaged(whole):
    path, content = whole
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert outcome(path) == "damaged", length
    path.write_bytes(content)
    assert outcome(path) == "same"


def test_a_checkpoint_with_any_flipped_byte_is_damaged_or_what_it_was(whole):
    path, content = whole
    random.seed(1)
    seen = []
    for at in range(len(content)):
        changed = content[at] ^ 1 << random.randrange(8)
        path.write_bytes(content[:at] + bytes([changed]) + content[at + 1 :])
        seen.append(outcome(path))
    assert set(seen) == {"damaged", "same"}
    assert seen.count("damaged") > len(seen) / 2


@LIMITED
@given(st.data())
def test_a_checkpoint_with_arbitrary_damage_is_damaged_or_what_it_was(data):
    path = Path("some.zip")
    checkpoint.write(path, STATE)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    until = data.draw(st.integers(at, min(len(content), at + 64)))
    put = data.draw(st.binary(max_size=64))
    path.write_bytes(content[:at] + put + content[until:])
    assert outcome(path) != "other"


@FEW
@given(st.binary(max_size=200))
def test_bytes_are_no_checkpoint(content):
    Path("bytes.zip").write_bytes(content)
    assert outcome(Path("bytes.zip")) == "damaged"


@FEW
@given(manifest=jsons, state=jsons)
def test_archives_of_others_are_no_checkpoints(manifest, state):
    path = Path("foreign.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("state.json", json.dumps(state))
    assert outcome(path) == "damaged"


@FEW
@given(damage=st.lists(st.one_of(st.none(), st.binary(max_size=30)), min_size=1, max_size=4))
def test_the_newest_whole_checkpoint_is_taken_and_the_others_are_told(damage):
    with tempfile.TemporaryDirectory() as directory:
        files = checkpoint.Files(Path(directory) / "checkpoints", keep=10)
        for steps, content in enumerate(damage):  # the oldest first
            path = files.write(steps, {"steps": steps}, best=False)
            if content is not None:
                path.write_bytes(content)
        good = [steps for steps, content in enumerate(damage) if content is None]
        if not good:
            assert isinstance(result_of(checkpoint.newest, files), UsageError)
            return
        path, state, problems = checkpoint.newest(files)
        assert state == {"steps": good[-1]}
        assert path.name == f"step-{good[-1]:012d}.zip"
        bad = len(damage) - 1 - good[-1]
        assert len([p for p in problems if "is damaged" in p]) == bad
        assert (f"going on from the one before, {path.name}" in problems) == (bad > 0)


def test_the_best_is_the_last_resort(tmp_path):
    files = checkpoint.Files(tmp_path / "checkpoints", keep=2)
    files.write(1, {"steps": 1}, best=True)
    files.write(2, {"steps": 2}, best=False)
    files.write(3, {"steps": 3}, best=False)
    assert [path.name for path in files] == ["step-000000000003.zip", "step-000000000002.zip"]
    for path in files:
        path.write_bytes(b"")
    assert checkpoint.newest(files)[1] == {"steps": 1}


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(whole, monkeypatch):
    path, content = whole

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(path, {"steps": 8})
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]
