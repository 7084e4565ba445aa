"""Playing episodes of a compiled environment for judgement, many steps per call; see `evaluate.Player`."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from a3c import sampling, seeding
from a3c.envs import Environment
from a3c.envs.compiled import load
from a3c.envs.compiled.compilation import Compilation
from a3c.envs.compiled.stepping import Copies, blank, draw_key, key_data, rollout

_STEPS = 100  # per call


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
        self._shape = _STEPS, copies, environment.num_actions

        def run(weights: Any, copies: Copies, stream: Any, policy_weight: Any, noise: Any):
            stream, key = draw_key(stream)
            copies, _, finished = rollout(
                env,
                spec.max_episode_steps,
                environment.action_start,
                lambda seen: policy_weight * policy(weights, seen),
                noise,
                copies,
                key,
            )
            return copies, stream, finished

        self._function = run
        self._run: Compilation | None = None
        self._first_copies = blank(env, copies)

    def warm_up(self, weights: Any) -> None:
        """Compile the program."""
        stream, noise = key_data(0), np.zeros(self._shape, np.float32)
        examples = weights, self._first_copies, stream, np.float32(1.0), noise
        self._run = Compilation(self._function, *examples, quick=True)
        self._run.wait()

    def reset(self, weights: Any, mode: str, seed: int) -> None:
        """Start anew in every copy, with the policy of `weights`."""
        if self._run is None:
            self.warm_up(weights)
        self._weights = weights
        self._mode, self._generator = mode, seeding.generator(seed, "evaluation")
        self._copies = self._first_copies
        self._stream = key_data(seeding.integer_seed(seed, "evaluation"))

    def advance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The next steps of every copy."""
        assert self._run is not None
        if self._mode == "greedy":
            noise = np.zeros(self._shape, np.float32)
        else:  # drawn here, since inside it would take longer to compile than it ever saves
            noise = sampling.gumbel_noise(self._generator, self._shape)
        policy_weight = np.float32(self._mode != "random")
        self._copies, self._stream, finished = self._run(
            self._weights, self._copies, self._stream, policy_weight, noise
        )
        return np.asarray(finished.ended), np.asarray(finished.total), np.asarray(finished.length)

    def rebuild(self) -> None:
        """Nothing of what is kept can be broken."""

    def close(self) -> None:
        """Nothing is held."""
