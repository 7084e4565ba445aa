"""The optimizer of a run, and the variables that it is built on."""

from typing import Any

from a3c.algorithms.base import Settings
from a3c.networks.parameters import trainable_of
from a3c.utils.lazy_imports import keras


def make_optimizer(settings: Settings) -> Any:
    """The shared optimizer of a run."""
    if settings.optimizer == "rmsprop":
        # The paper's shared RMSProp: decay 0.99, no momentum, epsilon inside the root, where Keras has it.
        return keras.optimizers.RMSprop(settings.learning_rate, rho=0.99, epsilon=1e-5)
    return keras.optimizers.Adam(settings.learning_rate, epsilon=1e-5)


# For these the parameters may as well be one variable, which compiles six times faster. Other optimizers
# see the model's own variables.
_ELEMENTWISE = ("SGD", "RMSprop", "Adam", "Adadelta", "Adagrad", "Adamax", "Nadam", "Lion", "Ftrl")


def is_elementwise(optimizer: "keras.optimizers.Optimizer") -> bool:
    """Whether the optimizer's update of one number depends on no other number."""
    cls = type(optimizer)
    own_rules = optimizer.clipnorm is not None or optimizer.weight_decay
    return cls.__module__.startswith("keras.") and cls.__name__ in _ELEMENTWISE and not own_rules


def build_optimizer(optimizer: "keras.optimizers.Optimizer", model: "keras.Model") -> "list[keras.Variable]":
    """Create the optimizer's state for `model`, and return the variables that it was built on.

    That is one flat copy where the optimizer works number by number, else the model's own weights.
    """
    if is_elementwise(optimizer):
        variables = [keras.Variable(trainable_of(model), name="parameters")]
    else:
        variables = list(model.trainable_variables)
    optimizer.build(variables)
    return variables
