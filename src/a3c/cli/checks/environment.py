"""What `a3c doctor` asks of an environment: does it keep its word, does it end, can it be learned from?"""

import contextlib
import dataclasses
import functools
import math
import time
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import iterate

from a3c import backend, envs
from a3c.cli.checks import Check, Checks, describe, examine, fault, ok, warning
from a3c.cli.checks.resuming import resumed
from a3c.config import Config
from a3c.envs import Environment
from a3c.errors import UsageError
from a3c.presets import make_config
from a3c.spaces.distributions import random_actions
from a3c.spaces.distributions.categorical import Categorical
from a3c.spaces.observations import ObservationMismatch

_STEPS = 10_000  # of random play
_SECONDS = 5.0  # for it at most, after its first step
_SPEED_SECONDS = 0.5
_SPEED_COPIES = 16
_LARGE = 100.0
_FLAT = 0.01  # standard deviation of the number that varies most


def prepare(env_id: str, model: str | None, wanted: str, seed: int) -> tuple[Config, Environment]:
    """The environment, and the settings that it would be trained with.

    Raises:
        UsageError: if there is no such environment, or it cannot be trained on.
    """
    own = {} if model is None else {"model": model}
    config = make_config(env_id=env_id, seed=seed, engine="serial", workers=1, **own)
    with contextlib.suppress(UsageError):  # a check of the machine has told of it
        config = dataclasses.replace(config, backend=backend.select(wanted))
    return config, envs.find(env_id)


def checks(environment: Environment, seed: int, resume: bool) -> Checks:
    """The checks of an environment that was found."""
    yield "environment", functools.partial(described, environment)
    yield "check_env", functools.partial(gymnasium_check, environment)
    yield "stepping", functools.partial(vector, environment)
    yield "threshold", functools.partial(threshold, environment)
    yield "play", functools.partial(played, environment, seed)
    yield "speed", functools.partial(speed, environment, seed)
    yield "seed", functools.partial(determinism, environment, seed)
    if resume:
        yield "resume", functools.partial(resumed, environment, seed)


def described(environment: Environment) -> Check:
    """What was found."""
    actions = environment.actions
    text = f"{environment.id}: {environment.observations.describe()}; {actions.describe()}"
    if isinstance(actions, Categorical) and actions.size == 1:
        return warning(f"{text}: there is nothing to choose", "Give it at least two actions.")
    return ok(text)


def gymnasium_check(environment: Environment) -> Iterator[Check]:
    """What Gymnasium's own checker says of a single copy."""
    if environment.compiled or environment.id.startswith("envpool/"):
        yield ok("is for environments in Python; this one is not")
        return
    env = envs.make_single(environment.spec, None)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_env(env.unwrapped, skip_render_check=True)
    except Exception as error:
        if "eterministic" in str(error):  # it can be trained on all the same
            yield warning(describe(error), "See the line on its seed.")
        else:
            yield fault(describe(error), "Gymnasium's documentation of Env says what is expected.")
        return
    finally:
        env.close()
    # That a space is unbounded is no fault: Gymnasium's own CartPole is.
    texts = (str(w.message).removeprefix("\x1b[33mWARN: ").removesuffix("\x1b[0m").strip() for w in caught)
    said = dict.fromkeys(" ".join(text.split()) for text in texts if "infinity. This is probably" not in text)
    for text in said:
        yield warning(text, "See Gymnasium's documentation of Env.")
    if not said:
        yield ok("Gymnasium's own checker has nothing to say")


def vector(environment: Environment) -> Check:
    """How copies are stepped; all of them reset in the step after an end."""
    if environment.compiled:
        return ok("inside the worker's compiled program")
    if environment.vectorized:
        return ok("many copies at once by vector code of its own, with next-step autoreset")
    unlike = environment.spec.vector_entry_point is not None
    why = ": its own vector code resets otherwise" if unlike else ""
    return ok(f"single copies in turn, with next-step autoreset{why}")


def threshold(environment: Environment) -> Check:
    """Whether it says what solved means."""
    if environment.reward_threshold is None:
        fix = "Give one with --stop-return, or register it with reward_threshold=…."
        return warning("it does not say what solved means: training goes on to its limit", fix)
    return ok(f"solved at a mean return of {environment.reward_threshold:g}")


