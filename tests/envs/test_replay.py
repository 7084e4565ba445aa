"""Environments under way: others come to stand where they stood, exactly; or it is told why not."""

import itertools
import random

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode

from a3c import envs
from a3c.cli.checks.environment import resumed
from a3c.envs import generators, history, replay
from a3c.envs.copies import Copies
from parts import ANY, through_json, vector_sampler


class Base(gym.Env):
    """Counts on from a random number."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym.spaces.Discrete(2)
    length = 40

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.value = 0, self.np_random.random()
        return np.array([self.value]), {}

    def step(self, action):
        self.t += 1
        self.value += self.draw() + action
        return np.array([self.value]), 1.0, self.t >= self.length, False, {}

    def draw(self):
        return self.np_random.random()


class Own(Base):
    """Draws from generators of its own, of all kinds."""

    def __init__(self):
        self.rng, self.old, self.pythons = (
            np.random.default_rng(3),
            np.random.RandomState(4),
            random.Random(5),
        )

    def draw(self):
        return self.rng.random() + self.old.standard_normal() + self.pythons.gauss(0, 1)


class Noisy(gym.ObservationWrapper, RecordConstructorArgs):
    """A wrapper with a generator."""

    def __init__(self, env):
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.noise = np.random.Generator(np.random.MT19937(6))

    def observation(self, observation):
        return observation + self.noise.random()


class Truthful(Base):
    """Tells its state, part of which is a counter of all episodes."""

    wrong, episodes = False, 0

    def reset(self, *, seed=None, options=None):
        self.episodes += 1
        return super().reset(seed=seed)

    def draw(self):
        return self.np_random.random() + self.episodes

    def state_dict(self):
        names = ("t", "value", "episodes")
        return {name: getattr(self, name) for name in names} | {"extra": np.array([float(self.wrong)])}

    def load_state_dict(self, told):
        self.t, self.value, self.episodes = told["t"], told["value"] + self.wrong, told["episodes"]


class Wrong(Truthful):
    wrong = True


class NotPlain(Truthful):
    def state_dict(self):
        return {"source": itertools.count()}


class Counting(Truthful):
    """Remembers the episodes before, and does not tell."""

    state_dict = load_state_dict = None


class Secret(Base):
    """Draws from the operating system."""

    def draw(self):
        return random.SystemRandom().random()


class Tired(Base):
    """Fails where it is played again: only once in all is the long way free."""

    ways = 0

    def step(self, action):
        Tired.ways += 1
        if Tired.ways > 130:
            raise OSError("closed for today")
        return super().step(action)


class Pool:
    """What cannot be read."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)


