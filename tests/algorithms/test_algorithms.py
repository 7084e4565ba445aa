"""The family: what each loss aims at, ε-greedy play, stale behaviour, memory, and learners in the middle."""

import json
import threading
from pathlib import Path

import harness
import keras
import numpy as np
import pytest
from keras import ops

import parts
from a3c import Agent, algorithms, backend, envs, networks
from a3c.algorithms import optimizers
from a3c.algorithms.returns import lambda_returns, vtrace
from a3c.config import Config
from a3c.engines.programs import make_program
from a3c.engines.spec import WorkerSpec
from a3c.engines.stores import Limits, StoreState, factory
from a3c.engines.stores.central import Batching, CentralStore, WorkerClient
from a3c.engines.stores.shared_submissions import SharedSubmissions
from a3c.engines.stores.submissions import LocalSubmissions
from a3c.networks.functional import Network, apply_sequence
from a3c.networks.layers import Memory
from a3c.networks.normalisation import Normaliser
from a3c.networks.parameters import non_trainable_of, parameters_of
from a3c.spaces.distributions.categorical import Categorical
from a3c.spaces.noise import FINAL_CHANCES, FINAL_EPSILONS, FINAL_PERIOD, EpsilonNoise, epsilon_noise
from a3c.training import resolve
from a3c.types import Outputs, PartGradients, Rollout, Shapes, Snapshot, Transitions
from parts import gradient_of, network_of, vectors

both_backends = pytest.mark.both_backends
TIME, BATCH, ACTIONS, GAMMA = 6, 3, 4, 0.9


def random_rollout(seed=0):
    chosen = np.random.default_rng(seed).integers(ACTIONS, size=BATCH).astype(np.int32)
    return parts.random_rollout(TIME, BATCH, choices=ACTIONS, seed=seed, next_actions=chosen)


def random_outputs(seed):
    rng = np.random.default_rng(seed)
    parameters = rng.normal(size=(TIME + 1, BATCH, ACTIONS)).astype(np.float32)
    return Outputs(ops.convert_to_tensor(parameters), ops.max(ops.convert_to_tensor(parameters), -1))


def slow_targets(name, rollout, target):
    """Algorithm 1, S1 and S2 of Mnih et al. 2016, one copy and one step at a time."""
    following = np.concatenate([rollout.actions[1:], rollout.next_actions[None]])
    targets = np.zeros((TIME, BATCH))
    for b in range(BATCH):
        carried = target[TIME, b].max()
        for t in reversed(range(TIME)):
            ahead = target[t + 1, b]
            if name == "one-step-q" or rollout.truncated[t, b]:
                carried = ahead.max()
            if name == "one-step-sarsa":
                carried = ahead[following[t, b]]
            if rollout.terminated[t, b]:
                carried = 0.0
            carried = rollout.rewards[t, b] + GAMMA * carried
            targets[t, b] = carried
    return targets


@both_backends
@pytest.mark.parametrize("name", ["one-step-q", "one-step-sarsa", "n-step-q"])
def test_targets_of_action_values_equal_the_slow_twin(name):
    rollout, outputs, target = random_rollout(), random_outputs(1), random_outputs(2)
    loss = algorithms.find(name).make_loss(Config(gamma=GAMMA, gae_lambda=1.0), Categorical(ACTIONS))
    total, terms = loss(outputs, rollout, target)
    taken = np.take_along_axis(ops.convert_to_numpy(outputs.parameters)[:-1], rollout.actions[..., None], -1)
    errors = slow_targets(name, rollout, ops.convert_to_numpy(target.parameters)) - taken[..., 0]
    assert float(total) == pytest.approx((errors[rollout.valid] ** 2).mean(), rel=1e-4)
    assert float(terms["action_value"]) == pytest.approx(taken[..., 0][rollout.valid].mean(), rel=1e-4)


SETTINGS = dict(
    gamma=GAMMA, gae_lambda=0.8, rho_bar=1.2, c_bar=0.9, entropy_coefficient=0.1, value_coefficient=0.3
)


