"""The state of environments: put back, it is exactly the same; or it is said what is in the way."""

import collections
import dataclasses
import enum
import functools
import io
import itertools
import json
import random
import sys
import threading
import types

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a3c import envs
from a3c.envs import continuity, state
from a3c.utils import serialization

ORIGIN = ["north", "south"]
LEVELS = [{"width": 3}, {"width": 5}, {"width": 7}]
_MISSING = object()
catalogue = [[1], [2], [3]]
Point = collections.namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Car:
    """An ordinary object, of which environments make more during an episode."""

    made = 0

    def __init__(self, x):
        Car.made += 1
        self.x, self.trail, self.next = x, [], self

    def drive(self):
        self.x += 1
        return self.x


class Slotted:
    __slots__ = ("__dict__", "_hidden", "a", "b")

    def __init__(self):
        self.a = 1


@dataclasses.dataclass(frozen=True)
class Cell:
    row: int
    column: int


class Deck(list):
    """A container with attributes of its own."""


class Finalized:
    def __del__(self):
        raise AssertionError("ran")


class Holder(gym.Env):
    """An environment that is nothing but its attributes."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, **attributes):
        self.cars = []
        self.car = Car(0)
        self.__dict__.update(attributes)


def through_json(plain):
    return serialization.from_json(json.loads(json.dumps(serialization.to_json(plain))))


def moved(value, fresh=None):
    """`value` after a journey from one environment to another, which has `fresh` in its place."""
    source, target = Holder(value=value), Holder(value=fresh)
    state.restore(target, through_json(state.capture(source)))
    assert set(vars(target)) == set(vars(source))
    return target.value


def same(a, b):
    """Equal in type, value and order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        equal = np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        return (
            a.dtype == b.dtype and a.strides == b.strides and equal and a.flags.writeable == b.flags.writeable
        )
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, (list, tuple, collections.deque)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (float, complex, np.inexact)):
        return repr(a) == repr(b)
    return a == b


VALUES = [
    *(None, True, 3, -(2**70), 2**20000, 0.1, float("nan"), float("-inf"), -0.0, "ü\ud800", 1 - 2j, b"\0x"),
    *(bytearray(b"abc"), range(3, 2**80, 7), slice(1, None, -2), Colour.BLUE, Rights.READ | Rights.RUN),
    *(
        np.float32(0.1),
        np.int8(-3),
        np.bool_(True),
        np.str_("a"),
        np.str_(""),
        np.bytes_(b"a"),
        np.bytes_(b""),
    ),
    *(
        np.complex64(1j),
        np.datetime64("2020-01-01"),
        np.longdouble(1) / 3,
        np.dtype("f4"),
        np.dtype([("a", "i2")]),
    ),
    *([1, [2.5, ["x"]]], (1, (2, [3])), (), Point(1, [2]), {1, 2, 3}, {"a", (1, 2)}, frozenset([1, (2, 3)])),
    {"b": 1, "a": {(1, 2): [3], 4: None, None: 5, Colour.RED: 6, 1.5: 7, b"k": 8, "$array": 9}},
    *(collections.deque([1, 2, 3], maxlen=3), collections.deque(), collections.Counter("banana")),
    *(
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, a=[1]),
        types.SimpleNamespace(a=[1], b=2),
    ),
    *(
        np.arange(6.0).reshape(2, 3),
        np.zeros((0, 3)),
        np.array(5),
        np.array([True, False]),
        np.array(["ab", "c"]),
    ),
    *(np.asfortranarray(np.arange(6).reshape(2, 3)), np.array([np.nan, 1], ">f4"), np.array([1 + 2j])),
    np.array([(1, 2.5, "x")], [("a", "i4"), ("b", "f8"), ("c", "U3")]),
    *(np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2).copy(order="K"), np.array([1, "a", None], object)),
    *(np.array([[1, 2], [3, 4]], object), np.array(["2020-01-01"], "M8[D]"), np.array([b"ab"])),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
@pytest.mark.parametrize("kind", ["absent", "other", "like"])
def test_values_arrive_as_they_were(value, kind):
    fresh = {"absent": None, "other": [1, {2: 3}], "like": None}[kind]
    if kind == "like":
        fresh = moved(value)
        if type(fresh) in (list, collections.deque):
            fresh.append(1)
        elif type(fresh) in (dict, collections.OrderedDict, collections.defaultdict):
            fresh["more"] = [1]
    assert same(moved(value, fresh), value)


