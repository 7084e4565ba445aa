"""Settings: defaults, presets, types and ranges."""

import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3c import config as configuration
from a3c.config import FIELDS, Config, load_preset, make_config, preset_names
from a3c.errors import SettingError, UsageError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(t_max=0), r"t_max=0: expected an integer of at least 1 \(the paper uses 5\)"),
        (dict(workers=0), "workers=0: expected an integer of at least 1"),
        (dict(workers=2.5), "workers=2.5: expected an integer"),
        (dict(workers=True), "workers=True: expected an integer"),
        (dict(learning_rate=-1), "learning_rate=-1.0: expected a number above 0"),
        (dict(learning_rate=float("nan")), "learning_rate=nan: expected a number"),
        (dict(gamma=1.5), "gamma=1.5: expected a number of at least 0 and at most 1"),
        (dict(gae_lambda="x"), "gae_lambda='x': expected a number"),
        (dict(engine="ray"), "engine='ray': expected one of auto, serial, threads, processes"),
        (dict(hidden_units=(64, -1)), r"hidden_units=\(64, -1\): expected integers of at least 1"),
        (dict(preset="nope"), "preset='nope': expected auto, none, a TOML file or one of"),
        (dict(locking=1), "locking=1: expected true or false"),
        (dict(save_dir=""), "save_dir='': expected a text"),
        (dict(anneal=True, max_steps=None), "anneal=True: expected max-steps to be set"),
    ],
)
def test_bad_values_say_what_was_expected(settings, message):
    with pytest.raises(SettingError, match=message):
        make_config(**settings)


def test_flags_are_spelled_as_typed():
    with pytest.raises(SettingError) as caught:
        make_config(envs_per_worker=-1)
    assert caught.value.as_flag() == "--envs-per-worker -1: expected an integer of at least 1"


def test_unknown_settings_name_the_closest():
    with pytest.raises(UsageError, match="Did you mean learning_rate"):
        make_config(learning_rat=1)


def test_presets_fill_what_is_not_given():
    tuned = make_config(env_id="CartPole-v1")
    assert tuned.preset == "CartPole-v1"
    assert tuned.t_max != Config().t_max
    assert make_config(env_id="CartPole-v1", t_max=7).t_max == 7
    assert make_config(env_id="CartPole-v1", preset="none").t_max == Config().t_max
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


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid(name):
    make_config(preset=name)


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


anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))


@given(st.dictionaries(st.one_of(st.sampled_from(list(FIELDS)), st.text()), anything, max_size=4))
def test_no_settings_lead_to_anything_but_a_config_or_a_usage_error(settings):
    with contextlib.suppress(UsageError):
        make_config(**settings)


def test_what_is_written_is_what_is_read():
    import tomli_w

    from a3c.config import settings_from_toml

    config = make_config(preset="tutorial", seed=3)
    plain = {k: "none" if v is None else v for k, v in vars(config).items()}
    assert Config(**settings_from_toml(tomllib.loads(tomli_w.dumps(plain)), "")) == config
    assert load_preset("none", None) == ("none", {})
    assert configuration.preset_names() == sorted(configuration.preset_names())
