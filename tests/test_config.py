"""Settings: defaults, presets, types and ranges."""

import dataclasses
import tomllib

import numpy as np
import pytest

from a3c.algorithms import ALGORITHMS as LEARNING
from a3c.cli import train
from a3c.config import FIELDS, Config
from a3c.errors import SettingError, UsageError
from a3c.presets import defaults_of, load_preset, make_config, preset_names, settings_from_toml


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(t_max=0), r"t_max=0: .* of at least 1 and at most 100000 \(the paper uses 5\)"),
        (dict(workers=0), "workers=0: expected an integer of at least 1"),
        (dict(workers=2.5), "workers=2.5: expected an integer"),
        (dict(workers=True), "workers=True: expected an integer"),
        (dict(learning_rate=-1), "learning_rate=-1.0: expected a number above 0"),
        (dict(learning_rate=float("nan")), "learning_rate=nan: expected a number"),
        (dict(gamma=1.5), "gamma=1.5: expected a number of at least 0 and at most 1"),
        (dict(gae_lambda="x"), "gae_lambda='x': expected a number"),
        (dict(seed=-1), "seed=-1: expected an integer of at least 0"),
        (dict(engine="ray"), "engine='ray': expected one of auto, serial, threads, processes"),
        (dict(hidden_units=(64, -1)), r"hidden_units=\(64, -1\): expected integers of at least 1"),
        (dict(preset="nope"), "preset='nope': expected auto, none, a TOML file or one of"),
        (dict(locking=1), "locking=1: expected true or false"),
        (dict(algorithm="dqn"), "algorithm='dqn': expected one of a3c, a2c, impala, appo, ppo"),
        (dict(envs_per_worker=0), "envs_per_worker=0: expected an integer of at least 1"),
        (dict(normalise_observations=1), "normalise_observations=1: expected true or false"),
        (dict(passes=0), "passes=0: expected an integer of at least 1"),
        (dict(minibatch=0), "minibatch=0: expected an integer of at least 2"),
        (dict(clip_ratio=0), "clip_ratio=0.0: expected a number above 0"),
        (dict(clip_values=0), "clip_values=0.0: expected a number above 0"),
        (dict(kl_limit=0), "kl_limit=0.0: expected a number above 0"),
        (dict(save_dir=""), "save_dir='': expected a text"),
        (dict(envs_per_worker=10**9), "envs_per_worker=1000000000: .* at most 100000"),
        (dict(t_max=10**9), "t_max=1000000000: .* at most 100000"),
        (dict(hidden_units=(10**9, 2)), "hidden_units=.*: expected layers of at most 67,108,864 weights"),
        (dict(hidden_units=(2,) * 10**5), "hidden_units='100000 layers': expected at most 100 layers"),
        (dict(lstm_units=10**5), "lstm_units=100000: expected layers of at most 67,108,864 weights"),
        (dict(anneal=True, max_steps=None), "anneal=True: expected max-steps to be set"),
    ],
)
def test_bad_values_say_what_was_expected(settings, message):
    with pytest.raises(SettingError, match=message):
        make_config(**settings)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (dict(max_steps=1e5), 100_000),
        (dict(max_steps=np.int64(7)), 7),
        (dict(learning_rate=np.float32(0.5)), 0.5),
        (dict(learning_rate=1), 1.0),
        (dict(anneal=np.bool_(True)), True),
        (dict(hidden_units=[64, 32.0]), (64, 32)),
        (dict(hidden_units=np.array([64, 32])), (64, 32)),
        (dict(hidden_units=128), (128,)),
        (dict(env_id=np.str_("CartPole-v1")), "CartPole-v1"),
    ],
)
def test_settings_are_taken_as_people_write_them(settings, kept):
    for config in (make_config(**settings), make_config().replace(**settings)):
        (value,) = (getattr(config, name) for name in settings)
        assert value == kept
        assert type(value) is type(kept)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("--max-steps 1e5", 100_000),
        ("--max-steps 100_000", 100_000),
        ("--max-steps=2.5e3", 2500),
        ("--max-steps none", None),
        ("--hidden-units 64,32", (64, 32)),
        ("--hidden-units 64 32", (64, 32)),
        ("--hidden-units [64, 32]", (64, 32)),
        ("--hidden-units=64,", (64,)),
    ],
)
def test_numbers_are_read_as_people_write_them(text, kept):
    typed = train.COMMAND.parse(text.split()).typed
    assert list(typed.values()) == [kept]


