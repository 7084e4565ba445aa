"""What an agent says of observations: actions, their probabilities, and values. Called by `Agent`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from a3c.envs import Environment
from a3c.errors import SettingError, UsageError
from a3c.spaces import distributions
from a3c.spaces.distributions import ModeNoise
from a3c.spaces.distributions.bernoulli import Bernoulli
from a3c.spaces.distributions.categorical import Categorical, MultiCategorical
from a3c.spaces.observations import ObservationMismatch


@dataclass(frozen=True)
class Predictor:
    """An agent's network with its present weights.

    Attributes:
        environment: What it plays in.
        noise: How its actions are drawn.
        act: Its policy, compiled or in NumPy.
        network: Its network as a function.
        weights: [P] float32.
    """

    environment: Environment
    noise: ModeNoise
    act: Any
    network: Any
    weights: np.ndarray

    def predict(
        self, observation: Any, state: Any, episode_start: Any, generator: np.random.Generator | None
    ) -> tuple[Any, Any]:
        """Actions and the memory's next state; see `Agent.predict`. Without a generator the most probable."""
        packed, single = self._packed(observation)
        parameters, after = self.act(packed, self._state(state, episode_start, len(packed)))
        if generator is None:
            noise = np.zeros(self.noise.shape(len(packed)), np.float32)
        else:
            noise = self.noise.draw("sampled", generator, (len(packed),))
        actions = self.environment.actions
        chosen = actions.to_env(actions.choose(np.asarray(parameters), noise))
        return (distributions.first(chosen) if single else chosen), after

    def probabilities(self, observation: Any, state: Any) -> Any:
        """See `Agent.action_probabilities`."""
        actions = self.environment.actions
        if self.noise.values or not isinstance(actions, Categorical | MultiCategorical | Bernoulli):
            what = "the values of actions" if self.noise.values else actions.describe()
            fix = "Use agent.log_prob(observation, action) for densities." * (not self.noise.values)
            raise UsageError(f"an agent with {what}", "one with a policy over discrete actions", fix)
        packed, single = self._packed(observation)
        parameters, _ = self.act(packed, self._state(state, None, len(packed)))
        found = actions.probabilities(np.asarray(parameters, np.float64))
        return _first(found) if single else found

    def value(self, observation: Any, state: Any) -> Any:
        """See `Agent.value`."""
        packed, single = self._packed(observation)
        _, values = self._outputs(packed, state)
        return float(values[0]) if single else values

    def log_prob(self, observation: Any, action: Any, state: Any) -> Any:
        """See `Agent.log_prob`."""
        if self.noise.values:
            raise UsageError("an agent with the values of actions", "one with a policy")
        packed, single = self._packed(observation)
        actions, space = self.environment.actions, self.environment.action_space
        shape = np.shape(action) if single else np.shape(action)[1:]
        if shape != space.shape or (not single and len(action) != len(packed)):
            expected = f"{'one action' if single else f'{len(packed)} actions'} of {space}"
            raise UsageError(f"action of shape {np.shape(action)}", expected)
        given = np.asarray(action)[None] if single else np.asarray(action)
        parameters, _ = self._outputs(packed, state)
        from keras import ops

        kept = actions.from_env(given).astype(actions.dtype)
        found = ops.convert_to_numpy(
            actions.log_prob(ops.convert_to_tensor(parameters), ops.convert_to_tensor(kept))
        )
        return float(found[0]) if single else found

    def _outputs(self, packed: np.ndarray, state: Any) -> tuple[np.ndarray, np.ndarray]:
        """Policy parameters [N, A] and values [N]."""
        from keras import ops

        from a3c.networks.functional import apply_network

        memory = self._state(state, None, len(packed))
        starts = () if memory is None else (ops.convert_to_tensor(memory), ops.zeros((1, len(packed))))
        found = apply_network(
            self.network, ops.convert_to_tensor(self.weights), ops.convert_to_tensor(packed), *starts
        )
        parameters, values = (np.asarray(ops.convert_to_numpy(array)) for array in found[:2])
        return parameters, values

    def _packed(self, observation: Any) -> tuple[np.ndarray, bool]:
        seen = self.environment.observations
        try:
            return seen.pack_any(observation)
        except ObservationMismatch as error:
            shape = np.shape(observation) if not isinstance(observation, dict | tuple) else ()
            what = f"of shape {shape}" if shape else type(observation).__name__
            expected = f"{seen.describe()}, or a batch of them with a first axis N"
            raise UsageError(f"observation {what}", expected) from error

    def _state(self, state: Any, episode_start: Any, copies: int) -> Any:
        """The memory before the step [N, S]: zeros where an episode begins; None without one."""
        size = self.network.state_size
        if not size:
            if state is not None:
                raise UsageError("a state", "none: this network has no memory")
            return None
        state = np.zeros((copies, size), np.float32) if state is None else np.array(state, np.float32)
        if state.shape != (copies, size):
            raise UsageError(f"state of shape {state.shape}", f"[{copies}, {size}], as predict returned it")
        if episode_start is not None:
            starts = np.asarray(episode_start, bool)
            if starts.shape not in ((), (copies,)):
                expected = f"one truth value, or {copies} of them"
                raise UsageError(f"episode_start of shape {starts.shape}", expected)
            state[np.broadcast_to(starts, copies)] = 0.0
        return state


def _first(found: Any) -> Any:
    return [each[0] for each in found] if isinstance(found, list) else found[0]


def check_mode(mode: str) -> None:
    """Raise `SettingError` for anything but `greedy` and `sampled`."""
    if mode not in ("greedy", "sampled"):
        fix = "For random play: a3c.random_baseline(env_id, episodes)."
        raise SettingError("mode", mode, "greedy or sampled", fix)
