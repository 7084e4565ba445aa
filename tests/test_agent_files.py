"""An agent on disk is whole: Keras opens it alone, it says what the agent says, its training goes on."""

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import gymnasium as gym
import keras
import numpy as np
import pytest

from a3c import Agent, UsageError
from a3c.networks import state_size
from a3c.networks.normalisation import make
from a3c.networks.parameters import set_statistics, statistics_of

pytestmark = pytest.mark.both_backends
spaces = gym.spaces
PIXELS = spaces.Box(0, 255, (3, 40, 44), np.uint8)


class Endless(gym.Env):
    """Shows anything of a space."""

    def __init__(self, seen, done):
        self.observation_space, self.action_space = seen, done

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


DISCRETE, CONTINUOUS = spaces.Discrete(3), spaces.Box(-2.0, 2.0, (2,))
VECTOR = spaces.Box(-5.0, 5.0, (4,), np.float64)
DICT = spaces.Dict(
    z=spaces.Box(-1.0, 1.0, (3,)),
    a=spaces.Discrete(4, start=2),
    inner=spaces.Dict(y=spaces.MultiBinary(3), b=spaces.Box(0, 255, (24, 20), np.uint8)),
)
KINDS = {
    "discrete": (VECTOR, DISCRETE, {}),
    "not normalised": (VECTOR, DISCRETE, dict(normalise_observations=False, normalise_returns=False)),
    "continuous": (VECTOR, CONTINUOUS, {}),
    "state-dependent": (VECTOR, CONTINUOUS, dict(state_dependent_deviation=True, shared_tower=True)),
    "dict": (DICT, DISCRETE, {}),
    "tuple": (spaces.Tuple((spaces.MultiDiscrete([3, 4]), VECTOR)), spaces.MultiBinary(3), {}),
    "number": (spaces.Discrete(7), spaces.MultiDiscrete([2, 3]), {}),
    "pixels": (PIXELS, DISCRETE, dict(normalise_observations=True)),
    "nature": (PIXELS, CONTINUOUS, dict(network="nature")),
    "impala": (spaces.Box(0, 255, (12, 10), np.uint8), DISCRETE, dict(network="impala")),
    "memory": (VECTOR, DISCRETE, dict(lstm_units=6)),
    "shared memory": (DICT, CONTINUOUS, dict(lstm_units=5, shared_tower=True)),
    "values": (VECTOR, DISCRETE, dict(algorithm="n-step-q", normalise_observations=True)),
    "values, memory": (VECTOR, DISCRETE, dict(algorithm="one-step-q", lstm_units=4)),
}


@pytest.fixture(params=KINDS)
def agent(request):
    """An untrained agent of each kind, with weights and statistics of any size."""
    seen, done, settings = KINDS[request.param]
    gym.register("test/Kind-v0", entry_point=lambda: Endless(seen, done), max_episode_steps=10)
    rng = np.random.default_rng(0)
    try:
        agent = Agent("test/Kind-v0", preset="none", seed=1, **{"algorithm": "a3c", **settings})
        agent.set_weights([w + rng.normal(0, 0.02, w.shape).astype("f4") for w in agent.get_weights()])
        config = agent.config
        normaliser = make(
            agent.environment.observations, config.normalise_observations, config.normalise_returns
        )
        numbers = rng.normal(size=statistics_of(agent.network).size).astype(np.float32)
        for group in normaliser.groups(numbers):
            group.variance[:] = np.abs(group.variance) + 0.1
        set_statistics(agent.network, numbers)
        yield agent
    finally:
        del gym.registry["test/Kind-v0"]


def observed(agent, count):
    """Observations as the environment shows them, a batch of them."""
    space = agent.observation_space
    space.seed(3)
    samples = [space.sample() for _ in range(count)]
    return gym.vector.utils.concatenate(space, samples, gym.vector.utils.create_empty_array(space, count))


def said_by(agent, observations, state):
    """Policy parameters, values and the memory's next state, as the agent itself computes them."""
    predictor = agent._predictor()
    packed, _ = agent.environment.observations.pack_any(observations)
    parameters, after = predictor.act(packed, state)
    return parameters, predictor.value(observations, state), after


