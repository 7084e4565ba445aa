"""What `a3c doctor` asks of a network: does it fit, do its losses make sense, does every weight learn?"""

import functools
import itertools
import math
import tempfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from a3c import backend, envs, models, seeding
from a3c.agent import Agent
from a3c.algorithms import a3c as algorithm
from a3c.config import Config
from a3c.dense import make_policy
from a3c.doctor import Check, fault, ok, warning
from a3c.envs import Environment
from a3c.envs.fault import Description, Fault
from a3c.envs.sampler import VectorSampler
from a3c.errors import RunError
from a3c.flat import Network, fixed_of, parameters_of
from a3c.model_file import Archive
from a3c.setup import make_model
from a3c.types import Transitions

_PROBE = "a3c.envs.probes:probe/ObservedChoice-v0"
_ROLLOUT = 20  # steps
_COPIES = 4
_STEP = 1e-2  # length of the step that must raise the entropy
_NOISE = 0.1  # moves a policy away from the uniform one, whose entropy cannot rise


class Subject:
    """A network and a rollout of it, with losses and gradients.

    Args:
        config: Names the model, if it is one of the user's own.
        environment: What it acts in.
        seed: Of its weights and of the rollout.
    """

    def __init__(self, config: Config, environment: Environment, seed: int):
        self._framework = backend.load()
        self.model = make_model(config, environment)
        self.network = Network(self.model, fixed_of(self.model))
        self.weights = parameters_of(self.model)
        self.num_actions = environment.num_actions
        self._policy = make_policy(self._framework, self.network)
        self.transitions = self._rollout(environment, seed)

    def _rollout(self, environment: Environment, seed: int) -> Transitions:
        sampler = VectorSampler(
            make_env=lambda: envs.make_vector(
                environment.spec, _COPIES, environment.vectorized, checked=False
            ),
            policy=self._policy,
            t_max=_ROLLOUT,
            generator=seeding.generator(seed, "actions"),
            seeds=lambda making: seed + making,
            describe=Description(environment.id, 0, _COPIES, environment.vectorized),
            on_fault=_give_up,
        )
        rollout = sampler.collect(self.weights)
        sampler.close()
        assert isinstance(rollout.transitions, Transitions)
        return rollout.transitions

    @functools.cache  # noqa: B019 - lives as long as the command
    def _differentiate(self, entropy: float) -> Any:
        loss = functools.partial(
            algorithm.loss, gamma=0.99, gae_lambda=1.0, entropy_coefficient=entropy, value_coefficient=0.5
        )
        return self._framework.compile_gradients(self.network, loss, None)

    def gradients(self, weights: np.ndarray, entropy: float) -> tuple[np.ndarray, dict[str, float]]:
        """Gradient [P] and losses with this entropy coefficient."""
        gradient, losses = self._differentiate(entropy)(weights, self.transitions)
        return np.array(gradient), dict(losses)

    def entropy(self, weights: np.ndarray) -> float:
        """Mean entropy of the policy over the rollout, from its logits alone: no loss has a part in it."""
        observations = self.transitions.observations
        seen = observations.reshape(-1, *observations.shape[2:])
        logits = np.asarray(self._policy(weights)(seen), np.float64)
        shifted = logits - logits.max(-1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        return float(-(np.exp(log_probabilities) * log_probabilities).sum(-1).mean())


def _give_up(fault: Fault) -> None:
    raise RunError(fault.summary)


def shapes(subject: Subject) -> Check:
    """That it fits was checked when it was made."""
    count = subject.weights.size
    name = type(subject.model).__name__
    return ok("model", f"{name}, {count:,} weights: logits [N, {subject.num_actions}], value [N, 1]")


def saving(subject: Subject) -> Check:
    """Whether it can be sent to workers and kept in a file."""
    if type(subject.model) is not models.ActorCritic:
        Archive.of(subject.model)
    return ok("saving", "Keras saves it and loads it again in safe mode")


def losses(subject: Subject) -> Check:
    """Whether they are numbers."""
    _, found = subject.gradients(subject.weights, 0.01)
    text = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
    if not all(map(math.isfinite, found.values())):
        fix = "Scale observations and rewards to about ±1; see that no layer divides by zero."
        return fault("losses", text, fix)
    return ok("losses", text)


def gradient_flow(subject: Subject) -> Check:
    """Whether every trainable weight is reached."""
    gradient, _ = subject.gradients(subject.weights, 0.01)
    variables = subject.model.trainable_variables
    ends = list(itertools.accumulate(math.prod(v.shape) for v in variables))
    parts = dict(zip((v.path for v in variables), np.split(gradient, ends[:-1]), strict=True))
    if broken := [path for path, part in parts.items() if not np.isfinite(part).all()]:
        fix = "A square root or logarithm at 0 does that."
        return fault("gradients", f"not finite: {', '.join(broken)}", fix)
    if idle := [path for path, part in parts.items() if not part.any()]:
        fix = "Use their layers in what is returned, without stop_gradient, or make them trainable=False."
        return fault("gradients", f"none reaches {', '.join(idle)}", fix)
    return ok("gradients", f"reach all {len(parts)} weights")


def entropy_sign(subject: Subject) -> Check:
    """Whether the entropy bonus makes the policy less certain."""
    noise = np.random.default_rng(0).normal(0.0, _NOISE, subject.weights.shape).astype(np.float32)
    weights = subject.weights + noise
    (with_bonus, _), (without, _) = (subject.gradients(weights, coefficient) for coefficient in (1.0, 0.0))
    direction = with_bonus - without
    norm = float(np.linalg.norm(direction))
    if norm < 1e-7:
        fix = "Logits must depend on weights that can be trained."
        return fault("entropy", "its bonus has no gradient", fix)
    before = subject.entropy(weights)
    after = subject.entropy(weights - (_STEP / norm * direction).astype(np.float32))
    text = f"a step on its bonus takes it from {before:.5f} to {after:.5f}"
    if after < before - 1e-6:
        return fault("entropy", text, "It must rise: return logits, not probabilities or their negatives.")
    return ok("entropy", text)


def first_policy(subject: Subject) -> Check:
    """Whether exploration begins unbiased."""
    most = math.log(subject.num_actions) if subject.num_actions > 1 else 1.0
    share = subject.entropy(subject.weights) / most
    text = f"the first policy has {share:.0%} of the largest entropy"
    if subject.num_actions > 1 and share < 0.5:
        fix = "Begin with small logits: a kernel initializer of small gain in the last layer."
        return warning("exploration", text, fix)
    return ok("exploration", text)


def learns(config: Config, seed: int) -> Check:
    """Whether the kind of model learns the simplest thing: an action that fits what it sees."""
    with tempfile.TemporaryDirectory() as directory:
        agent = Agent(
            _PROBE,
            preset="none",
            model=None if config.model is None else models.import_model(config.model)(num_actions=2),
            engine="serial",
            learning_rate=3e-3,
            max_steps=20_000,
            evaluation_episodes=20,
            stop_return=0.95,
            seed=seed,
            save_dir=directory,
            backend=keras.backend.backend(),
        )
        agent.fit(verbose=0)
        mean = agent.evaluate(50, seed=seed).mean
    text = f"a probe of two actions: mean return {mean:.2f} of 1 after training"
    if mean < 0.9:
        fix = "See that logits depend on the observation, and that nothing is normalised away."
        return fault("learning", text, fix)
    return ok("learning", text)


def checks(config: Config, environment: Environment, seed: int) -> Iterator[tuple[str, Any]]:
    """The checks of a model by name, each to be called without arguments."""
    subject = Subject(config, environment, seed)
    for name, look in (
        ("model", shapes),
        ("saving", saving),
        ("losses", losses),
        ("gradients", gradient_flow),
        ("entropy", entropy_sign),
        ("exploration", first_policy),
    ):
        yield name, functools.partial(look, subject)
    yield "learning", functools.partial(learns, config, seed)
