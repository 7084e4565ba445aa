"""Judging: whole episodes in environments of their own, with seeds of their own."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from a3c import envs, sampling, seeding
from a3c.types import Episode

Mode = Literal["greedy", "sampled", "random"]


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns of complete episodes, summarised."""

    mode: Mode
    returns: np.ndarray
    """[episodes] float64."""
    lengths: np.ndarray
    """[episodes] int64."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """95% confidence interval of the mean, by the normal approximation (1.96 standard errors)."""
        error = (
            1.96 * self.returns.std(ddof=1) / len(self.returns) ** 0.5 if len(self.returns) > 1 else np.inf
        )
        return self.mean - float(error), self.mean + float(error)

    def as_dict(self) -> dict[str, Any]:
        """The summary in the keys of `--json`."""
        low, high = self.ci95
        interval = [round(low, 4), round(high, 4)] if np.isfinite(low) else None
        return dict(
            mode=self.mode,
            episodes=len(self.returns),
            mean=round(self.mean, 4),
            std=round(float(self.returns.std(ddof=1)), 4) if len(self.returns) > 1 else 0.0,
            min=float(self.returns.min()),
            max=float(self.returns.max()),
            ci95=interval,
        )


class Evaluator:
    """Plays episodes of one environment, keeping its copies between evaluations.

    Each copy plays a fixed share of the episodes, so that short episodes are not counted more often than
    long ones, as they would be if the first to finish were taken.

    Args:
        environment: What to play.
        policy: `f(weights, observations [N, *O]) -> logits [N, A]`; None: uniformly random actions.
        episodes: Episodes per evaluation.
        abandoned: Set by another thread to make an evaluation under way raise `Abandoned`.
    """

    def __init__(
        self,
        environment: envs.Environment,
        policy: Callable | None,
        episodes: int,
        abandoned: threading.Event | None = None,
    ):
        self._abandoned = abandoned or threading.Event()
        # Copies in one NumPy program cost next to nothing; single ones cost memory and time each.
        self._copies = min(episodes, 100 if environment.vectorized else 16)
        self._shares = np.full(self._copies, episodes // self._copies)
        self._shares[: episodes % self._copies] += 1
        self._environment, self._policy = environment, policy
        self._env = envs.make_vector(environment.spec, self._copies, environment.vectorized)

    def warm_up(self, weights: Any) -> None:
        """Compile the policy for the number of copies at hand."""
        if self._policy is not None:
            self._policy(weights, np.zeros((self._copies, *self._environment.observation_shape), np.float32))

    def evaluate(self, weights: Any, mode: Mode, seed: int) -> Evaluation:
        """Play the episodes with the policy of `weights`; `greedy` takes the most probable actions."""
        generator = seeding.generator(seed, "evaluation")
        shape = (self._copies, self._environment.num_actions)
        finished: list[list[Episode]] = [[] for _ in range(self._copies)]
        returns, lengths = np.zeros(self._copies), np.zeros(self._copies, int)
        left = self._shares.copy()
        observation, _ = self._env.reset(seed=seeding.integer_seed(seed, "evaluation"))
        ended = np.zeros(self._copies, bool)
        while left.any():
            if self._abandoned.is_set():
                raise Abandoned
            if mode == "random":
                action = generator.integers(shape[1], size=shape[0])
            else:
                assert self._policy is not None
                logits = self._policy(weights, np.asarray(observation, np.float32))
                noise = sampling.gumbel_noise(generator, shape) if mode == "sampled" else None
                action = sampling.greedy(logits) if noise is None else sampling.sample(logits, noise)
            observation, reward, terminated, truncated, _ = self._env.step(
                action + self._environment.action_start
            )
            returns += np.where(ended, 0.0, reward)
            lengths += ~ended
            ended = terminated | truncated
            for i in np.flatnonzero(ended & (left > 0)):
                finished[i].append(Episode(float(returns[i]), int(lengths[i])))
                left[i] -= 1
            returns[ended], lengths[ended] = 0.0, 0
        episodes = [episode for of_one_copy in finished for episode in of_one_copy]
        return Evaluation(
            mode, np.array([e.episode_return for e in episodes]), np.array([e.length for e in episodes])
        )

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


class Abandoned(Exception):
    """Raised in an evaluation whose result nobody waits for any more."""


def random_evaluation(
    environment: envs.Environment, episodes: int, seed: int, abandoned: threading.Event | None = None
) -> Evaluation:
    """Episodes of uniformly random actions: the baseline that every score is shown beside."""
    evaluator = Evaluator(environment, None, episodes, abandoned)
    try:
        return evaluator.evaluate(None, "random", seed)
    finally:
        evaluator.close()