def test_read_only_arrays_stay_so():
    array = np.arange(3)
    array.flags.writeable = False
    assert same(moved(array), array)
    fresh = np.zeros(3, int)
    assert moved(array, fresh) is fresh
    assert not fresh.flags.writeable
    fresh = moved(np.arange(3), array.copy())
    fresh[0] = 9
    assert moved(np.frombuffer(b"ab", np.uint8)).tolist() == [97, 98]


def test_nothing_is_shared_with_the_environment():
    env = Holder(array=np.zeros(2), rows=[[1]], generator=np.random.default_rng(0))
    captured = state.capture(env)
    before = json.dumps(serialization.to_json(captured))
    env.array += 1
    env.rows[0].append(2)
    env.generator.random()
    assert json.dumps(serialization.to_json(captured)) == before
    twin = Holder(array=np.zeros(2), rows=[], generator=None)
    state.restore(twin, captured)
    twin.array += 1
    twin.generator.random(1000)
    assert json.dumps(serialization.to_json(captured)) == before


def test_restoring_gives_the_state_again():
    env = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    env.reset(seed=1)
    captured = state.capture(env)
    twin = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    twin.reset(seed=2)
    state.restore(twin, captured)
    assert serialization.to_json(state.capture(twin)) == serialization.to_json(captured)


# --- Generators ---


