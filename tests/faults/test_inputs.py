"""Bad input and faults: what is said, the exit code, and what is not lost.

Each case is run in a directory of its own, with `faulty.py`, `networks.py` and `compiled.py` in it. Files
that were there before must be there afterwards, byte for byte, but for those that a case names in `changes`.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import harness
import keras
import numpy as np
import pytest
from harness import Outcome

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

RUN = "runs/CartPole-v1/base"
CHANGES = ("runs/*", "runs/**/*", f"{RUN}/*", f"{RUN}/checkpoints/*")
RESUMED = dict(changes=CHANGES, slow=True)
BESIDE = f".:{os.environ.get('PYTHONPATH', '')}"


@pytest.fixture(scope="module", autouse=True)
def finished_runs():
    """Made where they are needed; removed at the end."""
    base.cache_clear()
    with tempfile.TemporaryDirectory(prefix="a3c-inputs-") as directory:
        base.place = directory
        yield


def check(cwd, arguments, code, says, prepare=(), holds=(), changes=(), run=None, trace=False, **environment):
    """Provoke one case in an empty directory, and check what comes of it.

    Args:
        code: The exit code.
        says: What standard error must say.
        prepare: Provokes it, in the directory where the command is run.
        holds: What must hold afterwards.
        changes: Files there before that may change, as patterns.
        run: How; by default refusals come about in this process, and all else in one of its own.
        trace: Whether a traceback is shown: that of the user's own code.
    """
    prepare, holds = ((one,) if callable(one) else one for one in (prepare, holds))
    for name in ("faulty.py", "networks.py", "../envs/faulty_module.py"):
        shutil.copy(Path(__file__).parent / name, cwd)
    (cwd / "compiled.py").write_text(COMPILED)
    for provoke in prepare:
        provoke(cwd)
    before, shared = contents(cwd), harness.shared_memory()
    run = run or (harness.call if code == 2 else harness.run)
    outcome = run(cwd, *arguments, environment=environment)
    told = f"exit code {outcome.code}\n{outcome.err[-3000:]}"
    assert outcome.code == code, told
    for text in says:
        assert text in outcome.err, f"it does not say {text!r}: {told}"
    assert trace or "Traceback" not in outcome.err + outcome.out, told
    after = contents(cwd)
    for name, digest in before.items():
        if not any(Path(name).match(pattern) for pattern in changes):
            assert after.get(name) == digest, f"{name} is gone or has changed"
    if code == 2:
        refusal = ("\n" + outcome.err).rpartition("\na3c: ")[2]  # what precedes it is progress
        assert len(refusal.strip().splitlines()) <= 2, f"more than two lines: {told}"
        new = [name for name in after.keys() - before if not re.search(r"\.pyc$|\.lock$|__pycache__$", name)]
        assert not new, f"files are left: {new}"
    left = [name for name in after if re.search(r"(^|/)\.[^/]*\.tmp(\.\w+)?$|/\.new-", name)]
    assert not left, f"temporary files are left: {left}"
    for hold in holds:
        hold(cwd, outcome)
    ours = {name for name in harness.shared_memory() - shared if name.startswith("a3c-")}
    assert not ours, f"shared memory is left: {ours}"


def contents(cwd: Path) -> dict[str, str]:
    """A digest of each file under `cwd`, and the directories in it."""
    return {
        str(path.relative_to(cwd)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in cwd.rglob("*")
        if path.is_file() or path.parent == cwd
    }


# -- what is prepared ---------------------------------------------------------------------------------------


def file(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Prepares a file."""

    def prepare(cwd: Path) -> None:
        (cwd / name).parent.mkdir(exist_ok=True)
        (cwd / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return prepare


precious = file("a_file", "precious"), file("a_folder/x", "precious")


@functools.cache
def base(*more: str) -> Path:
    """A finished run of CartPole-v1 with several checkpoints; made once."""
    directory = Path(tempfile.mkdtemp(dir=base.place))
    limits = ("--max-steps", "60000", "--evaluation-episodes", "5", "--stop-return", "1e9")
    options = ("--engine", "serial", "--seed", "1", "--checkpoint-seconds", "0.001", "--json", "--quiet")
    outcome = harness.call(directory, "train", "CartPole-v1", *limits, *options, *more)
    assert outcome.code == 0, outcome.err
    return directory / outcome.json["run_dir"]


def ended(cwd: Path) -> None:
    """A run that has ended."""
    shutil.copytree(base(), cwd / RUN)


def stopped(cwd: Path) -> None:
    """A run that was killed before its end."""
    ended(cwd)
    (cwd / RUN / "result.json").unlink()


def newest(cwd: Path) -> Path:
    return max((cwd / RUN / "checkpoints").glob("step-*.zip"))


def replace(path: Path, content: bytes) -> None:
    """Write a file anew; other names of the same one keep theirs."""
    path.unlink()
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Cut off the second half."""
    replace(path, path.read_bytes()[: path.stat().st_size // 2])


def newest_truncated(cwd: Path) -> None:
    truncate(newest(cwd))


def newest_flipped(cwd: Path) -> None:
    content = bytearray(newest(cwd).read_bytes())
    content[len(content) // 2] ^= 1
    replace(newest(cwd), content)


def all_truncated(cwd: Path) -> None:
    for path in (cwd / RUN / "checkpoints").iterdir():
        truncate(path)


def no_checkpoints(cwd: Path) -> None:
    shutil.rmtree(cwd / RUN / "checkpoints")


def of_another_network(cwd: Path) -> None:
    no_checkpoints(cwd)
    shutil.copytree(base("--hidden-units", "8") / "checkpoints", cwd / RUN / "checkpoints")


def edited(name: str, value: str) -> tuple[Callable[[Path], None], ...]:
    """A stopped run with one setting of its `config.toml` changed."""

    def prepare(cwd: Path) -> None:
        path = cwd / RUN / "config.toml"
        setting = re.compile(rf"^{name} = (\[.*?\]|[^\n]*)$", re.M | re.S)
        text, count = setting.subn(f"{name} = {value}", path.read_text())
        assert count == 1, path.read_text()
        path.write_text(text)

    return stopped, prepare


def damaged_config(cwd: Path) -> None:
    truncate(cwd / RUN / "config.toml")


def damaged_figures(cwd: Path) -> None:
    path = cwd / RUN / "episodes.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: len(lines) // 2]) + "\n7,1")  # breaks off in a row
    (cwd / RUN / "metrics.jsonl").unlink()


def truncated_best(cwd: Path) -> None:
    truncate(cwd / RUN / "best.keras")


def agent_with_code(cwd: Path) -> None:
    """A model file with a Lambda layer, which would run code of its own."""
    x = keras.Input((4,))
    with contextlib.chdir(cwd):
        y = keras.layers.Lambda(lambda t: [__import__("pathlib").Path("happened").touch(), t][1])(x)
        keras.Model(x, [keras.layers.Dense(2)(y), keras.layers.Dense(1)(y)]).save("evil.keras")
    (cwd / "happened").unlink(missing_ok=True)


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
            pytest.skip("mounting a small disk needs root")

    return prepare


def fill(cwd: Path) -> None:
    """Leave no byte free."""
    with contextlib.suppress(OSError), open(cwd / "runs" / "other", "wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)


COMPILED = """
import jax.numpy as jnp
from faulty_module import Functional

class State(Functional):
    def transition(self, state, action, rng, params=None):
        return {**state, "row": state["row"] + 0.5}

class Shape(Functional):
    def observation(self, state, rng, params=None):
        return jnp.zeros(3)

class Raises(Functional):
    def reward(self, state, action, next_state, rng, params=None):
        raise RuntimeError("of its own")

class Branches(Functional):
    def transition(self, state, action, rng, params=None):
        return state if action else state
"""
NO_TENSORFLOW = "import sys\nsys.modules['tensorflow'] = None\n"
NO_SHARED_MEMORY = """
import os

def full(*_):
    raise OSError(28, "No space left on device")

os.posix_fallocate = full
"""

# -- how it is run ------------------------------------------------------------------------------------------


def locked(cwd: Path, *arguments: str, environment: dict[str, str]) -> Outcome:
    """Run while somebody else trains in the run's directory."""
    with open(cwd / RUN / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return harness.call(cwd, *arguments)


def in_a_shell(script: str) -> Callable[..., Outcome]:
    """Run as a shell would, with the command at the place of A3C."""

    def run(cwd: Path, *arguments: str, environment: dict[str, str]) -> Outcome:
        line = script.replace("A3C", f"{sys.executable} -m a3c {' '.join(arguments)}")
        return harness.command(cwd, ["bash", "-c", line])

    return run


def twice_at_once(cwd: Path, *arguments: str, environment: dict[str, str]) -> Outcome:
    """The same command twice, at the same moment."""
    first = harness.start(*arguments, cwd=cwd)
    second = harness.run(cwd, *arguments)
    _, errors = first.communicate(timeout=harness.DEADLINE)
    assert first.returncode == 0, errors
    return second


# -- what must hold -----------------------------------------------------------------------------------------


def run_of(cwd: Path) -> Path:
    run = harness.run_directory(cwd)
    assert run is not None, "there is no run directory"
    return run


def finished(cwd: Path, outcome: Outcome) -> None:
    """The run is whole: figures, agents that are numbers, and a result."""
    harness.check_files(run_of(cwd), outcome.json)
    agents_are_finite(cwd, outcome)
    assert json.loads((run_of(cwd) / "result.json").read_text()) == outcome.json
    assert not list(run_of(cwd).glob("crash-*")), "there is a crash report"


def agents_are_finite(cwd: Path, outcome: Outcome) -> None:
    """best.keras and last.keras can be read, and hold numbers."""
    for name in ("best.keras", "last.keras"):
        assert is_finite(run_of(cwd) / name), f"{name} has weights that are no numbers"


def is_finite(path: Path) -> bool:
    """Whether an agent's file is whole, and all its weights are numbers."""
    return all(np.isfinite(array).all() for array in harness.arrays(path).values())


def logged(*texts: str) -> Callable[[Path, Outcome], None]:
    """The run is whole but for what happened, which stands in its log."""

    def holds(cwd: Path, outcome: Outcome) -> None:
        log = (run_of(cwd) / "log.txt").read_text()
        for text in texts:
            assert text in log, f"log.txt does not say {text!r}: {log}"
        if outcome.code == 0:
            harness.check_files(run_of(cwd), outcome.json)
        agents_are_finite(cwd, outcome)

    return holds


def played_again(cwd: Path) -> Outcome:
    """What comes of playing the only crash report."""
    [card] = run_of(cwd).glob("crash-1-*.json")
    return harness.run(cwd, "reproduce", str(card))


def survived(what: str) -> Callable[[Path, Outcome], None]:
    """The fault was told and written to a crash report, the environment rebuilt, and the run is whole."""

    def holds(cwd: Path, outcome: Outcome) -> None:
        logged(what, "rebuilt 1/5; see it again with: a3c reproduce ")(cwd, outcome)
        again = played_again(cwd)
        assert again.code == 0, again
        assert "Not reproduced" in again.out, again

    return holds


def reproduced(text: str) -> Callable[[Path, Outcome], None]:
    """What was learned is saved, and the crash report shows the fault again."""

    def holds(cwd: Path, outcome: Outcome) -> None:
        agents_are_finite(cwd, outcome)
        again = played_again(cwd)
        assert again.code == 1, again
        assert "Reproduced" in again.out, again
        assert text in again.out + again.err, again

    return holds


def went_on(cwd: Path, outcome: Outcome) -> None:
    """The run was resumed and has ended."""
    logged("resumed at step")(cwd, outcome)
    assert json.loads((cwd / RUN / "result.json").read_text()) == outcome.json


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
    assert all(is_finite(path) for path in run.glob("*.keras"))
    for path in run.glob("checkpoints/*.zip"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None, path


# -- the cases ----------------------------------------------------------------------------------------------

SAID = """
# command lines, settings and files of settings
unknown environment: train CartPole-v9
    environment CartPole-v9: expected the id of a registered … Closest: CartPole
unknown module: train nowhere:Env-v0
    module:EnvId … Importing nowhere failed
module with a syntax error: train broken:Env-v0
    environment broken:Env-v0: expected
relative module: train .faulty:Env-v0
    environment .faulty:Env-v0: expected
class of an environment: train faulty:Words
    id of a registered … It is a class. Register
text observations: train faulty:Words-v0
    observations Text … TransformObservation
composite actions: train faulty:Both-v0
    with actions Dict … TransformAction
values of continuous actions: train Pendulum-v1 --algorithm n-step-q
    1 continuous actions and --algorithm n-step-q: expected Discrete actions …
    … --algorithm a3c, a2c, impala, appo or ppo
no limit of divergence in step: train --algorithm ppo --kl-limit 0.02
    --kl-limit 0.02: expected none with --algorithm ppo … --algorithm appo has one
no lock with a learner: train --algorithm a2c --no-locking
    --locking False: expected true where a learner makes all updates … workers update nothing themselves
convolutions of vectors: train --network nature
    --network nature: expected another: it is one for images … CartPole-v1 shows vectors of 4
word for an optional one: train --clip-rewards x
    --clip-rewards x: expected a number, or none
words for units: train --hidden-units 3 x
    --hidden-units 3 x: expected integers, or none
word for a number: train --lr fast
    --learning-rate fast: expected a number … --help
integer out of every range: train --max-steps NINES
    of 64 bits
typo in a flag: train --learning-rat 1
    --learning-rat: expected an option … Did you mean --learning-rate? … --help
unknown choice: train --engine ray
    --engine ray: expected one of auto, serial
unknown command: trian
    command trian: expected one of train … a3c --help
unknown model class: train --model nowhere:Model
    model nowhere:Model: expected
unknown activation: train --activation swoosh
    --activation swoosh: expected
no episodes: random --episodes 0
    --episodes 0: expected an integer of at least 1
preset that is no TOML: train --preset mine.toml
    breaks off with
preset that is no text: train --preset mine.toml
    that can be read
preset with a wrong value: train --preset mine.toml
    mine.toml: t_max=-1: expected
preset that is not there: train --preset mine.toml
    --preset mine.toml: expected
bytes that are no text: train \udcff
    expected a text without control characters
name too long: play LONG
    expected a .keras file, a run directory
missing backend: train --backend tensorflow
    an installed one (jax) … pip install 'a3c[tensorflow]'
unknown backend in the environment: train
    expected one of jax, tensorflow

wrong counts of workers: scaling --workers 0
    --workers 0: expected distinct integers of at least 1
no seeds: scaling --seeds 0
    --seeds 0: expected an integer of at least 1
scaling with a setting out of range: scaling --t-max 0
    --t-max 0: expected an integer of at least 1
scaling the serial engine: scaling --engine serial --workers 1,2
    serial
negative seed of the doctor: doctor --seed -1
    --seed
doctor to resume nothing: doctor --resume
    --resume
doctor on an unknown backend: doctor --backend torch
    torch
typo in a flag of the doctor: doctor --frob
    --frob

# compiled environments
state of another type: train compiled:State
    compiled:State.transition returning
observation of another shape than its space: train compiled:Shape
    compiled:Shape.observation returning shape (3,): expected that of its space, (2,)
compiled environment that raises: train compiled:Raises
    RuntimeError: of its own
compiled environment with a branch: train compiled:Branches
    compiled:Branches.transition: expected a pure function on JAX arrays
compiled environment that is not there: train compiled:Missing
    compiled:Missing
unknown compiled environment: train jax/Pong
    expected one of jax/CartPole-v1, jax/CartPole-v0
unknown environment of gymnax: train gymnax/Nothing
    gymnax
unknown environment of EnvPool: train envpool/Nothing
    EnvPool

# environments and models
environment that cannot be made: train faulty:InInit-v0 ONE
    no simulator here … one that can be made
environment that cannot be reset: train faulty:InReset-v0 ONE --max-restarts 2 → 1
    ValueError: the level is missing … a3c reproduce runs/ … --max-restarts 2
environment that fails in a step, once: train faulty:InStepOnce-v0 ONE → 0
    raised ValueError: the floor is lava in step … rebuilt 1/5
environment that fails again and again: train faulty:InStep-v0 ONE --max-restarts 2 → 1
    one fault more than --max-restarts 2 allows. The first was … ValueError: the floor is lava
environment that fails in an evaluation, once: train faulty:InEvaluationOnce-v0 SERIAL → 0
    the floor is lava
environment that fails in every step, serial: train faulty:InEveryStep-v0 SERIAL --max-restarts 1 → 1
    ValueError: nothing works
environment that fails in every step, random: random faulty:InEveryStep-v0 → 1
    a3c:  … ValueError: nothing works
observation that is no number: train faulty:NanOnce-v0 ONE → 0
    returned a non-finite observation (index 0: nan)
infinite reward: train faulty:Infinite-v0 ONE --max-restarts 1 → 1
    returned a non-finite reward (inf)
observation of another shape: train faulty:ShapeOnce-v0 ONE → 0
    returned an observation of shape (5,), expected (4,)
environment that kills its process: train faulty:KilledOnce-v0 ONE → 0
    killed (signal 9); restarted 1/5
environment that hangs: train faulty:HangsOnce-v0 ONE --hang-seconds 3 → 0
    has finished nothing for … it is in step ( … faulty.py, line
environment that hangs, serial: train faulty:SerialHangsOnce-v0 SERIAL --hang-seconds 3 → 0
    worker 0: nothing finished for … it is in step ( … faulty.py, line  … rebuilt 1/5
model with wrong shapes: train --model networks:Wrong ONE
    returning [N, 3], [N, 1]: expected
model that cannot be saved: train --model networks:Unsaveable ONE
    one that Keras can save and load
model that makes no numbers: train --model networks:Nan ONE --max-steps 20000 → 1
    not finite … lower --learning-rate
learning rate that is far too high: train ONE --learning-rate 1e30 --max-steps 60000 → 1
    not finite … lower --learning-rate

# where runs are written
save-dir that is a file: train SERIAL --save-dir a_file
    save-dir a_file: expected … a directory that can be written … --save-dir
save-dir under a file: train SERIAL --save-dir a_file/x
    a directory that can be written
save-dir that is read-only: train SERIAL --save-dir closed
    a directory that can be written
full disk before the start: train SERIAL
    save-dir runs … No space left
full disk during training: train SERIAL --max-steps 20000 → 1
    No space left on device
cache directory that cannot be written: train SERIAL → 0
    the cache directory cannot be written to (--no-cache)
two runs at the same moment: train SERIAL → 0
no shared memory: train ONE → 1
    MiB of shared memory … --shm-size

# runs that are resumed
newest checkpoint truncated: resume RUN --json → 0
    is damaged … going on from the one before
newest checkpoint with one bit changed: resume RUN --json → 0
    is damaged … going on from the one before
no checkpoint: resume RUN --json → 0
    begins anew
run with a damaged result: resume RUN --json → 0
    resumed at step
run with damaged figures: resume RUN --json → 0
    episodes before the checkpoint
every checkpoint damaged: resume RUN
    expected one with a whole checkpoint … best.keras and last.keras
checkpoint of another network: resume RUN
    network … [4, 8] in the checkpoint
run whose network was edited: resume RUN
    [4, 32] in the checkpoint, [4, 3] now
run whose environment was edited: resume RUN
    environment: CartPole-v1 in the checkpoint, Acrobot-v1 now
run whose settings are damaged: resume RUN
    a readable config.toml
run with a setting out of range: resume RUN
    config.toml: t_max=0: expected
run with an unknown setting: resume RUN
    config.toml … Did you mean t_max?
run that has ended: resume RUN --json → 0
    has ended: it reached its limit
run that another process trains: resume RUN
    expected one that no other process is training
resuming nothing: resume
    a run: expected … a3c train
resuming a directory that is no run: resume a_folder
    a run directory, which has a config.toml
resuming with a setting that cannot change: train --resume RUN --t-max 3
    --t-max 3: expected 10, as in

# agents, crash reports and curves
truncated agent, play: play RUN
    best.keras … It cannot be read
truncated agent, evaluate: evaluate RUN
    best.keras … It cannot be read
agent with code of its own: evaluate evil.keras --env-id CartPole-v1
    safe mode … --unsafe-load
agent of another environment: evaluate RUN --env-id Acrobot-v1
    a model for Acrobot-v1 … trained on CartPole-v1
agent that is not there: play missing.keras
    model file missing.keras: expected an existing
agent that is no archive: evaluate damaged.keras
    model file damaged.keras … cannot be read
no run of this environment yet: play Acrobot-v1
    a run of Acrobot-v1 … a3c train Acrobot-v1
no run at all: evaluate
    a run: expected … a3c train
curves of nothing: plot
    no run: expected
curves of no run: plot a_folder
    run a_folder: expected
crash report that is damaged: reproduce card.json
    crash report card.json: expected
crash report of something else: reproduce card.json
    a report that a run of a3c wrote
crash report that is not there: reproduce card.json
    a file that can be read

# the terminal
standard output closed early: PLAIN → 0
standard output closed from the start: PLAIN → 0
standard output that is full: PLAIN → 0
"""
"""What is typed, the exit code where it is not 2, and beneath it what is said."""

SHORT = "--max-steps 2000 --evaluation-episodes 5"
WORDS = dict(
    ONE=f"{SHORT} --json --engine processes --workers 1 --seed 1",
    SERIAL=f"{SHORT} --json --engine serial --seed 1",
    PLAIN=f"train {SHORT} --engine serial",
    NINES="9" * 30,
    LONG="x" * 300,
    RUN=RUN,
)

fell_back = went_on, logged("is damaged", "going on from the one before, step-")
MORE = {
    "module with a syntax error": dict(prepare=file("broken.py", "def (:\n")),
    "preset that is no TOML": dict(prepare=file("mine.toml", "t_max = \n")),
    "preset that is no text": dict(prepare=file("mine.toml", b"\xff\xfe\x00")),
    "preset with a wrong value": dict(prepare=file("mine.toml", "t_max = -1")),
    "bytes that are no text": dict(run=harness.run),
    "missing backend": dict(
        prepare=file("sitecustomize.py", NO_TENSORFLOW), run=harness.run, KERAS_BACKEND="", PYTHONPATH=BESIDE
    ),
    "unknown backend in the environment": dict(run=harness.run, KERAS_BACKEND="torch"),
    "environment that cannot be made": dict(run=harness.run),
    "environment that cannot be reset": dict(holds=reproduced("the level is missing"), trace=True, slow=True),
    "environment that fails in a step, once": dict(holds=survived("the floor is lava"), slow=True),
    "environment that fails again and again": dict(
        holds=reproduced("the floor is lava"), trace=True, slow=True
    ),
    "environment that fails in an evaluation, once": dict(slow=True),
    "environment that fails in every step, serial": dict(trace=True),
    "environment that fails in every step, random": dict(trace=True, run=harness.call),
    "observation that is no number": dict(holds=survived("non-finite observation"), slow=True),
    "infinite reward": dict(holds=reproduced("non-finite reward"), slow=True),
    "observation of another shape": dict(holds=survived("shape (5,)"), slow=True),
    "environment that kills its process": dict(holds=logged("killed (signal 9); restarted 1/5"), slow=True),
    "environment that hangs": dict(holds=logged("hung for", "it is in step (", "restarted 1/5"), slow=True),
    "environment that hangs, serial": dict(slow=True),
    "model with wrong shapes": dict(run=harness.run, slow=True),
    "model that cannot be saved": dict(run=harness.run, slow=True),
    "model that makes no numbers": dict(holds=agents_are_finite, slow=True),
    "learning rate that is far too high": dict(holds=agents_are_finite, slow=True),
    "save-dir that is a file": dict(prepare=precious),
    "save-dir under a file": dict(prepare=precious),
    "save-dir that is read-only": dict(prepare=unwritable),
    "full disk before the start": dict(prepare=(disk("64k"), fill), holds=filler_is_there, run=harness.run),
    "full disk during training": dict(prepare=disk("40k"), holds=can_be_resumed, slow=True),
    "cache directory that cannot be written": dict(
        holds=finished, XDG_CACHE_HOME="/proc/none", HOME="/proc/none", slow=True
    ),
    "two runs at the same moment": dict(holds=two_runs, run=twice_at_once, slow=True),
    "no shared memory": dict(
        prepare=file("sitecustomize.py", NO_SHARED_MEMORY), PYTHONPATH=BESIDE, TMPDIR=".", slow=True
    ),
    "newest checkpoint truncated": dict(prepare=(stopped, newest_truncated), holds=fell_back, **RESUMED),
    "newest checkpoint with one bit changed": dict(
        prepare=(stopped, newest_flipped), holds=fell_back, **RESUMED
    ),
    "no checkpoint": dict(prepare=(stopped, no_checkpoints), **RESUMED),
    "run with a damaged result": dict(
        prepare=(ended, file(f"{RUN}/result.json", '["solved"]')), holds=went_on, **RESUMED
    ),
    "run with damaged figures": dict(prepare=(stopped, damaged_figures), **RESUMED),
    "every checkpoint damaged": dict(prepare=(stopped, all_truncated)),
    "checkpoint of another network": dict(prepare=(stopped, of_another_network), slow=True),
    "run whose network was edited": dict(prepare=edited("hidden_units", "[3, 3]")),
    "run whose environment was edited": dict(prepare=edited("env_id", '"Acrobot-v1"')),
    "run whose settings are damaged": dict(prepare=(stopped, damaged_config)),
    "run with a setting out of range": dict(prepare=edited("t_max", "0")),
    "run with an unknown setting": dict(prepare=edited("t_max", "20\nt_maxx = 3")),
    "run that has ended": dict(prepare=ended, run=harness.call),
    "run that another process trains": dict(prepare=stopped, run=locked),
    "resuming a directory that is no run": dict(prepare=precious),
    "resuming with a setting that cannot change": dict(prepare=stopped),
    "truncated agent, play": dict(prepare=(ended, truncated_best)),
    "truncated agent, evaluate": dict(prepare=(ended, truncated_best)),
    "agent with code of its own": dict(prepare=agent_with_code, holds=nothing_was_run, slow=True),
    "agent of another environment": dict(prepare=ended),
    "agent that is no archive": dict(prepare=file("damaged.keras", "not a zip")),
    "curves of no run": dict(prepare=precious),
    "crash report that is damaged": dict(prepare=file("card.json", '{"format": "a3c cr')),
    "crash report of something else": dict(prepare=file("card.json", "[1, 2]")),
    "standard output closed early": dict(run=in_a_shell("set -o pipefail; A3C | head -1")),
    "standard output closed from the start": dict(run=in_a_shell("A3C >&-"), slow=True),
    "standard output that is full": dict(run=in_a_shell("A3C > /dev/full")),
}
"""What else belongs to a case, see `check`; `slow`: for the long suite."""


def cases():
    """The parameters of `test_input`."""
    assert MORE.keys() <= {line.partition(": ")[0] for line in SAID.splitlines()}
    for line, said in re.findall(r"^(\w.*)\n((?: .*\n)*)", SAID, re.M):
        name, typed, code = re.fullmatch(r"(.*?): (.*?)(?: → (\d))?", line).groups()
        arguments = re.sub(r"\b[A-Z]+\b", lambda word: WORDS.get(word[0], word[0]), typed).split()
        more = dict(MORE.get(name, {}))
        marks = [pytest.mark.long_faults] if more.pop("slow", False) else []
        says = [text.strip() for text in said.split("…") if text.strip()]
        yield pytest.param(arguments, int(code or 2), says, more, id=name, marks=marks)


@pytest.mark.parametrize(("arguments", "code", "says", "more"), list(cases()))
def test_input(arguments, code, says, more, tmp_path):
    try:
        check(tmp_path, arguments, code, says, **more)
    finally:
        if os.path.ismount(tmp_path / "runs"):
            subprocess.run(["umount", "-l", str(tmp_path / "runs")], check=True)