def test_keras_opens_the_file_and_computes_what_the_agent_does(agent, tmp_path):
    path, count = tmp_path / "agent.keras", 200
    agent.save(path)
    observations, size = observed(agent, count), state_size(agent.network)
    state = np.random.default_rng(1).normal(size=(count, size)).astype(np.float32) if size else None
    expected = said_by(agent, observations, state)
    given = {"observations": observations, "state": state} if size else observations
    loaded = Agent.load(path)
    for model in (keras.models.load_model(path), agent.model, loaded.model):
        outputs = {name: keras.ops.convert_to_numpy(value) for name, value in model(given).items()}
        assert set(outputs) == ({"policy", "value", "state"} if size else {"policy", "value"})
        np.testing.assert_allclose(outputs["policy"], expected[0], atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(outputs["value"][:, 0], expected[1], atol=1e-6, rtol=1e-6)
        if size:
            np.testing.assert_allclose(outputs["state"], expected[2], atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(expected, said_by(loaded, observations, state), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(agent.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(statistics_of(agent.network), statistics_of(loaded.network))


def test_weights_of_the_whole_model_are_the_agents(agent):
    model = agent.model
    before = agent.get_weights()
    for variable in model.trainable_variables:
        variable.assign(variable.value * 2.0)
    for ours, theirs in zip(before, agent.get_weights(), strict=True):
        np.testing.assert_array_equal(2.0 * ours, theirs)
    agent.set_weights(before)
    assert agent.model is model
    assert not np.array_equal(model.trainable_variables[0], agent.model.trainable_variables[0] * 2.0)


def test_the_file_needs_nothing_of_ours(tmp_path):
    """In a Python that never imports this package."""
    agent = Agent("Pendulum-v1", "a3c", preset="none", seed=1)
    agent.save(tmp_path / "agent.keras")
    code = (
        "import sys, json, numpy as np, keras\n"
        f"model = keras.models.load_model({str(tmp_path / 'agent.keras')!r})\n"
        "outputs = model(np.ones((2, 3), 'float32'))\n"
        "print(json.dumps([np.asarray(outputs['policy']).tolist(), 'a3c' in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    policy, imported = json.loads(done.stdout.splitlines()[-1])
    assert not imported
    outputs = keras.ops.convert_to_numpy(agent.model(np.ones((2, 3), np.float32))["policy"])
    np.testing.assert_allclose(policy, outputs, atol=1e-6)


# -- a training that goes on --------------------------------------------------------------------------------

SETTINGS = dict(
    preset="none", engine="serial", envs_per_worker=4, seed=7, stop_return=1e9, evaluation_episodes=3
)


def rows(history):
    """Each episode's steps, return and length."""
    columns = history.history
    return list(zip(columns["steps"], columns["return"], columns["length"], strict=True))


@pytest.mark.parametrize(
    "settings",
    [
        dict(algorithm="a3c", t_max=8),
        dict(algorithm="appo", t_max=32, minibatch=32, passes=3),
        dict(algorithm="n-step-q", epsilon_steps=1000, target_steps=500),
        dict(algorithm="a3c", t_max=8, optimizer="schedule"),
    ],
    ids=["a3c", "appo", "values", "schedule"],
)
def test_two_halves_with_a_file_between_them_equal_the_whole(settings, tmp_path):
    settings = {**SETTINGS, **settings, "save_dir": str(tmp_path / "runs")}
    half, path = 3000, tmp_path / "agent.keras"

    def made():
        own = {}
        if settings["optimizer" if "optimizer" in settings else "algorithm"] == "schedule":
            rate = keras.optimizers.schedules.CosineDecay(1e-3, 200)
            own = dict(optimizer=keras.optimizers.Adam(rate))
        return Agent("CartPole-v1", **{**settings, **own})

    whole = made()
    longer = rows(whole.fit(verbose=0, max_steps=2 * half))
    first = made()
    before = rows(first.fit(verbose=0, max_steps=half))
    first.save(path)
    second = Agent.load(path)
    assert second.config.gamma == first.config.gamma
    after = rows(second.fit(verbose=0, max_steps=half, save_dir=str(tmp_path / "more")))
    assert longer[: len(before)] == before
    assert longer[len(before) :] == after
    state, again = (agent._before() for agent in (whole, second))
    assert (state.steps, state.episodes) == (again.steps, again.episodes)
    from a3c.training import checkpoint

    for name, agent in (("whole", whole), ("second", second)):
        (tmp_path / f"{name}.zip").write_bytes(agent._continuation.content)
    stores = [checkpoint.read(tmp_path / f"{name}.zip")["store"] for name in ("whole", "second")]
    np.testing.assert_array_equal(stores[0]["weights"], stores[1]["weights"])
    for name, vector in stores[0]["optimizer"].items():
        np.testing.assert_array_equal(vector, stores[1]["optimizer"][name])


def test_a_second_fit_goes_on_and_changed_weights_begin_anew(tmp_path, capsys):
    agent = Agent("CartPole-v1", "a3c", **SETTINGS, save_dir=str(tmp_path), max_steps=1000)
    first = agent.fit(verbose=0)
    second = agent.fit(verbose=0)
    assert 2000 <= second.summary["steps"] < 2200
    assert second.history["steps"][0] >= first.summary["steps"]
    directory = Path(second.summary["run_dir"])
    assert tomllib.loads((directory / "config.toml").read_text())["run"]["resumed"] == 0
    log = (directory / "log.txt").read_text()
    assert "goes on at step" in log
    assert "episodes before the checkpoint" not in log
    third = agent.fit(verbose=0, max_steps=500)
    assert 2500 <= third.summary["steps"] < 2800
    agent.set_weights([0.5 * w for w in agent.get_weights()])
    fourth = agent.fit(max_steps=500)
    assert fourth.summary["steps"] < 700
    assert "The weights were changed" in capsys.readouterr().out


def test_settings_of_the_training_come_back(tmp_path):
    given = dict(learning_rate=0.002, gamma=0.995, gae_lambda=0.9, t_max=12, global_clipnorm=None)
    agent = Agent("CartPole-v1", "a3c", **SETTINGS, **given, save_dir=str(tmp_path), max_steps=500)
    agent.fit(verbose=0)
    agent.save(tmp_path / "agent.keras")
    loaded = Agent.load(tmp_path / "agent.keras")
    for name, value in {**given, "seed": 7, "envs_per_worker": 4, "engine": "serial"}.items():
        assert getattr(loaded.config, name) == value
    changed = loaded.fit(verbose=0, gamma=0.9, save_dir=str(tmp_path))
    assert changed.params["gamma"] == 0.9
    assert changed.params["learning_rate"] == 0.002


def test_an_optimizer_can_be_left_out(tmp_path):
    agent = Agent("CartPole-v1", "a3c", **SETTINGS, save_dir=str(tmp_path), max_steps=500)
    agent.fit(verbose=0)
    for include in (True, False):
        agent.save(tmp_path / f"{include}.keras", include_optimizer=include)
        with zipfile.ZipFile(tmp_path / f"{include}.keras") as archive:
            assert ("a3c_checkpoint.zip" in archive.namelist()) == include
    loaded = Agent.load(tmp_path / "False.keras")
    assert loaded.fit(verbose=0, save_dir=str(tmp_path)).summary["steps"] < 700


def test_an_agent_of_a_run_goes_on_from_its_last_checkpoint(tmp_path):
    agent = Agent("CartPole-v1", "a3c", **SETTINGS, save_dir=str(tmp_path), max_steps=800)
    summary = agent.fit(verbose=0).summary
    loaded = Agent.load(summary["run_dir"])
    history = loaded.fit(verbose=0, max_steps=400, save_dir=str(tmp_path / "more"))
    assert 1200 <= history.summary["steps"] < 1400


# -- what it says of observations ---------------------------------------------------------------------------


def test_predict_gives_an_action_and_a_state():
    agent = Agent("CartPole-v1", "a3c", preset="none", seed=1)
    action, state = agent.predict(np.zeros(4))
    assert action in (0, 1)
    assert state is None
    assert agent.act(np.zeros(4)) == action
    actions, _ = agent.predict(np.zeros((500, 4)), deterministic=False)
    assert 150 < actions.sum() < 350, "drawn from a policy that is nearly uniform"
    assert (agent.predict(np.zeros((500, 4)), deterministic=True)[0] == action).all()
    with pytest.raises(UsageError, match="no memory"):
        agent.predict(np.zeros(4), state=np.zeros((1, 8)))


def test_a_memory_is_kept_by_a_plain_loop():
    agent = Agent("CartPole-v1", "a3c", preset="none", seed=1, lstm_units=3)
    seen = np.random.default_rng(0).normal(size=(5, 2, 4)).astype(np.float32)
    state = None
    for time in range(5):
        _, state = agent.predict(seen[time], state, episode_start=[time == 0, time in (0, 3)])
    other = None
    for time in range(3, 5):
        _, other = agent.predict(seen[time], other)
    assert state.shape == (2, 12)
    np.testing.assert_array_equal(state[1], other[1], err_msg="its episode began at 3")
    assert not np.array_equal(state[0], other[0])
    with pytest.raises(UsageError, match=r"state of shape \(2, 5\): expected \[2, 12\]"):
        agent.predict(seen[0], np.zeros((2, 5)))
    with pytest.raises(UsageError, match="episode_start of shape"):
        agent.predict(seen[0], None, episode_start=[True, False, True])


@pytest.mark.parametrize(
    ("done", "log_prob"),
    [
        (spaces.Discrete(3, start=5), lambda p, a: np.log(p[a - 5])),
        (
            spaces.MultiDiscrete([2, 3]),
            lambda p, a: sum(np.log(each[k]) for each, k in zip(p, a, strict=True)),
        ),
        (spaces.MultiBinary(3), lambda p, a: np.log(np.where(a, p, 1 - p)).sum()),
    ],
    ids=["one", "several", "switches"],
)
def test_probabilities_and_their_logarithms_agree(done, log_prob):
    gym.register("test/Said-v0", entry_point=lambda: Endless(VECTOR, done), max_episode_steps=10)
    try:
        agent = Agent("test/Said-v0", "a3c", preset="none", seed=1)
        rng = np.random.default_rng(0)
        agent.set_weights([w + rng.normal(0, 0.5, w.shape).astype("f4") for w in agent.get_weights()])
        done.seed(0)
        observations, actions = observed(agent, 6), np.array([done.sample() for _ in range(6)])
        together, values = agent.log_prob(observations, actions), agent.value(observations)
        for number, (observation, action) in enumerate(zip(observations, actions, strict=True)):
            probabilities = agent.action_probabilities(observation)
            assert agent.log_prob(observation, action) == pytest.approx(
                log_prob(probabilities, action), rel=1e-4, abs=1e-6
            )
            assert agent.log_prob(observation, action) == pytest.approx(together[number], rel=1e-4, abs=1e-6)
            assert agent.value(observation) == pytest.approx(values[number], rel=1e-4)
        with pytest.raises(UsageError, match="action of shape"):
            agent.log_prob(observations, actions[:2])
    finally:
        del gym.registry["test/Said-v0"]


@pytest.mark.parametrize("bounds", ["clip", "squash"])
def test_densities_of_continuous_actions(bounds):
    """By the width of the space: the action that is sent is twice the one that is drawn."""
    gym.register("test/Said-v0", entry_point=lambda: Endless(VECTOR, CONTINUOUS), max_episode_steps=10)
    try:
        agent = Agent("test/Said-v0", "a3c", preset="none", seed=1, action_bounds=bounds)
        actions, kept = agent.environment.actions, np.array([[0.3, -0.6], [0.9, 0.1]], np.float32)
        np.testing.assert_allclose(actions.from_env(actions.to_env(kept)), kept, rtol=1e-5)
        observation = observed(agent, 2)
        found = agent.log_prob(observation, actions.to_env(kept))
        assert found.shape == (2,)
        assert np.isfinite(found).all()
        with pytest.raises(UsageError, match="log_prob"):
            agent.action_probabilities(observation)
    finally:
        del gym.registry["test/Said-v0"]


def test_it_says_what_it_is():
    agent = Agent("CartPole-v1", "a3c", seed=3)
    assert repr(agent) == "Agent('CartPole-v1', 'a3c', seed=3, untrained)"
    assert agent.observation_space.shape == (4,)
    assert agent.action_space == spaces.Discrete(2)
    with pytest.raises(UsageError, match="those of get_weights"):
        agent.set_weights([np.zeros(3)])
