"""What `a3c doctor` asks of an environment: does it keep its word, does it end, can it be learned from?"""

import dataclasses
import time
import warnings
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from a3c import envs
from a3c.doctor import Check, fault, ok, warning
from a3c.envs import Environment
from a3c.errors import first_line

_STEPS = 10_000  # of random play
_SECONDS = 5.0  # for it at most
_LARGE = 100.0


def described(environment: Environment) -> Check:
    """What was found."""
    shape, actions = environment.observation_shape, environment.num_actions
    return ok("environment", f"{environment.id}: observations {shape}, {actions} actions")


def gymnasium_check(environment: Environment) -> Iterator[Check]:
    """What Gymnasium's own checker says of a single copy."""
    if environment.compiled or environment.id.startswith("envpool/"):
        yield ok("check_env", "is for environments in Python; this one is not")
        return
    env = envs.make_single(environment.spec, None)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_env(env.unwrapped, skip_render_check=True)
    except Exception as error:
        fix = "Gymnasium's documentation of Env says what is expected."
        yield fault("check_env", f"{type(error).__name__}: {first_line(error)}", fix)
        return
    finally:
        env.close()
    # That a space is unbounded is no fault: Gymnasium's own CartPole is.
    texts = (str(w.message).removeprefix("\x1b[33mWARN: ").removesuffix("\x1b[0m").strip() for w in caught)
    said = dict.fromkeys(text for text in texts if "infinity. This is probably too" not in text)
    for text in said:
        yield warning("check_env", text, "See Gymnasium's documentation of Env.")
    if not said:
        yield ok("check_env", "Gymnasium's own checker has nothing to say")


def vector(environment: Environment) -> Check:
    """How many copies are stepped."""
    if environment.compiled:
        return ok("stepping", "inside the worker's compiled program")
    if environment.vectorized:
        return ok(
            "stepping", "many copies at once, by vector code of its own, reset in the step after an end"
        )
    return ok("stepping", "single copies in turn, reset in the step after an end")


class Play:
    """Some random play of a single copy."""

    def __init__(self, environment: Environment, seed: int):
        self.observations: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.outside = 0
        self.terminated = self.truncated = 0
        # What Gymnasium would warn of in passing, `gymnasium_check` tells once.
        env = envs.make_single(dataclasses.replace(environment.spec, disable_env_checker=True), None)
        env.action_space.seed(seed)
        seen, _ = env.reset(seed=seed)
        started = time.perf_counter()
        while len(self.rewards) < _STEPS and time.perf_counter() - started < _SECONDS:
            seen, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            self.observations.append(np.array(seen))
            self.rewards.append(float(reward))
            self.outside += not env.observation_space.contains(seen)
            self.terminated += bool(terminated)
            self.truncated += bool(truncated)
            if terminated or truncated:
                seen, _ = env.reset()
        self.seconds = time.perf_counter() - started
        self.space: gym.Space = env.observation_space
        env.close()


def ends(environment: Environment, play: Play) -> Check:
    """Whether episodes end."""
    limit = environment.spec.max_episode_steps
    steps = len(play.rewards)
    text = f"{play.terminated} terminated, {play.truncated} truncated in {steps:,} random steps"
    if limit is not None:
        return ok("ends", f"{text}; time limit {limit:,} steps")
    if play.terminated + play.truncated == 0:
        fix = "Register it with max_episode_steps=…, or wrap it in gymnasium.wrappers.TimeLimit."
        return warning("ends", f"{text}, and no time limit: nothing can be counted", fix)
    fix = "An episode of a good agent may never end: register it with max_episode_steps=…."
    return warning("ends", f"{text}; no time limit", fix)


def observations(play: Play) -> Check:
    """Whether observations are what networks like."""
    seen = np.stack(play.observations).astype(np.float64)
    if not np.isfinite(seen).all():
        first = int(np.argwhere(~np.isfinite(seen))[0][0])
        return fault("observations", f"not finite after {first + 1} steps", "Return numbers only.")
    if play.outside:
        text = f"{play.outside} of {len(seen):,} lie outside {play.space}"
        return warning("observations", text, "Correct the space or what is returned: its dtype, too.")
    low, high = float(seen.min()), float(seen.max())
    text = f"inside their space, from {low:.3g} to {high:.3g} at random"
    if max(-low, high) > _LARGE:
        fix = "Scale them to about ±1, for example with gymnasium.wrappers.TransformObservation."
        return warning("observations", text, fix)
    return ok("observations", text)


def rewards(play: Play) -> Check:
    """Whether rewards are of a size that can be learned from."""
    earned = np.array(play.rewards)
    if not np.isfinite(earned).all():
        return fault("rewards", "not all are finite", "Return numbers only.")
    text = f"from {earned.min():.3g} to {earned.max():.3g} at random"
    if np.abs(earned).max() > _LARGE:
        fix = "Scale them to about ±1, for example with gymnasium.wrappers.TransformReward."
        return warning("rewards", text, fix)
    if earned.min() == earned.max() == 0:
        fix = "Random play never finds one: shape the reward, or let it explore (--entropy-coefficient)."
        return warning("rewards", "always 0 at random", fix)
    return ok("rewards", text)


def determinism(environment: Environment, seed: int) -> Check:
    """Whether a seed decides a trajectory."""
    trajectories = [_trajectory(environment, seed) for _ in range(2)]
    for step, (first, second) in enumerate(zip(*trajectories, strict=True)):
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)):
            when = "in the first observation" if step == 0 else f"in step {step}"
            fix = "Draw every random number from self.np_random, after super().reset(seed=seed)."
            return warning("seed", f"the same seed and actions differ {when}", fix)
    return ok("seed", "the same seed and actions give the same trajectory")


def _trajectory(environment: Environment, seed: int) -> list[tuple[np.ndarray, ...]]:
    env = envs.make_vector(environment.spec, 2, environment.vectorized, checked=False)
    generator = np.random.default_rng(seed)
    seen, _ = env.reset(seed=seed)
    steps = [(np.array(seen),)]
    for _ in range(200):
        actions = generator.integers(environment.num_actions, size=2) + environment.action_start
        seen, reward, terminated, truncated, _ = env.step(actions)
        steps.append(tuple(map(np.array, (seen, reward, terminated, truncated))))
    env.close()
    return steps


def speed(play: Play) -> Check:
    """How fast it is."""
    return ok("speed", f"{len(play.rewards) / max(play.seconds, 1e-9):,.0f} random steps/s of a single copy")


def threshold(environment: Environment) -> Check:
    """Whether it says what solved means."""
    if environment.reward_threshold is None:
        fix = "Give one with --stop-return, or register it with reward_threshold=…."
        return warning("threshold", "it does not say what solved means: training goes on to its limit", fix)
    return ok("threshold", f"solved at a mean return of {environment.reward_threshold:g}")


def continuity(environment: Environment, seed: int) -> Check:
    """Whether a stopped serial run can go on exactly."""
    from a3c.envs import continuity

    found = continuity.check(environment, seed)
    if found.ok:
        return ok("resume", "a stopped serial run goes on bit for bit")
    fix = "Give it state_dict() and load_state_dict(state); without, a resumed run begins its episodes anew."
    return warning("resume", found.reason, fix)
