"""The sampler contract: a rollout says what happened, checked against environments stepped by hand."""

import gymnasium as gym
import numpy as np
import pytest

from a3c import envs
from a3c.envs.episodes import EpisodeLog
from parts import ANY, Still, balance, vector_sampler

SEED = 5


class Counter(gym.Env):
    """Observations say which step of which episode this is; it ends after 3, every second time truncated."""

    def __init__(self, start=0):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gym.spaces.Discrete(3, start=start)
        self.episode = -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.t = 0
        return np.array([self.episode, 0.0]), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        end = self.t == 3
        cut = end and self.episode % 2 == 1
        reward = 10.0 * self.episode + self.t
        return np.array([self.episode, self.t], float), reward, end and not cut, cut, {}


gym.register("test/Counter-v0", entry_point=Counter)
gym.register("test/CounterFromFive-v0", entry_point=Counter, kwargs={"start": 5})


def make_sampler(env_id, batch=2, t_max=7, seed=SEED, **more):
    return vector_sampler(envs.find(env_id), batch, t_max, seed=seed, **more)


def test_steps_around_an_end_are_told_apart():
    sampler = make_sampler("test/Counter-v0")
    rollout = sampler.collect(ANY)
    observations, actions, rewards, terminated, truncated, valid, *_ = rollout.content
    # t:                                  0  1  2  3(reset)  4  5  6
    np.testing.assert_array_equal(observations[:, 0, 1], [0, 1, 2, 3, 0, 1, 2, 3])
    np.testing.assert_array_equal(observations[:, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(rewards[:, 0], [1, 2, 3, 0, 11, 12, 13])
    np.testing.assert_array_equal(terminated[:, 0], [0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(truncated[:, 0], [0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(valid[:, 0], [1, 1, 1, 0, 1, 1, 1])
    assert rollout.steps == 12
    assert [e.length for e in rollout.episodes] == [3, 3, 3, 3]
    assert [e.episode_return for e in rollout.episodes] == [6, 6, 36, 36]
    assert actions.shape == (7, 2)
    assert set(actions.ravel()) <= {0, 1, 2}


def test_the_next_rollout_goes_on_where_the_last_one_ended():
    """Its first step only resets, since an episode ended with the last one of the rollout before."""
    whole, halves = make_sampler("test/Counter-v0", t_max=14), make_sampler("test/Counter-v0", t_max=7)
    expected = whole.collect(ANY)
    first = halves.collect(ANY)
    observations = [first.content.observations[:-1].copy()]
    valid = [first.content.valid.copy()]
    episodes = list(first.episodes)
    second = halves.collect(ANY)
    observations.append(second.content.observations)
    valid.append(second.content.valid)
    np.testing.assert_array_equal(np.concatenate(observations), expected.content.observations)
    np.testing.assert_array_equal(np.concatenate(valid), expected.content.valid)
    assert episodes + second.episodes == expected.episodes


def test_actions_sent_out_carry_the_start_of_the_space():
    rollout = make_sampler("test/CounterFromFive-v0").collect(ANY)  # the environment asserts its own range
    assert set(rollout.content.actions.ravel()) <= {0, 1, 2}


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0"])
def test_rollouts_agree_with_single_environments(env_id):
    """Replay the recorded actions in plain `gym.make` copies: same observations, rewards and ends."""
    batch, t_max = 3, 600
    sampler = make_sampler(env_id, batch, t_max, vectorized=False)
    transitions = sampler.collect(ANY).content
    for b in range(batch):
        twin = gym.make(env_id)
        observation, _ = twin.reset(seed=SEED + b)
        for t in range(t_max):
            np.testing.assert_allclose(transitions.observations[t, b], observation, rtol=1e-6)
            if not transitions.valid[t, b]:
                observation, _ = twin.reset()
                continue
            observation, reward, terminated, truncated, _ = twin.step(int(transitions.actions[t, b]))
            assert transitions.rewards[t, b] == pytest.approx(reward)
            assert bool(transitions.terminated[t, b]) == terminated
            assert bool(transitions.truncated[t, b]) == truncated


def test_the_vector_entry_point_obeys_the_same_contract():
    """CartPole's own vector code: episodes end and restart as single copies would."""
    assert envs.find("CartPole-v1").vectorized
    sampler = make_sampler("CartPole-v1", 4, 300)
    transitions = sampler.collect(ANY).content
    ends = transitions.terminated | transitions.truncated
    assert ends.any()
    for t, b in zip(*np.nonzero(ends[:-1]), strict=True):
        assert not transitions.valid[t + 1, b]
        assert transitions.rewards[t + 1, b] == 0
        assert (
            np.abs(transitions.observations[t + 1, b, 2]) > 0.2
            or np.abs(transitions.observations[t + 1, b, 0]) > 2.4
        )
        if t + 2 <= 300:
            assert np.abs(transitions.observations[t + 2, b]).max() <= 0.05


@pytest.mark.parametrize(("env_id", "limit"), [("CartPole-v0", 200), ("CartPole-v1", 500)])
def test_the_time_limit_is_kept_and_is_a_truncation(env_id, limit):
    """The tutorial's `.unwrapped` dropped the limit: an episode of 46,032 steps."""

    sampler = make_sampler(env_id, 4, limit, policy=balance, seed=0)
    rollout = sampler.collect(ANY)
    assert [e.length for e in rollout.episodes] == [limit] * 4
    assert rollout.content.truncated[-1].all()
    assert not rollout.content.terminated.any()


def test_scores_are_the_environments_own():
    """The tutorial's reward of −1 at the end made every score 2 too low."""
    sampler = make_sampler("CartPole-v1", batch=8, t_max=200)
    episodes = sampler.collect(ANY).episodes
    assert len(episodes) > 20
    assert all(e.episode_return == e.length for e in episodes)


def test_returns_of_long_episodes_do_not_drift():
    log = EpisodeLog(1)
    step = np.full((1000, 1), 0.1, np.float32)
    none, valid = np.zeros((1000, 1), bool), np.ones((1000, 1), bool)
    for _ in range(999):
        assert log.extend(step, none, valid) == []
    last = none.copy()
    last[-1] = True
    (episode,) = log.extend(step, last, valid)
    assert episode.length == 1_000_000
    assert episode.episode_return == pytest.approx(1_000_000 * float(np.float32(0.1)), rel=1e-9)


def test_rollouts_have_exactly_t_max_steps():
    """The tutorial's first segment had 21 steps."""
    sampler = make_sampler("CartPole-v1", batch=1, t_max=20)
    for _ in range(3):
        assert sampler.collect(ANY).content.rewards.shape == (20, 1)


class Lives(Counter):
    """Three lives; the second step of each episode costs one, and says so in `info`."""

    def reset(self, *, seed=None, options=None):
        """Start an episode with all lives."""
        return super().reset(seed=seed)[0], {"lives": 3}

    def step(self, action):
        """Lose a life in the second step."""
        *result, _ = super().step(action)
        return *result, {"lives": 3 - (self.t >= 2)}

    def state_dict(self):
        """How far it is: a number of episodes is more than one episode's replay comes to."""
        return {"episode": self.episode, "t": self.t}

    def load_state_dict(self, state):
        """Go on from there."""
        self.episode, self.t = state["episode"], state["t"]


gym.register("test/Lives-v0", entry_point=Lives)


def test_a_life_lost_ends_what_is_learned_and_not_the_episode():
    plain, lived = (
        make_sampler("test/Lives-v0", t_max=9, episodic_life=lives).collect(ANY) for lives in (False, True)
    )
    before, after = plain.content, lived.content
    assert plain.episodes == lived.episodes
    for name in ("observations", "rewards", "truncated", "valid"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    steps = after.observations[1:, 0, 1]
    np.testing.assert_array_equal(after.terminated[:, 0], (steps == 2) | before.terminated[:, 0])


def test_lives_are_remembered_when_a_run_goes_on():
    first, second = (make_sampler("test/Lives-v0", t_max=1, episodic_life=True) for _ in range(2))
    first.collect(ANY)
    second.restore(first.state())
    assert second.collect(ANY).content.terminated.all()


class OneStep(Still):
    """Ends with its first step."""

    def step(self, action):
        return np.ones(1, np.float32), 1.0, True, False, {}


gym.register("test/OneStep-v0", entry_point=OneStep)


def test_episodes_of_one_step_are_counted():
    """The tutorial divided by zero on them."""
    rollout = make_sampler("test/OneStep-v0", batch=1, t_max=6).collect(ANY)
    assert rollout.episodes == [(1.0, 1)] * 3
    assert rollout.steps == 3
