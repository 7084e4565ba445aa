"""What the defaults learn where there is no preset, beside the defaults of Stable-Baselines3.

    python benchmarks/defaults.py --peer-python PATH            # all that is not recorded yet, then the page
    python benchmarks/defaults.py --contenders a3c --seeds 1-1  # some of it
    python benchmarks/defaults.py --only appo/Pendulum          # the runs whose names begin so, anew
    python benchmarks/defaults.py --table                       # the page alone, from what is recorded

18 environments, four contenders, three seeds, at most a million steps and ten minutes each, nobody stops
because an environment is solved. One run at a time, the first seed of everything before the second of
anything. Each run has a file of its own in `benchmarks/results/defaults/CONTENDER/`; what has one is skipped,
so that this can be stopped and started again. Writes `docs/defaults.md` and `docs/defaults.png`.

A score is the mean return of the training episodes that ended in the last tenth of a budget of steps or of
minutes since process start, but of 20 episodes at least, where so many have ended. 0 is random play, 1 the
reference of the table below. PATH is the interpreter of a virtual environment with

    pip install torch==2.13.0 stable-baselines3 'gymnasium[box2d,mujoco]' minatar

and ours needs `pip install --no-deps minatar`, beside the extras box2d and mujoco.
"""

import argparse
import csv
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from environments import mean_return
from solve import RESULTS, machine

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
RECORDS = RESULTS / "defaults"
STEPS, MINUTES = 1_000_000, 10.0
STEP_BUDGETS = (25_000, 50_000, 100_000, 200_000, 300_000, 500_000, 700_000, STEPS)
MINUTE_BUDGETS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, MINUTES)
SHOWN = {"steps": (100_000, 300_000, STEPS), "minutes": (1.0, 3.0, MINUTES)}
"""What the page has tables of; the picture has all."""

WINDOW, FEWEST = 0.1, 20  # of a budget; episodes
GRACE = 60.0  # seconds after the limit, before a run is killed
RANDOM_EPISODES, RANDOM_STEPS = 100, 200_000


@dataclass(frozen=True)
class Task:
    """An environment, and the return that counts as 1.

    Attributes:
        env_id: As every side's command has it.
        reference: The environment's own reward threshold where `source` is empty.
        source: Where the reference is from.
    """

    env_id: str
    reference: float
    source: str = ""

    @property
    def name(self) -> str:
        """Its name in files and tables."""
        return self.env_id.rpartition(":")[2]


ZOO = "PPO of the RL Baselines3 Zoo"  # benchmark.md, tuned settings, one run
SCRIPT = "scripted player"  # python benchmarks/environments.py
OURS = "our preset after 5 M steps"  # docs/scores.md, the same game of gymnax, greedy, five seeds

TASKS = (
    Task("CartPole-v1", 475.0),
    Task("Acrobot-v1", -100.0),
    Task("MountainCar-v0", -110.0),
    Task("MountainCarContinuous-v0", 90.0),
    Task("Pendulum-v1", -172.2, ZOO),
    Task("FrozenLake-v1", 0.7),
    Task("Taxi-v4", 8.0),
    Task("LunarLander-v3", 200.0),
    Task("LunarLanderContinuous-v3", 200.0),
    Task("BipedalWalker-v3", 300.0),
    Task("HalfCheetah-v5", 4800.0),
    Task("Hopper-v5", 3800.0),
    Task("Walker2d-v5", 3478.8, f"{ZOO}, Walker2d-v3"),
    Task("environments:MinAtarBreakout-v0", 44.2, OURS),
    Task("environments:MinAtarSpaceInvaders-v0", 162.0, OURS),
    Task("environments:Catch-v0", 10.0, SCRIPT),
    Task("environments:TMaze-v0", 0.92, SCRIPT),
    Task("environments:Wheels-v0", 16.8, SCRIPT),
)


@dataclass(frozen=True)
class Contender:
    """Who is compared.

    Attributes:
        title: In the page.
        algorithm: The argument `--algorithm` of its command.
        peer: Whether it is Stable-Baselines3's.
    """

    title: str
    algorithm: str
    peer: bool = False


