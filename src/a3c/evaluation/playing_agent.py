"""A network in an environment: it acts, plays, is judged, and shows its weights. `Agent` also learns."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a3c import algorithms, backend
from a3c.config import Config
from a3c.envs import Environment
from a3c.errors import SettingError, UsageError
from a3c.evaluation.evaluator import Evaluation, make_evaluator
from a3c.evaluation.prediction import Predictor, check_mode
from a3c.spaces.distributions import Mode, ModeNoise
from a3c.types import Act, Episode, Policy
from a3c.utils import seeding

if TYPE_CHECKING:
    import gymnasium as gym
    import keras

    from a3c.networks.whole import WholeModel


class PlayingAgent:
    """What can be done with a network in an environment.

    Args:
        config: The settings.
        environment: What it plays in.
        network: A model of the protocol in `a3c.networks`, with the statistics that it carries.
    """

    def __init__(self, config: Config, environment: Environment, network: "keras.Model"):
        self.config, self.environment, self.network = config, environment, network
        self._generator = seeding.generator(config.seed or 0, "play")
        self._compiled: Policy | None = None
        self._whole: WholeModel | None = None

    def evaluate(self, episodes: int = 100, mode: Mode = "greedy", seed: int | None = None) -> Evaluation:
        """Play whole episodes in environments of their own.

        Args:
            episodes: How many.
            mode: `greedy`, the most probable actions, or `sampled`, actions drawn from the policy.
            seed: Default: a fresh one.

        Raises:
            SettingError: for no episodes, or another mode.
        """
        from a3c.networks.parameters import parameters_of

        if episodes < 1:
            raise SettingError("episodes", episodes, "an integer of at least 1")
        check_mode(mode)
        self._take_weights()
        evaluator = make_evaluator(
            self.environment, self._network(), episodes, self._noise.values, self.config.eager
        )
        try:
            fresh = seeding.fresh_seed() if seed is None else seed
            return evaluator.evaluate(parameters_of(self.network), mode, fresh)
        finally:
            evaluator.close()

    def play(
        self,
        video: str | Path | None = None,
        mode: Mode = "greedy",
        seed: int | None = None,
        on_step: Any = None,
    ) -> Episode:
        """Play one episode: in a window where there is a display, or to a `.mp4` or `.gif` file.

        Args:
            video: The file to write; then no window opens.
            mode: `greedy` or `sampled`.
            seed: Default: a fresh one.
            on_step: Called with the number of the step, its reward and its action.
        """
        from a3c.evaluation import play
        from a3c.networks import state_size

        check_mode(mode)
        return play.play_episode(
            self.environment,
            self._act(),
            noise=self._noise,
            state_size=state_size(self.network),
            mode=mode,
            seed=seeding.fresh_seed() if seed is None else seed,
            window=video is None and play.has_display(),
            video=None if video is None else Path(video),
            on_step=on_step,
        )

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool | None = None,
    ) -> tuple[Any, Any]:
        """What to do on seeing an observation, or each of a batch of N; as in Stable-Baselines3.

        Args:
            observation: As the environment shows it; a batch has a first axis N in each of its arrays.
            state: [N, S], of a network with a memory: what it returned in the step before; None where an
                episode begins.
            episode_start: Whether an episode begins here, for all or each [N]: its memory is emptied.
            deterministic: Whether to take the most probable action, which is the default, or draw one.

        Returns:
            The action for one observation, an array of N for a batch, as `env.step` takes them; and the state
            of the memory after it, None without one.

        Raises:
            UsageError: for observations or states that do not fit.
        """
        generator = self._generator if deterministic is False else None
        return self._predictor().predict(observation, state, episode_start, generator)

    def act(self, observation: Any) -> Any:
        """The action of `predict` alone, for a network without a memory."""
        return self.predict(observation)[0]

    def action_probabilities(self, observation: Any, state: Any = None) -> Any:
        """Of each discrete action its probability: [A], for a batch [N, A]; of several choices a list.

        Raises:
            UsageError: for continuous actions, and for agents that learn the values of actions.
        """
        return self._predictor().probabilities(observation, state)

    def value(self, observation: Any, state: Any = None) -> Any:
        """V(s), the discounted return that it expects, scaled as in training: a number, for a batch [N]."""
        return self._predictor().value(observation, state)

    def log_prob(self, observation: Any, action: Any, state: Any = None) -> Any:
        """log π(a|s), of continuous actions a log density: a number, for a batch [N].

        Raises:
            UsageError: for actions that do not fit, and for agents that learn the values of actions.
        """
        return self._predictor().log_prob(observation, action, state)

    @property
    def model(self) -> "keras.Model":
        """The whole agent as a Keras model: from observations as the environment shows them to named outputs.

        It maps a batch to `{"policy": [N, A], "value": [N, 1]}`; see `a3c.networks.export`. Weights that it
        is given are the agent's as well.
        """
        if self._whole is None:
            from a3c.networks.whole import WholeModel

            self._whole = WholeModel(self._network())
        self._whole.take()
        return self._whole.model

    def get_weights(self) -> list[np.ndarray]:
        """The weights of its network, in Keras' order."""
        self._take_weights()
        return self.network.get_weights()

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Replace the weights of its network.

        Raises:
            UsageError: for weights of other shapes.
        """
        self._take_weights()
        own = [tuple(array.shape) for array in self.network.get_weights()]
        given = [np.shape(array) for array in weights]
        if own != given:
            raise UsageError(f"weights of shapes {given}", f"those of get_weights(): {own}")
        self.network.set_weights(list(weights))

    @property
    def observation_space(self) -> "gym.Space":
        """What one copy of its environment shows."""
        return self.environment.observation_space

    @property
    def action_space(self) -> "gym.Space":
        """What one copy of its environment takes."""
        return self.environment.action_space

    def summary(self) -> None:
        """Print the layers of its model, as Keras does."""
        self.model.summary()

    # -- inside ---------------------------------------------------------------------------------------------

    def _take_weights(self) -> None:
        """Use what the user has made of `model`."""
        if self._whole is not None:
            self._whole.take()

    def _predictor(self) -> Predictor:
        from a3c.networks.parameters import parameters_of

        act, network = self._act(), self._network()
        return Predictor(self.environment, self._noise, act, network, parameters_of(self.network))

    def _act(self) -> Act:
        """The policy with the present weights."""
        from a3c.networks.numpy_policy import make_policy
        from a3c.networks.parameters import parameters_of

        self._take_weights()
        if self._compiled is None:
            self._compiled = make_policy(backend.load(), self._network(), self.config.eager)
        return self._compiled(parameters_of(self.network))

    def _network(self) -> Any:
        """The network as a function."""
        from a3c.networks import normalisation
        from a3c.networks.functional import Network
        from a3c.networks.parameters import non_trainable_of

        seen, config = self.environment.observations, self.config
        normaliser = normalisation.make(seen, config.normalise_observations, config.normalise_returns)
        return Network(self.network, non_trainable_of(self.network), seen, normaliser)

    @property
    def _noise(self) -> ModeNoise:
        return ModeNoise(self.environment.actions, algorithms.find(self.config.algorithm).values)
