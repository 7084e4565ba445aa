"""The actor-critic network, and what any network must be to take its place.

A model is any `keras.Model`, subclassed or functional, that maps observations [N, *O] to
`(policy logits [N, A], value [N, 1] or [N])`. It is called with `training=False`; only its trainable
weights learn.
"""

import importlib
from typing import Any

import keras
import numpy as np

from a3c.errors import UsageError, describe, first_line

ROWS = 3  # of the trial call: unlike any usual dimension of a network, so that mistaken axes are seen


@keras.saving.register_keras_serializable(package="a3c")
class Orthogonal(keras.initializers.Initializer):
    """Orthogonal matrices times `gain` (Saxe et al. 2014), drawn in NumPy.

    Keras' own draws them with the backend, which under JAX compiles for seconds before the first step.
    """

    def __init__(self, gain: float, seed: int | None = None):
        self.gain, self.seed = gain, seed

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """A matrix of `shape` (inputs, outputs), its rows or columns orthogonal, whichever are fewer."""
        rows, columns = shape
        normal = np.random.default_rng(self.seed).normal(size=(max(shape), min(shape)))
        q, r = np.linalg.qr(normal)
        q *= np.sign(np.diag(r))  # makes the draw uniform over orthogonal matrices
        return keras.ops.convert_to_tensor(self.gain * (q if rows >= columns else q.T), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(gain=self.gain, seed=self.seed)


@keras.saving.register_keras_serializable(package="a3c")
class ActorCritic(keras.Model):
    """Dense layers for policy and value, in a tower each (as in the 2018 tutorial) or in a shared one.

    Args:
        num_actions: A, the number of logits.
        hidden_units: Units of each hidden layer.
        activation: Activation of the hidden layers.
        shared_tower: Whether policy and value share the hidden layers.
        seed: Seed of the initial weights.
    """

    def __init__(
        self,
        num_actions: int,
        hidden_units: tuple[int, ...] = (64, 64),
        activation: str = "tanh",
        shared_tower: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.settings = dict(
            num_actions=num_actions,
            hidden_units=tuple(hidden_units),
            activation=activation,
            shared_tower=shared_tower,
            seed=seed,
        )
        seeds = iter(np.random.SeedSequence(seed).generate_state(2 * len(hidden_units) + 2))

        def layer(units: int, gain: float, name: str, activation: str | None = None) -> keras.layers.Dense:
            return keras.layers.Dense(
                units, activation, kernel_initializer=Orthogonal(gain, int(next(seeds))), name=name
            )

        def tower(name: str) -> list[keras.layers.Dense]:
            return [layer(u, 2**0.5, f"{name}_{i}", activation) for i, u in enumerate(hidden_units)]

        # Small first logits make the first policy nearly uniform: exploration starts unbiased.
        self.policy_tower = tower("shared" if shared_tower else "policy")
        self.value_tower = self.policy_tower if shared_tower else tower("value")
        self.policy_head = layer(num_actions, 0.01, "logits")
        self.value_head = layer(1, 1.0, "value")

    def call(self, observations: Any, training: bool = False) -> tuple[Any, Any]:
        """`observations`: [N, *O]. Returns logits [N, A] and value [N, 1]."""
        del training  # nothing here behaves differently in training
        policy = value = observations
        for policy_layer in self.policy_tower:
            policy = policy_layer(policy)
        if self.value_tower is self.policy_tower:
            value = policy
        else:
            for value_layer in self.value_tower:
                value = value_layer(value)
        return self.policy_head(policy), self.value_head(value)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, so that Keras can build the model again."""
        return {**super().get_config(), **self.settings}


def import_model(reference: str) -> type[keras.Model]:
    """The class that `module:Class` names.

    Raises:
        UsageError: if there is no such module or class, or if it is no `keras.Model`.
    """
    module_name, _, class_name = reference.partition(":")
    expected = "module:Class, a keras.Model in a module that can be imported from here"
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # whatever the user's own code does then
        raise UsageError(
            f"model {reference}", expected, f"Importing it failed: {describe(error)}."
        ) from error
    if not (isinstance(found, type) and issubclass(found, keras.Model)):
        raise UsageError(f"model {reference}", expected, f"{class_name} is a {type(found).__name__}.")
    return found


def build(model: keras.Model, observation_shape: tuple[int, ...]) -> Any:
    """Create the weights of `model` by a symbolic call, which computes nothing; return its outputs."""
    return model(keras.KerasTensor((ROWS, *observation_shape), "float32"), training=False)


def check_model(model: keras.Model, observation_shape: tuple[int, ...], num_actions: int) -> None:
    """Build `model` for observations of this shape, and raise `UsageError` if it does not fit.

    It fits when it accepts [N, *observation_shape] and returns logits [N, num_actions] and value [N, 1]
    or [N], with float32 trainable weights.
    """
    name = f"model {type(model).__name__}"
    expected = f"(logits [N, {num_actions}], value [N, 1]) for observations [N, {_dims(observation_shape)}]"
    try:
        outputs = build(model, observation_shape)
    except Exception as error:
        raise UsageError(name, expected, f"Calling it failed: {first_line(error)}") from error
    if not (isinstance(outputs, (tuple, list)) and len(outputs) == 2):
        raise UsageError(f"{name} returning {type(outputs).__name__}", expected)
    logits, value = (tuple(output.shape) for output in outputs)
    if logits != (ROWS, num_actions) or value not in ((ROWS, 1), (ROWS,)):
        received = ", ".join(f"[{_dims(('N', *shape[1:]))}]" for shape in (logits, value))
        raise UsageError(f"{name} returning {received}", expected)
    wrong = {
        v.dtype for v in model.trainable_variables if keras.backend.standardize_dtype(v.dtype) != "float32"
    }
    if wrong or not model.trainable_variables:
        raise UsageError(
            f"{name} with {', '.join(sorted(wrong)) or 'no'} weights", "float32 trainable weights"
        )


def _dims(shape: tuple) -> str:
    return ", ".join(map(str, shape))
