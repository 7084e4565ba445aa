"""gymnax' environments: each twin agrees with its original, and what it offers is learned.

Runs where gymnax is installed, which wants an older Gymnasium than the newest: see `.ci/run`.
"""

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3c.envs import find, functional
from a3c.envs.functional.stepping import draw_key, key_data

pytest.importorskip("gymnax")

STATES = {
    "CartPole-v1": ("x", "x_dot", "theta", "theta_dot"),
    "Acrobot-v1": ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"),
    "MountainCar-v0": ("position", "velocity"),
}


@pytest.mark.parametrize("name", STATES)
def test_twins_agree_with_their_originals(name):
    """Ten thousand random steps, each from the same state, over many episodes and their time limits."""
    spec = functional.find_spec(f"gymnax/{name}")
    assert spec.max_episode_steps == gym.spec(name).max_episode_steps
    assert spec.reward_threshold == gym.spec(name).reward_threshold
    ours, theirs = gym.make(spec), gym.make(name)
    assert ours.observation_space.shape == theirs.observation_space.shape
    assert ours.action_space.n == theirs.action_space.n
    rng, episodes, ended = np.random.default_rng(1), 0, True
    for _ in range(10_000):
        if ended:
            theirs.reset(seed=episodes)
            ours.reset(seed=episodes)
            episodes += 1
        state = ours.unwrapped._state
        values = dict(zip(STATES[name], map(jnp.float32, theirs.unwrapped.state), strict=True))
        ours.unwrapped._state = state._replace(inner=state.inner.replace(**values))
        action = int(rng.integers(theirs.action_space.n))
        observation, reward, terminated, truncated, _ = theirs.step(action)
        seen, earned, *ends = ours.step(action)
        np.testing.assert_allclose(seen, observation, atol=1e-4)
        assert (earned, *ends[:2]) == (reward, terminated, truncated)
        ended = terminated or truncated
    assert episodes > 15


def test_breakout_agrees_with_minatar():
    """Without sticky actions, which gymnax does not have: pictures, rewards and ends are the same."""
    minatar = pytest.importorskip("minatar")
    original = minatar.Environment("breakout", sticky_action_prob=0.0)
    env = functional.load("gymnax/Breakout-MinAtar")
    move, key = jax.jit(env.transition), draw_key(key_data(0))[1]
    names = ("ball_y", "ball_x", "ball_dir", "pos", "brick_map", "strike", "last_x", "last_y")

    def copy_of(game, state):
        inner = state.inner
        values = {
            n: jnp.asarray(getattr(game, n)).astype(jnp.asarray(getattr(inner, n)).dtype) for n in names
        }
        return state._replace(inner=inner.replace(terminal=jnp.bool_(False), **values))

    rng, episodes = np.random.default_rng(0), 0
    original.reset()
    first = state = jax.jit(env.initial)(key)
    for _ in range(10_000):
        game = original.env
        state = copy_of(game, state)
        action = int(np.sign(game.ball_x - game.pos) % 3)  # 0 stay, 1 left, 2 right
        action = {0: 0, 1: 2, 2: 1}[action] if rng.random() > 0.1 else int(rng.integers(3))
        reward, terminated = original.act((0, 1, 3)[action])
        state = move(state, jnp.int32(action), key)
        picture = np.asarray(state.observation).reshape(10, 10, 4)
        np.testing.assert_array_equal(picture, original.state().astype(np.float32))
        assert (float(state.reward), bool(state.terminated)) == (reward, terminated)
        if terminated:
            original.reset()
            state, episodes = first, episodes + 1
    assert episodes > 50


def test_every_environment_is_found_or_refused_by_name():
    import gymnax

    from a3c.errors import UsageError

    found = []
    for name in gymnax.registered_envs:
        try:
            found.append(find(f"gymnax/{name}").spec.id)
        except UsageError as error:
            assert name in str(error)  # noqa: PT017 - either way is right
    assert {"gymnax/Acrobot-v1", "gymnax/Breakout-MinAtar", "gymnax/Catch-bsuite"} <= set(found)
    assert len(found) >= 18


def test_acrobot_is_learned(cli):
    outcome = cli("train", "gymnax/Acrobot-v1", "--seed", "3", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["solved"], outcome.json
    assert outcome.json["evaluation"]["mean"] >= -100


@pytest.mark.parametrize("game", ["Breakout", "SpaceInvaders", "Asterix"])
def test_minatar_games_improve_and_can_be_watched(game, cli, tmp_path):
    """The fast twin of the recorded five-million-step runs."""
    outcome = cli("train", f"gymnax/{game}-MinAtar", "--seed", "3", "--max-steps", "400000", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["evaluation"]["mean"] > 2 * outcome.json["random_baseline"]
    played = cli("play", "--video", "film.gif")
    assert played.code == 0, played.err
    assert (tmp_path / "film.gif").stat().st_size > 1_000
