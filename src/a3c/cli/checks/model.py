"""What `a3c doctor` asks of a network: does it fit, do its losses make sense, does every weight learn?"""

import contextlib
import dataclasses
import functools
import math
import tempfile
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from a3c import algorithms, backend, envs
from a3c.agent import Agent
from a3c.cli.checks import Check, Checks, fault, ok, warning
from a3c.cli.checks.sampler import make_sampler
from a3c.config import Config
from a3c.envs import Environment
from a3c.errors import RunError, UsageError
from a3c.networks.functional import Network
from a3c.networks.numpy_policy import make_policy
from a3c.networks.parameters import non_trainable_of, parameters_of
from a3c.networks.saved_model import SerializedModel
from a3c.spaces.distributions import Distribution
from a3c.spaces.distributions.categorical import Categorical, MultiCategorical
from a3c.spaces.distributions.gaussian import Gaussian
from a3c.training.resolve import make_model
from a3c.types import Outputs, Policy, Shapes, Snapshot, Transitions

_PROBE = "a3c.envs.probes:probe/ObservedChoice-v0"
_PROBE_STEPS = 20_000  # at most
_ROLLOUT = 20  # steps
_COPIES = 4
_STEP = 1e-2  # length of the step that must raise the entropy
_NOISE = 0.1  # moves a policy away from the uniform one, whose entropy cannot rise
_LEAST_NORM = 1e-7  # of the entropy's gradient
_LEAST_SHARE = 0.7  # of the largest entropy, for a policy that has not learned anything


class Subject:
    """A network and what is tried out on it.

    Args:
        config: With backend and seed decided; names the model, if it is one of the user's own.
        environment: What it acts in.
        seed: Of the rollout.
    """

    def __init__(self, config: Config, environment: Environment, seed: int):
        # As the network sees things itself, whatever is normalised before.
        config = dataclasses.replace(config, normalise_observations=False, normalise_returns=False)
        self.config, self.environment, self.seed = config, environment, seed
        self.framework = backend.load()
        self.model = make_model(config, environment)
        self.network = Network(self.model, non_trainable_of(self.model), environment.observations)
        self.weights = parameters_of(self.model)
        # Where a rollout is used several times, what it teaches at first is what it teaches a3c.
        name = config.algorithm if not algorithms.find(config.algorithm).reuses else "a3c"
        self.algorithm = algorithms.find(name)
        self.trivial = environment.actions.outputs == 1 and isinstance(environment.actions, Categorical)
        seen, actions, state = environment.observations, environment.actions, self.network.state_size
        self.shapes = Shapes.of(seen, actions, _ROLLOUT, _COPIES, state=state)

    @functools.cached_property
    def policy(self) -> Policy:
        """Its policy head, compiled once for all checks."""
        return make_policy(self.framework, self.network)

    @functools.cached_property
    def transitions(self) -> Transitions:
        """A rollout of the first policy; made up where the environment fails, which its own checks tell."""
        try:
            sampler = make_sampler(self.environment, self.shapes, self.policy, self.seed)
            with contextlib.closing(sampler):
                transitions = sampler.collect(Snapshot(self.weights, 0)).content
        except RunError:
            return _make_up(self.shapes, self.environment.actions, self.seed)
        assert isinstance(transitions, Transitions)
        return transitions

    @functools.cached_property
    def learned(self) -> tuple[np.ndarray, dict[str, float]]:
        """Gradient [P] and losses of the rollout."""
        loss = self.algorithm.make_loss(self.config, self.environment.actions)
        learn = self.framework.compile_gradients(self.network, loss, None)
        _, losses = learn(self.weights, self.transitions)
        # Rewards of many kinds, as they may come later: where all are 0, some gradients may rightly be.
        rewards = np.random.default_rng(self.seed).normal(size=self.transitions.rewards.shape)
        varied = self.transitions._replace(rewards=rewards.astype(np.float32))
        return np.array(learn(self.weights, varied)[0]), dict(losses)

    def parameters(self, weights: np.ndarray) -> np.ndarray:
        """What the policy says to the observations of the rollout, with an empty memory: [N, A]."""
        seen = self.transitions.observations
        seen = seen.reshape(-1, *seen.shape[2:])
        memory = np.zeros((len(seen), self.shapes.state), np.float32) if self.shapes.state else None
        return np.asarray(self.policy(weights)(seen, memory)[0], np.float64)