@pytest.mark.parametrize("name", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
@pytest.mark.parametrize("kind", [np.random.Generator, np.random.RandomState])
def test_generators_go_on(name, kind):
    bits = getattr(np.random, name)
    generator = kind(bits(3))
    generator.standard_normal()
    generator.random(7)
    fresh = kind(bits(4))
    twins = [moved(generator), moved(generator, fresh), moved(generator, kind(np.random.PCG64(1)))]
    assert twins[1] is fresh
    expected = generator.standard_normal(5).tobytes()
    assert [twin.standard_normal(5).tobytes() for twin in twins] == [expected] * 3


def test_generators_spawn_what_they_would_have_spawned():
    generator = np.random.default_rng([1, 2])
    generator.spawn(2)
    twin, fresh_twin = moved(generator), moved(generator, np.random.default_rng(0))
    (child,), (other,), (third,) = generator.spawn(1), twin.spawn(1), fresh_twin.spawn(1)
    assert child.random() == other.random() == third.random()
    seeds = np.random.SeedSequence(5, spawn_key=(3,))
    assert moved(seeds).generate_state(2).tolist() == seeds.generate_state(2).tolist()


def test_pythons_own_generator():
    generator = random.Random(3)
    generator.gauss(0, 1)
    twin = moved(generator, random.Random(4))
    assert [twin.gauss(0, 1), twin.random()] == [generator.gauss(0, 1), generator.random()]


def test_a_method_of_a_generator_follows_it():
    def make(seed):
        generator = np.random.default_rng(seed)
        return Holder(draw=generator.random, generator=generator)

    source, target = make(1), make(2)
    state.restore(target, through_json(state.capture(source)))
    assert target.draw() == source.draw()
    assert target.generator.random() == source.generator.random()


def test_shared_bit_generators_stay_shared():
    bits = np.random.PCG64(1)
    a, b = moved([np.random.Generator(bits), np.random.Generator(bits)])
    assert a.bit_generator is b.bit_generator


def test_global_generators():
    before = through_json(state.capture_globals())
    expected = random.random(), np.random.standard_normal(3).tolist(), random.gauss(0, 1)
    random.seed(1)
    np.random.seed(1)
    state.restore_globals(before)
    assert (random.random(), np.random.standard_normal(3).tolist(), random.gauss(0, 1)) == expected
    with pytest.raises(ValueError, match="global generators"):
        state.restore_globals({"random": {}})


# --- References ---


def test_shared_references_and_cycles():
    row = [1]
    cycle = [row, (row,)]
    cycle.append((cycle, {"self": cycle}))
    arrived = moved(cycle)
    assert arrived[0] is arrived[1][0]
    assert arrived[2][0] is arrived
    assert arrived[2][1]["self"] is arrived


def test_the_structure_is_the_captured_one_not_the_fresh_one():
    one = [1]
    a, b = moved([one, one], [[5], [6]])
    assert a is b
    fresh = [7]
    a, b = moved([[1], [1]], [fresh, fresh])
    assert a is not b
    array = np.zeros(2)
    a, b = moved([np.ones(2), np.zeros(2)], [array, array])
    assert a is not b
    assert (a.tolist(), b.tolist()) == ([1, 1], [0, 0])
    a, b = moved([array, array], [np.ones(2), np.ones(2)])
    assert a is b


def views():
    root = np.arange(24.0).reshape(4, 6)
    square = np.asfortranarray(np.arange(6).reshape(2, 3))
    line = np.arange(5)
    strided = np.lib.stride_tricks.sliding_window_view(line, 3)
    records = np.zeros(3, [("a", "i2"), ("b", "f8")])
    objects = np.array([1, "a", None, 4], object)
    return [
        *([root, root[1:, ::-2]], [root.T, root], [root[2], root[2, 3:]], [root.view(np.uint8), root]),
        *([square[:, 1], square], [strided, line], [records["b"], records], [objects.reshape(2, 2), objects]),
        [np.broadcast_to(root[0, :1], (3,)), root],
    ]


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("kind", ["absent", "like", "crossed"])
def test_views_stay_views(number, kind):
    value = views()[number]
    fresh = {"absent": None, "like": views()[number], "crossed": views()[number][::-1]}[kind]
    arrived = moved(value, fresh)
    assert all(map(same, arrived, value))
    assert np.shares_memory(*arrived)
    for group in (value, arrived):
        owner = next((array for array in group if array.base is None), group[0].base)
        owner[...] = np.zeros((), owner.dtype) if owner.dtype.names else 7
    assert all(map(same, arrived, value))


def test_views_of_distinct_arrays_do_not_become_one():
    fresh = np.zeros(4)
    a, b = moved([np.arange(4.0)[1:], np.ones(4)[1:]], [fresh[1:], fresh[1:]])
    assert not np.shares_memory(a, b)
    assert a.tolist() == [1, 2, 3]


def test_objects_of_the_fresh_environment_are_filled_in_place():
    fresh = Holder(rows=[[0], [0, 0]], table={"a": [1], "b": 2}, array=np.zeros(3), queue=collections.deque())
    kept = [fresh.rows, fresh.rows[0], fresh.table, fresh.table["a"], fresh.array, fresh.queue, fresh.car]
    source = Holder(
        rows=[[1, 2], [3], [4]], table={"b": 3, "a": [5]}, array=np.ones(3), queue=collections.deque([9])
    )
    source.car.x = 12
    state.restore(fresh, state.capture(source))
    now = [fresh.rows, fresh.rows[0], fresh.table, fresh.table["a"], fresh.array, fresh.queue, fresh.car]
    assert all(a is b for a, b in zip(kept, now, strict=True))
    assert list(fresh.table.items()) == [("b", 3), ("a", [5])]
    assert (fresh.rows, fresh.array.tolist(), fresh.car.x) == ([[1, 2], [3], [4]], [1, 1, 1], 12)


def test_attributes_that_were_not_there_go():
    source, fresh = Holder(), Holder(extra=1)
    fresh.car.more = 2
    state.restore(fresh, state.capture(source))
    assert not hasattr(fresh, "extra")
    assert not hasattr(fresh.car, "more")


def test_data_of_modules_is_not_overwritten():
    """An attribute that points to one of several levels must not change what the level is."""
    source, fresh = Holder(level=LEVELS[2], row=catalogue[2]), Holder(level=LEVELS[0], row=catalogue[0])
    state.restore(fresh, through_json(state.capture(source)))
    assert [level["width"] for level in LEVELS] == [3, 5, 7]
    assert fresh.level is LEVELS[2]
    assert fresh.row == [3]
    assert catalogue == [[1], [2], [3]]
    source, fresh = Holder(mark=None, names=[]), Holder(mark=_MISSING, names=ORIGIN)
    state.restore(fresh, state.capture(source))
    assert ORIGIN == ["north", "south"]
    state.restore(fresh, state.capture(Holder(mark=_MISSING, names=ORIGIN)))
    assert fresh.mark is _MISSING
    assert fresh.names is ORIGIN


# --- Objects ---


def test_objects_made_during_an_episode():
    source, fresh = Holder(), Holder()
    source.cars = [Car(1), Car(2)]
    source.cars[0].next = source.cars[1]
    source.by_car = {source.cars[1]: "second"}
    made = Car.made
    state.restore(fresh, through_json(state.capture(source)))
    assert Car.made == made, "no constructor is called"
    assert [car.x for car in fresh.cars] == [1, 2]
    assert fresh.cars[0].next is fresh.cars[1]
    assert fresh.by_car[fresh.cars[1]] == "second"


def test_a_hash_of_attributes_is_taken_when_they_are_there():
    cells = {Cell(1, 2): "a", Cell(3, 4): "b"}
    source = Holder(cells=cells, seen={Cell(5, 6)}, cell=Cell(0, 0))
    fresh = Holder(cells={}, seen=set(), cell=Cell(9, 9))
    state.restore(fresh, through_json(state.capture(source)))
    assert fresh.cells[Cell(3, 4)] == "b"
    assert fresh.seen == {Cell(5, 6)}
    with pytest.raises(state.Unsaveable, match=r"\.done is a frozenset"):
        state.capture(Holder(done=frozenset([Cell(1, 1)])))


def test_slots_and_extended_containers():
    thing = Slotted()
    thing.b, thing.c = [2], 3
    fresh = Slotted()
    fresh._hidden = 7
    arrived = moved(thing, fresh)
    assert arrived is fresh
    assert (arrived.a, arrived.b, arrived.c) == (1, [2], 3)
    assert not hasattr(arrived, "_hidden")
    deck = Deck([1, 2])
    deck.owner = deck
    arrived = moved(deck)
    assert (type(arrived), list(arrived), arrived.owner is arrived) == (Deck, [1, 2], True)


def test_long_chains_of_objects():
    source = Holder()
    link = source.car
    for x in range(5000):
        link.next = Car(x)
        link = link.next
    fresh = Holder()
    state.restore(fresh, through_json(state.capture(source)))
    assert fresh.car.next.next.x == 1


def test_code_is_kept_and_bound_methods_are_found_again():
    def helper():
        return 1

    def make():
        env = Holder(helper=helper, part=functools.partial(helper), kind=Car, module=json, text=str.upper)
        env.other = Car(5)
        env.phase = env.car.drive
        env.factories = collections.defaultdict(Car)
        return env

    source, fresh = make(), make()
    source.phase = source.other.drive
    source.factories.default_factory = None
    state.restore(fresh, through_json(state.capture(source)))
    assert fresh.phase() == 6
    assert fresh.other.x == 6
    assert fresh.helper is helper
    assert fresh.factories.default_factory is None
    source.helper = lambda: 2
    with pytest.raises(state.Unsaveable, match="lambda"):
        state.restore(fresh, state.capture(source))


# --- What cannot be saved ---


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: iter([1]), "list_iterator"),
        (lambda: itertools.count(), "count"),
        (lambda: (i for i in range(3)), "generator"),
        (lambda: io.StringIO(), "StringIO"),
        (threading.Lock, "lock"),
        (threading.Thread, "Thread"),
        (lambda: memoryview(b"a"), "memoryview"),
        (lambda: np.zeros(2, object)[:1], "ndarray"),
        (lambda: np.ma.masked_array([1]), "MaskedArray"),
    ],
)
def test_what_lives_elsewhere_is_refused_by_path(make, what):
    env = Holder(world={"parts": [0, make()]})
    with pytest.raises(state.Unsaveable) as caught:
        state.capture(env)
    assert caught.value.where == "world['parts'][1]"
    assert caught.value.what == what
    assert str(caught.value).startswith(f"Holder: .world['parts'][1] is a {what}, wh")