CONTENDERS = {
    "a3c": Contender("a3c", "a3c"),
    "appo": Contender("appo", "appo"),
    "sb3-ppo": Contender("SB3 PPO", "ppo", peer=True),
    "sb3-a2c": Contender("SB3 A2C", "a2c", peer=True),
}


# -- running -------------------------------------------------------------------------------------------------


class Failed(RuntimeError):
    """A run that left nothing to be scored."""


@dataclass(frozen=True)
class Limits:
    """When a run ends, and with how many threads a peer computes (0: as many as it takes)."""

    steps: int = STEPS
    seconds: float = 60 * MINUTES
    threads: int = 0


def watch(line: list[str], variables: dict[str, str], seconds: float, grace: float) -> tuple[int, str, str]:
    """Run a command; after `seconds` ask it to end, after `grace` more kill it and what it started.

    Returns its exit code and the ends of what it printed to standard output and standard error.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(
            line, stdout=out, stderr=err, env={**os.environ, **variables}, cwd=HERE, start_new_session=True
        )
        try:
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGINT)
                child.wait(grace)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            code = child.wait()
        out.seek(0)
        err.seek(0)
        return code, out.read()[-10_000:], err.read()[-3_000:]


def our_command(task: Task, contender: Contender, seed: int, steps: int) -> list[str]:
    """`a3c train` without a preset, with a goal that nobody reaches."""
    fixed = ["--preset", "none", "--algorithm", contender.algorithm, "--stop-return", "1e9", "--quiet"]
    return ["train", task.env_id, *fixed, "--seed", str(seed), "--max-steps", str(steps)]


def run_ours(task: Task, contender: Contender, seed: int, limits: Limits) -> tuple[dict, dict]:
    """One run: its episodes (steps, seconds, returns), and what the record has beside the scores."""
    from matplotlib import get_cachedir

    from a3c.utils.versions import versions

    with tempfile.TemporaryDirectory() as scratch:
        # Nothing compiled is kept from earlier runs, so that their order does not matter.
        variables = {
            "PYTHONPATH": str(HERE),
            "XDG_CACHE_HOME": f"{scratch}/cache",
            "MPLCONFIGDIR": get_cachedir(),
        }
        line = [sys.executable, "-m", "a3c", *our_command(task, contender, seed, limits.steps)]
        started = time.time()
        code, _, complaint = watch([*line, "--save-dir", f"{scratch}/runs"], variables, limits.seconds, GRACE)
        found = list(Path(scratch, "runs").rglob("episodes.csv"))
        metrics = (found[0].parent / "metrics.jsonl").read_text().splitlines() if found else []
        if not metrics:
            raise Failed(complaint)
        rows = [json.loads(row) for row in metrics]
        # Its clock starts with training, ours with the process; rows at 0 were written before training.
        late = (
            min((row["time"] - row["seconds"] for row in rows if row["seconds"] > 0), default=started)
            - started
        )
        episodes = read_episodes(found[0], late)
        result = found[0].parent / "result.json"
        end = json.loads(result.read_text()) if result.exists() else {}
    steps = end.get("steps", rows[-1]["steps"])
    trained = end.get("train_seconds", rows[-1]["seconds"])
    more = {"steps": steps, "seconds": late + trained, "train_seconds": trained, "versions": versions()}
    if code not in (0, 130, -signal.SIGKILL):  # 130: ended by the limit of time, and so may be a kill
        more["failed"] = complaint
    return episodes, more


def peer_arguments(task: Task, contender: Contender, seed: int, limits: Limits) -> list[str]:
    """Those of the peer's script, but for the file that it writes."""
    arguments = ["--algorithm", contender.algorithm, "--env", task.env_id, "--seed", str(seed)]
    arguments += ["--max-steps", str(limits.steps), "--max-seconds", f"{limits.seconds:g}"]
    return [*arguments, "--threads", str(limits.threads)] if limits.threads else arguments


