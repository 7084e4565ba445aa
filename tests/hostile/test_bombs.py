"""Files of a few bytes that stand for gigabytes: refused before anything large is read or made."""

import io
import json
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from a3c.errors import UsageError
from a3c.networks import saved_model
from a3c.training import checkpoint, resumption
from a3c.utils import archives, json_text, serialization
from a3c.utils.lazy_imports import keras_saving

MIB = 2**20


@contextmanager
def at_most(mib):
    """Check how much memory Python and NumPy take meanwhile."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < mib * MIB
    finally:
        tracemalloc.stop()


# -- zip files ----------------------------------------------------------------------------------------------


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def read(path):
    with archives.opened(path) as file:
        return {name: archives.read_member(file, name) for name in file.namelist()}


def refused(path):
    with at_most(32), pytest.raises(zipfile.BadZipFile) as caught:
        read(path)
    return str(caught.value)


def test_members_that_unpack_to_much_more_than_the_file(tmp_path):
    zeros = bytes(80 * MIB)
    assert "too many for a file" in refused(archive(tmp_path / "it.zip", {"a": zeros}))
    assert "too many for a file" in refused(archive(tmp_path / "it.zip", {"a": zeros[::2], "b": zeros[::2]}))


def test_lists_of_members_that_are_very_long(tmp_path):
    path = archive(tmp_path / "it.zip", {f"{'x' * 200}{i}": b"" for i in range(20_000)})
    assert "too many parts" in refused(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_packing_that_unpack_as_much_as_there_is(tmp_path, method):
    assert "packed in another way" in refused(archive(tmp_path / "it.zip", {"a": bytes(100)}, method))


def test_members_that_are_larger_than_they_say(tmp_path):
    path = archive(tmp_path / "it.zip", {"a": bytes(40 * MIB)})
    content = path.read_bytes()
    path.write_bytes(content.replace((40 * MIB).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    assert "CRC" in refused(path)
    path.write_bytes(content.replace((40 * MIB).to_bytes(4, "little"), (41 * MIB).to_bytes(4, "little")))
    with pytest.raises(zipfile.BadZipFile):
        read(path)


@pytest.mark.parametrize("tail", [b"x", b"PK\5\6" + bytes(18)])
def test_ends_that_can_be_read_in_two_ways(tmp_path, tail):
    path = archive(tmp_path / "it.zip", {"a": b"1"})
    content = path.read_bytes()
    path.write_bytes(content + tail)
    if tail == b"x":
        assert "does not end" in refused(path)
    else:
        assert read(path) == {}, "it ends as an archive without members"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as file:
        file.writestr("a", b"1")
        file.writestr("a", b"2")
    assert "one name" in refused(tmp_path / "it.zip")


def test_a_limit_for_one_member(tmp_path):
    with archives.opened(archive(tmp_path / "it.zip", {"a": b"12345"})) as file:
        assert archives.read_member(file, "a", 5) == b"12345"
        with pytest.raises(zipfile.BadZipFile, match="more than 4"):
            archives.read_member(file, "a", 4)


# -- arrays and JSON ----------------------------------------------------------------------------------------


def header(shape, dtype="'<f4'", by_columns=False):
    text = f"{{'descr': {dtype}, 'fortran_order': {by_columns}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        header("(1000000000000,)"),
        header("(1000000000000, 0)") + b"x",
        header("(-1,)"),
        header("(-1, -1)") + bytes(4),
        header("(2,)") + bytes(4),
        header("(1,)") + bytes(8),
        header("('x',)"),
        header("(1.5,)"),
        header("(" + "1," * 70 + ")") + bytes(4),
        header("(1,)", "'|O'") + bytes(8),
        header("(1,)", "'<U1000000000'"),
        header("(1,)", "[('a', '<f4')]") + bytes(4),
        header("(1,)").replace(b"NUMPY\1", b"NUMPY\3"),
        header("(" + "(" * 60 + ")"),
    ],
)
def test_arrays_with_more_or_fewer_numbers_than_they_say(content):
    with at_most(1), pytest.raises(ValueError, match=r"."):
        serialization.from_bytes(content)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3)])
def test_arrays_come_back_in_either_order(shape):
    for array in (np.zeros(shape), np.asfortranarray(np.arange(np.prod(shape)).reshape(shape))):
        again = serialization.from_bytes(serialization.to_bytes(array))
        np.testing.assert_array_equal(again, array)
        assert again.flags.writeable


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b"[" + b"[]," * 2_500_000 + b"[]]",
        b'["' + "é".encode() * 9_000_000 + b'"]',
        b'["' + b"A" * 2**24 + b'\\u4e00"]',
        b"\xff\xfe" + b"[\0" * 9_000_000,
        b"1" * 5000,
        b"",
    ],
    ids=["deep", "deep tables", "many", "not ASCII", "escapes", "UTF-16", "digits", "empty"],
)
def test_json_that_takes_much_more_memory_than_it_is_long(content):
    with at_most(64), pytest.raises(ValueError, match=r"."):
        json_text.parse_json(content)


# -- checkpoints --------------------------------------------------------------------------------------------


def damage(path):
    with at_most(96), pytest.raises(checkpoint.Damaged) as caught:
        checkpoint.read(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["state.json", "arrays/0.npy"])
def test_checkpoints_with_a_bomb_are_damaged(tmp_path, name):
    path = tmp_path / "it.zip"
    checkpoint.write(path, {"weights": np.zeros(3)})
    with zipfile.ZipFile(path) as file:
        members = {each: file.read(each) for each in file.namelist()}
    assert "too many" in damage(archive(path, members | {name: b" " * 90 * MIB}))


def test_a_state_that_could_not_be_read_again_is_not_written(tmp_path):
    with pytest.raises(OSError, match="Its state is too large"):
        checkpoint.write(tmp_path / "it.zip", {"numbers": [0] * 2_000_001})
    assert list(tmp_path.iterdir()) == []


# -- agents -------------------------------------------------------------------------------------------------

UNITS, INPUTS = 7, 3


def small_model():
    x = keras.Input((INPUTS,))
    y = keras.layers.Normalization()(keras.layers.Dense(UNITS, kernel_initializer="orthogonal")(x))
    return keras.Model(x, [keras.layers.Dense(2)(y), keras.layers.Dense(1)(y)])


def rewritten(path, name, change):
    with zipfile.ZipFile(path) as file:
        members = {each: file.read(each) for each in file.namelist()}
    members[name] = change(members[name])
    return archive(path, members)


def refusal(path):
    with pytest.raises(UsageError) as caught:
        saved_model.load_model(path)
    return str(caught.value)


@pytest.fixture
def agent(tmp_path):
    with keras_saving():
        small_model().save(tmp_path / "agent.keras")
    return tmp_path / "agent.keras"


def replaced(before, after):
    def change(content):
        assert before in content
        return content.replace(before, after)

    return change


def test_a_small_model_is_loaded(agent):
    assert saved_model.load_model(agent).count_params() > 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'"units": {UNITS}', '"units": 10000000000'),
        (f"[null, {INPUTS}]", "[null, 1000000000]"),
    ],
)
def test_networks_that_are_much_larger_than_their_weights(agent, before, after):
    rewritten(agent, "config.json", replaced(before.encode(), after.encode()))
    assert "Its network would take more than" in refusal(agent)


def test_our_own_networks_that_are_much_larger_than_their_weights(tmp_path):
    from a3c import Agent

    path = tmp_path / "agent.keras"
    Agent("CartPole-v1", hidden_units=(5,), preset="none").save(path)
    content, large, many = path.read_bytes(), b"1000000000", b"[" + b"1," * 100_000 + b"1]"
    for name, before, after, told in (
        ("config.json", b'"units": 5', b'"units": ' + large, "Its network would take more than"),
        ("config.json", b'"trainable": true', b'"trainable": ' + many, "a list of 100,001 entries"),
        ("a3c.json", b'"hidden_units": [5]', b'"hidden_units": [' + large + b"]", "would take more than"),
        ("a3c.json", b'"hidden_units": [5]', b'"hidden_units": ' + many, "at most 100"),
    ):
        rewritten(path, name, replaced(before, after))
        assert told in refusal(path)
        path.write_bytes(content)


@keras.saving.register_keras_serializable("test_bombs")
class Masked(keras.layers.Layer):
    """A layer that makes a variable of numbers that it has."""

    def __init__(self, **more):
        super().__init__(**more)
        self.mask = keras.Variable(np.ones(3, np.float32), trainable=False)

    def call(self, x):
        return x * self.mask


def test_layers_of_ones_own_may_have_numbers_of_their_own(tmp_path):
    x = keras.Input((INPUTS,))
    y = Masked()(x)
    with keras_saving():
        keras.Model(x, [keras.layers.Dense(2)(y), keras.layers.Dense(1)(y)]).save(tmp_path / "own.keras")
    assert saved_model.load_model(tmp_path / "own.keras").count_params() == 3 + 8 + 4


def test_layers_with_a_state_for_a_billion_copies(tmp_path):
    x = keras.Input((7, INPUTS), batch_size=2)
    y = keras.layers.LSTM(4, stateful=True)(x)
    with keras_saving():
        keras.Model(x, [keras.layers.Dense(2)(y), keras.layers.Dense(1)(y)]).save(tmp_path / "it.keras")
    rewritten(
        tmp_path / "it.keras", "config.json", lambda content: content.replace(b"[2, 7", b"[1000000000, 7")
    )
    assert "keeps a state of its own" in refusal(tmp_path / "it.keras")


def test_what_was_refused_leaves_nothing_behind(agent):
    """Keras makes the numbers of all variables that have none when it next builds a model."""
    rewritten(agent, "config.json", replaced(b'"units": 7', b'"units": 10000000000'))
    refusal(agent)
    assert small_model().count_params() > 0


def weights_of(agent, change):
    def rewrite(content):
        stream = io.BytesIO(content)
        with h5py.File(stream, "r+") as file:
            change(file)
        return stream.getvalue()

    return rewritten(agent, "model.weights.h5", rewrite)


def test_weights_that_are_not_in_the_file(agent, tmp_path):
    whole = agent.read_bytes()
    (tmp_path / "secret").write_bytes(bytes(10**6))

    def shape(file):
        file.create_dataset("more", (10**9, 10**3), "f4")

    def external(file):
        file.create_dataset("more", (10**5,), "f4", external=[(str(tmp_path / "secret"), 0, 10**6)])

    def packed(file):
        file.create_dataset("more", data=np.zeros(10**6, "f4"), compression="gzip")

    def virtual(file):
        layout = h5py.VirtualLayout((10**5,), "f4")
        layout[:10] = h5py.VirtualSource(str(tmp_path / "secret"), "x", (10,))
        file.create_virtual_dataset("more", layout)

    for change in (shape, external, packed, virtual):
        agent.write_bytes(whole)
        weights_of(agent, change)
        assert "the weights more are not in the file" in refusal(agent), change.__name__


@pytest.mark.parametrize(
    "config",
    [
        b"[" * 100_000,
        b"[]",
        json.dumps({"class_name": [{"class_name": 1}] * 10_001}).encode(),
        b" " * 5 * MIB,
    ],
)
def test_descriptions_that_are_none_or_too_long(agent, config):
    rewritten(agent, "config.json", lambda _: config)
    refusal(agent)


@pytest.mark.parametrize(
    "described",
    [
        {"module": "keras", "class_name": "Sequential", "config": {"layers": []}},
        {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": None},
        {"module": "keras.optimizers", "class_name": "Adam", "config": {"learning_rate": "LAYER"}},
        {"a": 1},
        [1],
    ],
)
def test_optimizers_that_are_something_else(tmp_path, described):
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": None}
    text = json.dumps(described).replace('"LAYER"', json.dumps(layer))
    (tmp_path / "optimizer.json").write_text(text)
    with pytest.raises(UsageError, match=r"something else than|no optimizer"):
        resumption.load_optimizer(tmp_path)


def test_files_that_come_with_the_tests_are_read():
    folder = Path(__file__).parents[1] / "references" / "old_run"
    for name in ("best.keras", "last.keras"):
        assert saved_model.read_card(folder / name)["format"] == 1
        assert saved_model.load_model(folder / name).count_params() > 0