def actor_critic_rollout(seed=0):
    """A rollout of a policy of its own, and what another one and its values say of it."""
    rng = np.random.default_rng(seed)
    behaviour = rng.normal(size=(TIME, BATCH, ACTIONS)).astype(np.float32)
    parameters = rng.normal(size=(TIME + 1, BATCH, ACTIONS)).astype(np.float32)
    values = rng.normal(size=(TIME + 1, BATCH)).astype(np.float32)
    return random_rollout(seed)._replace(behaviour=behaviour), Outputs(parameters, values)


def tensors(outputs):
    return Outputs(*map(ops.convert_to_tensor, outputs))


def slow_log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@both_backends
@pytest.mark.parametrize("name", ["a3c", "impala"])
def test_actor_critic_losses_equal_the_slow_twin(name):
    """Every term, over those steps alone that belong to an episode."""
    rollout, outputs = actor_critic_rollout()
    total, terms = algorithms.find(name).make_loss(Config(**SETTINGS), Categorical(ACTIONS))(
        tensors(outputs), rollout, None
    )
    log_pi, log_mu = (slow_log_softmax(logits) for logits in (outputs.parameters[:-1], rollout.behaviour))
    taken, before = (np.take_along_axis(p, rollout.actions[..., None], -1)[..., 0] for p in (log_pi, log_mu))
    ratios, valid = np.exp(taken - before), rollout.valid
    case = rollout.rewards, rollout.terminated, rollout.truncated, outputs.values, GAMMA
    if name == "impala":
        bounds = (SETTINGS[name] for name in ("rho_bar", "c_bar", "gae_lambda"))
        targets, advantages = parts.slow_vtrace(ratios, *case, *bounds)
        assert float(terms["importance"]) == pytest.approx(ratios[valid].mean(), rel=1e-4)
    else:
        advantages = parts.slow_gae(*case, SETTINGS["gae_lambda"])
        targets = advantages + outputs.values[:-1]
    expected = dict(
        policy_loss=-(taken * advantages)[valid].mean(),
        value_loss=((targets - outputs.values[:-1]) ** 2)[valid].mean(),
        entropy=-(np.exp(log_pi) * log_pi).sum(-1)[valid].mean(),
    )
    for term, value in expected.items():
        assert float(terms[term]) == pytest.approx(value, rel=1e-4), term
    assert 0 < valid.sum() < valid.size
    combined = expected["policy_loss"] + 0.3 * expected["value_loss"] - 0.1 * expected["entropy"]
    assert float(total) == pytest.approx(combined, rel=1e-4)


@both_backends
@pytest.mark.parametrize("name", ["a3c", "impala"])
def test_the_policy_term_moves_no_values(name):
    rollout, outputs = actor_critic_rollout()
    config = Config(**{**SETTINGS, "value_coefficient": 0.0})
    loss = algorithms.find(name).make_loss(config, Categorical(ACTIONS))
    logits = ops.convert_to_tensor(outputs.parameters)

    def of_values(values):
        return loss(Outputs(logits, ops.reshape(values, (TIME + 1, BATCH))), rollout, None)[0]

    def of_logits(logits):
        shaped = ops.reshape(logits, (TIME + 1, BATCH, ACTIONS))
        return loss(Outputs(shaped, ops.convert_to_tensor(outputs.values)), rollout, None)[0]

    assert not gradient_of(of_values, outputs.values.ravel()).any()
    assert gradient_of(of_logits, outputs.parameters.ravel()).any()


@pytest.mark.parametrize("name", ["a3c", "impala", "one-step-q", "n-step-q"])
def test_what_was_done_in_a_step_that_only_reset_counts_for_nothing(name):
    """For Sarsa it does: it was chosen in the last state, whose value is that of this action."""
    rollout, outputs = actor_critic_rollout()
    loss = algorithms.find(name).make_loss(Config(**SETTINGS), Categorical(ACTIONS))
    others = np.where(rollout.valid, rollout.actions, (rollout.actions + 1) % ACTIONS).astype(np.int32)
    assert (others != rollout.actions).any()
    totals = [
        float(loss(tensors(outputs), rollout._replace(actions=actions), tensors(outputs))[0])
        for actions in (rollout.actions, others)
    ]
    assert totals[0] == totals[1]