def run_peer(task: Task, contender: Contender, seed: int, limits: Limits, python: str) -> tuple[dict, dict]:
    """As `run_ours`."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "episodes.csv")
        script = str(HERE / "peers" / "sb3_defaults.py")
        line = [python, script, *peer_arguments(task, contender, seed, limits), "--episodes", str(path)]
        code, printed, complaint = watch(line, {"PYTHONPATH": str(HERE)}, limits.seconds + GRACE, GRACE)
        if code != 0:
            raise Failed(complaint)
        more = {**json.loads(printed.splitlines()[-1]), "threads": limits.threads or "torch's own choice"}
        return read_episodes(path, 0.0), more


def read_episodes(path: Path, late: float) -> dict[str, np.ndarray]:
    """Steps, seconds since process start and return of each episode."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {name: np.array([float(row[name]) for row in rows]) for name in ("steps", "seconds", "return")}
    return {**columns, "seconds": columns["seconds"] + late}


def score(at: np.ndarray, returns: np.ndarray, budget: float) -> float | None:
    """Mean return of the episodes that ended in the last tenth of a budget, or of the last 20 until then.

    Args:
        at: When each episode ended, in the budget's unit.
        returns: What it earned.
        budget: How much.

    Returns None where no episode had ended.
    """
    order = np.argsort(at, kind="stable")
    at, returns = at[order], returns[order]
    end = int(np.searchsorted(at, budget, "right"))
    begin = min(int(np.searchsorted(at, (1 - WINDOW) * budget, "right")), max(end - FEWEST, 0))
    return float(returns[begin:end].mean()) if end else None


def scores(episodes: dict[str, np.ndarray], steps: int, seconds: float) -> dict:
    """Scores at every budget.

    Budgets of steps that the run did not come to are None. Beyond its end, minutes do not change a run.
    """
    at_steps = {
        str(budget): score(episodes["steps"], episodes["return"], budget) if steps >= 0.99 * budget else None
        for budget in STEP_BUDGETS
    }
    at_minutes = {
        f"{budget:g}": score(episodes["seconds"], episodes["return"], min(60 * budget, seconds))
        for budget in MINUTE_BUDGETS
    }
    final = score(episodes["steps"], episodes["return"], steps)
    return {"final": final, "scores": {"steps": at_steps, "minutes": at_minutes}}


def run(task: Task, key: str, seed: int, limits: Limits, python: str) -> dict:
    """One run, as it is recorded."""
    contender, load = CONTENDERS[key], os.getloadavg()[0]
    if contender.peer:
        episodes, more = run_peer(task, contender, seed, limits, python)
    else:
        episodes, more = run_ours(task, contender, seed, limits)
    seconds, trained = more.pop("seconds"), more.pop("train_seconds")
    return {
        "contender": key,
        "env": task.env_id,
        "seed": seed,
        "max_steps": limits.steps,
        "max_minutes": limits.seconds / 60,
        **scores(episodes, more["steps"], seconds),
        "episodes": len(episodes["return"]),
        "seconds": round(seconds, 2),
        "train_seconds": round(trained, 2),
        "steps_per_second": round(more["steps"] / max(trained, 1e-9), 1),
        **more,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": {**machine(), "load_before": round(load, 2)},
    }


def commit() -> str:
    """Which version of this repository ran; with a + where files were changed since."""
    line = ["git", "describe", "--always", "--dirty=+", "--abbrev=10"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=HERE)
    return done.stdout.strip()


# -- what is recorded ----------------------------------------------------------------------------------------


def record_path(records: Path, key: str, task: Task, seed: int) -> Path:
    """The file of a run."""
    return records / key / f"{task.name}-{seed}.json"


def write(path: Path, record: dict) -> None:
    """Write a record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    temporary.replace(path)


def random_play(records: Path, task: Task) -> dict:
    """What random actions earn, recorded once."""
    path = records / "random" / f"{task.name}.json"
    if not path.exists():
        write(path, {"env": task.env_id, **mean_return(task.env_id, None, RANDOM_EPISODES, RANDOM_STEPS)})
    return json.loads(path.read_text())


def load(records: Path) -> dict[str, dict[str, list[dict]]]:
    """All recorded runs: contender, then name of the environment, then by seed."""
    found: dict[str, dict[str, list[dict]]] = {}
    for key in CONTENDERS:
        for task in TASKS:
            paths = sorted((records / key).glob(f"{task.name}-[0-9]*.json"))
            if paths:
                found.setdefault(key, {})[task.name] = [json.loads(path.read_text()) for path in paths]
    return found


def at_budget(record: dict, kind: str, budget: float) -> float | None:
    """A run's score at a budget: at its end, if it ended before."""
    value = record["scores"][kind].get(f"{budget:g}" if kind == "minutes" else str(int(budget)))
    return record["final"] if value is None and kind == "steps" and record["steps"] < budget else value


