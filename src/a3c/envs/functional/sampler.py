"""The compiled sampler: acting, environment, losses and gradients of one worker step in one XLA program.

Its `collect` does steps 2, 3 and 4 of the worker cycle at once, or, where a rollout is handed on or used
several times, step 2 alone.
"""

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from a3c.envs import faults
from a3c.envs.faults import Description, Fault, FaultLocation, OnFault, Violation
from a3c.envs.functional.compilation import Compilation
from a3c.envs.functional.stepping import (
    BatchedEnvState,
    EpisodeEnds,
    FunctionalEnvSpec,
    blank,
    draw_key,
    from_arrays,
    key_data,
    rollout,
    to_arrays,
)
from a3c.envs.history import SHOWN_ACTIONS
from a3c.spaces.noise import LOUD, EpsilonNoise
from a3c.types import ComputedGradients, Episode, Rollout, Shapes, Snapshot, Transitions

_SMALL = 8  # copies; a program for more is worth compiling well

Policy = Callable[[Any, jax.Array, Any], tuple[jax.Array, Any]]
"""Maps weights, observations [B, *O] and a memory [B, S] to policy parameters [B, A] and the memory."""
Differentiate = Callable[[Any, Transitions, Any], tuple[jax.Array, dict[str, jax.Array]]]
"""Maps weights, transitions and the target network's weights to gradients [P] and losses."""


class Program:
    """One worker step, compiled once and shared by all workers of this process.

    Args:
        env_spec: The environment.
        shapes: Of a rollout.
        policy: How to act.
        differentiate: How to learn; None: the rollout itself is handed on.
        weights: [P], to trace with.
        values: Whether actions are chosen ε-greedily by their values, with a target network; else they are
            drawn from a policy.
    """

    def __init__(
        self,
        env_spec: FunctionalEnvSpec,
        shapes: Shapes,
        policy: Policy,
        differentiate: Differentiate | None,
        weights: Any,
        values: bool = False,
    ):
        self.loss_names: list[str] = []
        self.first_state = blank(env_spec.env, shapes)
        self.env_spec, self.shapes = env_spec, shapes
        draw = _draw_epsilon if values else functools.partial(_draw_policy, env_spec.actions.noise[0])
        noise_shape = shapes.time, shapes.batch, env_spec.actions.noise[1]

        def run(weights: Any, state: BatchedEnvState, stream: Any, epsilons: Any, target: Any):
            stream, key = draw_key(stream)
            drawing, stepping = jax.random.split(key)

            def decide(seen: jax.Array, memory: Any, noise: jax.Array):
                parameters, memory = policy(weights, seen, memory)
                kept = parameters if shapes.behaviour else None
                return env_spec.actions.choose(parameters, noise), memory, kept

            noise = draw(drawing, noise_shape, epsilons)
            state, transitions, ends = rollout(env_spec, decide, noise, state, stepping, shapes.discount)
            learned, losses = transitions, {}
            if differentiate is not None:
                learned, losses = differentiate(weights, transitions, target)
            self.loss_names[:] = losses
            steps = jnp.sum(transitions.valid).astype(jnp.float32)
            finite = _is_finite(transitions).astype(jnp.float32)
            figures = jnp.stack([*losses.values(), steps, finite])
            return state, stream, learned, figures, ends, transitions.actions

        epsilons = np.zeros(shapes.batch, np.float32) if values else None
        examples = weights, self.first_state, key_data(0), epsilons, weights if values else None
        self.run = Compilation(run, *examples, quick=shapes.batch <= _SMALL)


