"""Judging: whole episodes in environments of their own, with seeds of their own."""

import contextlib
import threading
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from a3c import backend, envs, sampling, seeding
from a3c.envs import fault
from a3c.errors import RunError
from a3c.types import Episode, Policy

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


class Failed(RunError):
    """An environment failed while it was played for judgement."""


def failed(env_id: str, error: Exception) -> Failed:
    """What an environment raised, with its own traceback."""
    finding = fault.of_exception(error, None, None)
    return Failed(f"{env_id} {finding.message}\n{finding.traceback.rstrip()}")


class Player(Protocol):
    """Plays episode after episode in B copies of an environment."""

    copies: int
    """B."""

    def warm_up(self, weights: Any) -> None:
        """Compile what will be needed."""
        ...

    def reset(self, weights: Any, mode: Mode, seed: int) -> None:
        """Start anew in every copy, with the policy of `weights`."""
        ...

    def advance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Some steps more: where episodes ended, their returns and lengths there; all [T, B]."""
        ...

    def rebuild(self) -> None:
        """Make the environments anew, after one of them failed."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


class VectorPlayer:
    """Plays in any Gymnasium vector environment, one step at a time.

    Args:
        environment: What to play.
        policy: Maps weights to a function from observations [B, *O] to logits [B, A]; None: only random
            actions.
        copies: B.
    """

    def __init__(self, environment: envs.Environment, policy: Policy | None, copies: int):
        self.copies, self._environment, self._policy = copies, environment, policy
        self._make()

    def _make(self) -> None:
        environment = self._environment
        try:
            self._env = envs.make_vector(environment.spec, self.copies, environment.vectorized)
        except Exception as error:
            raise failed(environment.id, error) from error

    def warm_up(self, weights: Any) -> None:
        """Compile the policy for the number of copies at hand."""
        if self._policy is not None:
            self._policy(weights)(np.zeros((self.copies, *self._environment.observation_shape), np.float32))

    def reset(self, weights: Any, mode: Mode, seed: int) -> None:
        """Start anew in every copy, with the policy of `weights`."""
        self._mode: Mode = mode
        self._act = None if self._policy is None else self._policy(weights)
        self._generator = seeding.generator(seed, "evaluation")
        try:
            self._observation, _ = self._env.reset(seed=seeding.integer_seed(seed, "evaluation"))
        except Exception as error:
            raise failed(self._environment.id, error) from error
        self._returns, self._lengths = np.zeros(self.copies), np.zeros(self.copies, int)
        self._ended = np.zeros(self.copies, bool)

    def advance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step in every copy."""
        action = self._choose() + self._environment.action_start
        try:
            self._observation, reward, terminated, truncated, _ = self._env.step(action)
        except Exception as error:
            raise failed(self._environment.id, error) from error
        # After an end the step only resets: its reward belongs to no episode.
        self._returns = np.where(self._ended, 0.0, self._returns + reward)
        self._lengths = np.where(self._ended, 0, self._lengths + 1)
        self._ended = terminated | truncated
        return self._ended[None], self._returns[None], self._lengths[None]

    def _choose(self) -> np.ndarray:
        """[B] actions counted from 0."""
        shape = self.copies, self._environment.num_actions
        if self._mode == "random":
            return self._generator.integers(shape[1], size=shape[0])
        assert self._act is not None
        logits = self._act(np.asarray(self._observation, np.float32))
        if self._mode == "greedy":
            return sampling.greedy(logits)
        return sampling.sample(logits, sampling.gumbel_noise(self._generator, shape))

    def rebuild(self) -> None:
        """Make the environments anew."""
        with contextlib.suppress(Exception):  # they are broken anyway
            self._env.close()
        self._make()

    def close(self) -> None:
        """Close the environments."""
        with contextlib.suppress(Exception):  # what was played counts, however they end
            self._env.close()


class Evaluator:
    """Plays a fixed number of episodes, keeping the player's copies between evaluations.

    Each copy plays a fixed share of the episodes, so that short episodes are not counted more often than
    long ones, as they would be if the first to finish were taken.

    Args:
        player: Who plays.
        episodes: Episodes per evaluation.
    """

    def __init__(self, player: Player, episodes: int):
        self._player, self._episodes = player, episodes
        self.abandoned = threading.Event()
        """Set by another thread to make an evaluation under way raise `Abandoned`."""
        self.beat = 0
        """Grows while an evaluation is under way and moves."""
        self.rebuild = player.rebuild

    def warm_up(self, weights: Any) -> None:
        """Compile what will be needed."""
        self._player.warm_up(weights)

    def evaluate(self, weights: Any, mode: Mode, seed: int, episodes: int | None = None) -> Evaluation:
        """Play the episodes with the policy of `weights`; `greedy` takes the most probable actions."""
        player, episodes = self._player, episodes or self._episodes
        left = np.full(player.copies, episodes // player.copies)
        left[: episodes % player.copies] += 1
        finished: list[list[Episode]] = [[] for _ in left]
        player.reset(weights, mode, seed)
        while left.any():
            if self.abandoned.is_set():
                raise Abandoned
            ended, returns, lengths = player.advance()
            self.beat += 1
            for t, copy in zip(*np.nonzero(ended & (left > 0)), strict=True):
                if left[copy]:
                    finished[copy].append(Episode(float(returns[t, copy]), int(lengths[t, copy])))
                    left[copy] -= 1
        every = [episode for of_one_copy in finished for episode in of_one_copy]
        return Evaluation(
            mode, np.array([e.episode_return for e in every]), np.array([e.length for e in every])
        )

    def close(self) -> None:
        """Close the environments."""
        self._player.close()


def make_evaluator(
    environment: envs.Environment, network: Any, episodes: int, eager: bool = False
) -> Evaluator:
    """The evaluator of a `flat.Network` in `environment`, on the backend that Keras runs on."""
    framework = backend.load()
    if environment.compiled and framework.FUSES and not eager:
        from a3c.envs.compiled.player import CompiledPlayer

        policy = framework.policy_function(network)
        return Evaluator(CompiledPlayer(environment, policy, min(episodes, 100)), episodes)
    # Copies in one NumPy program cost next to nothing; single ones cost memory and time each.
    copies = min(episodes, 100 if environment.vectorized else 16)
    from a3c.dense import make_policy

    policy = make_policy(framework, network, eager)
    return Evaluator(VectorPlayer(environment, policy, copies), episodes)


class Abandoned(Exception):
    """Raised in an evaluation whose result nobody waits for any more."""


def random_evaluation(environment: envs.Environment, episodes: int, seed: int) -> Evaluation:
    """Episodes of uniformly random actions: the baseline that every score is shown beside."""
    copies = min(episodes, 100 if environment.vectorized else 16)
    evaluator = Evaluator(VectorPlayer(environment, None, copies), episodes)
    try:
        return evaluator.evaluate(None, "random", seed)
    finally:
        evaluator.close()
