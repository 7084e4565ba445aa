"""Stepping B copies of a functional environment inside a compiled program: next-step autoreset, time limit.

Pure functions on JAX arrays. `BatchedEnvState` is the whole state between two steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3c.envs.functional import load
from a3c.spaces.distributions import Distribution
from a3c.spaces.observations import Observations
from a3c.types import Shapes, Transitions


class BatchedEnvState(NamedTuple):
    """B copies of an environment between two steps."""

    inner: Any
    """The environment's own state, each array with a leading axis B."""
    observation: Any
    """[B, *O], packed."""
    ended: Any
    """[B] bool: the episode has ended, and the next step resets."""
    length: Any
    """[B] int32: steps of the episode so far."""
    total: Any
    """[B] float32: sum of its rewards so far."""
    memory: Any = None
    """[B, S] float32: the network's memory before it sees the observation, if it has one."""
    next_actions: Any = None
    """[B, …]: the actions of the next step, where they are chosen one step ahead."""
    discounted: Any = None
    """[B] float32: discounted sum of the rewards of the episode so far, where that is asked for."""
    pending: Any = None
    """[B, S] float32: the memory after it has seen the observation, where actions are chosen ahead."""


class StepResult(NamedTuple):
    """What one step led to; all [B]."""

    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    valid: jax.Array


class EpisodeEnds(NamedTuple):
    """The episodes that ended in a rollout: where `ended`, the entries of the others hold; all [T, B]."""

    ended: jax.Array
    total: jax.Array
    length: jax.Array


# This generator compiles in half the time of JAX's default one, and draws faster.
_GENERATOR = "unsafe_rbg"
_NUMPYS_KINDS = "biufc"
"""Kinds of dtypes that NumPy has itself; bfloat16, for example, is of another one."""


def key_data(seed: int) -> np.ndarray:
    """The start of a random stream as plain numbers [4] uint32, so that no program has to make it."""
    return np.random.SeedSequence(seed).generate_state(4, np.uint32)


def draw_key(data: Any) -> tuple[Any, jax.Array]:
    """The stream's next state and a key, from its present state. To be called inside a program."""
    following, key = jax.random.split(jax.random.wrap_key_data(data, impl=_GENERATOR))
    return jax.random.key_data(following), key


def blank(env: Any, shapes: Shapes) -> BatchedEnvState:
    """B copies that are about to be reset by their first step, which counts for nothing."""
    batch = shapes.batch
    key = jax.eval_shape(lambda data: draw_key(data)[1], key_data(0))
    inner = jax.eval_shape(env.initial, key)
    memory = np.zeros((batch, shapes.state), np.float32) if shapes.state else None
    return BatchedEnvState(
        inner=jax.tree.map(lambda leaf: np.zeros((batch, *leaf.shape), leaf.dtype), inner),
        observation=np.zeros((batch, *shapes.observation), shapes.observation_dtype),
        ended=np.ones(batch, bool),
        length=np.zeros(batch, np.int32),
        total=np.zeros(batch, np.float32),
        memory=memory,
        next_actions=np.zeros((batch, *shapes.action), shapes.action_dtype) if shapes.ahead else None,
        discounted=None if shapes.discount is None else np.zeros(batch, np.float32),
        pending=memory if shapes.ahead else None,
    )


def to_arrays(tree: Any) -> list[np.ndarray]:
    """The leaves of a tree as arrays that nothing else refers to; bytes where NumPy lacks the dtype."""
    arrays = [np.array(leaf) for leaf in jax.tree.leaves(tree)]
    known = (array.dtype.kind in _NUMPYS_KINDS for array in arrays)
    return [a if k else np.frombuffer(a.tobytes(), np.uint8) for a, k in zip(arrays, known, strict=True)]


