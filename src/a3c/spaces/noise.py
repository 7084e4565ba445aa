"""The noise that makes actions of policy parameters, drawn in NumPy.

Every distribution's sample is a function of its parameters and of noise that does not depend on them; where
the noise is zero, that function gives the most probable action. So the same lines act in NumPy and inside
compiled programs, which bring noise of their own.
"""

from collections.abc import Callable

import numpy as np

_RESOLUTION = 2.0**-23
"""Where NumPy's standard exponential, in float32, is 0, it is less than about this."""
LOUD = 1e30
"""Noise of this size leaves nothing of the parameters it is added to."""


def gumbel_noise(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard Gumbel noise, float32: argmax(logits + noise) is a sample of softmax(logits)."""
    noise = generator.standard_exponential(shape, dtype=np.float32)
    if not noise.all():  # a smallest number in their place would choose what is next to impossible
        zero = noise == 0
        noise[zero] = (1.0 - generator.random(int(zero.sum()))) * _RESOLUTION
    np.log(noise, out=noise)
    return np.negative(noise, out=noise)


def logistic_noise(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard logistic noise, float32: logit + noise > 0 with the probability sigmoid(logit)."""
    return gumbel_noise(generator, shape) - gumbel_noise(generator, shape)


def normal_noise(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal noise, float32."""
    return generator.standard_normal(shape, dtype=np.float32)


def epsilon_noise(
    generator: np.random.Generator, shape: tuple[int, ...], epsilons: np.ndarray | float
) -> np.ndarray:
    """Noise for ε-greedy choices: argmax(values + noise) is random with probability ε, else greedy.

    Args:
        generator: Where it comes from.
        shape: [..., B, A].
        epsilons: ε, for all or for each of the copies [B].
    """
    noise = generator.random(shape, dtype=np.float32)
    noise *= LOUD
    noise *= (generator.random(shape[:-1], dtype=np.float32) < epsilons)[..., None]
    return noise


class PolicyNoise:
    """The noise of actions drawn from a policy.

    Args:
        kind: A name in `DRAW`.
        shape: [T, B, numbers per action].
    """

    def __init__(self, kind: str, shape: tuple[int, ...]):
        self._draw, self._shape = DRAW[kind], shape

    def __call__(self, generator: np.random.Generator, steps: int) -> np.ndarray:
        """The noise of a rollout; how many `steps` there were before makes no difference."""
        return self._draw(generator, self._shape)


FINAL_EPSILONS, FINAL_CHANCES = (0.1, 0.01, 0.5), (0.4, 0.3, 0.3)
FINAL_PERIOD = 10_000
"""Steps of all workers after which final values are drawn anew: no copy explores half the time for ever."""


class EpsilonNoise:
    """The noise of ε-greedy play: ε falls linearly from 1 to a final value that each copy has of its own.

    Those are drawn from 0.1, 0.01 and 0.5 with the probabilities 0.4, 0.3 and 0.3 (Mnih et al. 2016, section
    5.1), for each copy, since each plays the part of one of the paper's actor-learners, and again in every
    period.

    Args:
        shape: [T, B, A].
        anneal_steps: Steps of all workers until the final values are reached.
        generators: Maps the number of a period to what draws its values.
    """

    def __init__(
        self, shape: tuple[int, ...], anneal_steps: int, generators: Callable[[int], np.random.Generator]
    ):
        self._shape, self._anneal_steps, self._generators = shape, anneal_steps, generators
        self._period, self._finals = -1, np.empty(0)

    def epsilons(self, steps: int) -> np.ndarray:
        """ε of each copy [B] after `steps` of all workers."""
        if (period := steps // FINAL_PERIOD) != self._period:
            drawn = self._generators(period).choice(FINAL_EPSILONS, size=self._shape[-2], p=FINAL_CHANCES)
            self._period, self._finals = period, drawn
        share = min(1.0, steps / self._anneal_steps) if self._anneal_steps else 1.0
        return (1.0 + share * (self._finals - 1.0)).astype(np.float32)

    def __call__(self, generator: np.random.Generator, steps: int) -> np.ndarray:
        """The noise of a rollout that begins after `steps` of all workers."""
        return epsilon_noise(generator, self._shape, self.epsilons(steps))


DRAW = {"gumbel": gumbel_noise, "logistic": logistic_noise, "normal": normal_noise}
"""By the names that distributions use, which are JAX's."""
