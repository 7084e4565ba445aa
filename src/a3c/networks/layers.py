"""Parts of networks: convolutions of three kinds, a memory that forgets at episode ends, a Gaussian head."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from a3c.networks.initializers import Orthogonal

_GAIN = 2**0.5  # of layers before a relu
_LONGEST_UNROLLED = 20  # steps of a memory without a loop


@keras.saving.register_keras_serializable(package="a3c")
class Convolutions(keras.layers.Layer):
    """Images [N, H, W, C] to vectors [N, n].

    Args:
        kind: `paper`: 16 filters 8×8 stride 4, 32 filters 4×4 stride 2 (Mnih et al. 2016, section 8; 2013).
            `nature`: 32 filters 8×8 stride 4, 64 filters 4×4 stride 2, 64 filters 3×3 (Mnih et al. 2015).
            `impala`: residual blocks of 16, 32 and 32 filters (Espeholt et al. 2018, figure 3, right).
        seed: Seed of the first weights.
    """

    def __init__(self, kind: str, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.kind, self.seed = kind, seed
        seeds = iter(range(seed or 0, (seed or 0) + 100))
        self.steps: list[Any] = []
        if kind == "impala":
            for filters in (16, 32, 32):
                self.steps += [_conv(filters, 3, 1, seeds, "same"), keras.layers.MaxPooling2D(3, 2, "same")]
                self.steps += [Residual(filters, next(seeds)), Residual(filters, next(seeds))]
            self.steps.append(keras.layers.ReLU())
        else:
            for filters, size, stride in _SIZES[kind]:
                self.steps.append(_conv(filters, size, stride, seeds, "valid", "relu"))
        self.steps.append(keras.layers.Flatten())

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights for images of this shape."""
        for step in self.steps:
            step.build(input_shape)
            input_shape = step.compute_output_shape(input_shape)

    def call(self, images: Any) -> Any:
        """`images`: [N, H, W, C]."""
        for step in self.steps:
            images = step(images)
        return images

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[N, n]."""
        for step in self.steps:
            input_shape = step.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "kind": self.kind, "seed": self.seed}


_SIZES = {
    "paper": ((16, 8, 4), (32, 4, 2)),
    "nature": ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
}
SMALLEST = {"paper": 20, "nature": 36, "impala": 8}
"""Pixels that an image must have in each direction, by the kind of convolutions."""


@keras.saving.register_keras_serializable(package="a3c")
class Residual(keras.layers.Layer):
    """Two convolutions whose result is added to what they were given (He et al. 2016)."""

    def __init__(self, filters: int, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters, self.seed = filters, seed
        seeds = iter((1000 + 2 * (seed or 0), 1001 + 2 * (seed or 0)))
        self.first, self.second = (_conv(filters, 3, 1, seeds, "same") for _ in range(2))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        self.first.build(input_shape)
        self.second.build((*input_shape[:-1], self.filters))

    def call(self, x: Any) -> Any:
        """`x`: [N, H, W, filters]."""
        return x + self.second(ops.relu(self.first(ops.relu(x))))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As it came."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "seed": self.seed}


def _conv(
    filters: int, size: int, stride: int, seeds: Iterator[int], padding: str, activation: str | None = None
) -> keras.layers.Conv2D:
    initializer = Orthogonal(_GAIN, next(seeds))
    return keras.layers.Conv2D(
        filters, size, stride, padding, activation=activation, kernel_initializer=initializer
    )


def _remembering(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """Biases of 0, but 1 for the gate that forgets (Jozefowicz et al. 2015)."""
    units = shape[0] // 4
    return ops.concatenate([ops.zeros(units), ops.ones(units), ops.zeros(2 * units)], 0)


@keras.saving.register_keras_serializable(package="a3c")
class Memory(keras.layers.Layer):
    """An LSTM (Hochreiter and Schmidhuber 1997) over the steps of rollouts, emptied where episodes begin.

    Keras' own cell computes the same; it brings the state of a generator for dropout, which does not learn.

    Args:
        units: Numbers that it puts out per step, and keeps twice.
        seed: Seed of the first weights.
    """

    def __init__(self, units: int, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.units, self.seed = units, seed

    @property
    def state_size(self) -> int:
        """S, numbers of its state per copy of the environment."""
        return 2 * self.units

    def build(
        self,
        inputs_shape: tuple[int | None, ...],
        state_shape: tuple[int | None, ...] | None = None,
        starts_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        """Make the weights: input, forget, candidate and output side by side, as in Keras."""
        seeds = [None, None] if self.seed is None else [self.seed, self.seed + 1]
        shape = (4 * self.units,)
        self.kernel = self.add_weight((inputs_shape[-1], *shape), Orthogonal(1.0, seeds[0]), name="kernel")
        self.recurrent_kernel = self.add_weight(
            (self.units, *shape), Orthogonal(1.0, seeds[1]), name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape, _remembering, name="bias")

    def call(self, inputs: Any, state: Any, starts: Any) -> tuple[Any, Any]:
        """T steps of N copies.

        Args:
            inputs: [T, N, n].
            state: [N, S], before the first step.
            starts: [T, N], 1 where an episode begins, whose first step sees an empty memory.

        Returns:
            [T, N, units], and the state after the last step [N, S].
        """
        keep = 1.0 - ops.cast(starts, "float32")
        driven = ops.matmul(inputs, self.kernel) + self.bias

        def step(carry: Any, now: Any) -> tuple[Any, Any]:
            drive, kept = now
            before = carry * kept[:, None]
            h, c = before[:, : self.units], before[:, self.units :]
            gates = drive + ops.matmul(h, self.recurrent_kernel)
            let_in, keeps, candidate, let_out = ops.split(gates, 4, axis=-1)
            c = ops.sigmoid(keeps) * c + ops.sigmoid(let_in) * ops.tanh(candidate)
            after = ops.concatenate([ops.sigmoid(let_out) * ops.tanh(c), c], -1)
            return after, after

        time = inputs.shape[0]
        unroll = time if time is not None and time <= _LONGEST_UNROLLED else 1
        after, states = ops.scan(step, state, (driven, keep), unroll=unroll)
        return states[..., : self.units], after

    def compute_output_shape(self, inputs_shape: Any, state_shape: Any, starts_shape: Any = None) -> Any:
        """Those of the outputs and of the state."""
        return (*inputs_shape[:2], self.units), state_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units, "seed": self.seed}


@keras.saving.register_keras_serializable(package="a3c")
class IndependentDeviation(keras.layers.Layer):
    """The parameters of a Gaussian policy whose standard deviations are the same in every state.

    The means are computed from the features; the parameters of the variances are trainable numbers alone.

    Args:
        num_actions: A, the number of policy parameters: as many means as variances.
        gain: Of the first weights of the means.
        seed: Their seed.
        policy_bias: First biases, A numbers; None: 0.
    """

    def __init__(
        self,
        num_actions: int,
        gain: float,
        seed: int | None = None,
        policy_bias: tuple[float, ...] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if num_actions % 2:
            raise ValueError(
                f"num_actions={num_actions}: expected as many means as variances, an even number"
            )
        bias = None if policy_bias is None else tuple(policy_bias)
        self.settings: dict[str, Any] = dict(num_actions=num_actions, gain=gain, seed=seed, policy_bias=bias)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights: a kernel [n, A / 2] of the means, and biases [A] of means and variances."""
        settings = self.settings
        size, bias = settings["num_actions"], settings["policy_bias"]
        kernel = Orthogonal(settings["gain"], settings["seed"])
        self.kernel = self.add_weight((input_shape[-1], size // 2), kernel, name="kernel")
        self.bias = self.add_weight((size,), first_bias(bias), name="bias")

    def call(self, features: Any) -> Any:
        """`features`: [N, n]. Returns policy parameters [N, A]."""
        means = ops.matmul(features, self.kernel)
        return ops.concatenate([means, ops.zeros_like(means)], -1) + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[N, A]."""
        return (*input_shape[:-1], self.settings["num_actions"])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self.settings}


def first_bias(numbers: tuple[float, ...] | None) -> Any:
    """What makes a bias begin with these numbers; None: with 0."""
    return "zeros" if numbers is None else keras.initializers.Constant(list(numbers))
