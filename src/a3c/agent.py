"""The library's front door: an agent that can be trained, evaluated, watched, saved and loaded."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a3c import algorithms, backend, envs
from a3c.config import Config
from a3c.envs import Environment
from a3c.errors import SettingError, UsageError
from a3c.evaluation.evaluator import Evaluation, make_evaluator, random_evaluation
from a3c.presets import make_config
from a3c.spaces import distributions
from a3c.spaces.distributions import Mode, ModeNoise
from a3c.spaces.observations import ObservationMismatch
from a3c.training import lookup, run_directory
from a3c.training.history import History
from a3c.types import Act, Episode, Policy
from a3c.utils import seeding

if TYPE_CHECKING:
    import keras

    from a3c.training.callbacks.base import Callback


class Agent:
    """An actor-critic agent for one environment.

        agent = Agent("CartPole-v1")
        agent.fit()
        print(agent.evaluate().mean)
        agent.save("agent.keras")

    Args:
        env_id: A Gymnasium environment, also as `module:EnvId`.
        algorithm: `a3c`, `a2c`, `impala`, `appo`, `ppo`, `one-step-q`, `one-step-sarsa`, `n-step-q`, or
            `auto`: the one of the environment's preset, and `appo` where there is none.
        model: A `keras.Model`, subclassed or functional, that maps observations [N, …] to (policy parameters
            [N, A], value [N, 1]); see `a3c.networks`. Default: what the settings describe.
        optimizer: A Keras optimizer, with a schedule if you like, or the setting `"adam"` or `"rmsprop"`;
            default: what the settings describe.
        trust: Import modules that only a preset's file names, which runs their code: only from authors you
            trust.
        **settings: Any setting of `a3c.config.Config`; those not given come from the environment's preset,
            else they are the algorithm's defaults.

    Raises:
        UsageError: for settings, an environment or a model that cannot work.
    """

    def __init__(
        self,
        env_id: str | None = None,
        algorithm: str = "auto",
        model: "keras.Model | None" = None,
        optimizer: "keras.optimizers.Optimizer | str | None" = None,
        trust: bool = False,
        **settings: Any,
    ):
        if env_id is not None:
            settings["env_id"] = env_id
        if isinstance(optimizer, str):  # the setting of that name
            settings["optimizer"], optimizer = optimizer, None
        self.config: Config = make_config(trust, algorithm=algorithm, **settings)
        if self.config.algorithm == "random":
            fix = "For the baseline: a3c.random_baseline(env_id, episodes)."
            raise SettingError("algorithm", "random", "one that learns", fix)
        if self.config.seed is None:
            self.config = dataclasses.replace(self.config, seed=seeding.fresh_seed())
        backend.select(self.config.backend)
        self.environment: Environment = envs.find(self.config.env_id, self.config.action_bounds)
        from a3c.training.resolve import make_model

        self.model: keras.Model = make_model(self.config, self.environment, model)
        self._optimizer = optimizer
        self._summary: dict[str, Any] = {}
        self._compiled: tuple[Any, Policy] | None = None

    def fit(
        self,
        verbose: int = 1,
        resume: str | Path | None = None,
        callbacks: "Sequence[Callback]" = (),
        **settings: Any,
    ) -> History:
        """Train from the present weights until the environment is solved or a limit is reached.

        Writes a run directory, like `a3c train`, and leaves the best weights in the agent.

        Args:
            verbose: 0 for silence, 1 for progress.
            resume: The directory of a run to go on with, in place of a new one; it must have been made with
                the same environment, network and optimizer.
            callbacks: Told what happens in the run; see `a3c.Callback`.
            **settings: Settings to change for this call, such as `max_steps=50_000`.

        Raises:
            UsageError: for settings that cannot be carried out.
            RunError: when a worker failed; what was learned until then is saved.
            Exception: what a callback raised; what was learned until then is saved.
        """
        from a3c.training.callbacks import display
        from a3c.training.trainer import train

        if resume is None:
            config, directory = self.config.replace(**settings), None
        else:
            directory = lookup.find_run(str(resume), self.config.save_dir)
            config = run_directory.read_config(directory).replace(**settings)
            run_directory.check_names(directory, config, (self.config.env_id, self.config.model), False)
        try:
            result = train(
                config,
                model=self.model,
                optimizer=self._optimizer,
                display=display.choose(sys.stdout, quiet=not verbose),
                callbacks=callbacks,
                resume=directory,
            )
        except UsageError:
            raise  # before anything was learned
        except BaseException:
            self._adopt(config)
            raise
        self._adopt(config)
        if result.interrupted:
            raise KeyboardInterrupt(f"What was learned is saved in {result.summary['run_dir']}.")
        self._summary = result.summary
        return History.of(config, result)

    def _adopt(self, config: Config) -> None:
        """From now on act as was learned, by those settings of a training that decide it."""
        from a3c.networks import saved_model

        learned = {name: getattr(config, name) for name in saved_model.ACTING_SETTINGS}
        if learned["action_bounds"] != self.config.action_bounds:
            self.environment = envs.find(self.config.env_id, learned["action_bounds"])
        self.config = dataclasses.replace(self.config, **learned)
        self._compiled = None

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
        _check_mode(mode)
        evaluator = make_evaluator(
            self.environment, self._network(), episodes, self._noise.values, self.config.eager
        )
        weights = parameters_of(self.model)
        try:
            return evaluator.evaluate(weights, mode, seeding.fresh_seed() if seed is None else seed)
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

        _check_mode(mode)
        return play.play_episode(
            self.environment,
            self._act(),
            noise=self._noise,
            state_size=state_size(self.model),
            mode=mode,
            seed=seeding.fresh_seed() if seed is None else seed,
            window=video is None and play.has_display(),
            video=None if video is None else Path(video),
            on_step=on_step,
        )

    def predict(self, observation: Any, state: Any = None) -> Any:
        """The most probable action for an observation, or for each of a batch of N.

        Args:
            observation: As the environment shows it; a batch has a first axis N in each of its arrays.
            state: [N, S], of a network with a memory: what it returned in the step before; None where an
                episode begins.

        Returns:
            An action for one observation, an array of N for a batch, as `env.step` takes them; of a network
            with a memory that and its state.
        """
        from a3c.networks import state_size

        seen, actions = self.environment.observations, self.environment.actions
        try:
            packed, single = seen.pack_any(observation)
        except ObservationMismatch as error:
            shape = np.shape(observation)
            what = f"of shape {shape}" if shape else type(observation).__name__
            expected = f"{seen.describe()}, or a batch of them with a first axis N"
            raise UsageError(f"observation {what}", expected) from error
        size = state_size(self.model)
        if size and state is None:
            state = np.zeros((len(packed), size), np.float32)
        parameters, state = self._act()(packed, state)
        chosen = actions.to_env(actions.choose(parameters, np.zeros(self._noise.shape(1), np.float32)))
        if single:
            chosen = distributions.first(chosen)
        return (chosen, state) if size else chosen

    def save(self, path: str | Path) -> None:
        """Write the agent to a `.keras` file: an ordinary one, except that it names its environment."""
        from a3c.networks import saved_model

        path = Path(path)
        if path.suffix != ".keras":
            raise UsageError(f"path {path}", "one ending in .keras")
        if not path.absolute().parent.is_dir():
            raise UsageError(f"path {path}", "one in an existing directory")
        card = saved_model.describe(vars(self.config), self.model, None, self._summary.get("steps", 0), None)
        saved_model.save_model(path, self.model, {**card, "evaluation": self._summary.get("evaluation")})

    @classmethod
    def load(
        cls,
        path: str | Path,
        env_id: str | None = None,
        model_class: str | None = None,
        backend_name: str = "auto",
        unsafe: bool = False,
        trust: bool = False,
    ) -> "Agent":
        """Load an agent from a `.keras` file or a run directory, in Keras' safe mode.

        Args:
            path: The file, or the directory of a run, whose best model is taken.
            env_id: The environment; default: the one it was trained on.
            model_class: `module:Class` of a model of your own; default: what the file says.
            backend_name: The Keras backend.
            unsafe: Load a file that brings code of its own, which is run then: only from authors you trust.
            trust: Import modules that only the file names, for its environment or its model: likewise.

        Raises:
            UsageError: if it cannot be loaded, or does not fit the environment.
        """
        backend.select(backend_name)
        from a3c.networks import saved_model

        file = lookup.find_model(str(path), save_dir="runs") if Path(path).is_dir() else Path(path)
        card = saved_model.read_card(file)
        model_class = saved_model.check_names(file, card, env_id, model_class, trust)
        env_id = env_id or card.get("env_id")
        if env_id is None:
            raise UsageError(f"model file {file}", "one that names its environment", "Give it with --env-id.")
        model, settings = saved_model.load_model(file, model_class, unsafe), saved_model.acting_settings(card)
        try:
            agent = cls(env_id, model=model, backend=backend_name, preset="none", **settings)
        except SettingError as error:
            raise UsageError(f"model file {file}", "settings that this a3c has", str(error)) from error
        except UsageError as error:
            trained = card.get("env_id")
            if trained and trained != env_id:
                fix = f"It was trained on {trained}. {error.received} returned, {error.expected} expected."
                raise UsageError(f"model file {file}", f"a model for {env_id}", fix) from error
            raise
        saved_model.check_statistics(file, card, agent.model)
        agent._summary = saved_model.scores_in(card, env_id)
        return agent

    @property
    def card(self) -> dict[str, Any]:
        """What is known of how good it is here: `steps`, `evaluation`, `random_baseline`, where known."""
        return dict(self._summary)

    def _act(self) -> Act:
        """The policy with the present weights."""
        from a3c.networks.numpy_policy import make_policy
        from a3c.networks.parameters import parameters_of

        if self._compiled is None or self._compiled[0] is not self.model:
            self._compiled = (self.model, make_policy(backend.load(), self._network(), self.config.eager))
        return self._compiled[1](parameters_of(self.model))

    def _network(self) -> Any:
        """The model as a function."""
        from a3c.networks import normalisation
        from a3c.networks.functional import Network
        from a3c.networks.parameters import non_trainable_of

        seen, config = self.environment.observations, self.config
        normaliser = normalisation.make(seen, config.normalise_observations, config.normalise_returns)
        return Network(self.model, non_trainable_of(self.model), seen, normaliser)

    @property
    def _noise(self) -> ModeNoise:
        return ModeNoise(self.environment.actions, algorithms.find(self.config.algorithm).values)


def _check_mode(mode: str) -> None:
    if mode not in ("greedy", "sampled"):
        fix = "For random play: a3c.random_baseline(env_id, episodes)."
        raise SettingError("mode", mode, "greedy or sampled", fix)


def random_baseline(env_id: str = "CartPole-v1", episodes: int = 100, seed: int | None = None) -> Evaluation:
    """Play `episodes` whole episodes of uniformly random actions: the score that any agent must beat."""
    if episodes < 1:
        raise SettingError("episodes", episodes, "an integer of at least 1")
    return random_evaluation(envs.find(env_id), episodes, seeding.fresh_seed() if seed is None else seed)
