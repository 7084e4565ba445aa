"""Parts of the machinery that many tests put together."""

import functools
import json

import keras
import numpy as np

from a3c import envs
from a3c.envs.faults import Description
from a3c.envs.vector_sampler import VectorSampler
from a3c.networks.functional import Network
from a3c.networks.parameters import non_trainable_of
from a3c.spaces.noise import PolicyNoise
from a3c.spaces.observations import Leaf, Observations
from a3c.types import Outputs, Shapes, Snapshot
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
