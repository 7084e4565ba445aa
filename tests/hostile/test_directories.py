"""Run directories from somebody else: what is no plain file there is neither followed nor waited for."""

import os
import shutil
from pathlib import Path

import keras
import pytest

from a3c.utils.files import open_plain, read_plain

pytestmark = pytest.mark.skipif(
    not hasattr(os, "mkfifo") or keras.backend.backend() != "jax", reason="POSIX; made with JAX"
)
OLD_RUN = Path(__file__).parents[1] / "references" / "old_run"
CHECKPOINT = "checkpoints/step-000000003955.zip"


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(OLD_RUN, tmp_path / "run"))


def replace(path, kind, target):
    content = path.read_bytes() if path.exists() else b"{}"
    path.unlink(missing_ok=True)
    if kind == "link":
        target.write_bytes(content)
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "pipe", pytest.param("folder", marks=pytest.mark.thorough)])
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("config.toml", 2),
        (".lock", 2),
        (CHECKPOINT, 2),
        ("optimizer.json", 2),
        ("episodes.csv", 1),
        ("metrics.jsonl", 1),
        ("log.txt", 0),  # a log that cannot be written ends nothing
        ("result.json", 0),  # is written anew
    ],
)
def test_what_is_no_plain_file_is_refused(run, tmp_path, cli, name, code, kind):
    if kind == "folder" and name == "result.json":
        code = 1  # no file can take its place
    target = tmp_path / "precious"
    replace(run / name, kind, target)
    before = target.read_bytes() if target.exists() else b""
    outcome = cli("resume", str(run), "--max-steps", "4100")
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    assert code == 0 or "plain file" in outcome.err or name == "result.json"
    assert (target.read_bytes() if target.exists() else b"") == before, "what it led to was written to"


def test_plain_files_are_read_up_to_a_size(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_plain(path, largest=5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_plain(path, largest=4)
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "none", os.O_RDONLY)
    with pytest.raises(OSError, match="not a plain file"):
        read_plain(Path("/dev/zero"))
