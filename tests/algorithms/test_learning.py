"""Whole runs that must reach a score: fast twins by default, all seeds with `-m slow`."""

import pytest

# Higher goals than the environments' own, so that no fresh evaluation is below those by chance.
CARTPOLE = ["CartPole-v1", "--stop-return", "490"]
RUNS = {
    "CartPole-v1": (CARTPOLE, 475),
    "CartPole-v0": (["CartPole-v0"], 195),
    "Acrobot-v1": (["Acrobot-v1", "--stop-return", "-84"], -90),
    "tutorial": (["--preset", "tutorial"], 195),
    "TensorFlow": ([*CARTPOLE, "--backend", "tensorflow"], 475),
    "lock-free": ([*CARTPOLE, "--no-locking"], 475),
    "serial": ([*CARTPOLE, "--engine", "serial"], 475),
    "four workers": ([*CARTPOLE, "--workers", "4"], 475),
    **{
        name: ([*CARTPOLE, "--algorithm", name], 475)
        for name in ("appo", "ppo", "a2c", "impala", "one-step-q", "one-step-sarsa", "n-step-q")
    },
    "appo, defaults": ([*CARTPOLE, "--preset", "none"], 475),
    "appo, compiled": (["jax/CartPole-v1", "--preset", "none", "--stop-return", "490"], 475),
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
        "impala",
        "appo, defaults",
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in ("Acrobot-v1", "TensorFlow", "tutorial", "a2c", "ppo", "one-step-sarsa", "n-step-q")
        ),
        pytest.param("appo, compiled", marks=pytest.mark.thorough),
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