# -- the page ------------------------------------------------------------------------------------------------


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the middle half along the last axis: a quarter, rounded down, is cut off at each end."""
    cut = values.shape[-1] // 4
    return np.sort(values, -1)[..., cut : values.shape[-1] - cut].mean(-1)


def interval(by_task: list[np.ndarray], draws: int = 2_000) -> tuple[float, float, float]:
    """Interquartile mean over all runs, and its 95% interval (Agarwal et al. 2021).

    By a bootstrap that draws seeds anew within each environment.

    Args:
        by_task: Normalised scores of each environment's runs.
        draws: How often the bootstrap draws.
    """
    rng = np.random.default_rng(0)
    drawn = [runs[rng.integers(len(runs), size=(draws, len(runs)))] for runs in by_task]
    means = interquartile_mean(np.concatenate(drawn, 1))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(interquartile_mean(np.concatenate(by_task))), float(low), float(high)


class Page:
    """The page and its picture, from what is recorded."""

    def __init__(self, records: Path):
        self._runs = load(records)
        self._random = {task.name: random_play(records, task)["mean"] for task in TASKS}
        self._keys = [key for key in CONTENDERS if key in self._runs]
        self._common = [task for task in TASKS if all(task.name in self._runs[key] for key in self._keys)]

    def normalised(self, key: str, task: Task, kind: str, budget: float) -> np.ndarray:
        """Scores of the runs, 0: random play, also where no episode had ended yet; 1: the reference."""
        random = self._random[task.name]
        values = [at_budget(record, kind, budget) for record in self._runs[key][task.name]]
        reached = np.array([random if value is None else value for value in values])
        return (reached - random) / (task.reference - random)

    def summary(self, key: str, kind: str, budget: float) -> tuple[float, float, float]:
        """Interquartile mean over the environments that all contenders have run, with its interval."""
        return interval([self.normalised(key, task, kind, budget) for task in self._common])

    def text(self) -> str:
        """`docs/defaults.md`."""
        if not self._common:
            return self._head() + "\nNo environment has been run by all contenders yet.\n"
        titles = " | ".join(CONTENDERS[key].title for key in self._keys)
        lines = [
            self._head(),
            self._progress(),
            "",
            "![Scores over steps and over minutes](defaults.png)",
            "",
        ]
        lines += ["## All environments", "", f"| budget | {titles} |", "|---" * (1 + len(self._keys)) + "|"]
        for kind, budgets in SHOWN.items():
            for budget in budgets:
                cells = [
                    "{:.2f} ({:.2f} to {:.2f})".format(*self.summary(key, kind, budget)) for key in self._keys
                ]
                lines.append(f"| {_budget(kind, budget)} | {' | '.join(cells)} |")
        for kind, budget in (("steps", STEPS), *(("minutes", minutes) for minutes in SHOWN["minutes"])):
            lines += [
                "",
                f"## After {_budget(kind, budget)}",
                "",
                f"| environment | random | reference | {titles} |",
            ]
            lines += ["|---" * (3 + len(self._keys)) + "|"]
            lines += [self._line(task, kind, budget) for task in TASKS]
        lines += ["", "## Steps per second of training", "", f"| environment | {titles} |"]
        lines += ["|---" * (1 + len(self._keys)) + "|"]
        lines += [
            f"| {task.name} | {' | '.join(self._speed(key, task) for key in self._keys)} |" for task in TASKS
        ]
        return "\n".join([*lines, "", *self._origins()]) + "\n"

    def _head(self) -> str:
        """What is compared, and how."""
        runs = [run for tasks in self._runs.values() for of in tasks.values() for run in of]
        minutes = sorted({run["max_minutes"] for run in runs} or {MINUTES})
        return HEAD.format(
            steps=f"{STEPS / 1e6:g}", minutes=" or ".join(f"{limit:g}" for limit in minutes), fewest=FEWEST
        )

    def _progress(self) -> str:
        count = sum(len(runs) for tasks in self._runs.values() for runs in tasks.values())
        return (
            f"So far: {count} runs. The interquartile means are over the {len(self._common)} of {len(TASKS)} "
            "environments that all contenders in the table have run."
        )

    def _line(self, task: Task, kind: str, budget: float) -> str:
        cells = [task.name, f"{self._random[task.name]:.4g}", f"{task.reference:g}"]
        for key in self._keys:
            runs = self._runs[key].get(task.name, [])
            values = [value for run in runs if (value := at_budget(run, kind, budget)) is not None]
            cell = f"{np.mean(values):.4g}" if values else "–"
            cell += f" ± {np.std(values):.2g}" if len(values) > 1 else ""
            cell += " †" if kind == "steps" and any(run["steps"] < 0.99 * budget for run in runs) else ""
            cell += " ‡" if any("failed" in run for run in runs) else ""
            cells.append(cell)
        return f"| {' | '.join(cells)} |"

    def _speed(self, key: str, task: Task) -> str:
        runs = self._runs[key].get(task.name, [])
        return f"{np.median([run['steps_per_second'] for run in runs]):,.0f}" if runs else "–"

    def _origins(self) -> list[str]:
        """References, commands, versions and machines."""
        of = {}
        for task in TASKS:
            of.setdefault(task.source or "the environment's own reward threshold", []).append(task.name)
        lines = ["## Where it comes from", "", "References:", ""]
        lines += [f"- {source}: {', '.join(names)}" for source, names in of.items()]
        lines += ["", "Commands, here for CartPole-v1 and seed 1:", ""]
        for key in self._keys:
            contender = CONTENDERS[key]
            line = " ".join(["a3c", *our_command(TASKS[0], contender, 1, STEPS)])
            if contender.peer:
                arguments = peer_arguments(TASKS[0], contender, 1, Limits())
                line = " ".join(["python benchmarks/peers/sb3_defaults.py", *arguments, "--episodes FILE"])
            lines.append(f"    {line}")
        lines += ["", "Versions and machines:", ""]
        for key in self._keys:
            runs = [run for tasks in self._runs[key].values() for run in tasks]
            for name in sorted({_origin(run, CONTENDERS[key].peer) for run in runs}):
                lines.append(f"- {CONTENDERS[key].title}: {name}")
        return lines

    def draw(self, path: Path) -> None:
        """Interquartile means over steps and over minutes, with their intervals."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4.5), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        both = figure.subplots(1, 2, sharey=True)
        for axes, kind, budgets in zip(both, SHOWN, (STEP_BUDGETS, MINUTE_BUDGETS), strict=True):
            for number, key in enumerate(self._keys):
                mean, low, high = zip(*(self.summary(key, kind, budget) for budget in budgets), strict=True)
                axes.plot(budgets, mean, "o-", color=f"C{number}", markersize=4, label=CONTENDERS[key].title)
                axes.fill_between(budgets, low, high, color=f"C{number}", alpha=0.15, linewidth=0)
            axes.set_xscale("log")
            axes.set_xticks(budgets, [_budget(kind, b).split()[0] for b in budgets], fontsize="small")
            axes.minorticks_off()
            axes.axhline(1.0, color="grey", linewidth=0.8, linestyle=":")
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        both[0].set(xlabel="environment steps, thousands", ylabel="normalised score, interquartile mean")
        both[1].set(xlabel="minutes since process start")
        both[0].set_xticks(STEP_BUDGETS, [f"{b // 1000}" for b in STEP_BUDGETS], fontsize="small")
        both[0].legend(frameon=False)
        figure.suptitle(f"Defaults on {len(self._common)} environments: 0 random play, 1 reference")
        figure.savefig(path)

    def write(self, folder: Path) -> None:
        """Write both."""
        (folder / "defaults.md").write_text(self.text())
        if self._common:
            self.draw(folder / "defaults.png")


