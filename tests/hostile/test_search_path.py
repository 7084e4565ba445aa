"""A file in the working directory never takes the place of a module of Python or of a package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = "random queue logging token inspect types keras jax numpy gymnasium rich matplotlib pygame imageio"
MINE = """
import gymnasium
import beside_mine
from gymnasium.envs.classic_control import CartPoleEnv

class Mine(CartPoleEnv):
    def reset(self, **more):
        import later_beside_mine
        return super().reset(**more)

gymnasium.register("Mine-v0", lambda **more: Mine(**more), max_episode_steps=50)
gymnasium.register("Mine-v1", entry_point="mine:Mine", max_episode_steps=50)
"""


@pytest.fixture
def foreign(tmp_path):
    """A directory with files named like modules; each says that it ran."""
    for name in NAMES.split():
        code = f"open({str(tmp_path / 'RAN')!r}, 'a').write('{name} ')\nraise ImportError('foreign')\n"
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "mine.py").write_text(MINE)
    for name in ("beside_mine", "later_beside_mine"):
        (tmp_path / f"{name}.py").write_text("")
    return tmp_path


@pytest.fixture
def written_run():
    """A run, as its directory."""
    return next((Path(__file__).parent.parent / "references" / "old_run").rglob("config.toml")).parent


QUICK = ("--max-steps", "3000", "--evaluation-episodes", "2", "--json")


@pytest.mark.parametrize("env_id", [pytest.param("CartPole-v1", marks=pytest.mark.thorough), "mine:Mine-v1"])
def test_files_named_like_modules_are_not_run(foreign, cli, env_id):
    outcome = cli("train", env_id, *QUICK, "--workers", "2")
    assert outcome.code == 0, outcome.err
    assert "restarted" not in outcome.err
    agent = f"{outcome.json['run_dir']}/best.keras"
    for command in (("evaluate", agent, "--episodes", "2"), ("play", agent, "--video", "film.gif")):
        outcome = cli(*command)
        assert outcome.code == 0, outcome.err
    assert not (foreign / "RAN").exists(), (foreign / "RAN").read_text()


def test_no_library_of_the_working_directory_is_loaded(foreign):
    """Such as a libc.so.6 by a program that is started after OpenCV was imported."""
    look = "import os, cv2; print(os.environ['LD_LIBRARY_PATH'].split(os.pathsep).count(''))"
    code = f"from a3c.cli import main; main(['--version']); {look}"
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=foreign, env=environment, capture_output=True, text=True)
    assert done.stdout.split()[-1] == "0", done.stderr


def test_settings_of_matplotlib_in_the_working_directory_are_not_read(foreign, cli, written_run):
    (foreign / "matplotlibrc").write_text("backend: module://random\ntext.usetex: True\n\x1b[31mtext")
    outcome = cli("plot", str(written_run))
    assert (outcome.code, outcome.err) == (0, "")
    assert (foreign / "learning_curves.png").exists()
    assert not (foreign / "RAN").exists()
    (foreign / "matplotlibrc").unlink()
    (foreign / "learning_curves.png").unlink()
    (foreign / "mine").write_text("mine")
    (foreign / "learning_curves.png").symlink_to("mine")
    os.mkfifo(foreign / "matplotlibrc")
    assert cli("plot", str(written_run)).code == 0
    assert (foreign / "mine").read_text() == "mine"


def test_processes_of_the_users_code_start_as_usual(cli, tmp_path):
    """A script that an environment starts in a worker finds the modules beside it."""
    (tmp_path / "beside_mine.py").write_text("")
    (tmp_path / "script.py").write_text("import beside_mine, later_beside_mine")
    (tmp_path / "later_beside_mine.py").write_text("")
    start = "import subprocess, sys; subprocess.run([sys.executable, 'script.py'], check=True)"
    text = MINE.replace("import later_beside_mine", start)
    (tmp_path / "mine.py").write_text(text)
    outcome = cli("train", "mine:Mine-v1", *QUICK[2:], "--max-steps", "100", "--workers", "2")
    assert outcome.code == 0, outcome.err
    assert "restarted" not in outcome.err
    assert "rebuilt" not in outcome.err


def test_a_module_that_hides_the_users_is_named(cli, tmp_path):
    (tmp_path / "test.py").write_text("")  # Python has one of that name
    outcome = cli("train", "test:Mine-v0")
    assert outcome.code == 2
    assert "which hides yours: give your file another name" in outcome.err


def test_started_as_a_module_python_may_look_in_other_places_first(foreign):
    """`python -m` puts the working directory first; by then Python itself has started."""
    for name in ("types", "random", "queue", "logging", "token", "inspect"):  # Python's own start needs some
        (foreign / f"{name}.py").unlink()
    command = [sys.executable, "-m", "a3c", "random", "--episodes", "2"]
    done = subprocess.run(command, cwd=foreign, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (foreign / "RAN").exists(), (foreign / "RAN").read_text()
