"""First weights."""

import math
from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="a3c")
class Orthogonal(keras.initializers.Initializer):
    """Orthogonal matrices times `gain` (Saxe et al. 2014), drawn in NumPy.

    Keras' own draws them with the backend, which under JAX compiles for seconds before the first step.
    """

    def __init__(self, gain: float, seed: int | None = None):
        self.gain, self.seed = gain, seed

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """Weights of `shape` (…, inputs, outputs) that as a matrix have orthogonal rows or columns."""
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = np.random.default_rng(self.seed).normal(size=(max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q *= np.sign(np.diag(r))  # makes the draw uniform over orthogonal matrices
        matrix = self.gain * (q if rows >= columns else q.T)
        return keras.ops.convert_to_tensor(matrix.reshape(shape), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(gain=self.gain, seed=self.seed)