def test_the_path_goes_through_wrappers():
    env = gym.make_vec("test/Hidden-v0", num_envs=4, vectorization_mode="sync")
    env.envs[0].unwrapped.source = env.envs[1].unwrapped.source = env.envs[2].unwrapped.source = None
    with pytest.raises(state.Unsaveable) as caught:
        state.capture(env)
    assert caught.value.where == "envs[3].unwrapped.source"
    assert str(caught.value) == "test/Hidden-v0: .source is a count, whose state cannot be read"


def test_the_proxy_of_a_c_object_is_named_not_its_pointer():
    """As SWIG makes them, and Box2D with it."""
    world = types.SimpleNamespace(this=itertools.count())
    with pytest.raises(state.Unsaveable, match=r"^Holder: \.world is a SimpleNamespace, whose state cannot"):
        state.capture(Holder(world=world))


class Homeless(type):
    """Makes classes that do not say which module they are of, as C code may."""

    @property
    def __module__(cls):
        """Nowhere."""
        raise AttributeError("__module__")


class Broken(type):
    """Makes classes that cannot be looked at."""

    @property
    def __mro__(cls):
        """Not to be had."""
        raise OSError("gone")


def test_types_without_a_module_do_not_surprise():
    thing = Homeless("Thing", (), {})()
    restored = Holder(thing=Homeless("Thing", (), {})())
    thing.x = 3
    source = Holder(thing=thing)
    with pytest.raises(AttributeError):
        type(thing).__module__  # noqa: B018
    restored.thing = type(thing)()
    state.restore(restored, state.capture(source))
    assert restored.thing.x == 3


