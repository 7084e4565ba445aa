"""Deliberate faults, each put into a copy of the source, and whether the named tests find it.

    python tests/mutations.py            # all of them: some ten minutes on two cores
    python tests/mutations.py losses     # those whose file or text contains a word
    python tests/mutations.py --sound    # the same tests without the faults: all must pass

No part of the test suite. It exits with 1 if a fault was not caught, or if its place was not found.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 300.0
"""Seconds after which the tests count as hanging, and the fault as caught."""

FAULTS = """
spaces/distributions/categorical.py: spaces/test_spaces.py -k samples_follow
    return -ops.sum(probs → return ops.sum(probs
spaces/distributions/gaussian.py: spaces/test_spaces.py -k squashed_densities
    each = each - slope → each = each + slope
networks/normalisation.py: networks/test_normalisation.py -k merged_batches
    ops.square(distance) * share * (1.0 - share) → ops.square(distance) * share
networks/layers.py: algorithms/test_algorithms.py -k begins_with_an_empty_memory
    before = carry * kept[:, None] → before = carry
networks/factory.py: networks/test_models.py -k seed_of_a_run
    seed = integer_seed(seed, "model") → seed = integer_seed(0, "model")
algorithms/returns.py: algorithms/test_returns.py -k vtrace_equals
    gae_lambda * continues * later → gae_lambda * later
algorithms/losses.py: algorithms/test_algorithms.py -k actor_critic_losses
    return ops.sum(x * valid) → return ops.sum(x)
algorithms/losses.py: algorithms/test_appo.py -k loss_equals
    ops.minimum(ratios * advantages → ops.maximum(ratios * advantages
algorithms/n_step_q.py: algorithms/test_algorithms.py -k targets_of_action_values
    values=ops.max(target.parameters → values=ops.max(outputs.parameters
backend/jax.py: backend/test_backend.py -k target_network
    apply_sequence(network, target, transitions) → apply_sequence(network, weights, transitions)
backend/jax.py: algorithms/test_appo.py -k share
    partway(weights[:size], parameters, share) → partway(weights[:size], parameters, None)
envs/vector_sampler.py: envs/test_sampler.py -k goes_on_where
    = ~self._ended, ~ends[:-1] → = True, ~ends[:-1]
envs/vector_sampler.py: envs/test_sampler.py -k life
    info["lives"] < self._lives → info["lives"] <= self._lives
envs/vector_sampler.py: envs/test_faults_env.py -k "single_copies and Raise"
    self._seed = self._seeds(self._rebuilds) → self._seed = self._seeds(0)
envs/copies.py: envs/test_replay.py -k what_gymnasium_does
    self._truncations[i] = 0.0 → self._truncations[i] = self._rewards[i]
envs/functional/stepping.py: envs/test_compiled.py -k time_limit
    (length >= limit) → (length > limit)
engines/stores/shared.py: engines/test_store.py -k lock_is_held
    return self._memory.file if self._locking else → return contextlib.nullcontext() if self._locking else
engines/stores/local.py: engines/test_engines.py -k "account and serial"
    self._accumulators, defaultdict(ReportAccumulator) → self._accumulators, self._accumulators
engines/stores/central.py: algorithms/test_algorithms.py -k mean_of_all_gradients
    updates=int(first and finite) → updates=int(finite)
engines/supervision.py: engines/test_supervision.py -k faults_are_counted
    if self.count > self._limit → if self.count >= self._limit
engines/programs.py: engines/test_engines.py -k act_differently
    "environments", worker → "environments", 0
evaluation/selection.py: evaluation/test_judge.py -k best_is_chosen
    return outcome.mean >= self.best.mean → return outcome.mean <= self.best.mean
evaluation/selection.py: evaluation/test_judge.py -k two_evaluations
    number + i, attempt) → number, attempt)
utils/files.py: test_properties.py -k cannot_be_written
    os.fsync(fd) → pass
training/checkpoint.py: training/test_resume.py -k newest_are_kept
    list(self)[self.keep :] → list(self)[self.keep + 1 :]
training/metrics.py: training/test_callbacks.py -k steps_of_episodes
    report.worker, self.steps + steps, seconds → report.worker, steps, seconds
training/resumption.py: training/test_resume.py -k higher_goal
    state["solved"] and worker_spec.config.stop_return == state["goal"] → state["solved"]
cli/__init__.py: faults/test_inputs.py -k "every and random"
    return _complain(str(error), 1) → return _complain(str(error), 2)
cli/train.py: cli/test_cli.py -k random_is_about_22
    config.max_episodes or 100 → 100
cli/parsing.py: test_config.py -k normalised_by_flags
    argparse.BooleanOptionalAction → "store_true"
presets.py: test_config.py -k give_way
    {**defaults_of(chosen["algorithm"]), **chosen} → {**chosen, **defaults_of(chosen["algorithm"])}
"""
"""A file below `src/a3c` and the tests for it; what stands there, and what is put in its place."""


def outcome_of(place: Path, tests: str) -> str:
    """What the tests say in the copy of the repository at `place`."""
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    argv += [f"tests/{word}" if ".py" in word else word for word in shlex.split(tests)]
    environment = {**os.environ, "PYTHONPATH": str(place / "src")}
    try:
        done = subprocess.run(
            argv, cwd=place, env=environment, capture_output=True, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return "caught: the tests hang"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode == 1 and failed:
        return f"caught: {failed[0][:90]}"
    return "NO SUCH TESTS" if done.returncode else "NOT caught"


def try_fault(place: Path, file: str, old: str, new: str, tests: str) -> str:
    """Put one fault into the copy, run the tests, and take it out again."""
    path = place / "src" / "a3c" / file
    text = path.read_text() if path.exists() else ""
    if old not in text:
        return "PLACE NOT FOUND: the source has changed, the fault must be written anew"
    path.write_text(text.replace(old, new, 1))
    try:
        return outcome_of(place, tests)
    finally:
        path.write_text(text)


def main() -> int:
    """Try the faults one after the other, two lines for each."""
    parser = argparse.ArgumentParser(description="Try deliberate faults; see the top of this file.")
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--sound", action="store_true")
    arguments = parser.parse_args()
    lines, wrong = FAULTS.strip().splitlines(), 0
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for folder in ("src", "tests", "examples"):
            shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", place)
        for head, change in zip(lines[::2], lines[1::2], strict=True):
            if arguments.word in head + change:
                (file, tests), (old, new) = head.split(": "), change.strip().split(" → ")
                said = try_fault(place, file, old, old if arguments.sound else new, tests)
                wrong += not said.startswith("NOT caught" if arguments.sound else "caught")
                print(f"{head}\n{change}\n    {said}", flush=True)
    print(f"{wrong} not as it should be." if wrong else "All as it should be.")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