class Opaque(gym.vector.VectorEnv):
    """Vector code whose state lives in an object of another kind."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - Gymnasium's
    single_observation_space, single_action_space = Base.observation_space, Base.action_space

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        self.pool = Pool(seed)
        return np.zeros((self.num_envs, 1)), {}

    def step(self, actions):
        seen = self.pool.rng.random((self.num_envs, 1))
        ends = seen[:, 0] < 0.02
        return seen, np.ones(self.num_envs), ends, np.zeros(self.num_envs, bool), {}


for cls in (Base, Own, Truthful, Wrong, NotPlain, Counting, Secret, Tired):
    gym.register(f"replay/{cls.__name__}-v0", entry_point=cls, max_episode_steps=30)
gym.register("replay/Opaque-v0", entry_point=Base, vector_entry_point=Opaque)
gym.register("replay/Noisy-v0", entry_point=lambda: Noisy(Own()), max_episode_steps=30)
gym.register("replay/Frozen-v0", entry_point=lambda: gym.wrappers.FrameStackObservation(Own(), 3))
gym.register("replay/Normal-v0", entry_point=lambda: gym.wrappers.NormalizeObservation(Base()))
gym.register("replay/Earning-v0", entry_point=lambda: gym.wrappers.NormalizeReward(Base()))


def make_sampler(env_id, generator=0, seed=50):
    return vector_sampler(envs.find(env_id), 3, generator=generator, seed=seed)


def play(sampler, rollouts=12):
    """What rollouts come to."""
    found = []
    for _ in range(rollouts):
        rollout = sampler.collect(ANY)
        kept = [part.tobytes() for part in rollout.content if isinstance(part, np.ndarray)]
        found.append((kept, rollout.episodes, rollout.steps))
    return found


def go_on(env_id, rollouts):
    """A sampler stopped after some rollouts: what its successor tells, and whether both go on the same."""
    sampler = make_sampler(env_id)
    play(sampler, rollouts)
    tree = through_json(sampler.state())
    expected = play(sampler)
    successor = make_sampler(env_id, generator=9, seed=51)
    told = successor.restore(tree)
    return told, play(successor) == expected


def skip_without(env_id):
    if env_id.startswith("ALE/"):
        pytest.importorskip("ale_py")
    if "Lunar" in env_id or "Walker" in env_id:
        pytest.importorskip("Box2D")
    if env_id.endswith("-v5") and "/" not in env_id:
        pytest.importorskip("mujoco")


EXACT = ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1", "jax/CartPole-v1"]
EXACT += ["LunarLander-v3", "HalfCheetah-v5", "Hopper-v5", "ALE/Pong-v5"]
EXACT += [f"replay/{name}-v0" for name in ("Base", "Own", "Noisy", "Frozen", "Truthful", "Opaque")]


@pytest.mark.parametrize("env_id", EXACT)
def test_what_repeats_goes_on_exactly(env_id):
    skip_without(env_id)
    for rollouts in (9,) if "ALE" in env_id or "jax" in env_id else (1, 4, 17, 43):
        assert go_on(env_id, rollouts) == ("", True), rollouts


@pytest.mark.parametrize(
    ("env_id", "reason"),
    [
        ("replay/Counting-v0", "differs from the same one in a copy that was played in before"),
        ("replay/NotPlain-v0", "differs from the same one in a copy that was played in before"),
        ("replay/Normal-v0", "differs from the same one in a copy that was played in before"),
        ("replay/Earning-v0", "differs from the same one in a copy that was played in before"),
        ("replay/Secret-v0", "differs from the same one in a copy that was played in before"),
        ("BipedalWalker-v3", "differs from the same one in a copy that was played in before"),
    ],
)
def test_what_does_not_repeat_begins_anew_and_is_told(env_id, reason):
    skip_without(env_id)
    told, same = go_on(env_id, 16)
    assert told.startswith(f"{env_id}: 3 of 3 episodes under way begin anew: of copy 0, ")
    assert reason in told
    assert not same


def test_what_fails_when_it_is_played_again_is_told():
    Tired.ways = -600  # the trial, at first, and then nothing more
    sampler = make_sampler("replay/Tired-v0")
    play(sampler, 3)
    tree = through_json(sampler.state())
    Tired.ways = 130 - 30 * 4 - 1
    told = make_sampler("replay/Tired-v0").restore(tree)
    assert told.endswith("begin anew: of copy 0, it raised OSError: closed for today")


@pytest.mark.parametrize("change", ["observation", "return", "generator"])
def test_a_difference_in_one_copy_costs_one_episode(change):
    """The others go on, and the one is reset by the next step, which does not count."""
    sampler = make_sampler("replay/Own-v0")
    play(sampler, 3)
    tree, expected = through_json(sampler.state()), play(sampler, 1)[0]
    if change == "observation":
        tree["observation"][1] += 1
    elif change == "return":
        tree["episodes"]["returns"][1] += 1
    else:
        tree["environments"]["copies"][1]["generators"][-1]["rng"]["state"]["state"]["state"] += 2
    successor = make_sampler("replay/Own-v0", generator=9)
    told = successor.restore(tree)
    assert told.startswith("replay/Own-v0: 1 of 3 episodes under way begin anew: of copy 1, the episode ")
    transitions = successor.collect(ANY).content
    assert transitions.valid[0].tolist() == [1, 0, 1]
    seen = np.frombuffer(expected[0][0], np.float32).reshape(8, 3, 1)
    np.testing.assert_array_equal(transitions.observations[:, [0, 2]], seen[:, [0, 2]])
    play(successor)


def test_long_episodes_are_not_played_again(monkeypatch):
    monkeypatch.setattr(history, "WHOLE_STEPS", 5)
    monkeypatch.setattr(history, "KEPT_STEPS", 14)
    told, _ = go_on("replay/Base-v0", 4)
    assert "3 of 3 episodes under way begin anew: of copy 0, the episode is longer than" in told
    assert go_on("replay/Base-v0", 6)[0] == "", "the next ones are not"
    monkeypatch.setattr(replay, "KEPT_STEPS", 14)
    told, _ = go_on("replay/Opaque-v0", 4)
    assert told.startswith(
        "replay/Opaque-v0: 3 of 3 episodes under way begin anew: their state cannot be read"
    )


def test_the_state_of_earlier_versions_lets_episodes_begin_anew():
    sampler = make_sampler("Acrobot-v1")
    play(sampler, 3)
    tree = sampler.state()
    tree["environments"] = {"state": {"version": 1, "nodes": []}, "globals": {"random": None, "numpy": None}}
    for env_id in ("Acrobot-v1", "CartPole-v1"):
        tree["observation"] = np.zeros((3, 4 if env_id == "CartPole-v1" else 6), np.float32)
        successor = make_sampler(env_id)
        told = successor.restore(through_json(tree))
        assert told.endswith(
            "begin anew: they were saved by another version of a3c, or are stepped in another way now"
        )
        play(successor, 1)


def test_hooks_that_lie_are_found_by_the_doctor():
    found = {
        name: resumed(envs.find(f"replay/{name}-v0"), 0) for name in ("Own", "Wrong", "Counting", "Opaque")
    }
    assert {name: check.status for name, check in found.items()} == {
        "Own": "ok", "Wrong": "warning", "Counting": "warning", "Opaque": "ok",
    }  # fmt: skip
    assert found["Wrong"].text == "after resuming, it goes on differently"


def test_the_doctor_leaves_the_global_generators_alone():
    random.seed(3)
    expected = random.random()
    random.seed(3)
    resumed(envs.find("replay/Own-v0"), 0)
    assert random.random() == expected


def test_copies_do_what_gymnasium_does():
    """Step by step, information and all."""
    ours = Copies(lambda: gym.make("CartPole-v1", max_episode_steps=15), 3)
    theirs = gym.vector.SyncVectorEnv([lambda: gym.make("CartPole-v1", max_episode_steps=15)] * 3)
    rng = np.random.default_rng(0)
    outcomes = [env.reset(seed=4) for env in (ours, theirs)]
    for _ in range(60):
        for one, other in zip(*outcomes, strict=True):
            np.testing.assert_equal(one, other)
        actions = rng.integers(0, 2, 3)
        outcomes = [env.step(actions) for env in (ours, theirs)]


@pytest.mark.parametrize("kind", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_generators_go_on(kind):
    env, fresh = Own(), Own()
    bits = getattr(np.random, kind)
    env.rng, env.old = np.random.Generator(bits(1)), np.random.RandomState(2)
    fresh.rng = fresh.old = None
    env.reset(seed=1)
    env.draw()
    env.rng.integers(5, dtype=np.int32)
    generators.restore([fresh], through_json(generators.states([env])))
    assert [env.draw() for _ in range(5)] == [fresh.draw() for _ in range(5)]
    assert env.np_random.random() == fresh.np_random.random()


@pytest.mark.parametrize("bits", ["seed", "test", "default_rng", "nothing"])
def test_a_file_cannot_name_other_code(bits):
    told = through_json(generators.states([Own()]))
    told[0]["rng"]["state"]["bit_generator"] = bits
    with pytest.raises((TypeError, AttributeError)):
        generators.restore([Own()], told)