def _make_up(shapes: Shapes, actions: Distribution, seed: int) -> Transitions:
    """Transitions with random observations, actions and rewards."""
    generator, blank = np.random.default_rng(seed), shapes.blank()
    rows = blank.rewards.shape
    chosen = actions.choose(np.zeros((*rows, actions.outputs), np.float32), actions.uniform(generator, rows))
    return blank._replace(
        observations=generator.uniform(0, 2, blank.observations.shape).astype(blank.observations.dtype),
        actions=chosen.astype(blank.actions.dtype),
        rewards=generator.normal(size=blank.rewards.shape).astype(np.float32),
        valid=np.ones_like(blank.valid),
    )


def checks(subject: Subject) -> Checks:
    """The checks of a network that was made."""
    yield "model", functools.partial(shapes, subject)
    yield "saving", functools.partial(saving, subject)
    yield "losses", functools.partial(losses, subject)
    yield "gradients", functools.partial(gradient_flow, subject)
    yield "exploration", functools.partial(first_policy, subject)
    yield "entropy", functools.partial(entropy_sign, subject)
    yield "learning", functools.partial(learns, subject)


def shapes(subject: Subject) -> Check:
    """What it is; that it fits was checked when it was made."""
    count, name, outputs = subject.weights.size, type(subject.model).__name__, subject.shapes.outputs
    what = "means and variances" if isinstance(subject.environment.actions, Gaussian) else "logits"
    return ok(f"{name}, {count:,} trainable numbers: {what} [N, {outputs}], value [N, 1]")


def saving(subject: Subject) -> Check:
    """Whether it can be sent to workers and kept in a file."""
    SerializedModel.of(subject.model)
    return ok("Keras saves it and loads it again in safe mode")


def losses(subject: Subject) -> Check:
    """Whether they are numbers."""
    _, found = subject.learned
    text = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in found.items())
    if not all(map(math.isfinite, found.values())):
        fix = "Scale observations and rewards to about ±1; see that no layer divides by zero."
        return fault(text, fix)
    return ok(text)


def gradient_flow(subject: Subject) -> Check:
    """Whether every trainable weight is reached."""
    gradient, _ = subject.learned
    variables = subject.model.trainable_variables
    ends = np.cumsum([math.prod(v.shape) for v in variables])
    parts = list(zip((v.path for v in variables), np.split(gradient, ends[:-1]), strict=True))
    if broken := [path for path, part in parts if not np.isfinite(part).all()]:
        fix = "A square root, a logarithm or a division at 0 does that."
        return fault(f"not finite: {', '.join(broken)}", fix)
    if idle := [path for path, part in parts if not part.any()]:
        text = f"none reaches {', '.join(idle)}"
        if subject.trivial:
            return warning(text, "With one action, the policy has nothing to learn.")
        fix = "Use their layers in what is returned, without stop_gradient, or make them trainable=False."
        return fault(text, fix)
    return ok(f"reach all {len(parts)} weights")


def first_policy(subject: Subject) -> Check:
    """Whether exploration begins unbiased."""
    if subject.trivial:
        return ok("one action: there is nothing to explore")
    parameters, actions = subject.parameters(subject.weights), subject.environment.actions
    if isinstance(actions, Gaussian):
        return _first_deviations(parameters)
    share = _entropy(subject, parameters) / _entropy(subject, np.zeros_like(parameters))
    text = f"the first policy has {share:.0%} of the largest entropy"
    one_choice = isinstance(actions, Categorical)
    if one_choice and parameters.min() >= 0 and np.allclose(parameters.sum(-1), 1.0, atol=1e-4):
        fix = "Return logits: the last layer of the policy has no softmax."
        return warning(f"{text}; its logits look like probabilities", fix)
    if not share >= _LEAST_SHARE:
        fix = "Begin with small logits: a kernel initializer of small gain in the last layer, small inputs."
        return warning(text, fix)
    return ok(text)


