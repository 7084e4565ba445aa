"""Run peers and us in turn on CartPole-v1, on one machine by one rule, and record everything as JSON.

    python benchmarks/compare.py --seeds 101-105 [--only ours-warm,sb3-ppo] [--purejaxrl PATH]

makes an environment for each peer from the package registry, as pip is set up here (where pip knows of
torch's CPU build it takes that), runs the scripts in `benchmarks/peers/` and `a3c train`, and writes
`benchmarks/results/compare.json`. The rule: from process start until the mean return of the last 100
training episodes is at least 475; `peers/rejax_ppo.py` says how that is judged there. Ours counts only if
evaluations confirm it too. Seed by seed every side has its turn, so that a noisy hour hits all alike. Needs
Linux and psutil.
"""

import argparse
import dataclasses
import datetime
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from solve import machine

try:
    import psutil  # pyright: ignore[reportMissingModuleSource, reportMissingImports]  (not among our requirements)
except ImportError:
    raise SystemExit("The comparison measures memory with psutil: pip install psutil") from None

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
GOAL, MAX_STEPS = "475", "1000000"
SAMPLE_SECONDS = 0.05
MEDIANS = ("solved_seconds", "train_seconds", "steps", "steps_per_second", "peak_memory_mib")
UNTIL_SOLVED = ("solved_seconds", "train_seconds", "steps")  # mean something for solved runs only
BASE = "ours-warm"  # what ratios compare with

REQUIREMENTS = {
    "ours": ["-e", str(REPOSITORY)],
    "sb3": ["torch==2.13.0", "stable-baselines3>=2.9,<3"],
    # packaging: PFRL imports it without asking for it. Gymnasium: its environment, as for all others.
    "pfrl": ["torch==2.13.0", "pfrl>=0.4,<0.5", "packaging", "gymnasium>=1.2,<2"],
    # rejax 0.1 and PureJaxRL unpack five values of a step, gymnax 1 returns six; gymnax imports six as well.
    "rejax": ["rejax>=0.1.3,<0.2", "gymnax==0.0.9", "six", "distrax>=0.1.5,<0.2"],
    "envpool": ["envpool>=1.2,<2", "gymnasium>=1.2,<2"],
}
PACKAGES = "a3c keras jax jaxlib gymnasium numpy torch stable_baselines3 pfrl rejax gymnax flax optax envpool"


@dataclasses.dataclass(frozen=True)
class Side:
    """One competitor: the environment it lives in and what is run there."""

    title: str
    environment: str
    line: tuple[str, ...]
    cache: str = ""  # of compiled programs: "fresh" for each run, "kept" after a warm-up run, "": none
    learns: bool = True  # False: only its steps per second are compared


def _ours(title: str, *line: str, **more) -> Side:
    return Side(title, "ours", ("-m", "a3c", "train", *line, "--json", "--quiet"), **more)


THROUGHPUT = ("--envs-per-worker", "64", "--max-steps", "10000000", "--stop-return", "100000")
SIDES = {
    "ours-warm": _ours("a3c, compiled CartPole", "jax/CartPole-v1", cache="kept"),
    "ours-cold": _ours("a3c, compiled CartPole, first run ever", "jax/CartPole-v1", cache="fresh"),
    "ours-gymnasium": _ours("a3c, Gymnasium's CartPole", "CartPole-v1", cache="kept"),
    "ours-gymnasium-throughput": _ours(
        "a3c, Gymnasium's CartPole, 10 million steps",
        *("CartPole-v1", *THROUGHPUT),
        cache="kept",
        learns=False,
    ),
    "ours-throughput": _ours(
        "a3c, compiled CartPole, 10 million steps", "jax/CartPole-v1", *THROUGHPUT, cache="kept", learns=False
    ),
    "sb3-a2c": Side("Stable-Baselines3 A2C", "sb3", ("sb3.py", "--ppo", "0")),
    "sb3-ppo": Side("Stable-Baselines3 PPO", "sb3", ("sb3.py", "--ppo", "1")),
    "pfrl-a2c": Side("PFRL A2C", "pfrl", ("pfrl_a2c.py",)),
    "rejax-cold": Side("rejax PPO, by its own evaluation", "rejax", ("rejax_ppo.py",)),
    "rejax-warm": Side("rejax PPO, with JAX's compilation cache", "rejax", ("rejax_ppo.py",), "kept"),
    "purejaxrl-cold": Side("PureJaxRL PPO", "rejax", ("purejaxrl_ppo.py",)),
    "purejaxrl-warm": Side("PureJaxRL PPO, with JAX's cache", "rejax", ("purejaxrl_ppo.py",), "kept"),
    "stepping-sync": Side("Gymnasium sync, random", "ours", ("stepping.py", "--kind", "sync"), learns=False),
    "stepping-vector": Side(
        "Gymnasium vector, random", "ours", ("stepping.py", "--kind", "vector"), learns=False
    ),
    "stepping-envpool": Side(
        "EnvPool, random", "envpool", ("stepping.py", "--kind", "envpool"), learns=False
    ),
}