def test_what_cannot_even_be_looked_at_is_refused():
    with pytest.raises(state.Unsaveable, match="cannot be looked at: OSError: gone"):
        state.capture(Holder(thing=Broken("Thing", (), {})()))


# --- Safety ---


def nodes_of(env):
    captured = through_json(state.capture(env))
    return captured, captured["nodes"]


@pytest.mark.parametrize(
    "name", ["subprocess:Popen", "this:Spring", "os:_Environ", "builtins:object", "a3c.config:Settings"]
)
def test_a_state_cannot_make_objects_of_other_classes(name):
    source = Holder()
    source.cars = [Car(1)]
    captured, nodes = nodes_of(source)
    (node,) = [n for n in nodes if n.get("class", "").endswith(":Car") and n["attributes"]["x"] == 1]
    node["class"], loaded = name, set(sys.modules)
    fresh = Holder()
    with pytest.raises((state.Unsaveable, ValueError)):
        state.restore(fresh, captured)
    assert fresh.cars == [], "nothing has changed"
    assert set(sys.modules) == loaded


def test_a_state_cannot_make_objects_with_finalizers():
    source = Holder()
    source.cars = [Car(1)]
    captured, nodes = nodes_of(source)
    next(n for n in nodes if n.get("class", "").endswith(":Car") and n["attributes"]["x"] == 1)["class"] = (
        f"{__name__}:Finalized"
    )
    with pytest.raises(state.Unsaveable, match="no class of the fresh environment"):
        state.restore(Holder(), captured)


@pytest.mark.parametrize("name", ["os:system", "builtins:eval", "module os", "test_env_state:through_json"])
def test_a_state_cannot_name_code_that_was_not_there(name):
    captured, nodes = nodes_of(Holder(helper=same))
    next(n for n in nodes if n["kind"] == "code")["name"] = name
    with pytest.raises(state.Unsaveable, match="the fresh environment does not have"):
        state.restore(Holder(helper=None), captured)


def test_a_state_cannot_turn_bytes_into_addresses():
    captured, nodes = nodes_of(Holder(value=np.float64(1), part=np.arange(4)[1:]))
    scalar = next(n for n in nodes if n["kind"] == "scalar")
    part = next(n for n in nodes if n["kind"] == "view")
    for node, dtype in ((scalar, "object"), (scalar, "'|O'"), (part, "'|O'"), (part, "object")):
        before, node["dtype"] = node["dtype"], dtype
        with pytest.raises(ValueError, match="not the state"):
            state.restore(Holder(value=None, part=None), captured)
        node["dtype"] = before
    part["offset"] = 4096
    with pytest.raises(ValueError, match="not the state"):
        state.restore(Holder(value=None, part=None), captured)


def test_a_tree_that_does_not_fit_is_refused():
    captured = state.capture(Holder())
    with pytest.raises(ValueError, match="not of gymnasium"):
        state.restore(gym.make("CartPole-v1").unwrapped, captured)
    for damaged in ({}, {"version": 9}, {"version": 1, "nodes": []}, {"version": 1, "nodes": [{}]}, [], None):
        with pytest.raises(ValueError, match="not the state"):
            state.restore(Holder(), damaged)
    holder = {"kind": "object", "class": f"{__name__}:Holder"}
    for parts in ([{"kind": "tuple", "items": [[1]]}], [{"kind": "none"}], [], [{"kind": "list"}]):
        nodes = [holder | {"attributes": {"a": [1]}}, *parts]
        with pytest.raises(ValueError, match="not the state"):
            state.restore(Holder(), {"version": 1, "nodes": nodes})


