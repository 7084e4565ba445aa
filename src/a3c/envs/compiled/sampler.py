"""The compiled sampler: acting, environment, losses and gradients of one worker step in one XLA program.

Its `collect` does steps 2, 3 and 4 of the worker cycle at once; `hand_over` stands where other samplers
have the gradient function.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from a3c.envs import fault
from a3c.envs.compiled.compilation import Compilation
from a3c.envs.compiled.stepping import Copies, Finished, blank, draw_key, key_data, rollout
from a3c.envs.fault import Description, Fault, Finding, OnFault, Place
from a3c.types import Episode, Learned, Rollout, Transitions

_SMALL = 8  # copies; a program for more is worth compiling well

Policy = Callable[[Any, jax.Array], jax.Array]
"""Maps weights and observations [B, *O] to logits [B, A]."""
Differentiate = Callable[[Any, Transitions], tuple[jax.Array, dict[str, jax.Array]]]
"""Maps weights and transitions to gradients [P] and losses."""


class Program:
    """One worker step, compiled once and shared by all workers of this process.

    Args:
        env: A functional environment.
        limit: Steps after which an episode is truncated; None: never.
        num_actions: A.
        action_start: The environment's own number for the first action.
        batch: B.
        t_max: T.
        policy: How to act.
        differentiate: How to learn.
        weights: [P], to trace with.
    """

    def __init__(
        self,
        env: Any,
        limit: int | None,
        num_actions: int,
        action_start: int,
        batch: int,
        t_max: int,
        policy: Policy,
        differentiate: Differentiate,
        weights: Any,
    ):
        self.loss_names: list[str] = []
        self.first_copies = blank(env, batch)
        self.t_max, self.action_start = t_max, action_start

        self._env, self._limit = env, limit

        def run(weights: Any, copies: Copies, stream: Any):
            stream, key = draw_key(stream)
            drawing, stepping = jax.random.split(key)
            noise = jax.random.gumbel(drawing, (t_max, batch, num_actions))
            copies, transitions, finished = rollout(
                env, limit, action_start, lambda seen: policy(weights, seen), noise, copies, stepping
            )
            gradients, losses = differentiate(weights, transitions)
            self.loss_names[:] = losses
            steps = jnp.sum(transitions.valid).astype(jnp.float32)
            finite = _is_finite(transitions).astype(jnp.float32)
            figures = jnp.stack([*losses.values(), steps, finite])
            return copies, stream, gradients, figures, finished, transitions.actions

        self.run = Compilation(run, weights, self.first_copies, key_data(0), quick=batch <= _SMALL)

    def replay(self, copies: Copies, stream: Any, actions: Any) -> Transitions:
        """The transitions of a rollout from `copies` with known actions; compiled when it is asked for."""
        return _replay(self._env, self._limit, copies, stream, np.asarray(actions))


class CompiledSampler:
    """Acts and learns in B copies of a functional environment, T steps at a time.

    Args:
        program: What one step does.
        seeds: The seed of the environments and of the action noise after the k-th fault.
        describe: Which environments these are, for crash cards.
        on_fault: Told of each fault. If it returns, the copies begin anew and their episodes under way are
            dropped; what it raises ends the call.
    """

    def __init__(
        self, program: Program, seeds: Callable[[int], int], describe: Description, on_fault: OnFault
    ):
        self._program, self._seeds, self._describe, self._on_fault = program, seeds, describe, on_fault
        # Actions of the last rollouts, where they were computed.
        self._recent: deque[Any] = deque(maxlen=-(-fault.SHOWN_ACTIONS // program.t_max))
        self._begin(0)

    def wait(self) -> None:
        """Return when the program is compiled."""
        self._program.run.wait()

    def collect(self, weights: Any) -> Rollout:
        """Act for T steps and learn from them; see `Sampler.collect`."""
        program = self._program
        while True:
            copies, stream, gradients, figures, finished, actions = program.run(
                weights, self._copies, self._stream
            )
            *losses, steps, finite = np.asarray(figures).tolist()
            if finite:
                break
            told = self._explain(actions)
            self._begin(self._rebuilds + 1)
            self._on_fault(told)
        self._copies, self._stream = copies, stream
        self._rollouts += 1
        self._recent.append(actions)
        named = dict(zip(program.loss_names, losses, strict=True))
        return Rollout(Learned(gradients, named), episodes_of(finished), int(steps))

    def close(self) -> None:
        """Nothing is held."""

    def state(self) -> dict[str, Any]:
        """See `Sampler.state`."""
        copies, stream = _told(self._copies, self._stream)
        return {"rebuilds": self._rebuilds, "rollouts": self._rollouts, "copies": copies, "stream": stream}

    def restore(self, tree: dict[str, Any]) -> None:
        """See `Sampler.restore`."""
        self._rebuilds, self._rollouts = tree["rebuilds"], tree["rollouts"]
        self._seed = self._seeds(self._rebuilds)
        self._copies = _filled(self._program.first_copies, tree["copies"])
        self._stream = tree["stream"].copy()

    def _begin(self, rebuilds: int) -> None:
        self._rebuilds, self._rollouts = rebuilds, 0
        self._seed = self._seeds(rebuilds)
        self._copies: Copies = self._program.first_copies
        self._stream: Any = key_data(self._seed)
        self._recent.clear()

    def _explain(self, actions: Any) -> Fault:
        """What happened in the rollout with `actions` from the present copies, which are those before it."""
        transitions = self._program.replay(self._copies, self._stream, actions)
        t, finding = find_fault(transitions) or (self._program.t_max - 1, _LOST)
        place = self._place(t, finding.copy, transitions)
        copies, stream = _told(self._copies, self._stream)
        state = {"copies": copies, "stream": stream}
        # All actions of the rollout: their number decides which random numbers the steps get.
        start = {"seed": self._seed, "state": state, "globals": None}
        replay = {"compiled": True, "start": start, "actions": transitions.actions, "steps": t + 1}
        sent = np.concatenate([*self._recent, transitions.actions[: t + 1]]) + self._program.action_start
        return fault.make_fault(self._describe, finding, place, sent, replay)

    def _place(self, t: int, copy: int | None, transitions: Transitions) -> Place:
        total = self._rollouts * self._program.t_max + t
        if copy is None:
            return Place("step", self._seed, self._rebuilds, total + 1)
        ended, length = np.asarray(self._copies.ended)[copy], np.asarray(self._copies.length)[copy]
        ends = (transitions.terminated | transitions.truncated)[:t, copy]
        _, episode, resets = fault.count_steps(bool(ended), ends, int(length))
        if resets:
            return Place("reset", self._seed, self._rebuilds, total, episode)
        return Place("step", self._seed, self._rebuilds, total + 1, episode)


_LOST = Finding("non-finite number", "returned a non-finite observation or reward")


def find_fault(transitions: Transitions) -> tuple[int, Finding] | None:
    """The first step whose observation or reward is not finite, and which; None: there is none."""
    observations, rewards = transitions.observations[1:], transitions.rewards
    findings = ((t, fault.of_values(*both)) for t, both in enumerate(zip(observations, rewards, strict=True)))
    return next(((t, finding) for t, finding in findings if finding is not None), None)


def hand_over(weights: Any, learned: Transitions | Learned) -> tuple[Any, Any]:
    """Steps 3 and 4 of the worker cycle, which the sampler's program has done already."""
    assert isinstance(learned, Learned)
    return learned.gradients, learned.losses