def clean_environment() -> dict[str, str]:
    """Ours, without what would keep a side from compiled bytecode or lend it another's packages or cache."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PIP_NO_COMPILE", "JAX_COMPILATION_CACHE_DIR")
    return {k: v for k, v in os.environ.items() if k not in dropped}


def python_of(directory: Path, name: str) -> str:
    """The Python of a side's environment, which is made if it is not there as required."""
    home = directory / name
    python, stamp = home / "bin" / "python", home / "requirements.json"
    wanted = json.dumps(REQUIREMENTS[name])
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"making the environment {name} …", file=sys.stderr, flush=True)
        variables = clean_environment()
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True, env=variables)
        install = [python, "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]]
        subprocess.run(install, check=True, env=variables)
        stamp.write_text(wanted)
    if name == "ours":  # an editable install is not compiled by pip
        compiling = [python, "-m", "compileall", "-q", REPOSITORY / "src" / "a3c"]
        subprocess.run(compiling, check=True, env=clean_environment())
    return str(python)


def versions_of(python: str) -> dict[str, str]:
    """Versions of Python and of the packages that matter."""
    told = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
    ).stdout
    names = {p["name"].lower().replace("-", "_"): p["version"] for p in json.loads(listed)}
    return {"python": told.split()[1], **{k: names[k] for k in PACKAGES.split() if k in names}}


def memory_mib(process: psutil.Process) -> float:
    """Memory of a process and its descendants: shared pages shared out (PSS) where that can be read."""
    total = 0
    try:
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for one in tree:
        try:
            try:
                total += one.memory_full_info().pss
            except (psutil.AccessDenied, AttributeError):
                total += one.memory_info().rss
        except psutil.NoSuchProcess:  # it has just ended
            pass
    return total / 2**20


