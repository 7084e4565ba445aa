"""Samplers act: they turn parameters into rollouts. This one steps any Gymnasium vector environment.

Called by the worker cycle. It handles faults of environments: as long as `on_fault` returns, it makes the
environments anew and takes the rollout again.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from gymnasium.vector import VectorEnv

from a3c.envs import faults, generators, replay
from a3c.envs.copies import Copies
from a3c.envs.episodes import EpisodeLog, sum_discounted
from a3c.envs.faults import Description, FaultLocation, OnFault, Violation
from a3c.envs.history import ActionHistory
from a3c.errors import describe
from a3c.spaces.distributions import Distribution
from a3c.spaces.observations import ObservationMismatch, Observations
from a3c.types import Policy, Rollout, Shapes, Snapshot
from a3c.utils.serialization import plain

Explore = Callable[[np.random.Generator, int], np.ndarray]
"""Draws the noise of a rollout [T, B, …], given how many steps all workers have taken before it."""


class Sampler(Protocol):
    """What the worker cycle needs of a sampler."""

    def collect(self, snapshot: Snapshot) -> Rollout:
        """Act for T steps with the policy of those weights, going on where the last rollout ended."""
        ...

    def wait(self) -> None:
        """Return when all that it needs is compiled."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...

    def state(self) -> dict[str, Any]:
        """A plain tree from which another sampler of the same arguments goes on; between two rollouts."""
        ...

    def restore(self, tree: dict[str, Any]) -> str:
        """Go on from what `state` returned.

        Returns which episodes begin anew and why, one sentence; empty: all go on exactly where they stood.
        """
        ...