# --- Hooks ---


class Base(gym.Env):
    """Counts with an iterator, which cannot be read."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = int(self.np_random.integers(100))
        self.source = itertools.count(self.t)
        return np.array([float(self.t)]), {}

    def step(self, action):
        self.t = next(self.source)
        return np.array([float(self.t)]), 1.0, self.t % 10 == 0, False, {}


class Truthful(Base):
    """It can tell its state itself."""

    wrong = False

    def state_dict(self):
        following = next(self.source)
        self.source = itertools.count(following)
        return {"t": self.t, "next": following, "generator": self.np_random.bit_generator.state}

    def load_state_dict(self, told):
        self.t = told["t"]
        self.source = itertools.count(told["next"] + self.wrong)
        self.np_random.bit_generator.state = told["generator"]


class Wrong(Truthful):
    wrong = True


class NotPlain(Truthful):
    def state_dict(self):
        return {"source": self.source}


class Hidden(Base):
    """It cannot."""

    def __init__(self):
        self.source = itertools.count()


class Secret(gym.Env):
    """Part of its state is where nobody looks."""

    observation_space, action_space = Base.observation_space, Base.action_space

    def __init__(self):
        counts = {"t": 0}

        def count():
            counts["t"] += 1
            return counts["t"]

        self.count = count

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([float(self.count())]), {}

    def step(self, action):
        return np.array([float(self.count())]), 1.0, False, False, {}


class Generators(gym.Env):
    """Draws from the generators of the modules, and observes NaN now and then."""

    observation_space, action_space = Base.observation_space, Base.action_space

    def reset(self, *, seed=None, options=None):
        return np.array([np.nan]), {}

    def step(self, action):
        return np.array([random.random()]), np.random.random(), random.random() < 0.02, False, {}


for cls in (Truthful, Wrong, NotPlain, Hidden, Secret, Generators):
    gym.register(f"test/{cls.__name__}-v0", entry_point=cls)


def test_environments_that_can_tell_their_state_are_asked():
    for wrapped in (gym.make("test/Truthful-v0"), Truthful()):
        wrapped.reset(seed=1)
        captured = through_json(state.capture(wrapped))
        twin = gym.make("test/Truthful-v0") if isinstance(wrapped, gym.Wrapper) else Truthful()
        twin.reset(seed=2)
        state.restore(twin, captured)
        assert [wrapped.step(0)[0] for _ in range(5)] == [twin.step(0)[0] for _ in range(5)]


def test_continuity_of_good_and_bad_environments():
    good = continuity.check(envs.find("test/Truthful-v0"), steps=60)
    assert good.ok, good.reason
    assert good.steps > 60
    assert continuity.check(envs.find("test/Generators-v0"), steps=60).ok
    found = {
        name: continuity.check(envs.find(f"test/{name}-v0"), steps=60).reason
        for name in ("Wrong", "NotPlain", "Hidden", "Secret")
    }
    assert found == {
        "Wrong": "after resuming, observations differ in step 1",
        "NotPlain": "not saveable: test/NotPlain-v0: it is a NotPlain, whose state_dict() is no plain tree: "
        "count in a plain tree",
        "Hidden": "not saveable: test/Hidden-v0: .source is a count, whose state cannot be read",
        "Secret": "after resuming, observations differ in step 1",
    }


def test_the_check_leaves_the_global_generators_alone():
    random.seed(3)
    expected = random.random()
    random.seed(3)
    continuity.check(envs.find("test/Generators-v0"), steps=20)
    assert random.random() == expected


# --- Gymnasium's environments ---


@pytest.mark.parametrize(
    ("env_id", "vectorized"),
    [("CartPole-v1", True), ("CartPole-v1", False), ("Acrobot-v1", False), ("MountainCar-v0", False)],
)
def test_classic_control_goes_on_exactly(env_id, vectorized):
    environment = dataclasses.replace(envs.find(env_id), vectorized=vectorized)
    found = continuity.check(environment, steps=100)
    assert found.ok, found.reason
    assert "ends of episodes" in found.reason


def test_compiled_environments_go_on_exactly():
    found = continuity.check(envs.find("jax/CartPole-v1"), steps=50)
    assert found.ok, found.reason
    assert "ends of episodes" in found.reason


def test_compiled_environments_refuse_the_state_of_others():
    env = envs.make_vector(envs.find("jax/CartPole-v1").spec, 2, True)
    told = env.state_dict()
    assert told == {"leaves": []}, "not reset yet"
    with pytest.raises(ValueError, match="in the place of"):
        env.load_state_dict({"leaves": [np.zeros(2)]})


def make_newest(name):
    return gym.make(max(env_id for env_id in gym.registry if env_id.startswith(f"{name}-v")))


def make_discrete_pendulum():
    env = gym.make("Pendulum-v1")
    return gym.wrappers.TransformAction(env, lambda a: np.array([a - 1.0]), gym.spaces.Discrete(3))


def make_wrapped():
    env = gym.make("CartPole-v1", max_episode_steps=15)
    env = gym.wrappers.NormalizeObservation(gym.wrappers.TransformReward(env, lambda reward: reward / 2))
    return gym.wrappers.NormalizeReward(gym.wrappers.FrameStackObservation(env, 3))


def make_recorded():
    env = gym.wrappers.DelayObservation(gym.make("CartPole-v1"), 2)
    return gym.wrappers.Autoreset(gym.wrappers.RecordEpisodeStatistics(env))


MADE = {
    "FrozenLake": lambda: gym.make("FrozenLake-v1", is_slippery=True),
    "Taxi": lambda: make_newest("Taxi"),
    "Blackjack": lambda: gym.make("Blackjack-v1"),
    "CliffWalking": lambda: make_newest("CliffWalking"),
    "pendulum": make_discrete_pendulum,
    "wrapped": make_wrapped,
    "recorded": make_recorded,
}


@pytest.mark.parametrize("name", MADE)
def test_single_environments_go_on_exactly(name):
    env = MADE[name]()
    env.reset(seed=1)
    env.action_space.seed(3)
    captured = [(0, through_json(state.capture(env)))]
    record = []
    for t in range(60):
        record.append(play(env))
        if t in (0, 1, 20):
            captured.append((t + 1, through_json(state.capture(env))))
    assert any(ended for *_, ended in record) or name in ("Taxi", "pendulum", "CliffWalking")
    for t, plain in captured:
        twin = MADE[name]()
        twin.reset(seed=2)
        state.restore(twin, plain)
        assert [play(twin) for _ in record[t:]] == record[t:]


def play(env):
    """One step with an action drawn by the environment's own space, and a reset after an end."""
    action = env.action_space.sample()
    observation, reward, terminated, truncated, _ = env.step(action)
    ended = bool(terminated or truncated)
    start = env.reset()[0] if ended else None
    return int(action), repr(observation), float(reward), repr(start), ended