@pytest.mark.parametrize(
    "text",
    ["--max-steps 1.5", "--max-steps 1e999999999", "--max-steps inf", "--hidden-units 64,x", "--t-max ''"],
)
def test_what_is_no_integer_is_refused(text):
    with pytest.raises(UsageError, match=r"expected (an )?integer"):
        train.COMMAND.parse(text.split())


def test_flags_are_spelled_as_typed():
    with pytest.raises(SettingError) as caught:
        make_config(envs_per_worker=-1)
    expected = "an integer of at least 1 and at most 100000"
    assert caught.value.as_flag() == f"--envs-per-worker -1: expected {expected}"


def test_unknown_settings_name_the_closest():
    with pytest.raises(UsageError, match="Did you mean learning_rate"):
        make_config(learning_rat=1)


def test_presets_fill_what_is_not_given():
    tuned = make_config(env_id="CartPole-v1")
    assert tuned.preset == "CartPole-v1"
    assert tuned.t_max != Config().t_max
    assert make_config(env_id="CartPole-v1", t_max=7).t_max == 7
    assert make_config(env_id="CartPole-v1", algorithm="a3c", preset="none").t_max == Config().t_max
    assert make_config(env_id="FrozenLake-v1").preset == "none"
    assert make_config(env_id="unknown/Game-v0").preset == "none"


def test_the_tutorial_preset_has_the_tutorials_settings():
    c = make_config(preset="tutorial")
    assert (c.env_id, c.envs_per_worker, c.t_max, c.gamma) == ("CartPole-v0", 1, 20, 0.99)
    assert (c.optimizer, c.learning_rate, c.hidden_units) == ("adam", 5e-4, (100,))
    assert (c.entropy_coefficient, c.shared_tower, c.gae_lambda, c.global_clipnorm) == (
        0.01,
        False,
        1.0,
        None,
    )
    assert make_config(preset="tutorial", env_id="Acrobot-v1").env_id == "Acrobot-v1"


# -- algorithms and their defaults --------------------------------------------------------------------------

ALGORITHMS = (*LEARNING, "random")
PPO, VALUES = ("appo", "ppo"), ("one-step-q", "one-step-sarsa", "n-step-q")
STRANGE = "FrozenLake-v1"  # an environment without a preset


def test_auto_is_the_presets_algorithm_and_appo_without_a_preset(tmp_path):
    assert make_config(env_id="CartPole-v1").algorithm == "a3c"
    assert make_config(env_id="CartPole-v1", algorithm="auto") == make_config(env_id="CartPole-v1")
    assert make_config(env_id="CartPole-v1", algorithm="appo").algorithm == "appo"
    assert make_config(env_id=STRANGE).algorithm == "appo"
    assert make_config(env_id=STRANGE, algorithm="auto") == make_config(env_id=STRANGE)
    assert make_config(env_id=STRANGE, algorithm="a2c").algorithm == "a2c"
    assert make_config(env_id="CartPole-v1", preset="none").algorithm == "appo"
    path = tmp_path / "mine.toml"
    path.write_text("t_max = 3\n")
    assert make_config(env_id=STRANGE, preset=str(path)).algorithm == "a3c", "one that does not say"
    path.write_text('algorithm = "impala"\n')
    assert make_config(preset=str(path)).algorithm == "impala"
    assert make_config(preset=str(path), algorithm="ppo").algorithm == "ppo"
    path.write_text('algorithm = "auto"\n')
    with pytest.raises(UsageError, match=r"mine\.toml: algorithm='auto': expected one of a3c"):
        make_config(preset=str(path))


def test_nothing_else_meets_auto():
    with pytest.raises(SettingError, match="algorithm='auto': expected one of a3c"):
        Config(algorithm="auto")
    assert Config().algorithm == "a3c"