@both_backends
def test_peng_mixes_one_step_and_n_step():
    rollout, outputs, target = random_rollout(3), random_outputs(1), random_outputs(2)
    totals = {}
    for name, settings in (("one-step-q", {}), ("n-step-q", {"gae_lambda": 0.0}), ("n-step-q", {})):
        loss = algorithms.find(name).make_loss(Config(gamma=GAMMA, **settings), Categorical(ACTIONS))
        totals[name, str(settings)] = float(loss(outputs, rollout, target)[0])
    assert totals["one-step-q", "{}"] == totals["n-step-q", "{'gae_lambda': 0.0}"] != totals["n-step-q", "{}"]


# -- exploring ----------------------------------------------------------------------------------------------


def test_epsilon_greedy_play_is_what_it_says():
    values = np.array([[0.0, 3.0, 1.0]], np.float32)
    noise = epsilon_noise(np.random.default_rng(0), (50_000, 1, 3), np.array([0.3], np.float32))
    chosen = Categorical(3).choose(values, noise)[:, 0]
    np.testing.assert_allclose(np.bincount(chosen) / 50_000, [0.1, 0.8, 0.1], atol=0.01)


def test_final_epsilons_are_the_papers_and_annealed():
    noise = EpsilonNoise((5, 3000, 2), 1000, np.random.default_rng)
    np.testing.assert_allclose(noise.epsilons(0), 1.0)
    finals = noise.epsilons(1000)
    for value, share in zip(FINAL_EPSILONS, FINAL_CHANCES, strict=True):
        assert np.isclose(finals, value).mean() == pytest.approx(share, abs=0.03)
    np.testing.assert_allclose(noise.epsilons(500), (1 + finals) / 2, rtol=1e-5)


