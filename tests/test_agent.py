"""The library: train, judge, act, save, load, with models and optimizers of the user's own."""

from pathlib import Path

import keras
import numpy as np
import pytest

import a3c
from a3c import Agent, RunError, SettingError, UsageError, random_baseline

pytestmark = pytest.mark.both_backends

QUICK = dict(engine="serial", max_steps=1_500, evaluation_episodes=5, envs_per_worker=4, seed=1)


def functional_model():
    x = keras.Input((4,))
    h = keras.layers.Dense(16, "relu")(x)
    return keras.Model(x, [keras.layers.Dense(2)(h), keras.layers.Dense(1)(h)])


class Subclassed(keras.Model):
    """A model with arguments of its own and a normalisation whose statistics training must keep."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.norm = keras.layers.Normalization()
        self.batch = keras.layers.BatchNormalization()
        self.hidden = keras.layers.Dense(units, "tanh")
        self.drop = keras.layers.Dropout(0.5)
        self.logits, self.value = keras.layers.Dense(2), keras.layers.Dense(1)

    def build(self, input_shape):
        for layer in (self.norm, self.batch, self.hidden):
            if not layer.built:  # adapting a normalisation builds it
                layer.build(input_shape)
        self.logits.build((None, self.units))
        self.value.build((None, self.units))
        self.built = True

    def call(self, x, training=False):
        h = self.drop(self.hidden(self.batch(self.norm(x), training=training)), training=training)
        return self.logits(h), self.value(h)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Unbuildable(Subclassed):
    """Lacks what Keras needs to build it again from a file."""

    def get_config(self):
        raise NotImplementedError("no configuration")


def adapted():
    model = Subclassed()
    model.norm.adapt(np.random.default_rng(0).normal(5.0, 3.0, size=(1000, 4)))
    return model


def test_workers_compute_what_the_users_model_computes():
    """Fixed statistics, such as those of a normalisation, must reach the workers."""
    from a3c import backend, envs
    from a3c.config import Config
    from a3c.engines.spec import WorkerSpec
    from a3c.networks.parameters import parameters_of

    model = adapted()
    observations = np.random.default_rng(1).normal(5.0, 3.0, size=(6, 4)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(model(observations, training=False)[0])
    config = Config(seed=1, normalise_observations=False, normalise_returns=False)
    worker_spec = WorkerSpec.of(config, envs.find("CartPole-v1"), model, keras.optimizers.Adam())
    framework = backend.load()
    policy = framework.compile_policy(worker_spec.make_network())
    # Sums of numbers around 1 that cancel to 0.001 are as exact as the numbers, not as the sum.
    np.testing.assert_allclose(policy(parameters_of(model))(observations)[0], expected, rtol=1e-5, atol=1e-6)


def test_models_that_cannot_be_saved_are_refused_before_training(tmp_path):
    x = keras.Input((4,))
    h = keras.layers.Lambda(lambda t: t * 2)(x)
    model = keras.Model(x, [keras.layers.Dense(2)(h), keras.layers.Dense(1)(h)])
    with pytest.raises(UsageError, match="save and load in safe mode"):
        Agent("CartPole-v1", model=Unbuildable(), save_dir=str(tmp_path), **QUICK).fit(verbose=0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="save and load in safe mode"):
        Agent("CartPole-v1", model=model, save_dir=str(tmp_path), **QUICK).fit(verbose=0)


def test_fit_returns_a_history_like_keras(tmp_path):
    agent = Agent("CartPole-v1", save_dir=str(tmp_path), **QUICK)
    history = agent.fit(verbose=0)
    assert len(history.history["return"]) == history.summary["episodes"] == len(history.history["steps"])
    assert history.params["seed"] == 1
    assert history.history["moving_average"][0] == history.history["return"][0]
    evaluation = agent.evaluate(episodes=7, seed=3)
    assert evaluation.returns.shape == (7,)
    assert evaluation.mean == agent.evaluate(episodes=7, seed=3).mean
    assert agent.evaluate(episodes=7, mode="sampled", seed=3).mode == "sampled"
    more = agent.fit(verbose=0, max_steps=500)
    assert 2_000 <= more.summary["steps"] < 2_500, "it goes on"


@pytest.mark.parametrize("mode", ["greedy", "sampled"])
def test_the_best_is_judged_as_the_user_wants(mode, tmp_path):
    agent = Agent("CartPole-v1", save_dir=str(tmp_path), evaluation_mode=mode, **QUICK)
    assert agent.fit(verbose=0).summary["evaluation"]["mode"] == mode


@pytest.mark.parametrize("engine", [dict(engine="serial"), dict(engine="processes", workers=2)])
@pytest.mark.parametrize("make", [functional_model, adapted])
def test_models_and_optimizers_of_ones_own(make, engine, tmp_path):
    model = make()
    rate = keras.optimizers.schedules.ExponentialDecay(1e-3, 100, 0.9)
    agent = Agent(
        "CartPole-v1",
        model=model,
        optimizer=keras.optimizers.Nadam(rate),
        save_dir=str(tmp_path),
        **{**QUICK, **engine},
    )
    before = [w.copy() for w in model.get_weights()]
    agent.fit(verbose=0)
    assert agent.network is model
    after = model.get_weights()
    trainable = {id(v) for v in model.trainable_variables}
    changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    for variable, has_changed in zip(model.weights, changed, strict=True):
        assert has_changed or id(variable) not in trainable
        assert not has_changed or id(variable) in trainable


def test_predict_takes_one_observation_or_many():
    agent = Agent("CartPole-v1", seed=1)
    assert agent.act(np.zeros(4)) in (0, 1)
    actions = agent.act(np.zeros((5, 4)))
    assert actions.shape == (5,)
    with pytest.raises(UsageError, match=r"observation of shape \(3,\)"):
        agent.act(np.zeros(3))


def test_predict_acts_like_the_model():
    agent = Agent("CartPole-v1", seed=1)
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    logits = keras.ops.convert_to_numpy(agent.network(observations)[0])
    np.testing.assert_array_equal(agent.act(observations), logits.argmax(-1))


@pytest.mark.parametrize("make", [None, functional_model, adapted])
def test_saved_agents_come_back_the_same(make, tmp_path):
    agent = Agent("CartPole-v1", model=make and make(), seed=1)
    agent.save(tmp_path / "agent.keras")
    loaded = Agent.load(tmp_path / "agent.keras")
    assert loaded.environment.id == "CartPole-v1"
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    for ours, theirs in zip(agent.network(observations), loaded.network(observations), strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs), rtol=1e-6
        )
    assert agent.evaluate(5, seed=1).mean == loaded.evaluate(5, seed=1).mean


def test_the_agent_acts_in_the_manner_that_fit_learned(tmp_path):
    """What is normalised, or how actions are bounded, may be said as late as that."""
    agent = Agent("Pendulum-v1", save_dir=str(tmp_path), preset="none", **QUICK)
    agent.act(np.zeros(3))
    changes = dict(normalise_observations=True, action_bounds="squash")
    agent.fit(verbose=0, **changes)
    twin = Agent("Pendulum-v1", save_dir=str(tmp_path), preset="none", **{**QUICK, **changes})
    twin.fit(verbose=0)
    seen = np.array([0.3, -0.9, 4.0], np.float32)
    np.testing.assert_array_equal(agent.act(seen), twin.act(seen))
    assert agent.evaluate(5, seed=1).mean == twin.evaluate(5, seed=1).mean
    agent.save(tmp_path / "agent.keras")
    again = Agent.load(tmp_path / "agent.keras", backend_name=keras.backend.backend())
    np.testing.assert_array_equal(again.act(seen), twin.act(seen))


def test_a_number_is_an_action_like_any_other():
    identity = "identity:identity/Number-v0"
    action = Agent(identity, preset="none", seed=0).act(np.float32(0.5))
    assert isinstance(action, np.ndarray)
    assert action.shape == ()
    assert action != np.round(action)


def test_bad_paths_and_settings_are_said():
    agent = Agent("CartPole-v1", seed=1)
    with pytest.raises(UsageError, match=r"one ending in \.keras"):
        agent.save("agent.h5")
    with pytest.raises(UsageError, match="existing directory"):
        agent.save("nowhere/agent.keras")
    with pytest.raises(UsageError, match=r"existing \.keras file"):
        Agent.load("missing.keras")
    with pytest.raises(SettingError, match="one that learns"):
        Agent("CartPole-v1", algorithm="random")
    with pytest.raises(UsageError, match="name of a setting"):
        Agent("CartPole-v1", learning_speed=1)
    with pytest.raises(UsageError, match=r"which Keras already runs on|not installed"):
        Agent("CartPole-v1", backend="tensorflow" if keras.backend.backend() == "jax" else "jax")


@pytest.mark.parametrize("wrong", [dict(mode="gredy"), dict(mode="random"), dict(episodes=0)])
def test_what_cannot_be_judged_is_said(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Agent("CartPole-v1", seed=0).evaluate(**wrong)


def test_random_baseline():
    evaluation = random_baseline("CartPole-v1", episodes=400, seed=1)
    assert 20 < evaluation.mean < 25
    assert evaluation.returns.shape == (400,)
    low, high = evaluation.ci95
    assert low < evaluation.mean < high


def test_a_failed_run_says_where_it_is_saved(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "engines"))
    settings = {**QUICK, "engine": "processes", "workers": 2, "max_steps": 100_000}
    with pytest.raises(RunError, match="is saved in") as caught:
        Agent("test_engines:test/Faulty-v0", save_dir=str(tmp_path), **settings).fit(verbose=0)
    assert "the environment's own fault" in str(caught.value)
    assert list(tmp_path.glob("*/*/last.keras"))


def test_eager_equals_compiled(tmp_path):
    weights = []
    for eager in (False, True):
        agent = Agent("CartPole-v1", save_dir=str(tmp_path), **{**QUICK, "max_steps": 100}, eager=eager)
        agent.fit(verbose=0)
        weights.append(np.concatenate([w.ravel() for w in agent.get_weights()]))
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-3, atol=1e-4)


def test_the_package_names_what_it_offers():
    assert a3c.__version__
    with pytest.raises(AttributeError):
        _ = a3c.nothing