# -- random play --------------------------------------------------------------------------------------------


class Play:
    """Some random play of one copy, stepped as in training: by its own vector code if it has any."""

    def __init__(self, environment: Environment, seed: int):
        self.described = environment.observations
        self.observations: list[np.ndarray] = []
        self.misfits: list[str] = []
        self.rewards: list[float] = []
        self.outside = self.terminated = self.truncated = 0
        self.space: gym.Space
        ends = math.inf
        play = _vector_steps if environment.vectorized else _single_steps
        with contextlib.closing(play(environment, seed)) as steps:
            for self.space, seen, reward, terminated, truncated in steps:
                self._keep(seen)
                self.outside += not self.space.contains(seen)
                if reward is _RESET:
                    continue
                self.rewards.append(float(reward))
                self.terminated += bool(terminated)
                self.truncated += bool(truncated)
                if len(self.rewards) == 1:  # what happens only once, such as compiling, does not count
                    ends = time.perf_counter() + _SECONDS
                if len(self.rewards) >= _STEPS or time.perf_counter() > ends:
                    break

    def _keep(self, seen: Any) -> None:
        """Keep one observation, packed where it has several parts."""
        try:
            plain = self.described.plain
            self.observations.append(np.array(seen) if plain else self.described.pack_any(seen)[0][0])
        except ObservationMismatch as error:
            self.misfits.append(str(error))


_Seen = tuple[gym.Space, Any, Any, bool, bool]
"""The space, an observation, and what led to it; the reward is `_RESET` after a reset."""
_RESET = object()  # not None, which some environment may return


def _single_steps(environment: Environment, seed: int) -> Generator[_Seen, None, None]:
    # Gymnasium's warnings are left to `gymnasium_check`.
    spec = dataclasses.replace(environment.spec, disable_env_checker=True)
    with contextlib.closing(envs.make_single(spec, None)) as env:
        env.action_space.seed(seed)
        ended, again = True, seed
        while True:
            if ended:
                yield env.observation_space, env.reset(seed=again)[0], _RESET, False, False
                again = None
            seen, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            ended = terminated or truncated
            yield env.observation_space, seen, reward, terminated, truncated


def _vector_steps(environment: Environment, seed: int) -> Generator[_Seen, None, None]:
    generator = np.random.default_rng(seed)
    with contextlib.closing(envs.make_vector(environment.spec, 1, True, checked=False)) as env:
        space = env.single_observation_space
        seen, _ = env.reset(seed=seed)
        yield space, next(iterate(env.observation_space, seen)), _RESET, False, False
        ended = False
        while True:
            actions = random_actions(environment.actions, generator, 1, 1)[0]
            seen, reward, terminated, truncated, _ = env.step(actions)
            one = next(iterate(env.observation_space, seen))
            yield space, one, _RESET if ended else reward[0], terminated[0], truncated[0]
            ended = terminated[0] or truncated[0]


def played(environment: Environment, seed: int) -> Iterator[Check]:
    """What random play shows."""
    play = Play(environment, seed)
    yield from examine("ends", ends, environment, play)
    yield from examine("observations", observations, play)
    yield from examine("rewards", rewards, play)


def ends(environment: Environment, play: Play) -> Check:
    """Whether episodes end."""
    limit = environment.spec.max_episode_steps
    steps = len(play.rewards)
    text = f"{play.terminated} terminated, {play.truncated} truncated in {steps:,} random steps"
    if limit is not None:
        return ok(f"{text}; time limit {limit:,} steps")
    if play.terminated + play.truncated == 0:
        fix = "Register it with max_episode_steps=…, or wrap it in gymnasium.wrappers.TimeLimit."
        return warning(f"no episode ended in {steps:,} random steps, and there is no time limit", fix)
    return ok(f"{text}; no time limit")