def test_the_defaults_of_config_are_a3cs():
    assert make_config(algorithm="a3c", preset="none") == Config(preset="none")
    for name in ("a2c", "impala", "random"):
        assert defaults_of(name) == {}


@pytest.mark.parametrize("algorithm", LEARNING.values(), ids=LEARNING)
def test_config_has_what_an_algorithm_declares(algorithm):
    """Its settings are among the bases of `algorithms.Settings`, its defaults are values of settings."""
    assert issubclass(Config, algorithm.settings)
    assert Config(**algorithm.defaults).replace(algorithm=algorithm.name)
    assert algorithm.table in ("", *LEARNING)


@pytest.mark.parametrize("algorithm", PPO)
def test_defaults_of_ppo(algorithm):
    c = make_config(env_id=STRANGE, algorithm=algorithm)
    assert (c.envs_per_worker, c.t_max, c.optimizer, c.learning_rate) == (None, 128, "adam", 3e-4)
    assert (c.gae_lambda, c.normalise_observations, c.normalise_returns) == (0.95, None, True)
    assert (c.passes, c.minibatch, c.clip_ratio, c.clip_values, c.kl_limit) == (10, 128, 0.2, None, None)


@pytest.mark.parametrize("algorithm", VALUES)
def test_defaults_of_algorithms_that_learn_values(algorithm):
    c = make_config(env_id=STRANGE, algorithm=algorithm)
    assert (c.envs_per_worker, c.t_max, c.optimizer, c.learning_rate) == (16, 20, "adam", 1e-3)
    assert (c.gae_lambda, c.normalise_observations, c.normalise_returns) == (1.0, False, False)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithms_defaults_give_way_to_the_preset_and_that_to_what_is_given(algorithm, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('t_max = 3\ngae_lambda = 0.5\nnormalise_observations = "none"\n')
    c = make_config(preset=str(path), algorithm=algorithm, gae_lambda=0.7, envs_per_worker=5)
    assert (c.t_max, c.gae_lambda, c.normalise_observations, c.envs_per_worker) == (3, 0.7, None, 5)
    assert c.learning_rate == {**vars(Config()), **defaults_of(algorithm)}["learning_rate"]


def test_the_number_of_environments_may_be_left_open():
    assert Config(envs_per_worker=None).envs_per_worker is None
    assert make_config(algorithm="a3c", envs_per_worker=None).envs_per_worker is None
    assert make_config(algorithm="a3c", envs_per_worker="none").envs_per_worker is None


def test_tables_serve_families(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("gamma = 0.5\n[a3c]\nt_max = 1\n[appo]\nt_max = 2\n[n-step-q]\nt_max = 3\n")

    def read(algorithm):
        c = make_config(preset=str(path), algorithm=algorithm)
        assert c.gamma == 0.5
        return c.t_max

    assert {name: read(name) for name in ALGORITHMS} == {
        "a3c": 1, "a2c": 1, "impala": 1, "appo": 2, "ppo": 2,
        "one-step-q": 20, "one-step-sarsa": 20, "n-step-q": 3, "random": 16,
    }  # fmt: skip
    with path.open("a") as file:
        file.write("[impala]\n[ppo]\ngamma = 0.5\n[a2c]\nt_max = 4\n")
    assert [read(name) for name in ("a3c", "a2c", "impala", "appo", "ppo")] == [1, 4, 16, 2, 128]


OF_APPO = {"Swimmer-v5"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid(name, algorithm):
    c = make_config(preset=name, algorithm=algorithm)
    assert (c.preset, c.algorithm) == (name, algorithm)
    if algorithm in PPO and name not in OF_APPO:  # nothing was tuned for them
        tuned = {k for k, v in vars(c).items() if v != getattr(make_config(algorithm=algorithm), k)}
        assert not tuned & set(FAMILY_SETTINGS)
    assert make_config(preset=name).algorithm == ("appo" if name in OF_APPO else "a3c")


FAMILY_SETTINGS = (
    "envs_per_worker", "t_max", "initial_deviation", "state_dependent_deviation", "optimizer",
    "learning_rate", "anneal", "gamma", "gae_lambda", "entropy_coefficient", "value_coefficient",
    "normalise_observations", "normalise_returns", "global_clipnorm",
)  # fmt: skip

COMMON = dict(
    t_max=16, hidden_units=None, activation=None, shared_tower=False, lstm_units=0, action_bounds="clip",
    initial_deviation=None, optimizer="adam", gamma=0.99, entropy_coefficient=None, value_coefficient=0.5,
    clip_rewards=None, episodic_life=False, anneal=False, network="auto", backend="auto",
    normalise_observations=False, normalise_returns=False, global_clipnorm=0.5, target_steps=10_000,
    epsilon_steps=None, max_steps=1_000_000, max_episodes=None, stop_return=None, evaluation_episodes=100,
    evaluation_mode="greedy",
)  # fmt: skip
VALUES_ON_CARTPOLE = dict(
    envs_per_worker=16, t_max=5, hidden_units=(64,), activation="tanh", optimizer="rmsprop",
    learning_rate=0.01, gae_lambda=1.0, target_steps=500, epsilon_steps=20_000,
)  # fmt: skip
RECORDED = {
    ("CartPole-v1", "a3c"): dict(
        envs_per_worker=32, t_max=10, hidden_units=(32,), activation="tanh", optimizer="rmsprop",
        learning_rate=0.02, gamma=0.98, gae_lambda=0.9, entropy_coefficient=0.0,
    ),
    ("CartPole-v1", "one-step-q"): VALUES_ON_CARTPOLE,
    ("CartPole-v1", "one-step-sarsa"): VALUES_ON_CARTPOLE,
    ("CartPole-v1", "n-step-q"): VALUES_ON_CARTPOLE | dict(learning_rate=0.005),
    ("Swimmer-v5", "appo"): dict(
        envs_per_worker=2, t_max=1024, minibatch=256, learning_rate=6e-4, gamma=0.9999, gae_lambda=0.98,
        normalise_observations=None, normalise_returns=True,
    ),
    ("ALE/Pong-v5", "a3c"): dict(
        envs_per_worker=8, learning_rate=6e-4, anneal=True, gae_lambda=0.97, entropy_coefficient=0.001,
        value_coefficient=0.25, backend="tensorflow", network="paper", clip_rewards=1.0,
        normalise_observations=True, max_steps=3_600_000, stop_return=18.5, evaluation_mode="sampled",
        evaluation_episodes=30,
    ),
}  # fmt: skip
RECORDED |= {(e, a): r for (e, of), r in RECORDED.items() if of == "a3c" for a in ("a2c", "impala")}


@pytest.mark.parametrize(("env_id", "algorithm"), RECORDED)
def test_presets_mean_what_they_meant_when_they_were_tuned(env_id, algorithm):
    """The record was taken before the defaults changed."""
    kept = vars(make_config(env_id=env_id, algorithm=algorithm))
    wanted = COMMON | RECORDED[env_id, algorithm]
    assert {name: kept[name] for name in wanted} == wanted


def test_the_paper_preset_has_the_papers_settings():
    own = load_preset("paper", None)[1]
    assert own["algorithm"] == "a3c"
    for algorithm in ("a3c", "a2c", "impala", *VALUES):
        c = make_config(env_id=STRANGE, preset="paper", algorithm=algorithm)
        assert (c.envs_per_worker, c.t_max, c.optimizer, c.learning_rate) == (1, 5, "rmsprop", 7e-4)
        assert (c.anneal, c.gamma, c.gae_lambda, c.global_clipnorm) == (True, 0.99, 1.0, None)
        assert (c.normalise_observations, c.normalise_returns) == (False, False)
    assert (own["entropy_coefficient"], own["state_dependent_deviation"]) == (0.01, True)
    ppo = make_config(env_id=STRANGE, preset="paper", algorithm="appo")
    assert ppo == dataclasses.replace(make_config(env_id=STRANGE), preset="paper")


def test_the_tutorials_preset_suits_other_algorithms_too():
    for algorithm in (*PPO, *VALUES):
        c = make_config(env_id=STRANGE, preset="tutorial", algorithm=algorithm)
        assert (c.hidden_units, c.max_episodes) == ((100,), 2000)
        assert {k: getattr(c, k) for k in defaults_of(algorithm)} == defaults_of(algorithm)


# -- the command line ---------------------------------------------------------------------------------------


def test_help_shows_the_defaults_of_every_algorithm(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    with pytest.raises(SystemExit):
        train.run(["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for expected in (
        "{auto,a3c,a2c,impala,appo,ppo,one-step-q,one-step-sarsa,n-step-q,random}",
        "no preset. (default: auto)",
        "[≥ 1, ≤ 100000] (default: 8; appo, ppo: None; Q and Sarsa: 16)",
        "[≥ 1, ≤ 100000] (default: 16; appo, ppo: 128; Q and Sarsa: 20)",
        "(default: 0.0007; appo, ppo: 0.0003; Q and Sarsa: 0.001)",
        "--normalise-observations, --no-normalise-observations",
        "vectors yes, images no. (default: None; Q and Sarsa: False)",
        "(default: True; Q and Sarsa: False)",
        "[≥ 1] (default: 10)",
        "appo, ppo: how often each rollout is used.",
        "appo: mean KL divergence",
        "Q and Sarsa: steps of all workers",
        "impala: where importance weights",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([STRANGE], "preset none, algorithm appo (no preset for this environment)"),
        ([STRANGE, "--algorithm", "auto"], "preset none, algorithm appo (no preset for this environment)"),
        ([STRANGE, "--algorithm", "a2c"], "preset none, algorithm a2c …"),
        (["CartPole-v1"], "preset CartPole-v1, algorithm a3c (from the preset)"),
        (["CartPole-v1", "--algorithm=ppo"], "preset CartPole-v1, algorithm ppo …"),
        (["CartPole-v1", "--preset", "none"], "preset none, algorithm appo (no preset) …"),
        ([STRANGE, "--preset", "paper"], "preset paper, algorithm a3c (from the preset)"),
    ],
)
def test_the_first_line_says_why_an_algorithm_was_chosen(argv, expected, capsys, monkeypatch):
    monkeypatch.setattr(train, "carry_out", lambda *_, **__: 0)
    train.run(argv)
    assert expected in capsys.readouterr().out


def typed(*argv):
    return train.COMMAND.parse(list(argv)).typed


def test_flags_may_have_underscores_and_negative_numbers():
    assert typed("--stop-return", "-1e9", "--t_max=3") == {"stop_return": -1e9, "t_max": 3}
    assert typed("--hidden-units", "8", "4", "--lr", "1") == {"hidden_units": (8, 4), "learning_rate": 1.0}
    assert typed("--hidden-units=64", "32") == {"hidden_units": (64, 32)}
    assert typed("--activation", "None", "--stop-return=-3") == {"activation": None, "stop_return": -3.0}
    assert typed("--hidden-units", "none", "--", "Env-v0") == {"hidden_units": None, "env_id": "Env-v0"}


def test_observations_are_normalised_by_flags():
    assert typed("--normalise-observations") == {"normalise_observations": True}
    assert typed("--no-normalise-observations") == {"normalise_observations": False}
    assert typed("--envs-per-worker", "none") == {"envs_per_worker": None}
    assert typed() == {}


# -- presets of one's own -----------------------------------------------------------------------------------


def test_presets_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("t_max = 3\nmax_steps = 'none'\n")
    made = make_config(preset=str(path))
    assert (made.t_max, made.max_steps) == (3, None)
    path.write_text("t_max = \n")
    with pytest.raises(UsageError, match="a TOML file; it breaks off"):
        make_config(preset=str(path))
    path.write_text("t_maxx = 1\n")
    with pytest.raises(UsageError, match="Did you mean t_max"):
        make_config(preset=str(path))


def test_every_setting_has_help():
    assert all(field.metadata["help"] for field in FIELDS.values())


def test_what_is_written_is_what_is_read():
    import tomli_w

    config = make_config(preset="tutorial", seed=3)
    plain = {k: "none" if v is None else v for k, v in vars(config).items()}
    assert Config(**settings_from_toml(tomllib.loads(tomli_w.dumps(plain)), "")) == config
    assert load_preset("none", None) == ("none", {})
    assert preset_names() == sorted(preset_names())
