"""Evaluations count every episode once, whole, with statistics that are right."""

import av
import gymnasium as gym
import numpy as np
import pytest

from a3c import envs
from a3c.evaluation import evaluator
from a3c.evaluation.evaluator import Evaluation, Evaluator, VectorPlayer, random_evaluation
from a3c.evaluation.play import PackedFrames, write_video
from parts import Still


class Coin(Still):
    """Half of the episodes last one step and earn 1, half last ten and earn 10."""

    action_space = gym.spaces.Discrete(2, start=3)

    def reset(self, *, seed=None, options=None):
        first = super().reset(seed=seed)
        self.left = int(self.np_random.choice([1, 10]))
        return first

    def step(self, action):
        assert action in (3, 4)
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}


gym.register("test/Coin-v0", entry_point=Coin)


def test_short_episodes_are_not_counted_more_often():
    """Taking the first N episodes to finish would give a mean near 2 here."""
    evaluation = random_evaluation(envs.find("test/Coin-v0"), 2000, seed=0)
    assert evaluation.returns.shape == (2000,)
    assert evaluation.mean == pytest.approx(5.5, abs=0.5)
    np.testing.assert_array_equal(evaluation.returns, evaluation.lengths)


@pytest.mark.parametrize("episodes", [1, 3, 17, 101])
def test_exactly_the_episodes_asked_for(episodes):
    for env_id in ("test/Coin-v0", "CartPole-v1"):
        assert len(random_evaluation(envs.find(env_id), episodes, seed=0).returns) == episodes


class Scripted:
    """Two copies: one plays episodes of four steps, the other one that never ends."""

    copies = 2
    warm_up = rebuild = close = None

    def reset(self, weights, mode, seed):
        self.time = 0

    def advance(self):
        at = self.time % 5  # 0: the step that only reset
        self.time += 1
        ended = np.array([[at == 4, False]])
        return ended, np.array([[float(at), float(self.time)]]), np.array([[at, self.time]])


@pytest.mark.parametrize("longest", range(50, 55))
def test_episodes_that_have_not_begun_are_not_cut_off(monkeypatch, longest):
    monkeypatch.setattr(evaluator, "LONGEST", longest)
    evaluation = Evaluator(Scripted(), 100).evaluate(None, "greedy", 0)  # type: ignore[arg-type]
    assert evaluation.lengths.min() > 0
    complete = (longest - 1) // 5 + (longest % 5 == 0)
    assert (evaluation.returns == 4).sum() >= complete
    assert evaluation.cut_off == 1 + (longest % 5 not in (0, 1))


class Endless(Still):
    """Ends only for who goes left; two rewards a step."""

    def step(self, action):
        return np.zeros(1, np.float32), 2.0, action == 0, False, {}


gym.register("test/NeverEnding-v0", entry_point=Endless)


def test_episodes_that_never_end_are_cut_off_and_told(monkeypatch):
    monkeypatch.setattr("a3c.evaluation.evaluator.LONGEST", 50)
    environment = envs.find("test/NeverEnding-v0")
    right = np.array([0.0, 1e9], np.float32)

    def policy(weights):
        return lambda seen, memory=None: (np.tile(weights, (len(seen), 1)), None)

    evaluator = Evaluator(VectorPlayer(environment, policy, 4), 10)
    evaluation = evaluator.evaluate(right, "greedy", 0)
    assert evaluation.cut_off == 4
    np.testing.assert_array_equal(evaluation.lengths, [50] * 4)
    assert evaluation.mean == 100.0
    assert "max_episode_steps" in evaluation.warning
    ending = evaluator.evaluate(-right, "greedy", 0)
    assert (ending.cut_off, ending.warning, len(ending.returns)) == (0, "", 10)


def test_seeds_decide():
    environment = envs.find("CartPole-v1")
    a, b, c = (random_evaluation(environment, 50, seed).returns for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_evaluations_are_independent_of_those_before():
    environment = envs.find("CartPole-v1")
    evaluator = Evaluator(VectorPlayer(environment, None, 20), 20)
    first = evaluator.evaluate(None, "random", 5).returns
    evaluator.evaluate(None, "random", 6)
    np.testing.assert_array_equal(first, evaluator.evaluate(None, "random", 5).returns)


def test_greedy_and_sampled_follow_the_policy():
    def policy(weights):
        return lambda seen, state: (np.tile(np.array([[0.0, 1.0]], np.float32), (len(seen), 1)), state)

    seen = []

    class Spy(gym.Wrapper):
        def step(self, action):
            seen.append(int(action))
            return super().step(action)

    gym.register("test/Spy-v0", entry_point=lambda **_: Spy(Coin()))
    evaluator = Evaluator(VectorPlayer(envs.find("test/Spy-v0"), policy, 16), 400)
    evaluator.evaluate(None, "greedy", 0)
    assert set(seen) == {4}
    seen.clear()
    evaluator.evaluate(None, "sampled", 0)
    assert np.mean(np.array(seen) == 4) == pytest.approx(1 / (1 + np.exp(-1)), abs=0.03)


def test_summary_in_the_keys_of_json():
    evaluation = Evaluation("greedy", np.array([1.0, 2.0, 3.0, 6.0]), np.ones(4, int))
    summary = evaluation.as_dict()
    assert (summary["mean"], summary["min"], summary["max"], summary["episodes"]) == (3.0, 1.0, 6.0, 4)
    assert summary["std"] == pytest.approx(np.std([1, 2, 3, 6], ddof=1), abs=1e-4)
    half = 1.96 * summary["std"] / 2
    assert summary["ci95"] == pytest.approx([3 - half, 3 + half], abs=1e-3)
    assert Evaluation("greedy", np.array([1.0]), np.ones(1, int)).as_dict()["ci95"] is None


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_a_film_of_many_frames_takes_little_memory(tmp_path, ending):
    frames, path, many = PackedFrames(), tmp_path / f"film.{ending}", 30
    drawn = [np.full((401, 600, 3), 8 * n, np.uint8) for n in range(many)]
    for frame in drawn:
        frames.append(frame)
    kept = sum(len(packed) for _, packed in frames._packed)
    assert kept < drawn[0].nbytes
    for frame, again in zip(drawn, frames, strict=True):
        np.testing.assert_array_equal(frame, again)
    write_video(path, frames, 20)
    with av.open(str(path)) as film:
        assert sum(1 for _ in film.decode(video=0)) == many
