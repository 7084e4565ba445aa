"""Compiled environments: twins agree with originals, rollouts say what happened, gradients are right."""

import gymnasium as gym
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from a3c import algorithms, backend, envs, networks
from a3c.config import Config
from a3c.engines.programs import hand_over_learned
from a3c.envs import functional
from a3c.envs.faults import Description
from a3c.envs.functional.compilation import Compilation
from a3c.envs.functional.sampler import CompiledSampler, Program
from a3c.envs.functional.stepping import FunctionalEnvSpec, blank, draw_key, key_data, rollout
from a3c.errors import UsageError
from a3c.evaluation.evaluator import Evaluator, VectorPlayer
from a3c.networks.functional import Network
from a3c.networks.numpy_policy import make_policy
from a3c.networks.parameters import parameters_of
from a3c.spaces import distributions
from a3c.spaces.distributions import ModeNoise
from a3c.spaces.distributions.categorical import Categorical
from a3c.spaces.observations import describe_observations
from a3c.types import Snapshot, Transitions
from functional_environments import Counter, Target
from parts import network_of

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="fused on JAX only")


# -- twins --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("twin", "original"),
    [
        ("jax/CartPole-v1", "CartPole-v1"),
        pytest.param("jax/CartPole-v0", "CartPole-v0", marks=pytest.mark.thorough),
    ],
)
def test_twins_agree_with_their_originals(twin, original):
    """Ten thousand steps from the same states; most episodes are random, some are cut by the time limit."""
    spec = functional.find_spec(twin)
    assert (spec.max_episode_steps, spec.reward_threshold) == (
        gym.spec(original).max_episode_steps,
        gym.spec(original).reward_threshold,
    )
    ours, theirs = gym.make(spec), gym.make(original)
    rng, episodes, cut = np.random.default_rng(0), 0, 0
    ended = True
    for _ in range(10_000):
        if ended:
            theirs.reset(seed=episodes)
            ours.reset(seed=episodes)
            keep_up = episodes % 4 == 0  # random play never reaches the limit
            observation = np.asarray(theirs.unwrapped.state)
        if ended or keep_up:  # over hundreds of steps float32 and float64 drift apart
            ours.unwrapped._state = jnp.asarray(theirs.unwrapped.state, jnp.float32)
        push = int(observation @ [0.1, 0.5, 3.0, 1.5] > 0) if keep_up else int(rng.integers(2))
        seen, earned, *ends = ours.step(push)
        observation, reward, terminated, truncated, _ = theirs.step(push)
        np.testing.assert_allclose(seen, observation, atol=1e-4)
        assert (earned, *ends[:2]) == (reward, terminated, truncated)
        ended = terminated or truncated
        episodes, cut = episodes + ended, cut + truncated
    assert episodes > 50
    assert cut > 5