def watch(line: list[str], variables: dict[str, str], timeout: float) -> dict:
    """Run a command; what it printed last, and the peak of its memory."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        # A session of its own, so that a timeout ends its workers too.
        child = subprocess.Popen(line, stdout=out, stderr=err, env=variables, start_new_session=True)
        process, peak, end = psutil.Process(child.pid), 0.0, time.monotonic() + timeout
        try:
            while child.poll() is None and time.monotonic() < end:
                peak = max(peak, memory_mib(process))
                time.sleep(SAMPLE_SECONDS)
        finally:
            late = child.poll() is None
            if late:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        out.seek(0)
        err.seek(0)
        printed, complaint = out.read().splitlines(), err.read()
    if late or child.returncode != 0 or not printed:
        print(complaint[-2000:], file=sys.stderr)
        failed = f"longer than {timeout:g} s" if late else f"exit code {child.returncode}"
        return {"solved": False, "failed": failed, "peak_memory_mib": peak}
    return {**json.loads(printed[-1]), "peak_memory_mib": peak}


def one_run(name: str, seed: int, python: str, kept: Path, given: argparse.Namespace) -> dict:
    """Run a side once with a seed."""
    side, variables = SIDES[name], clean_environment()
    with tempfile.TemporaryDirectory() as scratch:
        cache = str(kept / name if side.cache == "kept" else Path(scratch) / "cache")
        line = [python, *side.line, "--seed", str(seed)]
        if side.line[0] == "-m":
            variables["XDG_CACHE_HOME"] = cache
            line += ["--save-dir", scratch]
        else:
            line[1] = str(HERE / "peers" / side.line[0])
            line += ["--goal", GOAL, "--max-steps", MAX_STEPS]
            if side.cache:  # JAX's own, which a user of the peer may switch on in this way
                variables["JAX_COMPILATION_CACHE_DIR"] = cache
                variables["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
            if name.startswith("purejaxrl"):
                line += ["--path", str(Path(given.purejaxrl).resolve())]
        result = watch(line, variables, given.timeout)
    wanted = ("solved", *MEDIANS, "failed")
    return {"seed": seed, **{k: result[k] for k in wanted if result.get(k) is not None}}


def command_of(side: Side) -> str:
    """What is run, for a reader."""
    if side.line[0] == "-m":
        return " ".join(side.line[1:])
    return "python benchmarks/peers/" + " ".join(side.line)


def summary(name: str, runs: list[dict], versions: dict[str, str]) -> dict:
    """The record of a side, but for the ratios."""
    side = SIDES[name]
    medians = {}
    for key in MEDIANS:
        values = [r[key] for r in runs if key in r and (r["solved"] or key not in UNTIL_SOLVED)]
        if values:
            medians[key] = statistics.median(values)
    solved = f"{sum(run['solved'] for run in runs)} of {len(runs)}" if side.learns else None
    return {
        "title": side.title,
        "command": command_of(side),
        "cache": side.cache or "none",
        "learns": side.learns,
        "solved": solved,
        "medians": medians,
        "versions": versions,
        "runs": runs,
    }


def add_ratios(sides: dict[str, dict]) -> None:
    """Every median through that of our usual run; below 1 in seconds and memory is better than ours."""
    ours = sides.get(BASE, {}).get("medians", {})
    for side in sides.values():
        side[f"ratios_to_{BASE}"] = {k: v / ours[k] for k, v in side["medians"].items() if ours.get(k)}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "a3c-compare"
    parser.add_argument("--seeds", default="101-105", help="first-last")
    parser.add_argument("--only", help=f"some of {','.join(SIDES)}")
    parser.add_argument("--environments", type=Path, default=cache, help="where the sides' packages are put")
    parser.add_argument("--purejaxrl", help="the folder of ppo.py in a checkout of PureJaxRL, to run it too")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one run")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "compare.json")
    given = parser.parse_args()
    given.names = given.only.split(",") if given.only else list(SIDES)
    if unknown := set(given.names) - set(SIDES):
        parser.error(f"--only: no {', '.join(sorted(unknown))} among {', '.join(SIDES)}")
    if not given.purejaxrl:
        given.names = [name for name in given.names if not name.startswith("purejaxrl")]
    return given


def main() -> None:
    """Make the environments, run every side in turn, record."""
    given = parse()
    first, last = map(int, given.seeds.split("-"))
    homes = sorted({SIDES[name].environment for name in given.names})
    pythons = {home: python_of(given.environments.resolve(), home) for home in homes}
    versions = {home: versions_of(python) for home, python in pythons.items()}
    runs: dict[str, list[dict]] = {name: [] for name in given.names}
    with tempfile.TemporaryDirectory() as kept:
        for seed in [None, *range(first, last + 1)]:
            for name in given.names:
                side = SIDES[name]
                if seed is None and side.cache != "kept":
                    continue
                # A warm-up run fills a kept cache; the first seed serves again, as compiling knows no seed.
                run = one_run(name, seed or first, pythons[side.environment], Path(kept), given)
                print(name, "warm-up" if seed is None else json.dumps(run), flush=True)
                if seed is not None:
                    runs[name].append(run)
    sides = {name: summary(name, runs[name], versions[SIDES[name].environment]) for name in given.names}
    add_ratios(sides)
    record = {
        "goal": float(GOAL),
        "seeds": given.seeds,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "sides": sides,
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: side["medians"] for name, side in sides.items()}, indent=1))


if __name__ == "__main__":
    main()
