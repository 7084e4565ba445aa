"""Parts of the machinery that many tests put together."""

import functools
import json

import gymnasium as gym
import keras
import numpy as np

from a3c import envs
from a3c.envs.faults import Description
from a3c.envs.vector_sampler import VectorSampler
from a3c.networks.functional import Network
from a3c.networks.parameters import non_trainable_of
from a3c.spaces.noise import PolicyNoise
from a3c.spaces.observations import Leaf, Observations
from a3c.types import Outputs, Shapes, Snapshot, Transitions
from a3c.utils import serialization

ANY = Snapshot(None, 0)
"""Parameters of a policy that asks for none."""


def vectors(size):
    """Observations that are vectors."""
    return Observations(Leaf("vector", (size,)), "float32")


def network_of(model, size):
    """A model of vectors as a function of its weights."""
    return Network(model, non_trainable_of(model), vectors(size))


def uniform_policy(outputs):
    """Policy parameters of zero."""
    return lambda weights: lambda seen, state=None: (np.zeros((len(seen), outputs), np.float32), state)


class Still(gym.Env):
    """Shows a zero, pays 1 a step and never ends, unless a subclass says otherwise."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, False, False, {}


def fail(fault):
    """Faults are none of the test: its `on_fault`."""
    raise AssertionError(fault.summary)


def vector_sampler(
    environment, batch, t_max=7, *, vectorized=None, policy=None, generator=0, seed=0, on_fault=fail, **more
):
    """A `VectorSampler` that draws from a policy, the uniform one if none is given.

    Of `more`, `make_env` and `describe` have defaults as well.
    """
    vectorized = environment.vectorized if vectorized is None else vectorized
    kind, size = environment.actions.noise
    defaults = dict(
        make_env=functools.partial(envs.make_vector, environment.spec, batch, vectorized, checked=False),
        describe=Description(environment.id, 0, batch, vectorized),
    )
    return VectorSampler(
        observations=environment.observations,
        actions=environment.actions,
        shapes=Shapes.of(environment.observations, environment.actions, t_max, batch),
        policy=policy or uniform_policy(environment.actions.outputs),
        explore=PolicyNoise(kind, (t_max, batch, size)),
        generator=np.random.default_rng(generator),
        seeds=lambda making: seed + 1000 * making,
        on_fault=on_fault,
        **{**defaults, **more},
    )


def balance(weights):
    """A policy that keeps CartPole's pole up for as long as it may."""

    def act(observations, state):
        push = observations @ np.array([0.1, 0.5, 3.0, 1.5]) > 0
        return np.stack([~push, push], 1) * np.float32(1e3), state

    return act


def through_json(tree):
    """A plain tree as it comes back from a file."""
    return serialization.from_json(json.loads(json.dumps(serialization.to_json(tree))))


def random_rollout(time, batch, size=1, choices=4, seed=0, **more):
    """Steps with ends of both kinds, after each of which a step only resets."""
    rng = np.random.default_rng(seed)
    ends = rng.random((time, batch))
    terminated, truncated = ends < 0.2, ends > 0.85
    valid = np.ones((time, batch), bool)
    valid[1:] = ~(terminated | truncated)[:-1]
    drawn = dict(
        observations=rng.normal(size=(time + 1, batch, size)).astype(np.float32),
        actions=rng.integers(choices, size=(time, batch)).astype(np.int32),
        rewards=(rng.normal(size=(time, batch)) * valid).astype(np.float32),
    )
    masks = dict(terminated=terminated & valid, truncated=truncated & valid, valid=valid)
    return Transitions(**{**drawn, **masks, **more})


def slow_gae(rewards, terminated, truncated, values, gamma, gae_lambda):
    """The sum Σ (γλ)^l δ[t+l] of Schulman et al. 2016, equation 16, as two loops; n-step where λ = 1."""
    time, batch = rewards.shape
    advantages = np.zeros((time, batch))
    for b in range(batch):
        for t in range(time):
            weight = 1.0
            for k in range(t, time):
                next_value = 0.0 if terminated[k, b] else values[k + 1, b]
                advantages[t, b] += weight * (rewards[k, b] + gamma * next_value - values[k, b])
                if terminated[k, b] or truncated[k, b]:
                    break
                weight *= gamma * gae_lambda
    return advantages


def slow_vtrace(ratios, rewards, terminated, truncated, values, gamma, rho_bar, c_bar, gae_lambda):
    """Equation 1 of Espeholt et al. 2018 as it stands, a sum over later steps, and the advantages.

    The λ is that of remark 2. Both are [T, B].
    """
    time, batch = rewards.shape
    targets = np.zeros((time, batch))
    for b in range(batch):
        for s in range(time):
            total, weight = values[s, b], 1.0
            for t in range(s, time):
                following = 0.0 if terminated[t, b] else values[t + 1, b]
                delta = min(rho_bar, ratios[t, b]) * (rewards[t, b] + gamma * following - values[t, b])
                total += weight * delta
                if terminated[t, b] or truncated[t, b]:
                    break
                weight *= gamma * gae_lambda * min(c_bar, ratios[t, b])
            targets[s, b] = total
    later = np.where(truncated, values[1:], np.concatenate([targets[1:], values[-1:]]))
    ahead = np.where(terminated, 0.0, (1 - gae_lambda) * values[1:] + gae_lambda * later)
    return targets, np.minimum(rho_bar, ratios) * (rewards + gamma * ahead - values[:-1])


def outputs_of(apply, transitions):
    """What `apply(observations [N, *O]) -> (parameters [N, A], values [N])` says of every observation."""
    time, batch = transitions.rewards.shape
    parameters, values = apply(transitions.observations.reshape(-1, *transitions.observations.shape[2:]))
    shaped = keras.ops.reshape(parameters, (time + 1, batch, -1))
    return Outputs(shaped, keras.ops.reshape(values, (time + 1, batch)))


def gradient_of(function, vector):
    """The gradient of `function`, a scalar, at `vector`, by the framework that Keras runs on."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(vector))
    import tensorflow as tf

    at = tf.constant(vector)
    with tf.GradientTape() as tape:
        tape.watch(at)
        total = function(at)
    return tape.gradient(total, at, unconnected_gradients="zero").numpy()
