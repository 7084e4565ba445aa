"""Modules that a file names: imported only if the user typed them, allows them, or made the file."""

import json
import shutil
import sys

import harness
import pytest

from a3c import Agent
from a3c.errors import UsageError
from a3c.utils import trust

MINE = """
import gymnasium, keras
from pathlib import Path
from a3c.networks.models import ActorCritic
from gymnasium.envs.classic_control import CartPoleEnv

Path(__file__).with_name("RAN").touch()

@keras.saving.register_keras_serializable()
class Net(ActorCritic):
    def __init__(self, num_actions, **more):
        super().__init__(num_actions)

steps = []

class Faulty(CartPoleEnv):
    def step(self, action):
        steps.append(action)
        if len(steps) > 5_000:
            raise ValueError("once too often")
        return super().step(action)

gymnasium.register("Mine-v0", lambda **more: CartPoleEnv(**more), max_episode_steps=30)
gymnasium.register("Faulty-v0", lambda **more: Faulty(**more), max_episode_steps=30)
"""
REFUSED = "which names a module to import, mine: expected a name that you typed"
QUICK = ("--max-steps", "400", "--evaluation-episodes", "1", "--engine", "serial")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A directory with a run of a module in it, and an agent and a crash report of that run."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "mine.py").write_text(MINE)
    command = ("train", "mine:Mine-v0", "--model", "mine:Net", *QUICK, "--quiet", "--json", "--seed", "1")
    outcome = harness.call(folder, *command, environment={"XDG_STATE_HOME": str(folder / "state")})
    assert outcome.code == 0, outcome.err
    (folder / outcome.json["run_dir"]).rename(folder / "run")
    shutil.copy(folder / "run" / "best.keras", folder / "agent.keras")
    command = ("train", "mine:Faulty-v0", *QUICK, "--quiet", "--max-steps", "20000")
    harness.call(folder, *command, environment={"XDG_STATE_HOME": str(folder / "state")})
    shutil.copy(next(folder.glob("runs/Faulty-v0/*/crash-*.json")), folder / "report.json")
    return folder


@pytest.fixture
def downloaded(written, tmp_path, monkeypatch):
    """That directory as another user finds it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.parent / "another"))
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "RAN").unlink()
    return tmp_path


COMMANDS = [
    ("evaluate", "agent.keras", "--episodes", "1"),
    ("evaluate", "run", "--episodes", "1"),
    ("play", "agent.keras", "--quiet"),
    ("resume", "run", "--max-steps", "500", "--quiet"),
    ("train", "--resume", "run", "--quiet"),
    ("reproduce", "report.json"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_names_in_files_of_others_are_not_imported(downloaded, call, command):
    outcome = call(*command)
    assert outcome.code == 2
    assert REFUSED in outcome.err
    assert "--trust" in outcome.err
    assert not (downloaded / "RAN").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_whoever_wrote_them_is_asked_nothing(written, call, tmp_path, monkeypatch, command):
    """In the same directory: a signature is for one file of a module."""
    if command[:2] == ("train", "--resume"):
        command = (
            "train",
            "mine:Mine-v0",
            "--model",
            "mine:Net",
            "--resume",
            str(written / "run"),
            "--quiet",
        )
    monkeypatch.setenv("XDG_STATE_HOME", str(written / "state"))
    outcome = harness.call(written, *command)
    assert REFUSED not in outcome.err
    assert outcome.code == 0, outcome.err
    assert "importing" not in outcome.err


@pytest.mark.parametrize(
    "command", [(*COMMANDS[0], "--trust"), (*COMMANDS[3], "--trust"), (*COMMANDS[5], "--trust")]
)
def test_what_is_imported_on_trust_is_said(downloaded, call, command):
    outcome = call(*command)
    assert f"importing mine ({downloaded / 'mine.py'}), which " in outcome.err
    assert (downloaded / "RAN").exists()
    if command[0] == "resume":  # from now on it is this user's own
        assert call("resume", "run", "--max-steps", "600", "--quiet").code == 0


def test_a_name_that_is_typed_is_imported(downloaded, call):
    typed = ("--env-id", "mine:Mine-v0", "--model", "mine:Net")
    outcome = call("evaluate", "agent.keras", "--episodes", "1", *typed)
    assert outcome.code == 0, outcome.err
    outcome = call("evaluate", "agent.keras", "--episodes", "1", "--env-id", "CartPole-v1")
    assert REFUSED in outcome.err


def test_a_signature_is_for_one_file_of_a_module(written, downloaded, call, monkeypatch):
    """Sent back with another module of that name, a user's own file is as foreign as any."""
    monkeypatch.setenv("XDG_STATE_HOME", str(written / "state"))
    assert REFUSED in call("evaluate", "agent.keras").err
    assert REFUSED in call("resume", "run").err
    assert not (downloaded / "RAN").exists()