HEAD = """# Defaults without presets

Someone brings an environment that has no preset. How much do the defaults learn, and how fast? This page
compares `a3c train ENV --preset none` with PPO and A2C of Stable-Baselines3 (SB3), which are run with their
own defaults as well: one copy of the environment, and `MlpPolicy`, or `CnnPolicy` for images.

Every run has at most {steps} million steps and {minutes} minutes since process start. Nobody stops
because an environment is solved. Runs go one after the other, so that each has the whole machine. Ours begin
with no compiled programs kept from earlier runs, and evaluate the agent on the side, as `a3c train` does; SB3
does not evaluate.

**Score**: the mean return of the training episodes that ended in the last tenth of a budget, with actions
drawn as in training. Where fewer than {fewest} episodes ended there, the last {fewest} count. **Normalised
score**: 0 is random play, 1 the reference in the tables. Where no episode has ended yet, it is 0. The summary
is the interquartile mean over all runs, with 95% intervals by a bootstrap over the seeds of each environment
(Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the Statistical Precipice*).

± is the standard deviation over seeds. † A run was ended by the limit of minutes before it had made so many
steps: its last score stands here. ‡ A run failed: its last score before that stands here.

TMaze-v0 asks for a memory. No contender has one by default, so that none can earn more than −0.08 there; ours
has one with `--lstm-units`. Catch-v0 shows images, Wheels-v0 takes two choices at once, MinAtar's games are
shown as vectors: all are in [environments.py](../benchmarks/environments.py). CliffWalking is left out: it
has no limit of steps, so that a policy that stands still never ends an episode, and has no score.

`python benchmarks/defaults.py` made this page. It keeps a file for each run in
[benchmarks/results/defaults](../benchmarks/results/defaults).
"""