def test_first_states_are_drawn_as_the_originals():
    env = gym.make_vec(functional.find_spec("jax/CartPole-v1"), num_envs=4000)
    first, _ = env.reset(seed=1)
    assert np.abs(first).max() <= 0.05
    np.testing.assert_allclose(first.mean(0), 0, atol=3e-3)
    np.testing.assert_allclose(first.std(0), 0.1 / 12**0.5, rtol=0.05)
    assert len(np.unique(first[:, 0])) > 3900, "every copy draws its own"
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(first, again)
    other, _ = env.reset(seed=2)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("env_id", "modes"),
    [("jax/CartPole-v1", ["rgb_array", "human"]), ("functional_environments:Counter", [])],
)
def test_what_can_be_drawn_is_shown_in_a_window(env_id, modes, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = envs.make_single(envs.find(env_id).spec, "human")
    assert env.metadata["render_modes"] == modes
    assert env.render_mode == ("human" if modes else None)
    env.reset(seed=1)
    env.step(env.action_space.sample())
    env.close()


# -- rollouts -----------------------------------------------------------------------------------------------


def spec_of(env, limit=None):
    observations = describe_observations(env.observation_space, "")
    return FunctionalEnvSpec(env, limit, observations, distributions.for_space(env.action_space, ""))


def nothing(seen, memory, noise):
    """Always action 0."""
    return jnp.zeros(seen.shape[0], int), memory, None


def test_steps_around_an_end_are_told_apart():
    """The same story as `test_sampler` tells of the vector sampler, one reset later."""
    env = Counter()
    run = jax.jit(lambda state, key: rollout(spec_of(env, None), nothing, jnp.zeros((8, 2, 3)), state, key))
    state, transitions, ends = run(blank(env, spec_of(env).shapes(1, 2)), draw_key(key_data(0))[1])
    observations, actions, rewards, terminated, truncated, valid = map(np.asarray, transitions[:6])
    # t:                                        0(reset)  1  2  3  4(reset)  5  6  7
    np.testing.assert_array_equal(observations[1:, 0, 0], [0, 1, 2, 3, 0, 1, 2, 3])
    np.testing.assert_array_equal(rewards[:, 0], [0, 1, 2, 3, 0, 1, 2, 3])
    np.testing.assert_array_equal(terminated[:, 0], [0, 0, 0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(valid[:, 0], [0, 1, 1, 1, 0, 1, 1, 1])
    assert not truncated.any()
    assert not actions.any(), "counted from 0, whatever the space's own start"
    np.testing.assert_array_equal(np.asarray(ends.ended), terminated)
    np.testing.assert_array_equal(np.asarray(ends.total)[3], [6, 6])
    np.testing.assert_array_equal(np.asarray(ends.length)[3], [3, 3])
    assert np.asarray(state.ended).all()


def test_a_time_limit_truncates_and_keeps_the_last_observation():
    env = Counter()
    run = jax.jit(lambda state, key: rollout(spec_of(env, 2), nothing, jnp.zeros((7, 1, 3)), state, key))
    _, transitions, ends = run(blank(env, spec_of(env).shapes(1, 1)), draw_key(key_data(0))[1])
    np.testing.assert_array_equal(np.asarray(transitions.truncated)[:, 0], [0, 0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(np.asarray(transitions.observations)[1:, 0, 0], [0, 1, 2, 0, 1, 2, 0])
    assert not np.asarray(transitions.terminated).any()
    np.testing.assert_array_equal(np.asarray(ends.length)[2], [2])


def test_an_end_at_the_limit_is_both_as_in_gymnasium():
    env = Counter()
    run = jax.jit(lambda state, key: rollout(spec_of(env, 3), nothing, jnp.zeros((4, 1, 3)), state, key))
    _, transitions, _ = run(blank(env, spec_of(env).shapes(1, 1)), draw_key(key_data(0))[1])
    assert bool(transitions.terminated[3, 0])
    assert bool(transitions.truncated[3, 0])


def make_program(env, batch=3, t_max=7, limit=None, differentiate=None, seed=1):
    place = spec_of(env, limit)
    model = networks.ActorCritic(place.actions.outputs, (8,), seed=seed)
    networks.build(model, place.observations)
    network, weights = Network(model, [], place.observations), parameters_of(model)
    framework = backend.load()
    loss = algorithms.find("a3c").make_loss(Config(gamma=0.9, gae_lambda=0.7), place.actions)
    program = Program(
        place,
        place.shapes(t_max, batch),
        framework.policy_function(network),
        differentiate or framework.gradient_function(network, loss, 0.5),
        weights,
    )
    return program, network, weights, loss


def make_compiled_sampler(program, seed):
    def fail(fault):
        raise AssertionError(fault.summary)

    describe = Description("functional_environments:Some", 0, 3, True)
    return CompiledSampler(program, None, lambda making: seed + 1000 * making, describe, fail)


def test_episodes_are_counted_across_rollouts():
    program, _, weights, _ = make_program(Counter(), t_max=5)
    sampler = make_compiled_sampler(program, 0)
    # 40 steps: resets and three steps in turn.
    rollouts = [sampler.collect(Snapshot(weights, 0)) for _ in range(8)]
    episodes = [episode for rollout in rollouts for episode in rollout.episodes]
    assert episodes == [(6.0, 3)] * 30
    assert [rollout.steps for rollout in rollouts[:4]] == [9, 12, 12, 12]
    assert sum(rollout.steps for rollout in rollouts) == 90


def test_the_fused_gradient_is_the_gradient_of_the_transitions():
    """One program for all, against the separate gradient function on the same transitions."""
    seen = []

    def spy(weights, transitions, target):
        jax.debug.callback(lambda *arrays: seen.append(arrays), *transitions[:6], ordered=True)
        return gradient(weights, transitions, target)

    framework = backend.load()
    env = Target()
    _, network, weights, loss = make_program(env, limit=9)
    gradient = framework.gradient_function(network, loss, 0.5)
    program, *_ = make_program(env, limit=9, differentiate=spy)
    sampler = make_compiled_sampler(program, 4)
    separate = framework.compile_gradients(network, loss, 0.5)
    for turn in range(4):
        rollout = sampler.collect(Snapshot(weights, 0))
        got, losses, _ = hand_over_learned(Snapshot(weights, 0), rollout)
        jax.effects_barrier()

        transitions = Transitions(*map(np.asarray, seen[turn]))
        expected, expected_losses = separate(weights, transitions)
        np.testing.assert_allclose(np.asarray(got), expected, atol=1e-5)
        assert losses == pytest.approx(expected_losses, abs=1e-5)
        assert rollout.steps == transitions.valid.sum()


def test_actions_follow_the_policy():
    """A policy of known odds: as many of each action as it says."""
    env = Target()
    logits = jnp.log(jnp.array([0.2, 0.8]))
    noise = jax.random.gumbel(draw_key(key_data(3))[1], (400, 50, 2))

    def decide(seen, memory, noise):
        return spec_of(env).actions.choose(jnp.tile(logits, (50, 1)), noise), memory, None

    run = jax.jit(lambda state, key: rollout(spec_of(env, 9), decide, noise, state, key))
    _, transitions, _ = run(blank(env, spec_of(env).shapes(1, 50)), draw_key(key_data(0))[1])
    assert np.asarray(transitions.actions).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("quick", [False, True])
def test_compilation_passes_errors_on(quick):
    def bad(x):
        raise ValueError("while tracing")

    with pytest.raises(ValueError, match="while tracing"):
        Compilation(bad, np.zeros(2), quick=quick)
    double = Compilation(lambda x: 2 * x, np.ones(2, np.float32), quick=quick)
    np.testing.assert_array_equal(np.asarray(double(np.full(2, 3, np.float32))), [6, 6])


def test_a_version_without_the_quick_choice_compiles_well(monkeypatch):
    from a3c.envs.functional import compilation

    monkeypatch.setattr(compilation, "_QUICK_OPTIONS", {"xla_cpu_of_another_version": False})
    assert float(Compilation(lambda x: 2 * x, np.float32(1), quick=True)(np.float32(3))) == 6


# -- judging ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["greedy", "sampled", "random"])
def test_both_players_measure_the_same(mode):
    from a3c.envs.functional.player import CompiledPlayer

    environment = envs.find("jax/CartPole-v1")
    model = networks.ActorCritic(2, (8,), seed=5)
    networks.build(model, environment.observations)
    network, weights = network_of(model, 4), parameters_of(model)
    framework, noise = backend.load(), ModeNoise(environment.actions)
    fused = Evaluator(CompiledPlayer(environment, framework.policy_function(network), 100, 0, noise), 1000)
    stepped = Evaluator(VectorPlayer(environment, make_policy(framework, network), 100), 1000)
    a, b = (e.evaluate(weights, mode, 7) for e in (fused, stepped))
    assert len(a.returns) == len(b.returns) == 1000
    np.testing.assert_array_equal(a.returns, a.lengths)
    error = np.hypot(a.returns.std(), b.returns.std()) / 1000**0.5
    assert abs(a.mean - b.mean) < 4 * error
    np.testing.assert_array_equal(a.returns, fused.evaluate(weights, mode, 7).returns)
    assert not np.array_equal(a.returns, fused.evaluate(weights, mode, 8).returns)


# -- finding ------------------------------------------------------------------------------------------------


def test_an_environment_of_ones_own_is_found_and_described():
    environment = envs.find("functional_environments:Counter")
    assert environment.compiled
    assert environment.actions == Categorical(3, 5)
    assert environment.observations.shape == (1,)
    limited = envs.find("functional_environments:Target")
    assert limited.spec.max_episode_steps == 30
    assert limited.reward_threshold == 25.0


@pytest.mark.parametrize(
    ("env_id", "text"),
    [
        ("jax/CartPol-v1", "one of jax/CartPole-v1"),
        ("functional_environments:Broken", "no luck"),
        ("functional_environments:Nothing", "no module|registered|Nothing"),
        ("nowhere_at_all:Thing", "nowhere_at_all"),
    ],
)
def test_what_cannot_be_had_is_said(env_id, text):
    with pytest.raises(UsageError, match=text):
        envs.find(env_id)


def test_the_step_is_stateless():
    """Two copies with one state and one key do the same; the sampler never changes what it was given."""
    program, _, weights, _ = make_program(Target(), limit=9)
    first = jax.tree.map(np.array, program.first_state)
    a, b = make_compiled_sampler(program, 1), make_compiled_sampler(program, 1)
    for _ in range(5):
        np.testing.assert_array_equal(
            np.asarray(a.collect(Snapshot(weights, 0)).content.gradients),
            np.asarray(b.collect(Snapshot(weights, 0)).content.gradients),
        )
    jax.tree.map(np.testing.assert_array_equal, first, program.first_state)


@pytest.mark.parametrize("algorithm", ["a3c", pytest.param("one-step-sarsa", marks=pytest.mark.thorough)])
def test_the_memory_of_a_rollout_is_that_before_its_first_step(algorithm):
    """Unrolled from it, the network says what it said while acting: the actions taken are its greedy ones."""
    from a3c.engines.spec import WorkerSpec
    from a3c.networks.functional import apply_sequence

    environment = envs.find("functional_environments:Target")
    config = Config(algorithm=algorithm, seed=1, t_max=5, envs_per_worker=3, lstm_units=4, workers=1)
    model = networks.ActorCritic(2, (4,), lstm_units=4, seed=2)
    networks.build(model, environment.observations)
    weights = parameters_of(model) * 5
    network = Network(model, [], environment.observations)
    shapes = WorkerSpec.of(config, environment, model, keras.optimizers.Adam()).shapes(network)
    policy = backend.load().policy_function(network)
    place = spec_of(Target(), 9)

    def decide(seen, memory, noise):
        parameters, memory = policy(weights, seen, memory)
        return place.actions.choose(parameters, noise), memory, None

    run = jax.jit(lambda state, key: rollout(place, decide, jnp.zeros((5, 3, 2)), state, key))
    state, key = blank(place.env, shapes), draw_key(key_data(0))[1]
    for _ in range(6):
        state, transitions, _ = run(state, key)
        greedy = np.asarray(apply_sequence(network, weights, transitions).parameters).argmax(-1)
        first = 0 if algorithm == "a3c" else int(not np.asarray(transitions.valid[0]).all())
        np.testing.assert_array_equal(greedy[first:5], np.asarray(transitions.actions)[first:])
        if algorithm != "a3c":
            np.testing.assert_array_equal(greedy[5], np.asarray(transitions.next_actions))
