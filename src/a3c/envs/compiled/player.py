"""Playing episodes of a compiled environment for judgement, many steps per call; see `evaluate.Player`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from a3c import seeding
from a3c.envs import Environment
from a3c.envs.compiled import load
from a3c.envs.compiled.stepping import Copies, make_key, reset, rollout

_STEPS = 100  # per call

# How much the policy and the noise count in the choice of an action, by mode.
_MIXTURES = {"greedy": (1.0, 0.0), "sampled": (1.0, 1.0), "random": (0.0, 1.0)}


class CompiledPlayer:
    """Plays in B copies inside one program, the same for every mode.

    Args:
        environment: What to play.
        policy: Maps weights and observations [B, *O] to logits [B, A].
        copies: B.
    """

    def __init__(self, environment: Environment, policy: Callable[[Any, jax.Array], jax.Array], copies: int):
        self.copies = copies
        spec = environment.spec
        env = load(spec.kwargs["reference"])
        shape = _STEPS, copies, environment.num_actions

        def run(weights: Any, copies: Copies, key: jax.Array, policy_weight: float, noise_weight: float):
            key, drawing, stepping = jax.random.split(key, 3)
            noise = noise_weight * jax.random.gumbel(drawing, shape)
            copies, _, finished = rollout(
                env,
                spec.max_episode_steps,
                environment.action_start,
                lambda seen: policy_weight * policy(weights, seen),
                noise,
                copies,
                stepping,
            )
            return copies, key, finished

        def start(key: jax.Array):
            key, first = jax.random.split(key)
            return reset(env, copies, first), key

        self._run, self._start = jax.jit(run), jax.jit(start)

    def warm_up(self, weights: Any) -> None:
        """Compile the program."""
        self.reset("greedy", 0)
        self.advance(weights)

    def reset(self, mode: str, seed: int) -> None:
        """Start anew in every copy."""
        self._mixture = tuple(map(jnp.float32, _MIXTURES[mode]))
        self._copies, self._key = self._start(make_key(seeding.integer_seed(seed, "evaluation")))

    def advance(self, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The next steps of every copy."""
        self._copies, self._key, finished = self._run(weights, self._copies, self._key, *self._mixture)
        return np.asarray(finished.ended), np.asarray(finished.total), np.asarray(finished.length)

    def close(self) -> None:
        """Nothing is held."""
