"""Models that do not fit, cannot be saved, or make no numbers."""

import keras


class Wrong(keras.Model):
    def __init__(self, num_actions):
        super().__init__()
        self.logits, self.value = keras.layers.Dense(num_actions + 1), keras.layers.Dense(1)

    def call(self, x, training=False):
        return self.logits(x), self.value(x)


class Unsaveable(keras.Model):
    def __init__(self, num_actions):
        super().__init__()
        self.kept = lambda x: x
        self.logits, self.value = keras.layers.Dense(num_actions), keras.layers.Dense(1)

    def call(self, x, training=False):
        return self.logits(x), self.value(x)

    def get_config(self):
        return {"kept": self.kept}


class Nan(keras.Model):
    def __init__(self, num_actions, **kwargs):
        super().__init__(**kwargs)
        self.n = num_actions
        self.logits, self.value = keras.layers.Dense(num_actions), keras.layers.Dense(1)

    def call(self, x, training=False):
        value = self.value(x)
        return self.logits(x), keras.ops.log(-1.0 - value * value)

    def get_config(self):
        return {"num_actions": self.n}

    def build_from_config(self, config):
        self(keras.KerasTensor((1, 4)))
