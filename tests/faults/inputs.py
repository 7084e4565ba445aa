"""Bad input and faults, each with the command that meets it, and what must come of it.

    python tests/faults/inputs.py [WORD ...]    one line each; only those with a word in their names

Everything is run as a user runs it, in a directory of its own. Files that were there before must be there
afterwards, byte for byte, but for those that a case names in `changes`.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import harness

SHORT = ("--max-steps", "2000", "--evaluation-episodes", "5", "--json")
SERIAL = (*SHORT, "--engine", "serial", "--seed", "1")
ONE = (*SHORT, "--engine", "processes", "--workers", "1", "--seed", "1")
RUN = "runs/CartPole-v1/base"
TIMEOUT = 120


class Impossible(Exception):
    """A case that cannot be provoked here; says why."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict:
        """What `--json` printed."""
        return json.loads(self.out.strip().splitlines()[-1])


def a3c(cwd: Path, *arguments: str, **environment: str) -> Outcome:
    """`a3c ARGUMENTS` in `cwd`, all of whose processes must have gone when it ends."""
    return command(cwd, [sys.executable, "-m", "a3c", *arguments], environment)


def command(cwd: Path, argv: list[str], environment: dict[str, str]) -> Outcome:
    """Any command in a session of its own; see `a3c`."""
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        with contextlib.suppress(ProcessLookupError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    left = harness.left_behind(process.pid, 5.0)
    assert not left, f"processes are left: {left}"
    return Outcome(process.returncode, out, err)


def nothing(cwd: Path) -> None:
    """Nothing to prepare."""


def anything(cwd: Path, outcome: Outcome) -> None:
    """Nothing more to hold."""


@dataclass(frozen=True)
class Case:
    """One kind of bad input, or one fault."""

    arguments: tuple[str, ...]
    code: int
    says: tuple[str, ...] = ()
    """What standard error must say."""
    prepare: Callable[[Path], None] = nothing
    """Provokes it, in the directory where the command is run."""
    holds: Callable[[Path, Outcome], None] = anything
    """What must hold afterwards."""
    changes: tuple[str, ...] = ()
    """Files there before that may change, as patterns."""
    environment: dict[str, str] = field(default_factory=dict)
    run: Callable[..., Outcome] = a3c
    cleanup: Callable[[Path], None] = nothing
    trace: bool = False
    """Whether a traceback is shown: that of the user's own code."""
    """Whether it takes more than some seconds."""
    fails: str = ""
    """Why it is known not to hold yet."""


def carry_out(case: Case, cwd: Path) -> Outcome:
    """Provoke one case in an empty directory, and check what comes of it."""
    shared = harness.shared_memory()
    try:
        case.prepare(cwd)
        before = contents(cwd)
        outcome = case.run(cwd, *case.arguments, **case.environment)
        check(case, cwd, before, outcome)
        case.holds(cwd, outcome)
        ours = {name for name in harness.shared_memory() - shared if name.startswith("a3c-")}
        assert not ours, f"shared memory is left: {ours}"
        return outcome
    finally:
        case.cleanup(cwd)


def check(case: Case, cwd: Path, before: dict[str, str], outcome: Outcome) -> None:
    """What must hold in every case."""
    told = f"exit code {outcome.code}\n{outcome.err[-3000:]}"
    assert outcome.code == case.code, told
    for text in case.says:
        assert text in outcome.err, f"it does not say {text!r}: {told}"
    assert case.trace or "Traceback" not in outcome.err + outcome.out, told
    after = contents(cwd)
    for name, digest in before.items():
        if not any(Path(name).match(pattern) for pattern in case.changes):
            assert name in after, f"{name} is gone"
            assert after[name] == digest, f"{name} has changed"
    if case.code == 2:
        said = ("\n" + outcome.err).rpartition("\na3c: ")[2]  # what precedes it is progress
        assert len(said.strip().splitlines()) <= 3, f"more than three lines: {told}"
        new = [name for name in after if name not in before and not name.endswith((".pyc", ".lock"))]
        assert not new, f"files are left: {new}"
    left = [name for name in after if re.search(r"(^|/)\.[^/]*\.(tmp|keras|png)$|/\.new-", name)]
    assert not left, f"temporary files are left: {left}"


def contents(cwd: Path) -> dict[str, str]:
    """A digest of each file under `cwd`."""
    return {
        str(path.relative_to(cwd)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(cwd.rglob("*"))
        if path.is_file()
    }


# -- what is prepared ---------------------------------------------------------------------------------------

ENVIRONMENTS = '''
"""Environments with one fault each, in workers; those called Once have it once in all."""

import multiprocessing
import os
import signal
import sys
import time
import traceback

import gymnasium as gym
import numpy as np


class Good(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)
    made = 0

    def __init__(self):
        self.t = self.all = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def step(self, action):
        self.t += 1
        self.all += 1
        return self.observe(), self.reward(), self.t >= 20, False, {}

    def observe(self):
        return self.np_random.uniform(-1, 1, 4).astype(np.float32)

    def reward(self):
        return 1.0


def watched():
    """Whether this is a worker, or a crash card is played: not the copies that the master judges in."""
    return multiprocessing.parent_process() is not None or "reproduce" in sys.argv


def once():
    """Whether this is the first time."""
    try:
        os.close(os.open("happened", os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def now(self):
    """Whether this is the moment: once in all, in a worker's environment, after some steps."""
    return watched() and self.all >= 50 and once()


class InInit(Good):
    def __init__(self):
        raise ValueError("no simulator here")


class InReset(Good):
    def reset(self, *, seed=None, options=None):
        if watched():
            raise ValueError("the level is missing")
        return super().reset(seed=seed)


class InEvaluationOnce(Good):
    def step(self, action):
        if not watched() and once():
            raise ValueError("the floor is lava")
        return super().step(action)


class InStep(Good):
    def step(self, action):
        if watched() and self.all == 30:
            raise ValueError("the floor is lava")
        return super().step(action)


class InEveryStep(Good):
    def step(self, action):
        raise ValueError("nothing works")


class InStepOnce(Good):
    def step(self, action):
        if now(self):
            raise ValueError("the floor is lava")
        return super().step(action)


class NanOnce(Good):
    def observe(self):
        return np.full(4, np.nan, np.float32) if now(self) else super().observe()


class Infinite(Good):
    def reward(self):
        return float("inf") if self.all == 30 and watched() else 1.0


class ShapeOnce(Good):
    def observe(self):
        return np.zeros(5, np.float32) if now(self) else super().observe()


class KilledOnce(Good):
    def step(self, action):
        if now(self):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class HangsOnce(Good):
    def step(self, action):
        if now(self):
            time.sleep(1000)
        return super().step(action)


class SerialHangsOnce(Good):
    def step(self, action):
        sampled = any("sampler.py" in frame.filename for frame in traceback.extract_stack())
        if sampled and self.all >= 50 and once():
            time.sleep(1000)
        return super().step(action)


class Words(Good):
    observation_space = gym.spaces.Text(20)


class Both(Good):
    action_space = gym.spaces.Dict(a=gym.spaces.Discrete(2), b=gym.spaces.Box(-1, 1, (2,), np.float32))


for cls in [cls for cls in globals().values() if isinstance(cls, type) and issubclass(cls, Good)]:
    gym.register(cls.__name__ + "-v0", entry_point=cls)
'''

MODELS = """
import keras


class Wrong(keras.Model):
    def __init__(self, num_actions):
        super().__init__()
        self.logits, self.value = keras.layers.Dense(num_actions + 1), keras.layers.Dense(1)

    def call(self, x, training=False):
        return self.logits(x), self.value(x)


class Unsaveable(keras.Model):
    def __init__(self, num_actions):
        super().__init__()
        self.kept = lambda x: x
        self.logits, self.value = keras.layers.Dense(num_actions), keras.layers.Dense(1)

    def call(self, x, training=False):
        return self.logits(x), self.value(x)

    def get_config(self):
        return {"kept": self.kept}


class Nan(keras.Model):
    def __init__(self, num_actions, **kwargs):
        super().__init__(**kwargs)
        self.n = num_actions
        self.logits, self.value = keras.layers.Dense(num_actions), keras.layers.Dense(1)

    def call(self, x, training=False):
        value = self.value(x)
        return self.logits(x), keras.ops.log(-1.0 - value * value)

    def get_config(self):
        return {"num_actions": self.n}

    def build_from_config(self, config):
        self(keras.KerasTensor((1, 4)))
"""


def environments(cwd: Path) -> None:
    (cwd / "faulty.py").write_text(ENVIRONMENTS)


def models(cwd: Path) -> None:
    (cwd / "networks.py").write_text(MODELS)


def file(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Prepares a file."""

    def prepare(cwd: Path) -> None:
        path = cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())

    return prepare


def both(*steps: Callable[[Path], None]) -> Callable[[Path], None]:
    """One preparation after the other."""

    def prepare(cwd: Path) -> None:
        for step in steps:
            step(cwd)

    return prepare


@functools.cache
def base(*more: str) -> Path:
    """A finished run of CartPole-v1 with several checkpoints; made once."""
    directory = Path(tempfile.mkdtemp(prefix="a3c-inputs-"))
    limits = ("--max-steps", "60000", "--evaluation-episodes", "5", "--stop-return", "1e9")
    options = ("--engine", "serial", "--seed", "1", "--checkpoint-seconds", "0.001", "--json", "--quiet")
    outcome = a3c(directory, "train", "CartPole-v1", *limits, *options, *more)
    assert outcome.code == 0, outcome.err
    return directory / outcome.summary["run_dir"]


def forget() -> None:
    """Remove the finished runs."""
    for made in (base(), base("--hidden-units", "8")) if base.cache_info().currsize else ():
        shutil.rmtree(made.parents[2], ignore_errors=True)
    base.cache_clear()


def ended(cwd: Path) -> None:
    """A run that has ended."""
    shutil.copytree(base(), cwd / RUN)


def stopped(cwd: Path) -> None:
    """A run that was killed before its end."""
    ended(cwd)
    (cwd / RUN / "result.json").unlink()


def checkpoints(cwd: Path) -> list[Path]:
    """Those of the run, newest first."""
    return sorted((cwd / RUN / "checkpoints").glob("step-*.zip"), reverse=True)


def truncate(path: Path) -> None:
    """Cut off the second half; other names of the same file keep theirs."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def newest_truncated(cwd: Path) -> None:
    stopped(cwd)
    truncate(checkpoints(cwd)[0])


def newest_flipped(cwd: Path) -> None:
    stopped(cwd)
    path = checkpoints(cwd)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def all_truncated(cwd: Path) -> None:
    stopped(cwd)
    for path in (cwd / RUN / "checkpoints").iterdir():
        truncate(path)


def no_checkpoints(cwd: Path) -> None:
    stopped(cwd)
    shutil.rmtree(cwd / RUN / "checkpoints")


def edited(name: str, value: str) -> Callable[[Path], None]:
    """A stopped run with one setting of its `config.toml` changed."""

    def prepare(cwd: Path) -> None:
        stopped(cwd)
        path = cwd / RUN / "config.toml"
        text, count = re.subn(
            rf"^{name} = (\[.*?\]|[^\n]*)$", f"{name} = {value}", path.read_text(), flags=re.M | re.S
        )
        assert count == 1, path.read_text()
        path.write_text(text)

    return prepare


def of_another_network(cwd: Path) -> None:
    stopped(cwd)
    shutil.rmtree(cwd / RUN / "checkpoints")
    shutil.copytree(base("--hidden-units", "8") / "checkpoints", cwd / RUN / "checkpoints")


def damaged_config(cwd: Path) -> None:
    stopped(cwd)
    truncate(cwd / RUN / "config.toml")


def damaged_result(cwd: Path) -> None:
    ended(cwd)
    (cwd / RUN / "result.json").write_text('["solved"]')


def damaged_figures(cwd: Path) -> None:
    stopped(cwd)
    path = cwd / RUN / "episodes.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: len(lines) // 2]) + "\n7,1")  # breaks off in a row
    (cwd / RUN / "metrics.jsonl").unlink()


def truncated_best(cwd: Path) -> None:
    ended(cwd)
    truncate(cwd / RUN / "best.keras")


def agent_with_code(cwd: Path) -> None:
    """A model file with a Lambda layer, which would run code of its own."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    x = keras.Input((4,))
    y = keras.layers.Lambda(lambda t: [__import__("pathlib").Path("happened").touch(), t][1])(x)
    keras.Model(x, [keras.layers.Dense(2)(y), keras.layers.Dense(1)(y)]).save(cwd / "evil.keras")
    Path("happened").unlink(missing_ok=True)


def unwritable(cwd: Path) -> None:
    """A directory that nobody may write to; permissions do not bind root, /proc does."""
    if os.geteuid() == 0:
        (cwd / "closed").symlink_to("/proc/1/task")
    else:
        (cwd / "closed").mkdir(mode=0o500)


def disk(size: str) -> Callable[[Path], None]:
    """A small disk at `runs`."""

    def prepare(cwd: Path) -> None:
        (cwd / "runs").mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(cwd / "runs")]
        if not shutil.which("mount") or subprocess.run(argv, capture_output=True).returncode != 0:
            raise Impossible("mounting a small disk needs root")

    return prepare


def full_disk(cwd: Path) -> None:
    """A disk without a free byte."""
    disk("64k")(cwd)
    with contextlib.suppress(OSError), open(cwd / "runs" / "other", "wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)


def unmount(cwd: Path) -> None:
    if os.path.ismount(cwd / "runs"):
        subprocess.run(["umount", "-l", str(cwd / "runs")], check=True)


def without(module: str) -> Callable[[Path], None]:
    """A Python in which a module is not installed."""
    return file("sitecustomize.py", f"import sys\nsys.modules[{module!r}] = None\n")


NO_SHARED_MEMORY = """
    import os

    def full(*_):
        raise OSError(28, "No space left on device")

    os.posix_fallocate = full
"""

# -- how it is run ------------------------------------------------------------------------------------------


def locked(cwd: Path, *arguments: str, **environment: str) -> Outcome:
    """Run while another process trains in the run's directory."""
    with open(cwd / RUN / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return a3c(cwd, *arguments, **environment)


def read_only_the_first_line(cwd: Path, *arguments: str, **environment: str) -> Outcome:
    """`a3c … | head -1`."""
    script = f"set -o pipefail; {sys.executable} -m a3c {' '.join(arguments)} | head -1"
    return command(cwd, ["bash", "-c", script], environment)


def twice_at_once(cwd: Path, *arguments: str, **environment: str) -> Outcome:
    """The same command twice, at the same moment."""
    argv = [sys.executable, "-m", "a3c", *arguments]
    first = subprocess.Popen(argv, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = a3c(cwd, *arguments, **environment)
    assert first.wait(TIMEOUT) == 0
    return second


def without_standard_output(cwd: Path, *arguments: str, **environment: str) -> Outcome:
    """`a3c … >&-`."""
    return command(cwd, ["bash", "-c", f"{sys.executable} -m a3c {' '.join(arguments)} >&-"], environment)


def into_a_full_device(cwd: Path, *arguments: str, **environment: str) -> Outcome:
    """`a3c … > /dev/full`."""
    argv = ["bash", "-c", f"{sys.executable} -m a3c {' '.join(arguments)} > /dev/full"]
    return command(cwd, argv, environment)


# -- what must hold -----------------------------------------------------------------------------------------


def run_of(cwd: Path) -> Path:
    run = harness.run_directory(cwd)
    assert run is not None, "there is no run directory"
    return run


def finished(cwd: Path, outcome: Outcome) -> None:
    """The run is whole: figures, agents that are numbers, and a result."""
    run = run_of(cwd)
    harness.check_files(run, outcome.summary)
    agents_are_finite(cwd, outcome)
    assert json.loads((run / "result.json").read_text()) == outcome.summary
    assert not list(run.glob("crash-*")), "there is a crash card"


def agents_are_finite(cwd: Path, outcome: Outcome) -> None:
    """best.keras and last.keras can be read, and hold numbers."""
    for name in ("best.keras", "last.keras"):
        weights = weights_of(run_of(cwd) / name)
        assert weights, f"{name} has no weights"
        assert all(finite for finite in weights.values()), f"{name} has weights that are no numbers"


def weights_of(path: Path) -> dict[str, bool]:
    """Whether each array of an agent's file is finite."""
    import io

    import h5py
    import numpy as np

    found: dict[str, bool] = {}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:

            def visit(name: str, node: object) -> None:
                if isinstance(node, h5py.Dataset):
                    found[name] = bool(np.isfinite(np.asarray(node)).all())

            weights.visititems(visit)
    return found


def logged(*texts: str) -> Callable[[Path, Outcome], None]:
    """The run is whole but for what happened, which stands in its log."""

    def holds(cwd: Path, outcome: Outcome) -> None:
        log = (run_of(cwd) / "log.txt").read_text()
        for text in texts:
            assert text in log, f"log.txt does not say {text!r}: {log}"
        if outcome.code == 0:
            harness.check_files(run_of(cwd), outcome.summary)
        agents_are_finite(cwd, outcome)

    return holds


def survived(what: str, reproduced: str = "Not reproduced") -> Callable[[Path, Outcome], None]:
    """The fault was told and written to a crash card, the environment rebuilt, and the run is whole."""

    def holds(cwd: Path, outcome: Outcome) -> None:
        logged(what, "rebuilt 1/5; see it again with: a3c reproduce ")(cwd, outcome)
        again = a3c(cwd, "reproduce", str(card_of(cwd)))
        assert again.code == 0, again
        assert reproduced in again.out, again

    return holds


def card_of(cwd: Path) -> Path:
    cards = sorted(run_of(cwd).glob("crash-1-*.json"))
    assert len(cards) == 1, cards
    return cards[0]


def reproduced(*texts: str) -> Callable[[Path, Outcome], None]:
    """What was learned is saved, and the crash card shows the fault again."""

    def holds(cwd: Path, outcome: Outcome) -> None:
        agents_are_finite(cwd, outcome)
        again = a3c(cwd, "reproduce", str(card_of(cwd)))
        assert again.code == 1, again
        assert "Reproduced" in again.out, again
        for text in texts:
            assert text in again.out + again.err, again

    return holds


def not_made(cwd: Path, outcome: Outcome) -> None:
    """No run directory was made."""
    assert not list(cwd.glob("runs/*/*")), "a run directory was made"


def went_on(cwd: Path, outcome: Outcome) -> None:
    """The run was resumed and has ended."""
    logged("resumed at step")(cwd, outcome)
    assert json.loads((cwd / RUN / "result.json").read_text()) == outcome.summary


def fell_back(cwd: Path, outcome: Outcome) -> None:
    """The run went on from the checkpoint before, and said so."""
    went_on(cwd, outcome)
    logged("is damaged", "going on from the one before, step-")(cwd, outcome)


def nothing_was_run(cwd: Path, outcome: Outcome) -> None:
    """The code in a model's file was not run."""
    assert not (cwd / "happened").exists(), "the file's code was run"


def two_runs(cwd: Path, outcome: Outcome) -> None:
    """Each of two runs has a directory of its own, and each is whole."""
    runs = sorted(path.parent for path in cwd.glob("runs/*/*/result.json"))
    assert len(runs) == 2, runs
    for run in runs:
        harness.check_files(run, json.loads((run / "result.json").read_text()))


def filler_is_there(cwd: Path, outcome: Outcome) -> None:
    """What others have on the disk is untouched."""
    assert (cwd / "runs" / "other").read_bytes().strip(b"x") == b""


def can_be_resumed(cwd: Path, outcome: Outcome) -> None:
    """The run directory is readable, and what is on the small disk is whole."""
    run = run_of(cwd)
    assert "[settings]" in (run / "config.toml").read_text()
    for path in run.glob("*.keras"):
        assert all(weights_of(path).values())
    for path in run.glob("checkpoints/*.zip"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None, path


# -- the table ----------------------------------------------------------------------------------------------

RESUMED = ("runs/*", "runs/**/*", f"{RUN}/*", f"{RUN}/checkpoints/*")
DIVERGED = ("not finite", "lower --learning-rate")

CASES: dict[str, Case] = {
    # settings and files of settings
    "unknown environment": Case(("train", "CartPole-v9"), 2, ("expected the id of a registered", "Closest:")),
    "unknown module": Case(("train", "nowhere:Env-v0"), 2, ("Importing nowhere failed",)),
    "module with a syntax error": Case(
        ("train", "broken:Env-v0"),
        2,
        ("environment broken:Env-v0: expected",),
        file("broken.py", "def (:\n"),
    ),
    "relative module": Case(("train", ".faulty:Env-v0"), 2, ("environment .faulty:Env-v0: expected",)),
    "text": Case(("train", "faulty:Words-v0"), 2, ("observations Text",), environments),
    "composite actions": Case(("train", "faulty:Both-v0"), 2, ("with actions Dict",), environments),
    "typo in a flag": Case(("train", "--learning-rat", "1"), 2, ("Did you mean --learning-rate?",)),
    "setting out of range": Case(
        ("train", "--gamma", "1.5"), 2, ("--gamma 1.5: expected a number", "most 1")
    ),
    "integer out of every range": Case(("train", "--max-steps", "9" * 30), 2, ("of 64 bits",)),
    "preset that is no TOML": Case(
        ("train", "--preset", "mine.toml"), 2, ("breaks off with",), file("mine.toml", "t_max = \n")
    ),
    "preset that is no text": Case(
        ("train", "--preset", "mine.toml"), 2, ("that can be read",), file("mine.toml", b"\xff\xfe\0")
    ),
    "preset with a wrong value": Case(
        ("train", "--preset", "mine.toml"),
        2,
        ("mine.toml: t_max=-1: expected",),
        file("mine.toml", "t_max = -1"),
    ),
    "preset that is not there": Case(
        ("train", "--preset", "mine.toml"), 2, ("--preset mine.toml: expected",)
    ),
    "bytes that are no text": Case(("train", "\udcff"), 2, ("expected a text without control characters",)),
    "name too long": Case(("play", "x" * 300), 2, ("expected a .keras file, a run directory",)),
    "missing backend": Case(
        ("train", "--backend", "tensorflow"),
        2,
        ("an installed one (jax)", "pip install 'a3c[tensorflow]'"),
        without("tensorflow"),
        environment={"PYTHONPATH": ".", "KERAS_BACKEND": ""},
    ),
    "unknown backend in the environment": Case(
        ("train",), 2, ("expected one of jax, tensorflow",), environment={"KERAS_BACKEND": "torch"}
    ),
    # environments
    "environment that cannot be made": Case(
        ("train", "faulty:InInit-v0", *ONE),
        2,
        ("no simulator here", "one that can be made"),
        environments,
        not_made,
    ),
    "environment that cannot be reset": Case(
        ("train", "faulty:InReset-v0", *ONE, "--max-restarts", "2"),
        1,
        ("ValueError: the level is missing", "a3c reproduce runs/", "--max-restarts 2"),
        environments,
        reproduced("the level is missing"),
        trace=True,
    ),
    "environment that fails in a step, once": Case(
        ("train", "faulty:InStepOnce-v0", *ONE),
        0,
        ("raised ValueError: the floor is lava in step", "rebuilt 1/5"),
        environments,
        survived("the floor is lava"),
    ),
    "environment that fails again and again": Case(
        ("train", "faulty:InStep-v0", *ONE, "--max-restarts", "2"),
        1,
        ("one fault more than --max-restarts 2 allows. The first was", "ValueError: the floor is lava"),
        environments,
        reproduced("the floor is lava"),
        trace=True,
    ),
    "environment that fails in an evaluation, once": Case(
        ("train", "faulty:InEvaluationOnce-v0", *SERIAL),
        0,
        ("the floor is lava",),
        environments,
    ),
    "environment that fails in every step, serial": Case(
        ("train", "faulty:InEveryStep-v0", *SERIAL, "--max-restarts", "1"),
        1,
        ("ValueError: nothing works",),
        environments,
        trace=True,
    ),
    "environment that fails in every step, random": Case(
        ("random", "faulty:InEveryStep-v0"),
        1,
        ("a3c: ", "ValueError: nothing works"),
        environments,
        trace=True,
    ),
    "observation that is no number": Case(
        ("train", "faulty:NanOnce-v0", *ONE),
        0,
        ("returned a non-finite observation (index 0: nan)",),
        environments,
        survived("non-finite observation"),
    ),
    "infinite reward": Case(
        ("train", "faulty:Infinite-v0", *ONE, "--max-restarts", "1"),
        1,
        ("returned a non-finite reward (inf)",),
        environments,
        reproduced("non-finite reward"),
    ),
    "observation of another shape": Case(
        ("train", "faulty:ShapeOnce-v0", *ONE),
        0,
        ("returned an observation of shape (5,), expected (4,)",),
        environments,
        survived("shape (5,)"),
    ),
    "environment that kills its process": Case(
        ("train", "faulty:KilledOnce-v0", *ONE),
        0,
        ("killed (signal 9); restarted 1/5",),
        environments,
        logged("killed (signal 9); restarted 1/5"),
    ),
    "environment that hangs": Case(
        ("train", "faulty:HangsOnce-v0", *ONE, "--hang-seconds", "3"),
        0,
        ("has finished nothing for", "it is in step (", "faulty.py, line "),
        environments,
        logged("hung for", "it is in step (", "restarted 1/5"),
    ),
    "environment that hangs, serial": Case(
        ("train", "faulty:SerialHangsOnce-v0", *SERIAL, "--hang-seconds", "3"),
        0,
        ("worker 0: nothing finished for", "it is in step (", "faulty.py, line ", "rebuilt 1/5"),
        environments,
    ),
    # networks
    "model with wrong shapes": Case(
        ("train", "--model", "networks:Wrong", *ONE),
        2,
        ("returning [N, 3], [N, 1]: expected",),
        models,
        not_made,
    ),
    "model that cannot be saved": Case(
        ("train", "--model", "networks:Unsaveable", *ONE),
        2,
        ("one that Keras can save and load",),
        models,
        not_made,
    ),
    "model that makes no numbers": Case(
        ("train", "--model", "networks:Nan", *ONE, "--max-steps", "20000"),
        1,
        DIVERGED,
        models,
        agents_are_finite,
    ),
    "learning rate that is far too high": Case(
        ("train", *ONE, "--learning-rate", "1e30", "--max-steps", "60000"),
        1,
        DIVERGED,
        holds=agents_are_finite,
    ),
    # where runs are written
    "save-dir that is a file": Case(
        ("train", *SERIAL, "--save-dir", "it"),
        2,
        ("a directory that can be written",),
        file("it", "precious"),
    ),
    "save-dir under a file": Case(
        ("train", *SERIAL, "--save-dir", "it/x"),
        2,
        ("a directory that can be written",),
        file("it", "precious"),
    ),
    "save-dir that is read-only": Case(
        ("train", *SERIAL, "--save-dir", "closed"), 2, ("a directory that can be written",), unwritable
    ),
    "full disk before the start": Case(
        ("train", *SERIAL), 2, ("save-dir runs", "No space left"), full_disk, filler_is_there, cleanup=unmount
    ),
    "full disk during training": Case(
        ("train", *SERIAL, "--max-steps", "20000"),
        1,
        ("No space left on device",),
        disk("40k"),
        can_be_resumed,
        cleanup=unmount,
    ),
    "cache directory that cannot be written": Case(
        ("train", *SERIAL),
        0,
        ("the cache directory cannot be written to (--no-cache)",),
        holds=finished,
        environment={"XDG_CACHE_HOME": "/proc/none", "HOME": "/proc/none"},
    ),
    "two runs at the same moment": Case(("train", *SERIAL), 0, holds=two_runs, run=twice_at_once),
    "no shared memory": Case(
        ("train", *ONE),
        1,
        ("MiB of shared memory", "--shm-size"),
        file("sitecustomize.py", NO_SHARED_MEMORY),
        environment={"PYTHONPATH": ".", "TMPDIR": "."},
    ),
    # runs that are resumed
    "newest checkpoint truncated": Case(
        ("resume", RUN, "--json"),
        0,
        ("is damaged", "going on from the one before"),
        newest_truncated,
        fell_back,
        RESUMED,
    ),
    "newest checkpoint with one bit changed": Case(
        ("resume", RUN, "--json"),
        0,
        ("is damaged", "going on from the one before"),
        newest_flipped,
        fell_back,
        RESUMED,
    ),
    "every checkpoint damaged": Case(
        ("resume", RUN),
        2,
        ("expected one with a whole checkpoint", "best.keras and last.keras"),
        all_truncated,
    ),
    "no checkpoint": Case(("resume", RUN, "--json"), 0, ("begins anew",), no_checkpoints, changes=RESUMED),
    "checkpoint of another network": Case(
        ("resume", RUN), 2, ("network", "[4, 8] in the checkpoint"), of_another_network
    ),
    "run whose network was edited": Case(
        ("resume", RUN), 2, ("[4, 32] in the checkpoint, [4, 3] now",), edited("hidden_units", "[3, 3]")
    ),
    "run whose environment was edited": Case(
        ("resume", RUN),
        2,
        ("environment: CartPole-v1 in the checkpoint, Acrobot-v1 now",),
        edited("env_id", '"Acrobot-v1"'),
    ),
    "run whose settings are damaged": Case(("resume", RUN), 2, ("a readable config.toml",), damaged_config),
    "run with a setting out of range": Case(
        ("resume", RUN), 2, ("config.toml: t_max=0: expected",), edited("t_max", "0")
    ),
    "run with an unknown setting": Case(
        ("resume", RUN), 2, ("config.toml", "Did you mean t_max?"), edited("t_max", "20\nt_maxx = 3")
    ),
    "run with a damaged result": Case(
        ("resume", RUN, "--json"), 0, ("resumed at step",), damaged_result, went_on, RESUMED
    ),
    "run with damaged figures": Case(
        ("resume", RUN, "--json"),
        0,
        ("episodes before the checkpoint",),
        damaged_figures,
        changes=RESUMED,
    ),
    "run that has ended": Case(("resume", RUN, "--json"), 0, ("has ended: it reached its limit",), ended),
    "run that another process trains": Case(
        ("resume", RUN), 2, ("expected one that no other process is training",), stopped, run=locked
    ),
    "resuming nothing": Case(("resume",), 2, ("a run: expected", "a3c train")),
    "resuming a directory that is no run": Case(
        ("resume", "it"), 2, ("a run directory, which has a config.toml",), file("it/x", "precious")
    ),
    "resuming with a setting that cannot change": Case(
        ("train", "--resume", RUN, "--t-max", "3"), 2, ("--t-max 3: expected 10, as in",), stopped
    ),
    # agents and crash cards
    "truncated agent, play": Case(("play", RUN), 2, ("best.keras", "It cannot be read"), truncated_best),
    "truncated agent, evaluate": Case(
        ("evaluate", RUN), 2, ("best.keras", "It cannot be read"), truncated_best
    ),
    "agent with code of its own": Case(
        ("evaluate", "evil.keras", "--env-id", "CartPole-v1"),
        2,
        ("safe mode", "--unsafe-load"),
        agent_with_code,
        nothing_was_run,
    ),
    "agent of another environment": Case(
        ("evaluate", RUN, "--env-id", "Acrobot-v1"), 2, ("trained on CartPole-v1",), ended
    ),
    "crash card that is damaged": Case(
        ("reproduce", "card.json"),
        2,
        ("crash card card.json: expected",),
        file("card.json", '{"format": "a3c cr'),
    ),
    "crash card of something else": Case(
        ("reproduce", "card.json"), 2, ("a card that a run of a3c wrote",), file("card.json", "[1, 2]")
    ),
    "crash card that is not there": Case(("reproduce", "card.json"), 2, ("a file that can be read",)),
    # the terminal
    "standard output closed early": Case(
        ("train", *SERIAL[:4], "--engine", "serial"), 0, run=read_only_the_first_line
    ),
    "standard output closed from the start": Case(
        ("train", *SERIAL[:4]),
        0,
        run=without_standard_output,
    ),
    "standard output that is full": Case(
        ("train", *SERIAL[:4]),
        0,
        run=into_a_full_device,
    ),
}


SLOW = {
    "agent with code of its own",
    "cache directory that cannot be written",
    "checkpoint of another network",
    "environment that cannot be reset",
    "environment that fails again and again",
    "environment that fails in a step, once",
    "environment that fails in an evaluation, once",
    "environment that hangs",
    "environment that hangs, serial",
    "environment that kills its process",
    "full disk during training",
    "infinite reward",
    "learning rate that is far too high",
    "model that cannot be saved",
    "model that makes no numbers",
    "model with wrong shapes",
    "newest checkpoint truncated",
    "newest checkpoint with one bit changed",
    "no checkpoint",
    "no shared memory",
    "observation of another shape",
    "observation that is no number",
    "run with a damaged result",
    "run with damaged figures",
    "standard output closed from the start",
    "two runs at the same moment",
}
"""Cases of more than two seconds, for the long suite."""


def main() -> int:
    """Carry out every case and print a line for each."""
    wrong = 0
    for name, case in CASES.items():
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="a3c-inputs-") as directory:
            try:
                said = carry_out(case, Path(directory)).err.strip().splitlines()
                result = f"exit {case.code}  {said[0] if said else ''}"
            except Impossible as reason:
                result = f"skipped: {reason}"
            except Exception as error:
                wrong += not case.fails
                text = str(error) or traceback.format_exc()
                result = f"{case.fails or 'WRONG'}: {text if sys.argv[1:] else next(iter(text.splitlines()))}"
        print(f"{time.monotonic() - began:5.1f} s  {name}: {result}", flush=True)
    forget()
    print(f"{wrong} of {len(CASES)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