def _first_deviations(parameters: np.ndarray) -> Check:
    """Whether continuous actions are tried out within about −1 to 1, which is the whole range."""
    means, raw = np.split(parameters, 2, -1)
    deviations = np.sqrt(np.logaddexp(raw, 0.0))
    text = f"first means within ±{np.abs(means).max():.2g}, standard deviations from {deviations.min():.2g} "
    text += f"to {deviations.max():.2g}; −1 to 1 is the whole range of bounded actions"
    if np.abs(means).max() > 1.0 or not 0.05 < deviations.min() <= deviations.max() < 5.0:
        fix = "Begin with small parameters: a kernel initializer of small gain in the last layer."
        return warning(text, fix)
    return ok(text)


def _entropy(subject: Subject, parameters: np.ndarray) -> float:
    """Mean entropy of the policies of `parameters`, [N, A]; of choices computed apart from the losses."""
    actions = subject.environment.actions
    if isinstance(actions, Categorical | MultiCategorical):
        sizes = actions.sizes if isinstance(actions, MultiCategorical) else (actions.size,)
        parts = np.split(parameters, np.cumsum(sizes)[:-1], -1)
        return sum(map(_softmax_entropy, parts))
    entropies = subject.environment.actions.entropy(ops.convert_to_tensor(parameters, "float32"))
    return float(np.mean(ops.convert_to_numpy(entropies), dtype=np.float64))


def _softmax_entropy(logits: np.ndarray) -> float:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    policy = weights / weights.sum(-1, keepdims=True)
    return float(-(policy * np.log(np.maximum(policy, 1e-300))).sum(-1).mean())


def entropy_sign(subject: Subject) -> Check:
    """Whether the entropy bonus makes the policy less certain."""
    if subject.trivial:
        return ok("one action: there is nothing to be uncertain of")
    noise = np.random.default_rng(subject.seed).normal(0.0, _NOISE, subject.weights.shape)
    weights = (subject.weights + noise).astype(np.float32)
    direction = _entropy_gradient(subject, weights)
    norm = float(np.linalg.norm(direction))
    if not norm > _LEAST_NORM:
        fix = "Begin with small logits; they must depend on weights that can be trained."
        return fault("its bonus has no gradient: the policy is certain of itself", fix)
    before = _entropy(subject, subject.parameters(weights))
    after = _entropy(subject, subject.parameters((weights - _STEP / norm * direction).astype(np.float32)))
    text = f"a step on its bonus takes it from {before:.5f} to {after:.5f}"
    if not after > before:
        return fault(text, "It must rise: return logits, not probabilities or their negatives.")
    return ok(text)


def _entropy_gradient(subject: Subject, weights: np.ndarray) -> np.ndarray:
    """The gradient [P] of the entropy bonus alone: of the loss without rewards and values."""
    config = dataclasses.replace(subject.config, entropy_coefficient=1.0)
    loss = subject.algorithm.make_loss(config, subject.environment.actions)

    def alone(outputs: Outputs, transitions: Transitions, target: None) -> tuple[Any, dict]:
        return loss(outputs._replace(values=ops.zeros_like(outputs.values)), transitions, target)

    unrewarded = subject.transitions._replace(rewards=np.zeros_like(subject.transitions.rewards))
    return subject.framework.compile_gradients(subject.network, alone, None)(weights, unrewarded)[0]


def learns(subject: Subject) -> Check:
    """Whether this kind of model learns the simplest thing: an action that fits what it sees."""
    try:
        with warnings.catch_warnings(action="ignore"):  # Keras' of a model that does not fit
            model = make_model(subject.config, envs.find(_PROBE))
    except UsageError as error:
        return ok(f"was not tried out: the probe observes one number ({error.received})")
    with tempfile.TemporaryDirectory() as directory:
        agent = Agent(
            _PROBE,
            preset="none",
            model=model,
            engine="serial",
            learning_rate=3e-3,
            max_steps=_PROBE_STEPS,
            evaluation_episodes=20,
            stop_return=0.95,
            seed=subject.seed,
            save_dir=directory,
            backend=keras.backend.backend(),
        )
        agent.fit(verbose=0)
        mean = agent.evaluate(50, seed=subject.seed).mean
    text = f"a probe of two actions: mean return {mean:.2f} of 1 after training"
    if not mean > 0.9:
        fix = "See that logits depend on the observation, and that nothing is normalised away."
        return fault(text, fix)
    return ok(text)
