"""A network of your own with a memory: it is called with its state, and says what the next one is.

cd examples
a3c train a3c.envs.probes:probe/Recall-v0 --model recurrent_model:Remembering --stop-return 0.9
"""

import keras
from keras import ops

from a3c.networks.layers import Memory


@keras.saving.register_keras_serializable(package="examples")
class Remembering(keras.Model):
    """A dense layer, an LSTM, two heads. `num_actions` is what the command line passes in."""

    def __init__(self, num_actions: int, units: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.settings = dict(num_actions=num_actions, units=units)
        self.state_size = 2 * units  # tells that there is a memory: an LSTM's has its output and its cell
        self.entrance = keras.layers.Dense(units, "tanh")
        self.memory = Memory(units)
        self.policy = keras.layers.Dense(num_actions)
        self.value = keras.layers.Dense(1)

    def call(self, observations, state, starts, training=False):
        """T steps of N copies: observations [T·N, n], state [N, S], starts [T, N]: 1 where episodes begin.

        Returns logits [T·N, num_actions], values [T·N, 1] and the state after the last step [N, S].
        """
        units = self.settings["units"]
        x = ops.reshape(self.entrance(observations), (*starts.shape, units))
        x, after = self.memory(x, state, starts)  # which empties it where an episode begins
        x = ops.reshape(x, (-1, units))
        return self.policy(x), self.value(x), after

    def get_config(self):
        """What Keras needs to make the model again, in the workers and from a file."""
        return {**super().get_config(), **self.settings}

    def build_from_config(self, config):
        """Make the weights again: Keras has noted the shape of the first input alone."""
        size = config["input_shape"][-1]
        self(ops.zeros((1, size)), ops.zeros((1, self.state_size)), ops.zeros((1, 1)))