def episodes_of(finished: Finished) -> list[Episode]:
    """The episodes of a rollout, in order of time."""
    ended = np.asarray(finished.ended)
    returns, lengths = np.asarray(finished.total)[ended], np.asarray(finished.length)[ended]
    return list(map(Episode, returns.tolist(), lengths.tolist()))


def replay(env: Any, spec: Any, state: dict[str, Any], actions: np.ndarray) -> Transitions:
    """What became of a rollout with known actions: called by `reproduce`.

    Args:
        env: A functional environment.
        spec: Its specification, which has the time limit.
        state: Copies and stream before the rollout, as a crash card holds them.
        actions: [T, B], counted from 0.

    Raises:
        ValueError: if the state is not that of such an environment.
    """
    copies = _filled(blank(env, actions.shape[1]), state["copies"])
    return _replay(env, spec.max_episode_steps, copies, state["stream"], actions)


def _replay(env: Any, limit: int | None, copies: Copies, stream: Any, actions: np.ndarray) -> Transitions:
    batch, space = actions.shape[1], env.action_space

    def run(copies: Copies, stream: Any, actions: jax.Array) -> Transitions:
        _, key = draw_key(stream)
        _, stepping = jax.random.split(key)
        chosen = jax.nn.one_hot(actions, int(space.n))  # the greatest of these are the actions
        indifferent = jnp.zeros((batch, 1))
        return rollout(env, limit, int(space.start), lambda seen: indifferent, chosen, copies, stepping)[1]

    return Transitions(*map(np.asarray, jax.jit(run)(copies, stream, actions)))


def _is_finite(transitions: Transitions) -> jax.Array:
    return jnp.isfinite(transitions.observations).all() & jnp.isfinite(transitions.rewards).all()


def _told(copies: Copies, stream: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """The leaves of `copies` and the stream as arrays that nothing else refers to."""
    return [np.array(leaf) for leaf in jax.tree.leaves(copies)], np.array(stream)


def _filled(blank: Copies, leaves: list[np.ndarray]) -> Copies:
    """Copies like `blank` with the leaves that `_told` returned."""
    expected, structure = jax.tree.flatten(blank)
    if [(leaf.shape, leaf.dtype) for leaf in expected] != [(leaf.shape, leaf.dtype) for leaf in leaves]:
        raise ValueError("These are not the copies of such an environment.")
    return jax.tree.unflatten(structure, leaves)
