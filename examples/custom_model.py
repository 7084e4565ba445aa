"""A network of your own: any `keras.Model` that returns policy logits and a value.

cd examples
a3c train CartPole-v1 --model custom_model:Residual        # from the command line
python custom_model.py                                     # the same from Python, with an optimizer too
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="examples")
class Residual(keras.Model):
    """A trunk of residual blocks with two heads. `num_actions` is what the command line passes in."""

    def __init__(self, num_actions: int, units: int = 64, blocks: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.settings = dict(num_actions=num_actions, units=units, blocks=blocks)
        self.entrance = keras.layers.Dense(units, "tanh")
        self.blocks = [keras.layers.Dense(units, "tanh") for _ in range(blocks)]
        self.policy = keras.layers.Dense(num_actions)
        self.value = keras.layers.Dense(1)

    def call(self, observations, training=False):
        """Observations [N, n] to logits [N, num_actions] and value [N, 1]."""
        x = self.entrance(observations)
        for block in self.blocks:
            x = ops.add(x, block(x))
        return self.policy(x), self.value(x)

    def get_config(self):
        """What Keras needs to build the model again, in the workers and from a file."""
        return {**super().get_config(), **self.settings}


def main() -> None:
    """Train the model with an optimizer and a schedule of one's own."""
    from a3c import Agent

    schedule = keras.optimizers.schedules.CosineDecay(2e-3, decay_steps=5_000, alpha=0.2)
    agent = Agent("CartPole-v1", model=Residual(num_actions=2), optimizer=keras.optimizers.RMSprop(schedule))
    history = agent.fit(max_steps=500_000)
    print("mean return of the last 100 episodes:", history.history["mean_return_100"][-1])
    print("evaluation:", agent.evaluate(episodes=100).mean)
    agent.save("residual.keras")


if __name__ == "__main__":  # workers import this file: training must not begin again there
    main()
