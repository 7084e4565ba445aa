"""Start-up: compiled programs are kept between runs and shared safely; imports bring only what is needed."""

import os
import subprocess
import sys
import textwrap
import threading

import pytest

from a3c.backend import cache

QUICK = ("--max-steps", "2000", "--seed", "1", "--quiet", "--json")


def kept(home):
    return {path.name for path in (home / "a3c" / "xla").glob("*-cache")}


@pytest.mark.parametrize(
    "env_id", ["jax/CartPole-v1", pytest.param("CartPole-v1", marks=pytest.mark.thorough)]
)
def test_a_second_run_compiles_nothing_anew(env_id, cli, tmp_path):
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    first = cli("train", env_id, *QUICK, environment=home)
    assert first.code == 0, first.err
    programs = kept(tmp_path / "cache")
    assert len(programs) >= 3
    second = cli("train", env_id, *QUICK, environment=home)
    assert second.code == 0, second.err
    assert second.err == ""
    assert kept(tmp_path / "cache") == programs


@pytest.mark.thorough
def test_no_cache_writes_none(cli, tmp_path):
    home = {"XDG_CACHE_HOME": str(tmp_path / "c")}
    outcome = cli("train", "jax/CartPole-v1", *QUICK, "--no-cache", environment=home)
    assert outcome.code == 0, outcome.err
    assert not (tmp_path / "c" / "a3c").exists()


@pytest.mark.thorough
def test_runs_at_the_same_time_share_the_cache(cli, tmp_path):
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    outcomes = []
    threads = [
        threading.Thread(
            target=lambda i=i: outcomes.append(
                cli("train", "jax/CartPole-v1", *QUICK, "--save-dir", f"runs{i}", environment=home)
            )
        )
        for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.code for outcome in outcomes] == [0, 0, 0]
    assert [outcome.err for outcome in outcomes] == ["", "", ""]


@pytest.mark.thorough
def test_a_torso_of_a_killed_writer_is_swept_and_a_damaged_entry_survived(cli, tmp_path):
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert cli("train", "jax/CartPole-v1", *QUICK, environment=home).code == 0
    folder = tmp_path / "cache" / "a3c" / "xla"
    partial_file, damaged = sorted(folder.glob("jit_run-*-cache"))[:2]
    partial_file.write_bytes(partial_file.read_bytes()[:100])
    partial_file.with_name(partial_file.name.replace("-cache", "-atime")).unlink()
    damaged.write_bytes(b"nonsense")
    outcome = cli("train", "jax/CartPole-v1", *QUICK, environment=home)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert partial_file.stat().st_size > 1000, "written anew"
    assert damaged.stat().st_size > 1000, "written anew"


@pytest.mark.thorough
def test_where_nothing_can_be_kept_it_is_said_and_goes_on(cli, tmp_path):
    (tmp_path / "file").write_text("in the way")
    outcome = cli(
        "train", "jax/CartPole-v1", *QUICK[:-2], environment={"XDG_CACHE_HOME": str(tmp_path / "file")}
    )
    assert outcome.code == 0, outcome.err
    assert "not kept" in outcome.out


def test_sweeping_keeps_whole_entries(tmp_path):
    for name in ("a-cache", "a-atime", "b-cache", "c-atime"):
        (tmp_path / name).write_text("x")
    cache.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - {".lockfile"} == {"a-cache", "a-atime", "c-atime"}


CHECK = """
import os, sys
os.environ["KERAS_BACKEND"] = "jax"
from a3c.utils.lazy_imports import import_keras
import_keras(plotting=False)
import keras, numpy as np
left_out = ["scipy", "h5py", "matplotlib", "pandas", "tensorflow", "jax.experimental.sparse"]
assert not [name for name in left_out if name in sys.modules], "imported after all"
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.save("model.keras")
again = keras.models.load_model("model.keras")
x = np.ones((4, 3), "float32")
np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0))
model.compile("adam", "mse")
model.fit(x, np.zeros((4, 2)), verbose=0)
import jax.experimental.sparse, jax.numpy as jnp
sparse = jax.experimental.sparse.BCOO.fromdense(jnp.eye(3))
np.testing.assert_allclose(keras.ops.convert_to_numpy(keras.ops.matmul(sparse, x.T)), x.T)
from keras.src.backend.jax import nn
assert callable(nn.splash_attention_kernel.make_splash_mha)
import h5py, scipy
assert h5py.File and scipy.__version__
print("whole")
"""


@pytest.mark.thorough
def test_keras_is_whole_though_imported_in_parts(tmp_path):
    done = subprocess.run([sys.executable, "-c", CHECK], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "whole\n", done.stderr


@pytest.mark.parametrize(
    ("variables", "platforms"), [({}, "cpu"), ({"JAX_PLATFORMS": "cpu,cuda"}, "cpu,cuda")]
)
def test_workers_compute_on_the_processor_unless_the_user_says_otherwise(variables, platforms):
    """Each would want most of an accelerator's memory for itself."""
    code = """
        from a3c import backend
        import contextlib
        backend.select("jax")
        with contextlib.suppress(RuntimeError):  # where there is no such platform
            backend.load(accelerated=False)
        import jax
        print(jax.config.jax_platforms)
    """
    environment = {**os.environ, "KERAS_BACKEND": "jax", **variables}
    line = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == platforms, done.stderr
