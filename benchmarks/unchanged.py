"""Whether a change of the code left what it computes as it was.

    python benchmarks/unchanged.py main            # this working tree beside the revision `main`
    python benchmarks/unchanged.py main --only ppo lstm

Each command below is run with the package of the revision and with that of the working tree, in the same
environment. Every run repeats itself: it has `--engine serial`, or is in step. The episodes, except for their
seconds, and all weights of `last.keras` have to be equal to the last bit. Exit code 1 where one is not.

To be run before and after a rearrangement that must change nothing.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SERIAL = "--engine serial --max-steps 12000"
COMMANDS = {
    "a3c": f"CartPole-v1 --algorithm a3c {SERIAL}",
    "appo": f"CartPole-v1 --preset none {SERIAL}",
    "continuous": f"Pendulum-v1 --preset none --algorithm a3c {SERIAL}",
    "impala": f"CartPole-v1 --preset none --algorithm impala {SERIAL}",
    "q": f"CartPole-v1 --preset none --algorithm n-step-q {SERIAL}",
    "sarsa": f"CartPole-v1 --preset none --algorithm one-step-sarsa {SERIAL}",
    "tensorflow": f"CartPole-v1 --preset none --backend tensorflow {SERIAL}",
    "paper": f"Acrobot-v1 --preset paper {SERIAL}",
    "compiled": f"jax/CartPole-v1 {SERIAL}",
    "lstm": f"CartPole-v1 --preset none --algorithm a3c --lstm-units 16 {SERIAL}",
    "rnd": f"MountainCar-v0 --exploration rnd {SERIAL}",
    "a2c": "CartPole-v1 --preset none --algorithm a2c --workers 2 --max-steps 12000",
    "ppo": "CartPole-v1 --preset none --algorithm ppo --workers 2 --max-steps 12000",
}


def unpack(revision: str, folder: Path) -> Path:
    """The package of a revision, as its `src` folder below `folder`."""
    archive = subprocess.run(["git", "archive", revision, "src"], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder / "src"


def run(source: Path, command: str, folder: Path) -> Path:
    """Train with the package in `source`. Returns the run directory."""
    arguments = ["train", *command.split(), "--seed", "7", "--quiet", "--save-dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(source)}
    subprocess.run([sys.executable, "-m", "a3c", *arguments], env=environment, cwd=folder, check=True)
    return next(path.parent for path in folder.rglob("episodes.csv"))


def episodes(directory: Path) -> list[dict[str, str]]:
    """The rows of `episodes.csv` without the seconds."""
    with open(directory / "episodes.csv", newline="") as file:
        return [{name: row[name] for name in row if name != "seconds"} for row in csv.DictReader(file)]


def weights(directory: Path) -> dict[str, np.ndarray]:
    """All arrays of `last.keras` by their names."""
    found: dict[str, np.ndarray] = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item)

    with zipfile.ZipFile(directory / "last.keras") as archive, archive.open("model.weights.h5") as file:
        h5py.File(file).visititems(take)
    return found


def difference(one: Path, other: Path) -> str:
    """What of two runs differs, in words; empty: nothing."""
    first, second = episodes(one), episodes(other)
    if first != second:
        equal = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), "the last")
        return f"{len(first)} and {len(second)} episodes, which differ from episode {equal} on"
    ours, theirs = weights(one), weights(other)
    if ours.keys() != theirs.keys() or not ours:
        return f"weights {sorted(ours)} and {sorted(theirs)}"
    wrong = [name for name in ours if not np.array_equal(ours[name], theirs[name])]
    return f"{len(first)} equal episodes, but other weights in {', '.join(wrong)}" if wrong else ""


def main() -> None:
    """Run every command with both versions and say what differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="what to compare with")
    parser.add_argument("--only", nargs="*", default=list(COMMANDS), choices=list(COMMANDS), metavar="NAME")
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        before = unpack(given.revision, Path(temporary))
        for name in given.only:
            folders = [Path(temporary) / name / version for version in ("before", "now")]
            runs = []
            for source, folder in zip((before, ROOT / "src"), folders, strict=True):
                folder.mkdir(parents=True)
                runs.append(run(source, COMMANDS[name], folder))
            differs = difference(*runs)
            wrong += bool(differs)
            print(f"{name}: {differs or f'equal, {len(episodes(runs[0]))} episodes'}", flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