def _budget(kind: str, budget: float) -> str:
    if kind == "minutes":
        return f"{budget:g} minute" + ("s" if budget != 1 else "")
    return f"{budget / 1e6:g} M steps" if budget >= 1e6 else f"{budget / 1e3:g} k steps"


def _origin(run: dict, peer: bool) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    own = f"; threads: {run['threads']}" if peer else f"; commit {run['commit']}"
    return f"{versions}{own}; {run['machine']['cores']} cores, {run['machine']['cpu']}"


# -- the command ---------------------------------------------------------------------------------------------


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [task.name for task in TASKS]
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--environments", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--seeds", default="1-3", help="first-last")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="CONTENDER/ENV", help="the runs whose names begin so, anew"
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="at most, of each run")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="at most, of each run")
    parser.add_argument("--records", type=Path, default=RECORDS, help="where runs are recorded")
    parser.add_argument("--page", type=Path, default=DOCS, help="where the page and its picture are written")
    parser.add_argument(
        "--peer-python",
        default=os.environ.get("A3C_PEER_PYTHON", sys.executable),
        help="the interpreter that has Stable-Baselines3; default: A3C_PEER_PYTHON, or this one",
    )
    parser.add_argument(
        "--peer-threads", type=int, default=0, help="threads of the peers; default: as many as torch takes"
    )
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    trial = given.steps != STEPS or given.minutes < MINUTES
    if trial and not given.table and given.records.resolve() == RECORDS.resolve():
        parser.error("What is shorter is a trial: give --records another folder as well.")
    return given


def main() -> None:
    """Parse, run what lacks, write the page."""
    given = parse()
    first, last = map(int, given.seeds.split("-"))
    tasks = [task for task in TASKS if task.name in given.environments]
    limits = Limits(given.steps, 60 * given.minutes, given.peer_threads)
    planned = [
        (seed, task, key) for seed in range(first, last + 1) for task in tasks for key in given.contenders
    ]
    for seed, task, key in () if given.table else planned:
        path = record_path(given.records, key, task, seed)
        name = f"{key}/{path.stem}"
        chosen = any(name.startswith(prefix) for prefix in given.only)
        if not chosen if given.only else path.exists():
            continue
        random_play(given.records, task)
        try:
            record = run(task, key, seed, limits, given.peer_python)
        except Failed as failure:
            raise SystemExit(f"{name} left no episodes:\n{failure}") from None
        write(path, record)
        told = {k: record[k] for k in ("final", "steps", "seconds", "steps_per_second")}
        print(name, json.dumps(told), "failed" if "failed" in record else "", flush=True)
    Page(given.records).write(given.page)


if __name__ == "__main__":
    main()
