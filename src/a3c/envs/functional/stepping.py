"""Stepping B copies of a functional environment inside a compiled program: next-step autoreset, time limit.

Pure functions on JAX arrays; `Copies` is the whole state between two steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3c.spaces.distributions import Distribution
from a3c.spaces.observations import Observations
from a3c.types import Shapes, Transitions


class Copies(NamedTuple):
    """B copies of an environment between two steps."""

    state: Any
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
    """[B, …]: what will be done in the next step, where that is decided one step ahead."""
    discounted: Any = None
    """[B] float32: discounted sum of the rewards of the episode so far, where that is asked for."""
    pending: Any = None
    """[B, S] float32: the memory after it has seen the observation, where actions are decided ahead."""


class Outcome(NamedTuple):
    """What one step led to; all [B]."""

    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    valid: jax.Array


class Finished(NamedTuple):
    """The episodes that ended in a rollout: where `ended`, the entries of the others hold; all [T, B]."""

    ended: jax.Array
    total: jax.Array
    length: jax.Array


# This generator compiles in half the time of JAX's default one, and draws faster.
_GENERATOR = "unsafe_rbg"


def key_data(seed: int) -> np.ndarray:
    """The start of a random stream as plain numbers [4] uint32, so that no program has to make it."""
    return np.random.SeedSequence(seed).generate_state(4, np.uint32)


def draw_key(data: Any) -> tuple[Any, jax.Array]:
    """The stream's next state and a key, from its present state. To be called inside a program."""
    following, key = jax.random.split(jax.random.wrap_key_data(data, impl=_GENERATOR))
    return jax.random.key_data(following), key


def blank(env: Any, shapes: Shapes) -> Copies:
    """B copies that are about to be reset by their first step, which counts for nothing."""
    batch = shapes.batch
    key = jax.eval_shape(lambda data: draw_key(data)[1], key_data(0))
    state = jax.eval_shape(env.initial, key)
    zeros = jax.tree.map(lambda leaf: np.zeros((batch, *leaf.shape), leaf.dtype), state)
    return Copies(
        state=zeros,
        observation=np.zeros((batch, *shapes.observation), shapes.observation_dtype),
        ended=np.ones(batch, bool),
        length=np.zeros(batch, np.int32),
        total=np.zeros(batch, np.float32),
        memory=np.zeros((batch, shapes.state), np.float32) if shapes.state else None,
        next_actions=np.zeros((batch, *shapes.action), shapes.action_dtype) if shapes.ahead else None,
        discounted=None if shapes.discount is None else np.zeros(batch, np.float32),
        pending=np.zeros((batch, shapes.state), np.float32) if shapes.state and shapes.ahead else None,
    )


@dataclass(frozen=True)
class World:
    """A functional environment and what is known of it.

    Attributes:
        env: A `gymnasium.experimental.functional.FuncEnv` on JAX.
        limit: Steps after which an episode is truncated; None: never.
        observations: How what it shows is packed.
        actions: What can be done in it.
        discount: γ of the discounted returns, where those are kept.
    """

    env: Any
    limit: int | None
    observations: Observations
    actions: Distribution
    discount: float = 1.0

    def shapes(self, time: int, batch: int, **more: Any) -> Shapes:
        """Those of a rollout."""
        return Shapes.of(self.observations, self.actions, time, batch, **more)


