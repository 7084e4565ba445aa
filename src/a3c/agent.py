"""The library's front door: an agent that can be trained, evaluated, watched, saved and loaded."""

import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a3c import backend, envs
from a3c.config import Config
from a3c.errors import SettingError, UsageError
from a3c.evaluation.evaluator import Evaluation, random_evaluation
from a3c.evaluation.playing_agent import PlayingAgent
from a3c.presets import make_config
from a3c.training import lookup, run_directory
from a3c.training.continuation import Continuation
from a3c.training.history import History
from a3c.utils import seeding

if TYPE_CHECKING:
    import keras

    from a3c.training.callbacks.base import Callback
    from a3c.training.callbacks.display import Display


class Agent(PlayingAgent):
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

    Attributes:
        config: The settings.
        environment: What it plays in.
        network: The network alone, as training sees it: from packed observations, which are normalised, to
            (policy parameters, value).

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
        self.config = make_config(trust, algorithm=algorithm, **settings)
        if self.config.algorithm == "random":
            fix = "For the baseline: a3c.random_baseline(env_id, episodes)."
            raise SettingError("algorithm", "random", "one that learns", fix)
        if self.config.seed is None:
            self.config = dataclasses.replace(self.config, seed=seeding.fresh_seed())
        backend.select(self.config.backend)
        self.environment = envs.find(self.config.env_id, self.config.action_bounds)
        from a3c.training.resolve import make_model

        super().__init__(self.config, self.environment, make_model(self.config, self.environment, model))
        self._optimizer = optimizer
        self._warn_of(settings)
        self._summary: dict[str, Any] = {}
        self._continuation: Continuation | None = None
        self._find_continuation: Callable[[], Continuation | None] | None = None

    # -- learning -------------------------------------------------------------------------------------------

    def fit(
        self,
        verbose: int = 1,
        resume: str | Path | None = None,
        callbacks: "Sequence[Callback]" = (),
        **settings: Any,
    ) -> History:
        """Train until the environment is solved or a limit is reached.

        The first call begins with the present weights. Another one goes on where the one before has stopped,
        or the training of the agent's file: with its last weights, its settings, its optimizer's state, and
        limits that count from there. If the weights were changed since, it begins with those.

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

        shown = display.choose(sys.stdout, quiet=not verbose)
        self._take_weights()
        continuation, directory = None, None
        if resume is not None:
            directory = lookup.find_run(str(resume), self.config.save_dir)
            config = run_directory.read_config(directory).replace(**settings)
            run_directory.check_names(directory, config, (self.config.env_id, self.config.model), False)
        else:
            config, continuation = self._where_to_begin(settings, shown)
        return self._train(
            config, display=shown, callbacks=callbacks, resume=directory, continuation=continuation
        )

    def _warn_of(self, given: dict[str, Any]) -> None:
        """Warn of settings that change nothing."""
        from a3c.networks import OURS
        from a3c.training import provenance

        own = type(self.network) not in OURS, self._optimizer is not None
        for text in provenance.without_effect(self.config, self.environment, given, *own):
            warnings.warn(text, stacklevel=3)

    def _train(self, config: Config, **how: Any) -> History:
        """Train, and be what was learned, however it ends."""
        from a3c.networks.parameters import parameters_of
        from a3c.training.trainer import train

        try:
            result = train(config, model=self.network, optimizer=self._optimizer, **how)
        except UsageError:
            raise  # before anything was learned
        except BaseException:
            self._adopt(config)
            raise
        self._adopt(config)
        weights, self._find_continuation = parameters_of(self.network), None
        self._continuation = Continuation.of(result.config, result.summary, weights, how["continuation"])
        if result.interrupted:
            raise KeyboardInterrupt(f"What was learned is saved in {result.summary['run_dir']}.")
        self._summary = result.summary
        return History.of(result)

    def _before(self) -> Continuation | None:
        """Where its training stands; that of a file is read when somebody asks for it."""
        if self._find_continuation is not None:
            self._continuation, self._find_continuation = self._find_continuation(), None
        return self._continuation

    def _where_to_begin(
        self, settings: dict[str, Any], shown: "Display"
    ) -> tuple[Config, Continuation | None]:
        """The settings of a new training, and where it goes on from; None: it begins with the weights."""
        from a3c.networks.parameters import parameters_of

        before = self._before()
        if before is None:
            return self.config.replace(**settings), None
        if not np.array_equal(before.weights, parameters_of(self.network)):
            shown.note("The weights were changed since the last training: it begins with these.")
            return before.config.replace(**settings), None
        return before.config_with(settings), before

    def _adopt(self, config: Config) -> None:
        """From now on act as was learned, by those settings of a training that decide it."""
        from a3c.networks import saved_model

        learned = {name: getattr(config, name) for name in saved_model.ACTING_SETTINGS}
        if learned["action_bounds"] != self.config.action_bounds:
            self.environment = envs.find(self.config.env_id, learned["action_bounds"])
        self.config = dataclasses.replace(self.config, **learned)
        self._compiled = self._whole = None

    def save(self, path: str | Path, include_optimizer: bool = True) -> None:
        """Write the agent to a `.keras` file, which Keras opens as it is; see `model`.

        Args:
            path: It.
            include_optimizer: Whether `fit` shall go on from there, with the optimizer's state, once it is
                loaded.

        Raises:
            UsageError: for a path that is none.
            OSError: if it cannot be written.
        """
        from a3c.training import agent_file

        self._take_weights()
        before = self._before()
        continuation, config = before if include_optimizer else None, before.config if before else self.config
        agent_file.write(
            Path(path), self._network(), vars(config), self._summary, self._optimizer, continuation
        )

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
        from a3c.networks.parameters import parameters_of
        from a3c.training import agent_file

        found = agent_file.read(Path(path), env_id, model_class, unsafe, trust)
        settings = found.settings
        if found.optimizer is not None:
            settings["optimizer"] = found.optimizer
        with found.fitting(), warnings.catch_warnings(action="ignore"):
            agent = cls(found.env_id, model=found.model, backend=backend_name, preset="none", **settings)
        found.check_statistics(agent.network)
        agent._summary, weights = found.scores, parameters_of(agent.network)
        agent._find_continuation = functools.partial(found.continuation, agent.config, weights)
        return agent

    @property
    def card(self) -> dict[str, Any]:
        """What is known of how good it is here: `steps`, `evaluation`, `random_baseline`, where known."""
        return dict(self._summary)

    def __repr__(self) -> str:
        config, steps = self.config, self._summary.get("steps", 0)
        trained = f"trained for {steps:,} steps" if steps else "untrained"
        return f"Agent({config.env_id!r}, {config.algorithm!r}, seed={config.seed}, {trained})"


def random_baseline(env_id: str = "CartPole-v1", episodes: int = 100, seed: int | None = None) -> Evaluation:
    """Play `episodes` whole episodes of uniformly random actions: the score that any agent must beat."""
    if episodes < 1:
        raise SettingError("episodes", episodes, "an integer of at least 1")
    return random_evaluation(envs.find(env_id), episodes, seeding.fresh_seed() if seed is None else seed)
