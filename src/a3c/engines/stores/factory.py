"""Making the store that a run needs, for each engine."""

import math
from types import ModuleType

from a3c.engines.spec import WorkerSpec
from a3c.engines.stores import Limits, StoreState
from a3c.engines.stores.central import Batching, CentralStore
from a3c.engines.stores.local import LocalStore
from a3c.engines.stores.shared import SharedStore
from a3c.engines.stores.shared_submissions import SharedSubmissions
from a3c.engines.stores.submissions import LocalSubmissions, SubmissionQueue
from a3c.engines.updates import make_update, warm_up
from a3c.networks.functional import Network


def make_local_store(
    spec: WorkerSpec, framework: ModuleType, network: Network, contents: StoreState
) -> LocalStore:
    """A store for workers in this process, its update compiled."""
    update, _ = make_update(spec, framework, network)
    warm_up(spec, update, contents.weights, contents.optimizer)
    return LocalStore(
        contents=contents,
        update=update,
        workers=spec.workers,
        limits=_limits(spec),
        locking=spec.config.locking,
        target_steps=spec.target_steps,
        statistics=spec.normaliser.size,
    )


def make_thread_store(
    spec: WorkerSpec, framework: ModuleType, network: Network, contents: StoreState
) -> LocalStore | CentralStore:
    """A store for threads of this process, compiled."""
    if spec.algorithm.gathers is None:
        return make_local_store(spec, framework, network, contents)
    store = _central_store(spec, network, contents, LocalSubmissions(spec.workers))
    prepare_learner(spec, framework, network, store)
    return store


def make_shared_store(spec: WorkerSpec, network: Network, contents: StoreState) -> SharedStore | CentralStore:
    """A store for worker processes. With a central learner, call `prepare_learner` when they have started."""
    largest = spec.config.t_max * spec.copies
    if spec.algorithm.gathers is None:
        return SharedStore(
            contents=contents,
            workers=spec.workers,
            figures=spec.algorithm.figure_names,
            limits=_limits(spec),
            locking=spec.config.locking,
            largest=largest,
            target_steps=spec.target_steps,
            statistics=spec.normaliser.size,
            lends_optimizer=spec.algorithm.local_steps,
        )
    rollouts = spec.algorithm.gathers == "rollouts"
    submission_queue = SharedSubmissions(
        workers=spec.workers,
        room=batching(spec).room,
        size=contents.weights.size,
        content=spec.shapes(network).blank() if rollouts else contents.weights,
        figures=() if rollouts else spec.algorithm.figure_names,
        largest=largest,
    )
    return _central_store(spec, network, contents, submission_queue)


def prepare_learner(spec: WorkerSpec, framework: ModuleType, network: Network, store: CentralStore) -> None:
    """Compile what the central learner does."""
    config, learn = spec.config, None
    update, _ = make_update(spec, framework, network)
    if spec.algorithm.gathers == "rollouts":
        loss = spec.algorithm.make_loss(config, spec.environment.actions)
        learn = framework.compile_gradients(network, loss, config.global_clipnorm, config.eager)
    store.prepare(update, learn, spec.shapes(network).blank())


def batching(spec: WorkerSpec) -> Batching:
    """Which submissions make an update of the central learner."""
    if spec.algorithm.gathers == "gradients":
        return Batching(in_step=True, size=spec.workers, room=1)
    size = spec.config.rollouts_per_update or spec.workers
    queue = max(size, spec.config.queue_rollouts or 2 * size)
    return Batching(in_step=False, size=size, room=-(-queue // spec.workers))


def _central_store(
    spec: WorkerSpec, network: Network, contents: StoreState, submission_queue: SubmissionQueue
) -> CentralStore:
    return CentralStore(
        contents=contents,
        batching=batching(spec),
        submission_queue=submission_queue,
        limits=_limits(spec),
        normaliser=spec.normaliser,
        global_clipnorm=spec.config.global_clipnorm,
        towers=network.towers,
    )


def _limits(spec: WorkerSpec) -> Limits:
    return Limits(spec.config.max_steps or math.inf, spec.config.max_episodes or math.inf)
