"""The categorical policy while acting, in NumPy: a compiled call costs more than what it would draw."""

import numpy as np

_TINY = np.finfo(np.float32).tiny


def gumbel_noise(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard Gumbel noise, float32: argmax(logits + noise) is a sample of softmax(logits)."""
    noise = generator.standard_exponential(shape, dtype=np.float32)
    np.maximum(noise, _TINY, out=noise)
    np.log(noise, out=noise)
    return np.negative(noise, out=noise)


def sample(logits: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """One action per row by the Gumbel-max trick. Both [..., A]. Returns [...] integers."""
    return (logits + noise).argmax(-1)


def greedy(logits: np.ndarray) -> np.ndarray:
    """The most probable action per row. `logits`: [..., A]. Returns [...] integers."""
    return logits.argmax(-1)