class CompiledSampler:
    """Acts and learns in B copies of a functional environment, T steps at a time.

    Args:
        program: What one step does.
        explore: Knows ε where actions are chosen by their values; None: they are drawn from a policy.
        seeds: The seed of the environments and of the action noise after the k-th fault.
        describe: Which environments these are, for crash reports.
        on_fault: Told of each fault. If it returns, the copies begin anew and their episodes under way are
            dropped; what it raises ends the call.
    """

    def __init__(
        self,
        program: Program,
        explore: EpsilonNoise | None,
        seeds: Callable[[int], int],
        describe: Description,
        on_fault: OnFault,
    ):
        self._explore = explore
        self._program, self._seeds, self._describe, self._on_fault = program, seeds, describe, on_fault
        # Actions of the last rollouts, where they were computed.
        self._recent: deque[Any] = deque(maxlen=-(-SHOWN_ACTIONS // program.shapes.time))
        self._begin(0)

    def wait(self) -> None:
        """Return when the program is compiled."""
        self._program.run.wait()

    def collect(self, snapshot: Snapshot) -> Rollout:
        """Act for T steps and learn from them; see `Sampler.collect`."""
        program, explore = self._program, self._explore
        epsilons = None if explore is None else explore.epsilons(snapshot.steps)
        while True:
            state, stream, learned, figures, ends, actions = program.run(
                snapshot.weights, self._state, self._stream, epsilons, snapshot.target
            )
            *losses, steps, finite = np.asarray(figures).tolist()
            if finite:
                break
            fault = self._explain(actions)
            self._begin(self._rebuilds + 1)
            self._on_fault(fault)
        self._state, self._stream = state, stream
        self._rollouts += 1
        self._recent.append(actions)
        named = dict(zip(program.loss_names, losses, strict=True))
        content = learned if isinstance(learned, Transitions) else ComputedGradients(learned, named)
        return Rollout(content, episodes_of(ends), int(steps))

    def close(self) -> None:
        """Nothing is held."""

    def state(self) -> dict[str, Any]:
        """See `Sampler.state`."""
        return {
            "rebuilds": self._rebuilds,
            "rollouts": self._rollouts,
            "copies": to_arrays(self._state),
            "stream": np.array(self._stream),
        }

    def restore(self, tree: dict[str, Any]) -> str:
        """See `Sampler.restore`."""
        self._rebuilds, self._rollouts = tree["rebuilds"], tree["rollouts"]
        self._seed = self._seeds(self._rebuilds)
        self._state = from_arrays(tree["copies"], self._program.first_state)
        self._stream = tree["stream"].copy()
        return ""

    def _begin(self, rebuilds: int) -> None:
        self._rebuilds, self._rollouts = rebuilds, 0
        self._seed = self._seeds(rebuilds)
        self._state: BatchedEnvState = self._program.first_state
        self._stream: Any = key_data(self._seed)
        self._recent.clear()

    def _explain(self, actions: Any) -> Fault:
        """What happened in the rollout with `actions`, which began with the present state."""
        # The actions are known, so that nothing of the network is needed.
        before = self._state._replace(memory=None, next_actions=None, discounted=None, pending=None)
        env_spec, shapes = self._program.env_spec, self._program.shapes
        transitions = _replay(env_spec, before, self._stream, np.asarray(actions))
        violation = faults.find_violation(transitions.observations[1:], transitions.rewards)
        t, violation = violation or (shapes.time - 1, _NOT_FOUND)
        location = self._locate(t, violation.copy, transitions)
        state = {"copies": to_arrays(before), "stream": np.array(self._stream)}
        # All actions of the rollout: their number decides which random numbers the steps get.
        start = {"seed": self._seed, "state": state, "globals": None}
        replay = {"compiled": True, "start": start, "actions": transitions.actions, "steps": t + 1}
        sent = env_spec.actions.to_env(np.concatenate([*self._recent, transitions.actions[: t + 1]]))
        return faults.make_fault(self._describe, violation, location, sent, replay)

    def _locate(self, t: int, copy: int | None, transitions: Transitions) -> FaultLocation:
        total = self._rollouts * self._program.shapes.time + t
        if copy is None:
            return FaultLocation("step", self._seed, self._rebuilds, total + 1)
        ended, length = np.asarray(self._state.ended)[copy], np.asarray(self._state.length)[copy]
        ends = (transitions.terminated | transitions.truncated)[:t, copy]
        _, episode, resets = faults.count_steps(bool(ended), ends, int(length))
        when, step = ("reset", total) if resets else ("step", total + 1)
        return FaultLocation(when, self._seed, self._rebuilds, step, episode)


_NOT_FOUND = Violation("non-finite number", "returned a non-finite observation or reward")


def episodes_of(ends: EpisodeEnds) -> list[Episode]:
    """The episodes of a rollout, in order of time."""
    ended = np.asarray(ends.ended)
    returns, lengths = np.asarray(ends.total)[ended], np.asarray(ends.length)[ended]
    return list(map(Episode, returns.tolist(), lengths.tolist()))


def replay(environment: Any, state: dict[str, Any], actions: np.ndarray) -> Transitions:
    """The transitions of a rollout with known actions: called by `reproduce`.

    Args:
        environment: An `envs.Environment`.
        state: Copies and stream before the rollout, as a crash report holds them.
        actions: [T, B, …], as their distribution keeps them.

    Raises:
        ValueError: if the state is not that of such an environment.
    """
    env_spec = FunctionalEnvSpec.of(environment)
    first = blank(env_spec.env, env_spec.shapes(*actions.shape[:2]))
    return _replay(env_spec, from_arrays(state["copies"], first), state["stream"], actions)


def _replay(
    env_spec: FunctionalEnvSpec, state: BatchedEnvState, stream: Any, actions: np.ndarray
) -> Transitions:
    def run(state: BatchedEnvState, stream: Any, actions: jax.Array) -> Transitions:
        _, key = draw_key(stream)
        _, stepping = jax.random.split(key)
        _, transitions, _ = rollout(
            env_spec, lambda seen, memory, a: (a, memory, None), actions, state, stepping
        )
        return transitions

    return jax.tree.map(np.asarray, jax.jit(run)(state, stream, actions))


def _draw_policy(kind: str, key: jax.Array, shape: tuple[int, ...], epsilons: None) -> jax.Array:
    return getattr(jax.random, kind)(key, shape)


def _draw_epsilon(key: jax.Array, shape: tuple[int, ...], epsilons: jax.Array) -> jax.Array:
    """See `noise.epsilon_noise`."""
    first, second = jax.random.split(key)
    explores = jax.random.uniform(second, shape[:-1]) < epsilons
    return jax.random.uniform(first, shape) * LOUD * explores[..., None]


def _is_finite(transitions: Transitions) -> jax.Array:
    seen = transitions.observations
    fine = jnp.isfinite(seen).all() if jnp.issubdtype(seen.dtype, jnp.floating) else True
    return fine & jnp.isfinite(transitions.rewards).all()
