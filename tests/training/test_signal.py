"""Where every episode is like every other, a run says so early, and what may help."""

import pytest

from a3c import Agent
from a3c.training.callbacks import hints
from a3c.training.metrics import EpisodeHistory, TrainingMetrics
from a3c.types import Episode, Report


def metrics_of(returns, steps=1000):
    metrics = TrainingMetrics()
    episodes = [Episode(value, 10) for value in returns]
    metrics.add(Report(0, 1, 0, steps, episodes, [steps] * len(episodes), {}, 0.0), 1.0)
    return metrics


def test_equal_episodes_are_told_with_their_return():
    sentence = metrics_of([-200.0] * 20).nothing_to_learn_from()
    assert sentence is not None
    assert "all 20 episodes of the first 1,000 steps returned -200" in sentence
    assert "--entropy-coefficient" in sentence


@pytest.mark.parametrize("returns", [[], [0.0] * 19, [0.0] * 30 + [1.0], [1.0] + [0.0] * 30])
def test_few_episodes_or_one_that_differs_are_not(returns):
    assert metrics_of(returns).nothing_to_learn_from() is None


def test_what_was_seen_before_a_checkpoint_counts():
    for returns, told in (([1.0] + [0.0] * 30, False), ([0.0] * 30, True)):
        metrics = metrics_of(returns)
        state, rows = metrics.state(), metrics.history
        assert bool(TrainingMetrics.restored(state, rows).nothing_to_learn_from()) == told
        del state["lowest"], state["highest"]  # as checkpoints of before have it
        assert bool(TrainingMetrics.restored(state, rows).nothing_to_learn_from()) == told
        assert TrainingMetrics.restored(state, EpisodeHistory()).nothing_to_learn_from() is None, (
            "the file of episodes is lost"
        )


@pytest.mark.parametrize(("name", "told"), [("Value", 1), ("ObservedValue", 0)])
def test_a_run_says_it_once(name, told, monkeypatch, tmp_path):
    monkeypatch.setattr(hints, "_STEPS", 500)
    agent = Agent(f"a3c.envs.probes:probe/{name}-v0", engine="serial", seed=1, save_dir=str(tmp_path))
    agent.fit(verbose=0, max_steps=20_000, stop_return=1e6)
    lines = (
        next(tmp_path.rglob("log.txt")).read_text().splitlines() if list(tmp_path.rglob("log.txt")) else []
    )
    assert sum("nothing to learn from" in line for line in lines) == told