def test_vector_wrappers_go_on():
    def make():
        return gym.wrappers.vector.NormalizeObservation(gym.make_vec("CartPole-v1", num_envs=2))

    env, twin = make(), make()
    env.reset(seed=1)
    twin.reset(seed=2)
    for _ in range(30):
        env.step(np.array([0, 1]))
    state.restore(twin, through_json(state.capture(env)))
    for _ in range(30):
        left, right = env.step(np.array([1, 0])), twin.step(np.array([1, 0]))
        assert left[0].tobytes() == right[0].tobytes()
        assert left[1].tobytes() == right[1].tobytes()


# --- Any nesting ---

atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.complex_numbers(allow_nan=False),
    st.sampled_from(Colour),
    st.builds(np.float32, st.floats(width=32)),
)
keys = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3), st.sampled_from(Colour)),
    lambda inner: st.lists(inner, max_size=2).map(tuple),
    max_leaves=3,
)
nested = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(lambda items: collections.deque(items, maxlen=5)),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3).map(collections.OrderedDict),
        st.lists(inner, max_size=3).map(lambda items: [items, items]),
        st.lists(st.floats(), max_size=3).map(np.array),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(nested, nested)
def test_any_nesting_arrives_whatever_was_there(value, fresh):
    assert same(moved(value, fresh), value)
