"""The compiled sampler: acting, environment, losses and gradients of one worker step in one XLA program.

Its `collect` does steps 2, 3 and 4 of the worker cycle at once; `hand_over` stands where other samplers
have the gradient function.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from a3c.envs.compiled.compilation import Compilation
from a3c.envs.compiled.stepping import Copies, Finished, blank, draw_key, key_data, rollout
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

        def run(weights: Any, copies: Copies, stream: Any):
            stream, key = draw_key(stream)
            drawing, stepping = jax.random.split(key)
            noise = jax.random.gumbel(drawing, (t_max, batch, num_actions))
            copies, transitions, finished = rollout(
                env, limit, action_start, lambda seen: policy(weights, seen), noise, copies, stepping
            )
            gradients, losses = differentiate(weights, transitions)
            self.loss_names[:] = losses
            figures = jnp.stack([*losses.values(), jnp.sum(transitions.valid).astype(jnp.float32)])
            return copies, stream, gradients, figures, finished

        self.run = Compilation(run, weights, self.first_copies, key_data(0), quick=batch <= _SMALL)


class CompiledSampler:
    """Acts and learns in B copies of a functional environment, T steps at a time.

    Args:
        program: What one step does.
        seed: Seed of the environments and of the action noise.
    """

    def __init__(self, program: Program, seed: int):
        self._program = program
        self._copies, self._stream = program.first_copies, key_data(seed)

    def wait(self) -> None:
        """Return when the program is compiled."""
        self._program.run.wait()

    def collect(self, weights: Any) -> Rollout:
        """Act for T steps and learn from them; see `Sampler.collect`."""
        program = self._program
        self._copies, self._stream, gradients, figures, finished = program.run(
            weights, self._copies, self._stream
        )
        *losses, steps = np.asarray(figures).tolist()
        named = dict(zip(program.loss_names, losses, strict=True))
        return Rollout(Learned(gradients, named), episodes_of(finished), int(steps))

    def close(self) -> None:
        """Nothing is held."""


def hand_over(weights: Any, learned: Transitions | Learned) -> tuple[Any, Any]:
    """Steps 3 and 4 of the worker cycle, which the sampler's program has done already."""
    assert isinstance(learned, Learned)
    return learned.gradients, learned.losses


def episodes_of(finished: Finished) -> list[Episode]:
    """The episodes of a rollout, in order of time."""
    ended = np.asarray(finished.ended)
    returns, lengths = np.asarray(finished.total)[ended], np.asarray(finished.length)[ended]
    return list(map(Episode, returns.tolist(), lengths.tolist()))
