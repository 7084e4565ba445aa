"""Whole runs that must reach a score: fast twins by default, all seeds with `-m slow`."""

import pytest

RUNS = {
    "CartPole-v1": (["CartPole-v1"], 475),
    "CartPole-v0": (["CartPole-v0"], 195),
    # A higher goal than its own, so that a fresh evaluation is not below that by chance.
    "Acrobot-v1": (["Acrobot-v1", "--stop-return", "-90"], -100),
    "tutorial": (["--preset", "tutorial"], 195),
    "TensorFlow": (["CartPole-v1", "--backend", "tensorflow"], 475),
    "lock-free": (["CartPole-v1", "--no-locking"], 475),
    "serial": (["CartPole-v1", "--engine", "serial"], 475),
    "four workers": (["CartPole-v1", "--workers", "4"], 475),
    **{
        name: (["CartPole-v1", "--algorithm", name], 475)
        for name in ("a2c", "impala", "one-step-q", "one-step-sarsa", "n-step-q")
    },
}


def solve(cli, arguments, threshold, seed):
    outcome = cli("train", *arguments, "--seed", str(seed), "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    summary = outcome.json
    assert summary["solved"], summary
    if not summary["algorithm"].endswith(("q", "sarsa")):  # those explore to the end
        assert summary["mean_return_100"] >= threshold
    assert summary["evaluation"]["mean"] >= threshold
    assert 0 < summary["train_seconds"] < summary["wall_seconds"]
    assert summary["solved_seconds"] <= summary["wall_seconds"]
    judged = cli("evaluate", "--json", "--backend", summary["backend"]).json
    assert judged["evaluation"]["mean"] >= threshold


@pytest.mark.parametrize(
    "name",
    [
        "CartPole-v1",
        "Acrobot-v1",
        "TensorFlow",
        "impala",
        "n-step-q",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("tutorial", "a2c", "one-step-sarsa")),
    ],
)
def test_solves(name, cli):
    arguments, threshold = RUNS[name]
    solve(cli, arguments, threshold, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("name", RUNS)
def test_solves_with_many_seeds(name, seed, cli):
    arguments, threshold = RUNS[name]
    solve(cli, arguments, threshold, seed)