def test_a_preset_names_no_module_either(downloaded, call):
    (downloaded / "preset.toml").write_text('env_id = "mine:Mine-v0"\n')
    outcome = call("train", "--preset", "preset.toml")
    assert REFUSED in outcome.err
    (downloaded / "preset.toml").write_text('model = "mine:Net"\n')
    outcome = call("train", "CartPole-v1", "--preset", "preset.toml")
    assert REFUSED in outcome.err
    assert not (downloaded / "RAN").exists()
    outcome = call("train", "--preset", "preset.toml", "--trust", *QUICK, "--quiet")
    assert outcome.code == 0, outcome.err


def test_the_library_refuses_as_the_commands_do(downloaded, monkeypatch):
    monkeypatch.chdir(downloaded)
    with pytest.raises(UsageError, match="mine"):
        Agent.load("agent.keras")
    (downloaded / "preset.toml").write_text('model = "mine:Net"\n')
    with pytest.raises(UsageError, match="mine"):
        Agent(preset="preset.toml")
    with pytest.raises(UsageError, match="mine"):
        Agent("CartPole-v1").fit(verbose=0, resume="run")
    assert "mine" not in sys.modules
    assert not (downloaded / "RAN").exists()


def test_runs_whose_names_need_no_import_are_opened(downloaded, call):
    """Ids of installed packages, of this package, and modules that are loaded already."""
    for names in (["CartPole-v1", None], ["jax/CartPole-v1"], ["ALE/Pong-v5"], ["a3c.envs.probes:Value-v0"]):
        trust.check("a file", names, None, (), trusted=False)
    with pytest.raises(UsageError):
        trust.check("a file", ["a3c_more.envs.probes:Value-v0"], None, (), trusted=False)


@pytest.mark.parametrize(
    "signatures", [None, 3, {}, {"mine": 3}, {"mine": ""}, {"mine": "ü"}, {"mine": "\ud800"}]
)
def test_what_is_no_signature_is_none(signatures):
    with pytest.raises(UsageError):
        trust.check("a file", ["mine:Mine-v0"], signatures, (), trusted=False)


def test_without_a_place_for_the_key_nothing_is_signed(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert trust.sign("mine:Mine-v0") == {}
    with pytest.raises(UsageError):
        trust.check("a file", ["mine:Mine-v0"], {"mine": ""}, (), trusted=False)


def test_the_key_is_made_once_and_for_its_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert trust.sign("CartPole-v1", None) == {}
    assert not list(tmp_path.iterdir())
    first = trust.sign("mine:Mine-v0", "mine:Net")
    assert trust.sign("mine:Net") == first
    assert len(first["mine"]) == 64
    (key,) = tmp_path.rglob("key")
    assert key.stat().st_mode & 0o777 == 0o600
    trust.check("a file", ["mine:Mine-v0"], json.loads(json.dumps(first)), (), trusted=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert trust.sign("mine:Net") != first
