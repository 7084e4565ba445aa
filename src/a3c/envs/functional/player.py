"""An `evaluator.Player` of functional environments: many steps per call."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from a3c.envs import Environment
from a3c.envs.functional.compilation import Compilation
from a3c.envs.functional.stepping import (
    BatchedEnvState,
    FunctionalEnvSpec,
    blank,
    draw_key,
    key_data,
    rollout,
)
from a3c.spaces.distributions import Mode, ModeNoise
from a3c.utils import seeding

_STEPS = 100  # per call


class CompiledPlayer:
    """Plays in B copies inside one program, the same for every mode.

    Args:
        environment: What to play.
        policy: Maps weights, observations [B, *O] and a memory [B, S] to policy parameters [B, A] and memory.
        copies: B.
        state_size: S; 0: the network has no memory.
        noise: How actions are drawn in each mode.
    """

    def __init__(
        self,
        environment: Environment,
        policy: Callable[[Any, Any, Any], tuple[Any, Any]],
        copies: int,
        state_size: int,
        noise: ModeNoise,
    ):
        self.copies, self._noise = copies, noise
        spec = FunctionalEnvSpec.of(environment)

        def run(weights: Any, state: BatchedEnvState, stream: Any, policy_weight: Any, noise: Any):
            stream, key = draw_key(stream)

            def decide(seen: jax.Array, memory: Any, noise: jax.Array):
                parameters, memory = policy(weights, seen, memory)
                return spec.actions.choose(policy_weight * parameters, noise), memory, None

            state, _, ends = rollout(spec, decide, noise, state, key)
            return state, stream, ends

        self._function = run
        self._run: Compilation | None = None
        self._first_state = blank(spec.env, spec.shapes(_STEPS, copies, state=state_size))

    def warm_up(self, weights: Any) -> None:
        """Compile the program."""
        stream, noise = key_data(0), np.zeros((_STEPS, *self._noise.shape(self.copies)), np.float32)
        examples = weights, self._first_state, stream, np.float32(1.0), noise
        self._run = Compilation(self._function, *examples, quick=True)
        self._run.wait()

    def reset(self, weights: Any, mode: Mode, seed: int) -> None:
        """Start anew in every copy, with the policy of `weights`."""
        if self._run is None:
            self.warm_up(weights)
        self._weights = weights
        self._mode: Mode = mode
        self._generator = seeding.generator(seed, "evaluation")
        self._state = self._first_state
        self._stream = key_data(seeding.integer_seed(seed, "evaluation"))

    def advance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The next steps of every copy."""
        assert self._run is not None
        # Drawn here, since inside it would take longer to compile than it ever saves.
        noise = self._noise.draw(self._mode, self._generator, (_STEPS, self.copies))
        policy_weight = np.float32(self._mode != "random")
        self._state, self._stream, ends = self._run(
            self._weights, self._state, self._stream, policy_weight, noise
        )
        return np.asarray(ends.ended), np.asarray(ends.total), np.asarray(ends.length)

    def rebuild(self) -> None:
        """Nothing to do: an environment without a state of its own cannot break."""

    def close(self) -> None:
        """Nothing is held."""