def step(world: World, copies: Copies, action: jax.Array, key: jax.Array) -> tuple[Copies, Outcome]:
    """One step of B copies; those that have ended reset instead, whatever their action.

    Args:
        world: The environment.
        copies: The state before.
        action: [B, …], as the environment takes it.
        key: Randomness of this step.
    """
    env, limit = world.env, world.limit
    batch = action.shape[0]
    moving, rewarding, ending, resetting, seeing = jax.random.split(key, 5)

    def each(function: Callable, source: jax.Array, *arguments: Any) -> Any:
        return jax.vmap(function)(*arguments, jax.random.split(source, batch))

    moved = each(env.transition, moving, copies.state, action)
    reward = each(env.reward, rewarding, copies.state, action, moved)
    terminated = each(env.terminal, ending, moved)
    resets, valid = copies.ended, ~copies.ended

    def restart() -> Any:
        fresh = each(env.initial, resetting)
        return jax.tree.map(lambda new, old: _where(resets, new, old), fresh, moved)

    state = jax.lax.cond(jnp.any(resets), restart, lambda: moved)  # most steps need no new states
    length = jnp.where(resets, 0, copies.length + 1)
    reward = jnp.where(valid, reward.reshape(batch).astype(jnp.float32), 0.0)
    terminated = terminated.reshape(batch).astype(bool) & valid
    truncated = valid & (length >= limit) if limit is not None else jnp.zeros(batch, bool)
    total = jnp.where(resets, 0.0, copies.total + reward)
    seen = _observe(world, state, seeing)
    memory = None if copies.memory is None else jnp.where(valid[:, None], copies.memory, 0.0)
    discounted = None
    if copies.discounted is not None:
        discounted = jnp.where(valid, world.discount * copies.discounted + reward, 0.0)
    ends = terminated | truncated
    after = Copies(state, seen, ends, length, total, memory, copies.next_actions, discounted)
    return after, Outcome(reward, terminated, truncated, valid)


Decide = Callable[[jax.Array, Any, Any], tuple[jax.Array, Any, Any]]
"""Maps observations [B, *O], the network's memory and something for this step, such as noise, to actions, the
memory after that, and the policy parameters [B, A], or None where nobody asks for them."""


def rollout(
    world: World, decide: Decide, inputs: Any, copies: Copies, key: jax.Array
) -> tuple[Copies, Transitions, Finished]:
    """T steps.

    Args:
        world: The environment.
        decide: What to do.
        inputs: [T, …], of which each step's `decide` is given its part.
        copies: The state before. Where it has `next_actions`, each step does what the one before decided.
        key: Randomness of the environments.
    """

    def one(copies: Copies, given: tuple[Any, jax.Array]):
        now, key = given
        if copies.next_actions is not None:
            action = copies.next_actions
            seen_on = copies._replace(memory=copies.pending)
            after, outcome = step(world, seen_on, world.actions.to_env(action), key)
            following, pending, parameters = decide(after.observation, after.memory, now)
            after = after._replace(next_actions=following.astype(action.dtype), pending=pending)
        else:
            action, memory, parameters = decide(copies.observation, copies.memory, now)
            action = action.astype(world.actions.dtype)
            after, outcome = step(world, copies._replace(memory=memory), world.actions.to_env(action), key)
        seen = copies.observation, action, outcome, parameters, after.discounted
        return after, (seen, after.total, after.length)

    keys = jax.random.split(key, jax.tree.leaves(inputs)[0].shape[0])
    after, (seen, total, length) = jax.lax.scan(one, copies, (inputs, keys))
    observations, actions, outcomes, parameters, discounted = seen
    told: dict[str, Any] = dict(
        observations=jnp.concatenate([observations, after.observation[None]]),
        actions=actions,
        rewards=outcomes.reward,
        terminated=outcomes.terminated,
        truncated=outcomes.truncated,
        valid=outcomes.valid,
        state=copies.memory,
        behaviour=parameters,
        next_actions=after.next_actions,
        returns=discounted,
    )
    return after, Transitions(**told), Finished(outcomes.terminated | outcomes.truncated, total, length)


def _observe(world: World, state: Any, key: jax.Array) -> jax.Array:
    batch = jax.tree.leaves(state)[0].shape[0]
    seen = jax.vmap(world.env.observation)(state, jax.random.split(key, batch))
    return world.observations.pack(seen).astype(world.observations.dtype)


def _where(condition: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """`new` where `condition` [B] holds, in the dtype of `old`."""
    new = jnp.asarray(new).astype(old.dtype)
    return jnp.where(condition.reshape(-1, *[1] * (old.ndim - 1)), new, old)
