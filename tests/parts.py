"""Parts of the machinery that many tests put together."""

import keras
import numpy as np

from a3c.envs.vector_sampler import VectorSampler
from a3c.networks.functional import Network
from a3c.networks.parameters import non_trainable_of
from a3c.spaces.noise import PolicyNoise
from a3c.spaces.observations import Leaf, Observations
from a3c.types import Outputs, Shapes, Snapshot

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


def vector_sampler(
    environment, make_env, batch, t_max, generator, seeds, describe, on_fault, policy=None, **more
):
    """A `VectorSampler` that draws from a policy, the uniform one if none is given."""
    kind, size = environment.actions.noise
    return VectorSampler(
        make_env=make_env,
        observations=environment.observations,
        actions=environment.actions,
        shapes=Shapes.of(environment.observations, environment.actions, t_max, batch),
        policy=policy or uniform_policy(environment.actions.outputs),
        explore=PolicyNoise(kind, (t_max, batch, size)),
        generator=np.random.default_rng(generator),
        seeds=seeds,
        describe=describe,
        on_fault=on_fault,
        **more,
    )


def outputs_of(apply, transitions):
    """What `apply(observations [N, *O]) -> (parameters [N, A], values [N])` says of every observation."""
    import keras

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
