"""Networks, and what any network must be to take the place of ours.

A model is any `keras.Model`, subclassed or functional, that maps observations [N, …] to `(policy parameters
[N, A], value [N, 1] or [N])`. What observations are, see `inputs.py`; what the parameters mean, see
`distributions`: for discrete actions they are logits, and the values of actions for Q-learning, which
makes no use of the value beside them. It is called with `training=False`; only its trainable weights learn.

A model with a memory has an attribute `state_size`, S, and is called with (observations [T·N, …], in order of
time, state [N, S], starts [T, N], 1 where an episode begins); it returns the state after the last step as
its third output. `layers.Memory` is an LSTM that takes care of that.
"""

from typing import Any

import keras

from a3c.errors import UsageError, describe, first_line
from a3c.networks.models import COPIES, STEPS, ActionValues, ActorCritic, call_on
from a3c.spaces.distributions import Distribution
from a3c.spaces.observations import Leaf, Observations, Tree, leaves, map_parts
from a3c.utils.user_modules import hidden_file, import_named

OURS = (ActorCritic, ActionValues)
ROWS = STEPS * COPIES  # of the trial call


def state_size(model: keras.Model) -> int:
    """S, numbers of the model's memory per copy of the environment; 0: it has none."""
    return int(getattr(model, "state_size", 0) or 0)


def import_model(reference: str) -> type[keras.Model]:
    """The class that `module:Class` names.

    Raises:
        UsageError: if there is no such module or class, or if it is no `keras.Model`.
    """
    module_name, _, class_name = reference.rpartition(":")
    expected = "module:Class, a keras.Model in a module that can be imported from here"
    if not module_name:
        raise UsageError(f"model {reference}", expected)
    try:
        found = getattr(import_named(module_name), class_name)
    except Exception as error:  # whatever the user's own code does then
        raise UsageError(
            f"model {reference}",
            expected,
            hidden_file(module_name) or f"Importing it failed: {describe(error)}.",
        ) from error
    if not (isinstance(found, type) and issubclass(found, keras.Model)):
        raise UsageError(f"model {reference}", expected, f"{class_name} is a {type(found).__name__}.")
    return found


def build(model: keras.Model, observations: Observations) -> Any:
    """Create the weights of `model` by a symbolic call, which computes nothing; return its outputs."""
    return call_on(model, _shapes(observations.tree))


def _shapes(tree: Tree) -> Any:
    """The shapes of what a model sees of one observation, as `networks.call_on` takes them."""
    if isinstance(tree, Leaf):
        return list(tree.seen_shape)
    if isinstance(tree, dict):
        return {"dict": {name: _shapes(branch) for name, branch in tree.items()}}
    return {"tuple": [_shapes(branch) for branch in tree]}


def check_model(model: keras.Model, observations: Observations, actions: Distribution) -> None:
    """Build `model` for such observations, and raise `UsageError` if it does not fit.

    It fits when it returns the policy parameters [N, A] of `actions` and value [N, 1] or [N], with a memory
    its next state as well, and has float32 trainable weights.
    """
    name, size = f"model {type(model).__name__}", state_size(model)
    outputs = actions.outputs
    what = "means and variances" if actions.noise[0] == "normal" else "logits"
    expected = f"({what} [N, {outputs}], value [N, 1]{f', state [N, {size}]' if size else ''})"
    expected += f" for observations {_seen(observations)}"
    try:
        returned = build(model, observations)
    except Exception as error:
        raise UsageError(name, expected, f"Calling it failed: {first_line(error)}") from error
    if not (isinstance(returned, (tuple, list)) and len(returned) == 2 + bool(size)):
        raise UsageError(f"{name} returning {type(returned).__name__}", expected)
    shapes = [tuple(output.shape) for output in returned]
    fits = shapes[0] == (ROWS, outputs) and shapes[1] in ((ROWS, 1), (ROWS,))
    if not fits or (size and shapes[2] != (COPIES, size)):
        received = ", ".join(f"[{_dims(('N', *shape[1:]))}]" for shape in shapes)
        raise UsageError(f"{name} returning {received}", expected)
    wrong = {
        v.dtype for v in model.trainable_variables if keras.backend.standardize_dtype(v.dtype) != "float32"
    }
    if wrong or not model.trainable_variables:
        raise UsageError(
            f"{name} with {', '.join(sorted(wrong)) or 'no'} weights", "float32 trainable weights"
        )


def _seen(observations: Observations) -> str:
    """The shapes of what a model is called with."""
    if len(leaves(observations.tree)) == 1 and not isinstance(observations.tree, dict | tuple):
        return f"[N, {_dims(leaves(observations.tree)[0].seen_shape)}]"
    return str(map_parts(lambda part: f"[N, {_dims(part.seen_shape)}]", observations.tree)).replace("'", "")


def _dims(shape: tuple) -> str:
    return ", ".join(map(str, shape))