class VectorSampler:
    """Steps B copies of an environment with next-step autoreset, T steps at a time.

    Args:
        make_env: Makes B copies. They must use next-step autoreset.
        observations: How their observations are packed.
        actions: The distribution over their actions.
        shapes: Of a rollout.
        policy: Maps weights to a function from observations [B, *O] to policy parameters [B, A].
        explore: Draws the noise of a rollout.
        generator: Draws it.
        seeds: The seed of the first reset after the k-th making of the environments.
        describe: Which environments these are, for crash reports.
        on_fault: Told of each fault. If it returns, the environments are made anew and their episodes under
            way are dropped; what it raises ends the call.
        episodic_life: Let learning take the loss of a life for an end; `info` has to count `lives`.
        on_step: Called after every step, so that a slow environment is not taken for one that hangs.
    """

    def __init__(
        self,
        make_env: Callable[[], VectorEnv],
        observations: Observations,
        actions: Distribution,
        shapes: Shapes,
        policy: Policy,
        explore: Explore,
        generator: np.random.Generator,
        seeds: Callable[[int], int],
        describe: Description,
        on_fault: OnFault,
        episodic_life: bool = False,
        on_step: Callable[[], None] = lambda: None,
    ):
        self._make_env, self._policy, self._t_max, self._generator = make_env, policy, shapes.time, generator
        self._pack = None if observations.plain else observations.pack
        self._distribution, self._shapes, self._explore = actions, shapes, explore
        discrete = shapes.action_dtype != "float32"
        self._small = np.min_scalar_type(actions.outputs) if discrete else np.dtype(np.float32)
        self._seeds, self._describe, self._on_fault = seeds, describe, on_fault
        self._episodic_life, self._on_step = episodic_life, on_step
        self._lost = np.zeros((shapes.time, shapes.batch), bool)  # where a life was
        self._no_actions = np.zeros((0, describe.copies, *shapes.action), self._small)
        self._rebuilds = 0
        self._env: VectorEnv | None = None
        self._make()

    def collect(self, snapshot: Snapshot) -> Rollout:
        """Act for T steps; see `Sampler.collect`. The arrays are overwritten by the next call."""
        while (wrong := self._act(snapshot)) is not None:
            self._fail(*wrong)
            self._make()
        _, actions, rewards, terminated, truncated, valid, *_ = self._transitions
        ends = terminated | truncated
        valid[0], valid[1:] = ~self._ended, ~ends[:-1]  # after an end, the next step only resets
        self._ended = ends[-1].copy()
        rewards *= valid
        if (discount := self._shapes.discount) is not None:
            returns = self._transitions.returns
            self._discounted = sum_discounted(rewards, valid, discount, self._discounted, returns)
        self._steps += self._t_max
        if self._history.add(actions.astype(self._small), ends):
            self._shorten()
        episodes = self._episodes.extend(rewards, ends, valid)
        if self._episodic_life:
            terminated |= self._lost  # for the losses alone: the next step is as valid as any
        return Rollout(self._transitions, episodes, int(valid.sum()))

    def wait(self) -> None:
        """Nothing to wait for: the policy was compiled before."""

    def close(self) -> None:
        """Close the environments."""
        if self._env is not None:
            self._env.close()

    def state(self) -> dict[str, Any]:
        """See `Sampler.state`."""
        assert self._env is not None
        return {
            "rebuilds": self._rebuilds,
            "observation": self._transitions.observations[-1].copy(),
            "ended": self._ended.copy(),
            "memory": None if self._memory is None else self._memory.copy(),
            "discounted": self._discounted.copy(),
            "lives": self._lives.copy(),
            "next_actions": None if self._next_actions is None else self._next_actions.copy(),
            "episodes": self._episodes.state(),
            "steps": self._steps,
            "generator": plain(self._generator.bit_generator.state),
            "environments": replay.save(self._env, self._history),
        }

    def restore(self, tree: dict[str, Any]) -> str:
        """See `Sampler.restore`."""
        result = self._resume(tree)
        self._generator.bit_generator.state = tree["generator"]
        self._rebuilds = tree["rebuilds"]
        copies = len(result.restarted)
        count = f"{result.restarted.sum()} of {copies}" if copies > 1 else "the"
        message = f"{self._describe.env_id}: {count} episodes under way begin anew: {result.reason}"
        if result.unusable:
            self.close()
            self._rebuilds += 1  # or it would have the seed that it began with
            self._make()
            return message
        self._seed, self._steps = self._seeds(self._rebuilds), tree["steps"]
        self._transitions.observations[-1] = tree["observation"]
        self._ended, self._memory = tree["ended"] | result.restarted, tree["memory"]
        self._next_actions, self._discounted = tree["next_actions"], tree["discounted"].copy()
        self._lives = tree["lives"].copy()
        self._episodes.restore(tree["episodes"])
        self._episodes.drop(result.restarted)
        self._resume_history(tree["environments"], result.restarted)
        return message if result.restarted.any() else ""

    def _resume(self, tree: dict[str, Any]) -> replay.ResumeResult:
        """Make the environments anew, and bring them to where those of `tree` stood."""
        self.close()
        try:
            self._env = self._make_env()
        except Exception as error:  # it is reported as a fault when they are made again
            self._env = None
            every = np.ones(self._describe.copies, bool)
            return replay.ResumeResult(every, f"making them raised {describe(error)}", unusable=True)
        expected = replay.ExpectedState(
            observations=tree["observation"],
            returns=tree["episodes"]["returns"],
            ended=tree["ended"],
            to_env=self._to_env,
            pack=self._pack or np.asarray,
        )
        return replay.resume(self._env, tree["environments"], expected)

    def _resume_history(self, tree: dict[str, Any], restarted: np.ndarray) -> None:
        """Let the history go on from where `replay.resume` has brought the environments."""
        if tree["kind"] == "copies":
            kept = [copy["actions"] for copy in tree["copies"]]
            kept = [None if new else each for each, new in zip(kept, restarted.tolist(), strict=True)]
            self._history.go_on(kept, self._ended)
            return
        replayed = tree["kind"] == "making"
        seed, state = (tree["seed"], None) if replayed else (self._seed, tree["state"])
        self._history.begin({"seed": seed, "state": state, "globals": tree["globals"]})
        if replayed:
            self._history.add(tree["actions"], np.zeros(tree["actions"].shape[:2], bool))

    def _shorten(self) -> None:
        """Let the history of vector code begin with its present state, if that can be read."""
        assert self._env is not None
        if not isinstance(self._env, Copies) and (state := replay.snapshot(self._env)) is not None:
            self._history.begin({"seed": self._seed, "state": state, "globals": generators.global_states()})

    def _to_env(self, actions: np.ndarray) -> Any:
        """From recorded actions to those that environments take."""
        return self._distribution.to_env(actions.astype(self._shapes.action_dtype))

    # -- acting ---------------------------------------------------------------------------------------------

    def _act(self, snapshot: Snapshot) -> tuple[int, Violation] | None:
        """Fill the transitions but for `valid`; returns the step of a fault and what was wrong."""
        assert self._env is not None
        observations, actions, rewards, terminated, truncated, *_ = self._transitions
        act, step, on_step = self._policy(snapshot.weights), self._env.step, self._on_step
        pack, shape = self._pack, observations.shape[1:]
        choose, to_env = self._distribution.choose, self._distribution.to_env
        noise, memory, resets = self._explore(self._generator, snapshot.steps), self._begin(), self._ended
        behaviour = self._transitions.behaviour
        for t in range(self._t_max):
            parameters, memory = act(observations[t], memory)
            ahead = self._next_actions if t == 0 else None
            actions[t] = action = choose(parameters, noise[t]) if ahead is None else ahead
            if behaviour is not None:
                behaviour[t] = parameters
            try:
                seen, rewards[t], terminated[t], truncated[t], info = step(to_env(action))
                if pack is not None:
                    seen = pack(seen)
                if seen.shape != shape:  # which NumPy might broadcast without a word
                    return t, faults.of_shape(seen.shape, shape[1:])
                observations[t + 1] = seen
                if self._episodic_life:
                    self._lost[t], self._lives = info["lives"] < self._lives, info["lives"].copy()
            except Exception as error:
                return t, self._violation_of(error)
            on_step()
            if memory is not None:  # an episode begins after a step that only reset
                memory[resets], resets = 0.0, terminated[t] | truncated[t]
        if not self._is_finite():
            return faults.find_violation(observations[1:], rewards)
        self._memory = memory
        if self._shapes.ahead:
            parameters, _ = act(observations[-1], memory)
            self._transitions.next_actions[:] = self._next_actions = choose(parameters, noise[-1])
        return None

    def _violation_of(self, error: Exception) -> Violation:
        """What is wrong where a reset or a step of the environments raised `error`."""
        if isinstance(error, ObservationMismatch):
            return faults.of_mismatch(error)
        shape = self._shapes.observation if self._pack is None else None
        return faults.of_exception(error, self._env, shape)

    def _begin(self) -> Any:
        """Take the last observation over as the first; returns the network's memory at that point."""
        self._transitions.observations[0] = self._transitions.observations[-1]
        if self._memory is None:
            return None
        self._transitions.state[:] = self._memory
        return self._memory.copy()

    def _is_finite(self) -> bool:
        """Whether all observations and rewards are finite. Weighted sums are the cheapest test of that."""
        seen, earned, weights = self._flat
        try:
            finite = seen is None or math.isfinite(seen.dot(weights))
            return finite and math.isfinite(earned.dot(weights[: earned.size]))
        except RuntimeWarning:  # where those are errors: infinity less infinity
            return False

    # -- making ---------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """Make and reset the environments, again and again if `on_fault` lets it."""
        while (violation := self._try_to_make()) is not None:
            self._fail(-1, violation)

    def _try_to_make(self) -> Violation | None:
        self._seed = self._seeds(self._rebuilds)
        self._env, self._steps = None, 0
        start = {"seed": self._seed, "state": None, "globals": generators.global_states()}
        self._history = ActionHistory(start, self._no_actions)
        try:
            self._env = env = self._make_env()
        except Exception as error:
            return faults.of_exception(error)
        self._history.separable = isinstance(env, Copies)
        self._prepare()
        try:
            seen, info = env.reset(seed=self._seed)
            if self._episodic_life:
                self._lives = info["lives"].copy()
            seen = seen if self._pack is None else self._pack(seen)
            if np.shape(seen) != (self._shapes.batch, *self._shapes.observation):
                return faults.of_shape(np.shape(seen), self._shapes.observation)
            self._transitions.observations[-1] = seen
        except Exception as error:
            return self._violation_of(error)
        return faults.of_values(seen)

    def _prepare(self) -> None:
        """Everything that begins anew with new environments."""
        batch, size = self._shapes.batch, self._shapes.state
        self._ended = np.zeros(batch, bool)
        self._discounted = np.zeros(batch, np.float32)
        self._lives = np.zeros(batch, np.int32)
        self._memory = np.zeros((batch, size), np.float32) if size else None
        self._next_actions: np.ndarray | None = None
        self._episodes = EpisodeLog(batch)
        # Reused by every rollout: the learner is done with one before the next begins.
        self._transitions = self._shapes.blank()
        seen, earned = self._transitions.observations.reshape(-1), self._transitions.rewards.reshape(-1)
        weights = np.full(max(seen.size, earned.size), 2.0**-60, np.float32)  # so small that no sum overflows
        self._flat = (seen if seen.dtype == np.float32 else None), earned, weights  # bytes are always finite

    def _fail(self, t: int, violation: Violation) -> None:
        """Tell of a fault in step `t` of the rollout under way, -1: before the first one."""
        location, beginnings = self._locate(t, violation.copy), None
        actions, sent, ends = self._no_actions, self._no_actions, None
        if self._env is not None:
            actions = self._transitions.actions[: t + 1].astype(self._small)
            sent = self._to_env(self._history.last(actions))
            ends = (self._transitions.terminated | self._transitions.truncated)[: max(t, 0)]
            beginnings = self._env.beginnings if isinstance(self._env, Copies) else None
            with contextlib.suppress(Exception):  # it is broken anyway
                self._env.close()
            self._env = None
        played = self._history.replay(actions, ends, beginnings, violation.copy)
        self._rebuilds += 1
        self._on_fault(faults.make_fault(self._describe, violation, location, sent, played))

    def _locate(self, t: int, copy: int | None) -> FaultLocation:
        """When step `t` of the rollout under way was, of the environments or of one copy."""
        if t < 0:
            when = "making" if self._env is None else "first reset"
            return FaultLocation(when, self._seed, self._rebuilds, 0)
        copy = 0 if self._describe.copies == 1 else copy
        if copy is None:
            return FaultLocation("step", self._seed, self._rebuilds, self._steps + t + 1)
        ends = (self._transitions.terminated | self._transitions.truncated)[:t, copy]
        under_way = int(self._episodes.under_way[copy])
        steps, episode, resets = faults.count_steps(bool(self._ended[copy]), ends, under_way)
        when, steps = "reset" if resets else "step", int(self._episodes.steps[copy]) + steps
        return FaultLocation(when, self._seed, self._rebuilds, steps, episode)