def test_final_epsilons_are_drawn_again_and_depend_on_the_steps_alone():
    """A worker alone with one copy would else have a chance of 0.3 to take every other action at random."""
    noise, again = (EpsilonNoise((5, 1, 2), 0, np.random.default_rng) for _ in range(2))
    seen = [float(noise.epsilons(steps)[0]) for steps in range(0, 400 * FINAL_PERIOD, FINAL_PERIOD // 2)]
    assert seen[::2] == seen[1::2], "the same within a period"
    for value, share in zip(FINAL_EPSILONS, FINAL_CHANCES, strict=True):
        assert np.isclose(seen, value).mean() == pytest.approx(share, abs=0.1)
    assert float(again.epsilons(300 * FINAL_PERIOD)[0]) == seen[600], "as in a run that is resumed there"


# -- stale behaviour ----------------------------------------------------------------------------------------


def test_vtrace_recovers_the_value_that_stale_rollouts_hide():
    """One state, one step, reward 1 for action 1. The actor chose evenly, the learner now takes it nine times
    in ten: its value is 0.9, and without correction 0.5 would be learned."""
    rng = np.random.default_rng(0)
    actions = rng.integers(2, size=(1, 4000))
    pi = np.where(actions == 1, 0.9, 0.1)
    ratios, rewards = (pi / 0.5).astype(np.float32), actions.astype(np.float32)
    zeros, ones = np.zeros_like(rewards), np.ones_like(rewards)
    corrected = uncorrected = 0.0
    for _ in range(12):
        values = np.full((2, 4000), corrected, np.float32)
        targets, _ = vtrace(ratios, rewards, zeros, ones, values, rho_bar=1e3)
        corrected += 0.6 * (float(ops.mean(targets)) - corrected)
        targets = lambda_returns(rewards, zeros, ones, values)
        uncorrected += 0.6 * (float(ops.mean(targets)) - uncorrected)
    assert corrected == pytest.approx(0.9, abs=0.03)
    assert uncorrected == pytest.approx(0.5, abs=0.03)


# -- memory -------------------------------------------------------------------------------------------------


@both_backends
def test_the_memory_computes_what_keras_own_cell_does():
    memory, cell = Memory(5, seed=1), keras.layers.LSTMCell(5)
    inputs = np.random.default_rng(0).normal(size=(7, 3, 4)).astype(np.float32)
    outputs, after = memory(inputs, np.zeros((3, 10), np.float32), np.zeros((7, 3), np.float32))
    cell.build((3, 4))
    for theirs, ours in zip(cell.trainable_variables, memory.trainable_variables, strict=True):
        theirs.assign(ours)
    state = [ops.zeros((3, 5)), ops.zeros((3, 5))]
    for t in range(7):
        expected, state = cell(inputs[t], state)
        np.testing.assert_allclose(
            ops.convert_to_numpy(outputs[t]), ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-6
        )
    np.testing.assert_allclose(ops.convert_to_numpy(after)[:, 5:], ops.convert_to_numpy(state[1]), rtol=1e-4)


@both_backends
@pytest.mark.parametrize(("time", "shared"), [(6, False), (30, False), (6, True)])
def test_an_episode_that_begins_in_a_rollout_begins_with_an_empty_memory(time, shared):
    """What the network says after a reset is what it says of that episode alone, in every position."""
    model = networks.ActorCritic(2, (4,), lstm_units=3, shared_tower=shared, seed=0)
    size = model.state_size
    assert size == (6 if shared else 12)  # output and cell, of one memory or of one for each tower
    network = network_of(model, 1)
    networks.build(model, network.observations)
    weights, rng = parameters_of(model), np.random.default_rng(0)
    seen = rng.normal(size=(time + 1, 2, 1)).astype(np.float32)
    blank = Shapes.of(network.observations, Categorical(2), time, 2, state=size).blank()
    valid = np.ones((time, 2), bool)
    valid[2, 0] = False  # step 2 of the first copy only resets: observation 3 is a first one
    state = rng.normal(size=(2, size)).astype(np.float32)
    whole = apply_sequence(network, weights, blank._replace(observations=seen, valid=valid, state=state))
    alone = Shapes.of(network.observations, Categorical(2), time - 3, 1, state=size).blank()
    part = apply_sequence(
        network,
        weights,
        alone._replace(observations=seen[3:, :1], valid=np.ones((time - 3, 1), bool)),
    )
    values, expected = (ops.convert_to_numpy(o.values) for o in (whole, part))
    np.testing.assert_allclose(values[3:, 0], expected[:, 0], rtol=1e-4, atol=1e-6)
    straight = apply_sequence(
        network,
        weights,
        blank._replace(observations=seen, valid=np.ones_like(valid), state=state),
    )
    others = ops.convert_to_numpy(straight.values)
    np.testing.assert_allclose(values[:, 1], others[:, 1], rtol=1e-5)
    assert not np.allclose(values[3:, 0], others[3:, 0])


RECALL = dict(
    learning_rate=3e-3, t_max=7, stop_return=0.95, max_steps=100_000, evaluation_episodes=50, seed=2
)


@pytest.mark.parametrize("algorithm", ["a3c", "impala", "one-step-sarsa"])
def test_the_first_observation_is_recalled(algorithm, tmp_path):
    values = dict(epsilon_steps=5000, target_steps=500) if algorithm == "one-step-sarsa" else {}
    agent = Agent(
        "a3c.envs.probes:probe/Recall-v0",
        algorithm,
        lstm_units=16,
        workers=2,
        save_dir=str(tmp_path),
        **RECALL,
        **values,
    )
    agent.fit(verbose=0)
    assert agent.evaluate(100, seed=3).mean == 1.0
    agent.save(tmp_path / "agent.keras")
    assert Agent.load(tmp_path / "agent.keras").evaluate(100, seed=3).mean == 1.0
    environment, state = envs.make_single(agent.environment.spec, None), None
    observation, _ = environment.reset(seed=4)
    for _ in range(3):
        action, state = agent.predict(observation, state)
        observation, reward, *_ = environment.step(action)
    assert reward == 1.0


def test_without_a_memory_it_cannot_be(tmp_path):
    settings = {**RECALL, "max_steps": 20_000, "engine": "serial"}
    agent = Agent("a3c.envs.probes:probe/Recall-v0", save_dir=str(tmp_path), **settings)
    agent.fit(verbose=0)
    assert abs(agent.evaluate(200, seed=3).mean) < 0.5


# -- probes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["a2c", "impala", "one-step-q", "one-step-sarsa", "n-step-q"])
def test_endless_rewards_under_a_time_limit_are_worth_what_they_are(algorithm, tmp_path):
    """V = 1/(1 − γ) = 10: a cut is no end, whatever the algorithm."""
    agent = Agent(
        "a3c.envs.probes:probe/Endless-v0",
        algorithm,
        gamma=0.9,
        engine="serial",
        seed=1,
        max_steps=60_000,
        learning_rate=1e-2,
        target_steps=500,
        normalise_observations=False,
        normalise_returns=False,  # else the value is not the environment's
        save_dir=str(tmp_path),
        stop_return=None,
    )
    agent.fit(verbose=0)
    value = float(ops.convert_to_numpy(agent.network(np.zeros((1, 1), np.float32))[1]).ravel()[0])
    assert value == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize("algorithm", ["a2c", "impala", "one-step-q", "one-step-sarsa", "n-step-q"])
def test_what_is_seen_decides_what_is_done(algorithm, tmp_path):
    agent = Agent(
        "a3c.envs.probes:probe/ObservedChoice-v0",
        algorithm,
        engine="serial",
        seed=1,
        max_steps=20_000,
        epsilon_steps=5_000,
        learning_rate=1e-2,
        target_steps=200,
        save_dir=str(tmp_path),
    )
    agent.fit(verbose=0)
    assert agent.act(np.array([[-1.0], [1.0]])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("env_id", "algorithm", "settings"),
    [
        pytest.param("CartPole-v1", "impala", {}, marks=pytest.mark.thorough),
        ("CartPole-v1", "impala", {"lstm_units": 8, "normalise_observations": True}),
        ("jax/CartPole-v1", "impala", {"lstm_units": 8, "normalise_returns": True}),
        ("CartPole-v1", "one-step-sarsa", {"lstm_units": 8}),
        pytest.param("jax/CartPole-v1", "one-step-sarsa", {}, marks=pytest.mark.thorough),
    ],
)
def test_what_is_learned_from_is_what_was_done(env_id, algorithm, settings, monkeypatch):
    """With parameters that stay the same, a loss finds the very policy that acted, over many rollouts and
    ends of episodes: masks, memory and the seams between rollouts are right."""
    monkeypatch.setattr(
        WorkerSpec, "hands_in_rollouts", True
    )  # also those that compiled programs learn from within
    size = dict(workers=2, envs_per_worker=4, t_max=7)
    config, environment = resolve.resolve_config(
        Config(env_id=env_id, algorithm=algorithm, seed=1, **size, **settings)
    )
    model = resolve.make_model(config, environment)
    worker_spec = WorkerSpec.of(config, environment, model, optimizers.make_optimizer(config))
    network = Network(model, non_trainable_of(model), environment.observations, worker_spec.normaliser)
    weights = parameters_of(model)
    # Louder than the first parameters, under which most policies look alike.
    size = len(weights) - worker_spec.normaliser.size
    weights[:size] += np.random.default_rng(0).normal(scale=0.3, size=size)
    worker_program = make_program(worker_spec, backend.load(), network, weights)
    sampler = worker_program.make_sampler(0, 0, pytest.fail, lambda: None)
    worker_program.wait()
    before, ends = None, 0
    for _ in range(20):
        target = weights if worker_spec.algorithm.values else None
        found = sampler.collect(Snapshot(weights, 0, 10**9, target)).content
        now = Transitions._make(None if array is None else np.array(array) for array in found)
        ended = now.terminated | now.truncated
        np.testing.assert_array_equal(now.valid[1:], ~ended[:-1])
        if now.behaviour is not None:
            parameters = ops.convert_to_numpy(apply_sequence(network, weights, now).parameters)
            np.testing.assert_allclose(parameters[:-1], now.behaviour, atol=1e-5)
        if before is not None:
            np.testing.assert_array_equal(before.observations[-1], now.observations[0])
            np.testing.assert_array_equal(now.valid[0], ~(before.terminated | before.truncated)[-1])
            if now.next_actions is not None:
                np.testing.assert_array_equal(before.next_actions, now.actions[0])
        before, ends = now, ends + ended.sum()
    sampler.close()
    assert ends > 10


# -- in step ------------------------------------------------------------------------------------------------


CARTPOLE = dict(env_id="CartPole-v1", seed=5, preset="none", stop_return=1e6)
STEP = dict(algorithm="a2c", preset="CartPole-v1", max_steps=30_000)
USES = dict(max_steps=12_000, t_max=32)


@both_backends
@pytest.mark.parametrize(
    "settings",
    [
        dict(STEP, workers=1),
        dict(STEP, workers=2),
        dict(STEP, workers=1, env_id="jax/CartPole-v1"),
        dict(STEP, workers=2, env_id="jax/CartPole-v1"),
        pytest.param(dict(STEP, workers=4), marks=pytest.mark.thorough),
        pytest.param(dict(STEP, workers=4, env_id="jax/CartPole-v1"), marks=pytest.mark.thorough),
        dict(USES, algorithm="appo", engine="serial"),
        pytest.param(dict(USES, algorithm="appo", engine="serial", lstm_units=4), marks=pytest.mark.thorough),
        pytest.param(dict(USES, algorithm="ppo", engine="serial"), marks=pytest.mark.thorough),
        dict(USES, algorithm="ppo", workers=2),
    ],
    ids=lambda s: " ".join(f"{v}" for k, v in s.items() if k not in ("preset", "max_steps", "t_max")),
)
def test_a_run_is_decided_by_its_seed_alone(settings, tmp_path):
    if "t_max" not in settings and keras.backend.backend() != "jax":
        pytest.skip("once is enough")
    runs = []
    for _ in range(2):
        backend_name = keras.backend.backend()
        agent = Agent(save_dir=str(tmp_path), backend=backend_name, **{**CARTPOLE, **settings})
        summary = agent.fit(verbose=0).summary
        assert summary["steps"] >= settings["max_steps"]
        runs.append((agent.get_weights(), harness.episodes(Path(summary["run_dir"]))))
    assert all(np.array_equal(a, b) for a, b in zip(runs[0][0], runs[1][0], strict=True))
    assert runs[0][1] == runs[1][1]
    assert len(runs[0][1]) > 50


# -- learners in the middle ---------------------------------------------------------------------------------


def content():
    return StoreState(np.zeros(3, np.float32), {"float32": np.zeros(1, np.float32)})


def central(batching, shared, workers=2, learn=None, **limits):
    example = np.zeros(3, np.float32)
    if shared:
        submission_queue = SharedSubmissions(workers, batching.room, 3, example, ("loss",), 5)
    else:
        submission_queue = LocalSubmissions(workers)
    store = CentralStore(content(), batching, submission_queue, Limits(**limits))
    store.prepare(lambda w, s, g, steps: (w + g, s), None, None)
    return store


def rollout(steps=4, episodes=()):
    return Rollout(None, list(episodes), steps)


@pytest.mark.parametrize("shared", [False, True])
def test_in_step_the_mean_over_all_steps_makes_one_update(shared):
    """Each worker's gradient is a mean of its own steps: of 4 here, and of 12."""
    store = central(Batching(in_step=True, size=2, room=1), shared)
    ports = [store.client() if not shared else WorkerClient(store._queue, store._batching) for _ in range(2)]
    for worker, client in enumerate(ports):
        client.attach(worker)
    for number in range(3):
        snapshots = [client.pull() for client in ports]
        assert [snapshot.version for snapshot in snapshots] == [number, number]
        gradients = np.full(3, 3.0, np.float32)
        handed_in = PartGradients(gradients, 12) if number else gradients  # a part has a count of its own
        steps = 0 if number else 12
        ports[1].push(handed_in, number, rollout(steps, [(1.5, 7)]), {"loss": 3.0})
        store.learner_step(0.01)
        assert store.updates == number, "one is missing"
        ports[0].push(np.ones(3, np.float32), number, rollout(4), {"loss": 1.0})
        store.learner_step(0.01)
        np.testing.assert_allclose(store.weights(), 2.5 * (number + 1))
        first, second = store.reports()
        assert (first.worker, first.updates, first.steps, first.losses["loss"]) == (0, 1, 4, 2.5)
        assert (second.worker, second.updates, second.steps, second.episodes) == (1, 0, steps, [(1.5, 7)])
        store.learner_step(0.0)  # lets them go on
    assert (store.steps, store.updates, store.episodes) == (24, 3, 3)


def test_in_step_the_mean_is_clipped_not_what_it_is_made_of():
    """As if one worker had all the copies; its norm before is what is told. Statistics are not clipped."""
    normaliser = Normaliser(observations=1)
    submission_queue = LocalSubmissions(2)
    contents = StoreState(np.zeros(8, np.float32), {"float32": np.zeros(1, np.float32)})
    batching = Batching(in_step=True, size=2, room=1)
    store = CentralStore(contents, batching, submission_queue, Limits(), normaliser, global_clipnorm=0.5)
    store.prepare(lambda w, s, g, steps: (w + g, s), None, None)
    statistics = [50.0, 0.0, 9.0, 0.0, 4.0, 0.0]
    for worker, gradient in enumerate(([8.0, 0.0], [0.0, 6.0])):
        client = store.client().attach(worker)
        client.pull()
        client.push(
            np.array(gradient + statistics, np.float32), 0, rollout(), {"loss": 1.0, "gradient_norm": 7.0}
        )
    store.learner_step(0.01)
    np.testing.assert_allclose(store.weights(), [0.4, 0.3, 50.0, 0.0, 9.0, 0.0, 8.0, 0.0], rtol=1e-6)
    assert store.reports()[0].losses["gradient_norm"] == pytest.approx(5.0)


@both_backends
@pytest.mark.parametrize("clipnorm", [0.01, 100.0])
@pytest.mark.parametrize("shared", [False, True])
def test_in_step_two_workers_make_the_update_of_one_with_all_the_copies(shared, clipnorm):
    """Their mean is clipped as it would be, each tower by itself where there are two."""
    model = networks.ActorCritic(ACTIONS, (8,), shared_tower=shared, seed=0)
    networks.build(model, vectors(1))
    network, weights = network_of(model, 1), parameters_of(model)
    loss = algorithms.find("a2c").make_loss(Config(), Categorical(ACTIONS))
    each = [random_rollout(seed)._replace(next_actions=None) for seed in range(2)]
    valid = [int(one.valid.sum()) for one in each]
    assert 0 < valid[0] != valid[1] > 0, "else this test shows little"
    joined = {
        name: None if value is None else np.concatenate([getattr(one, name) for one in each], 1)
        for name, value in each[0]._asdict().items()
    }
    expected, told = backend.load().compile_gradients(network, loss, clipnorm)(weights, Transitions(**joined))

    contents = StoreState(weights, {"float32": np.zeros(1, np.float32)})
    batching = Batching(in_step=True, size=2, room=1)
    store = CentralStore(
        contents, batching, LocalSubmissions(2), Limits(), network.normaliser, clipnorm, network.towers
    )
    store.prepare(lambda w, s, g, steps: (g, s), None, None)
    compute = backend.load().compile_gradients(network, loss, None)
    for worker, transitions in enumerate(each):
        client = store.client().attach(worker)
        client.pull()
        gradient, losses = compute(weights, transitions)
        client.push(gradient, 0, rollout(valid[worker]), losses)
    store.learner_step(0.01)
    np.testing.assert_allclose(store.weights(), expected, rtol=1e-3, atol=1e-6)
    assert store.reports()[0].losses["gradient_norm"] == pytest.approx(told["gradient_norm"], rel=1e-4)


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_not_finite_is_skipped_for_all(shared):
    store = central(Batching(in_step=True, size=2, room=1), shared)
    for worker in range(2):
        client = store.client().attach(worker)
        client.pull()
        client.push(np.ones(3, np.float32), 0, rollout(), {"loss": [1.0, np.nan][worker]})
    store.learner_step(0.01)
    assert (store.updates, store.skipped, store.consecutive_skips()) == (0, 1, 1)
    assert not store.weights().any()
    assert [(r.updates, r.skipped) for r in store.reports()] == [(0, 1), (0, 0)]


@pytest.mark.parametrize("shared", [False, True])
def test_a_full_queue_makes_actors_wait_and_bounds_the_lag(shared):
    """The learner is slow: an actor stops when its room is full, and nothing grows older than that."""
    store = central(Batching(in_step=False, size=1, room=2), shared, workers=1)
    client, pushed = store.client().attach(0), []

    def act():
        while (snapshot := client.pull()) is not None:
            client.push(np.ones(3, np.float32), snapshot.version, rollout(), {"loss": 0.0})
            pushed.append(snapshot.version)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    harness.wait_for(lambda: len(pushed) >= 2)
    beats = store.activity.heartbeats()[0]
    harness.wait_for(lambda: store.activity.heartbeats()[0] > beats + 6)  # whoever waits is alive
    assert len(pushed) == 2, "the third waits"
    lags = []
    for _ in range(50):
        store.learner_step(1.0)
        lags += [report.lag for report in store.reports()]
    store.stop()
    thread.join(harness.DEADLINE)
    assert not thread.is_alive()
    assert len(lags) == 50
    assert 1 <= max(lags) <= 3


def test_a_slow_actor_holds_nobody_up():
    """By default there is room for another rollout of each: the quick one's are learned from meanwhile."""
    config, environment = resolve.resolve_config(Config(algorithm="impala", workers=2, preset="none", seed=1))
    model = resolve.make_model(config, environment)
    worker_spec = WorkerSpec.of(config, environment, model, optimizers.make_optimizer(config))
    store = central(factory.batching(worker_spec), shared=False)
    client = store.client().attach(0)
    for _ in range(6):
        snapshot = client.pull()
        client.push(np.ones(3, np.float32), snapshot.version, rollout(), {"loss": 0.0})
        store.learner_step(0.0)
    assert store.updates == 3


def test_limits_end_it_for_everybody():
    store = central(Batching(in_step=False, size=1, room=1), True, workers=1, steps=8)
    client = store.client().attach(0)
    for _ in range(2):
        assert client.pull() is not None
        client.push(np.ones(3, np.float32), 0, rollout(4), {"loss": 0.0})
        store.learner_step(0.1)
    assert store.finished
    assert client.pull() is None


def test_impala_measures_its_lag(tmp_path):
    agent = Agent("CartPole-v1", "impala", workers=2, seed=1, max_steps=30_000, save_dir=str(tmp_path))
    agent.fit(verbose=0)
    lines = next(tmp_path.rglob("metrics.jsonl")).read_text().splitlines()
    lags = [json.loads(line)["lag"] for line in lines if '"lag"' in line]
    assert lags, lines[-1]
    assert 0 <= max(lags) <= 4