def from_arrays(arrays: list[np.ndarray], like: Any) -> Any:
    """A tree with the structure, shapes and dtypes of `like`, and with the leaves that `to_arrays` returned.

    Raises:
        ValueError: if they are not from as many copies of the same environment.
    """
    wanted, structure = jax.tree.flatten(like)
    leaves = []
    for array, leaf in zip(arrays, wanted, strict=True):
        if leaf.dtype.kind not in _NUMPYS_KINDS:
            array = np.frombuffer(array.tobytes(), leaf.dtype).reshape(leaf.shape)
        if (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
            found, expected = (f"{each.dtype}{list(each.shape)}" for each in (array, leaf))
            raise ValueError(f"These are not the copies of such an environment: {found} for {expected}.")
        leaves.append(array.copy())
    return jax.tree.unflatten(structure, leaves)


@dataclass(frozen=True)
class FunctionalEnvSpec:
    """A functional environment and what is known of it.

    Args:
        env: A `gymnasium.experimental.functional.FuncEnv` on JAX.
        limit: Steps after which an episode is truncated; None: never.
        observations: How its observations are packed.
        actions: The distribution over its actions.
    """

    env: Any
    limit: int | None
    observations: Observations
    actions: Distribution

    @classmethod
    def of(cls, environment: Any) -> "FunctionalEnvSpec":
        """Of an `envs.Environment` that is compiled."""
        spec = environment.spec
        env = load(spec.kwargs["reference"])
        return cls(env, spec.max_episode_steps, environment.observations, environment.actions)

    def shapes(self, time: int, batch: int, **more: Any) -> Shapes:
        """Those of a rollout."""
        return Shapes.of(self.observations, self.actions, time, batch, **more)


def step(
    spec: FunctionalEnvSpec, state: BatchedEnvState, action: jax.Array, key: jax.Array
) -> tuple[BatchedEnvState, StepResult]:
    """One step of B copies; those that have ended reset instead, whatever their action.

    Args:
        spec: The environment.
        state: The state before.
        action: [B, …], as the environment takes it.
        key: Randomness of this step.
    """
    env, limit = spec.env, spec.limit
    batch = action.shape[0]
    moving, rewarding, ending, resetting, observing = jax.random.split(key, 5)

    def each(function: Callable, source: jax.Array, *arguments: Any) -> Any:
        return jax.vmap(function)(*arguments, jax.random.split(source, batch))

    moved = each(env.transition, moving, state.inner, action)
    reward = each(env.reward, rewarding, state.inner, action, moved)
    terminated = each(env.terminal, ending, moved)
    resets, valid = state.ended, ~state.ended

    def restart() -> Any:
        fresh = each(env.initial, resetting)
        return jax.tree.map(lambda new, old: _where(resets, new, old), fresh, moved)

    inner = jax.lax.cond(jnp.any(resets), restart, lambda: moved)  # most steps need no new states
    length = jnp.where(resets, 0, state.length + 1)
    reward = jnp.where(valid, reward.reshape(batch).astype(jnp.float32), 0.0)
    terminated = terminated.reshape(batch).astype(bool) & valid
    truncated = valid & (length >= limit) if limit is not None else jnp.zeros(batch, bool)
    after = state._replace(
        inner=inner,
        observation=spec.observations.pack(each(env.observation, observing, inner)).astype(
            spec.observations.dtype
        ),
        ended=terminated | truncated,
        length=length,
        total=jnp.where(resets, 0.0, state.total + reward),
        memory=None if state.memory is None else jnp.where(valid[:, None], state.memory, 0.0),
    )
    return after, StepResult(reward, terminated, truncated, valid)


Decide = Callable[[jax.Array, Any, Any], tuple[jax.Array, Any, Any]]
"""Maps observations [B, *O], the network's memory and something for this step, such as noise, to actions, the
memory after that, and the policy parameters [B, A], or None where nobody asks for them."""


def rollout(
    spec: FunctionalEnvSpec,
    decide: Decide,
    inputs: Any,
    state: BatchedEnvState,
    key: jax.Array,
    discount: float | None = None,
) -> tuple[BatchedEnvState, Transitions, EpisodeEnds]:
    """T steps.

    Args:
        spec: The environment.
        decide: Chooses the actions.
        inputs: [T, …]; each step's `decide` is given its part.
        state: The state before. Where it has `next_actions`, each step takes the actions that the step before
            chose.
        key: Randomness of the environments.
        discount: γ of the discounted returns that `state` has; None: they are not asked for.
    """

    def one(state: BatchedEnvState, given: tuple[Any, jax.Array]):
        action, after, result, parameters = _decide_and_step(spec, decide, state, *given)
        discounted = None
        if discount is not None:
            discounted = jnp.where(result.valid, discount * state.discounted + result.reward, 0.0)
            after = after._replace(discounted=discounted)
        taken = state.observation, action, result, parameters, discounted
        return after, (taken, after.total, after.length)

    keys = jax.random.split(key, jax.tree.leaves(inputs)[0].shape[0])
    after, (taken, total, length) = jax.lax.scan(one, state, (inputs, keys))
    observations, actions, result, parameters, discounted = taken
    fields: dict[str, Any] = dict(
        observations=jnp.concatenate([observations, after.observation[None]]),
        actions=actions,
        rewards=result.reward,
        terminated=result.terminated,
        truncated=result.truncated,
        valid=result.valid,
        state=state.memory,
        behaviour=parameters,
        next_actions=after.next_actions,
        returns=discounted,
    )
    return after, Transitions(**fields), EpisodeEnds(result.terminated | result.truncated, total, length)


def _decide_and_step(
    spec: FunctionalEnvSpec, decide: Decide, state: BatchedEnvState, given: Any, key: jax.Array
) -> tuple[jax.Array, BatchedEnvState, StepResult, Any]:
    """The action of a step, what it led to, and policy parameters.

    Where actions are chosen one step ahead, it is the one chosen before, and these are of the next.
    """
    if state.next_actions is None:
        action, memory, parameters = decide(state.observation, state.memory, given)
        action = action.astype(spec.actions.dtype)
        after, result = step(spec, state._replace(memory=memory), spec.actions.to_env(action), key)
        return action, after, result, parameters
    action = state.next_actions
    acted = state._replace(memory=state.pending)
    after, result = step(spec, acted, spec.actions.to_env(action), key)
    following, pending, parameters = decide(after.observation, after.memory, given)
    after = after._replace(next_actions=following.astype(action.dtype), pending=pending)
    return action, after, result, parameters


def _where(condition: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """`new` where `condition` [B] holds, in the dtype of `old`."""
    new = jnp.asarray(new).astype(old.dtype)
    return jnp.where(condition.reshape(-1, *[1] * (old.ndim - 1)), new, old)