def observations(play: Play) -> Check:
    """Whether observations are what networks like: float32 they become in any case."""
    unlike = {str(each.shape) for each in play.observations if each.shape != play.described.shape}
    if unlike := unlike | set(play.misfits):
        text = f"some have shape {', '.join(sorted(unlike))}, their space has {play.described.shape}"
        return fault(text, "Return the shape of the space from each reset() and step().")
    with np.errstate(all="ignore"):
        seen = np.stack(play.observations).astype(np.float32)
    if not np.isfinite(seen).all():
        first = int(np.argwhere(~np.isfinite(seen))[0][0])
        text = f"observation {first + 1} of random play is not finite"
        return fault(text, "Return only finite numbers, within the range of float32.")
    low, high, fixes = float(seen.min()), float(seen.max()), []
    text = f"inside their space, from {low:.3g} to {high:.3g} in random play"
    if play.outside:
        dtypes = ", ".join(sorted({str(each.dtype) for each in play.observations}))
        lie = f"({dtypes}) lie outside {play.space}, from {low:.3g} to {high:.3g}"
        text = f"{play.outside} of {len(seen):,} {lie}"
        fixes.append("Correct the space or what is returned, bounds and dtype.")
    # Bytes are scaled, and numbers of several parts may be names of things.
    numbers = play.described.plain and play.described.dtype != "uint8"
    if numbers and max(-low, high) > _LARGE:
        fixes.append("Leave --normalise-observations on, or scale them to about ±1.")
    spread = float(seen.std(0, dtype=np.float64).max())
    if numbers and spread < _FLAT:
        text += f", with a standard deviation of at most {spread:.2g}"
        fixes.append("A network hardly tells them apart: leave --normalise-observations on.")
    return warning(text, "\n".join(fixes)) if fixes else ok(text)


def rewards(play: Play) -> Check:
    """Whether rewards are of a size that can be learned from."""
    with np.errstate(all="ignore"):
        earned = np.array(play.rewards).astype(np.float32)
    if not np.isfinite(earned).all():
        return fault("not all are finite", "Return only finite numbers.")
    low, high = float(earned.min()), float(earned.max())
    text = f"from {low:.3g} to {high:.3g} in random play"
    if max(-low, high) > _LARGE:
        return warning(text, "Leave --normalise-returns on, or scale them to about ±1.")
    if low == high == 0:
        fix = "Reward steps on the way, or let it explore longer (--entropy-coefficient, --max-steps)."
        return warning("random play never finds one other than 0", fix)
    return ok(text)


# -- seeds and speed ----------------------------------------------------------------------------------------


def determinism(environment: Environment, seed: int) -> Check:
    """Whether a seed decides a trajectory."""
    trajectories = [_trajectory(environment, seed) for _ in range(2)]
    for step, (first, second) in enumerate(zip(*trajectories, strict=True)):
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)):
            when = "in the first observation" if step == 0 else f"in step {step}"
            fix = "Draw every random number from self.np_random, after super().reset(seed=seed)."
            return warning(f"the same seed and actions differ {when}", fix)
    return ok("the same seed and actions give the same trajectory")


def _trajectory(environment: Environment, seed: int) -> list[tuple[np.ndarray, ...]]:
    generator, pack = np.random.default_rng(seed), environment.observations.pack
    with _copies(environment, 2) as env:
        steps: list[tuple[np.ndarray, ...]] = [(pack(env.reset(seed=seed)[0]).copy(),)]
        for _ in range(200):
            seen, *others = env.step(random_actions(environment.actions, generator, 1, 2)[0])[:4]
            steps.append((pack(seen).copy(), *map(np.array, others)))
    return steps


def speed(environment: Environment, seed: int) -> Check:
    """How fast it is, stepped as one worker does."""
    copies, steps = _SPEED_COPIES, 0
    actions = random_actions(environment.actions, np.random.default_rng(seed), 64, copies)
    with _copies(environment, copies) as env:
        env.reset(seed=seed)
        env.step(actions[0])  # what it does only once, such as compiling, does not count
        started = time.perf_counter()
        while (seconds := time.perf_counter() - started) < _SPEED_SECONDS:
            env.step(actions[steps % len(actions)])
            steps += 1
    return ok(f"{copies * steps / seconds:,.0f} random steps/s by {copies} copies on one core")


def _copies(environment: Environment, count: int) -> contextlib.closing[VectorEnv]:
    return contextlib.closing(
        envs.make_vector(environment.spec, count, environment.vectorized, checked=False)
    )
