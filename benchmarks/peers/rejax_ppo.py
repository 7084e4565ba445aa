"""rejax PPO on CartPole-v1 with the settings of its own `configs/gymnax/cartpole.yaml`, all compiled.

rejax returns evaluations, not training episodes, so it is judged by its own evaluation: 128 episodes of the
present agent after every 1,000 steps, as in its settings. That favours it: a single good agent is enough,
whereas the others must have trained 100 episodes at the goal. Training and evaluation are one compiled loop
that ends at the goal, which is faster than its `train`, whose length is fixed beforehand, and costs one
compilation of the evaluation less. Steps per second are those of training alone, without evaluations or
compiling, measured afterwards.
"""

# The packages are those of another environment.
# pyright: reportMissingImports=false

import time

import process_clock

SETTINGS = dict(
    env="CartPole-v1",
    agent_kwargs={"activation": "tanh"},
    num_envs=5,
    num_steps=100,
    num_epochs=5,
    num_minibatches=5,
    learning_rate=0.00075,
    max_grad_norm=0.5,
    gamma=0.99,
    gae_lambda=0.95,
    clip_eps=0.2,
    ent_coef=0.01,
    vf_coef=0.5,
)
ITERATION = 500  # num_envs × num_steps
EVERY = 2  # iterations between evaluations: eval_freq 1000


def main() -> None:
    """Train until the goal."""
    given = process_clock.arguments(__doc__)
    import jax
    import rejax

    algorithm = rejax.PPO.create(**SETTINGS)

    def iterations(state, count):
        return jax.lax.fori_loop(0, count, lambda _, s: algorithm.train_iteration(s), state)

    def until_goal(key):
        def going_on(carried):
            _, mean, rounds = carried
            return (mean < given.goal) & (rounds * EVERY * ITERATION < given.max_steps)

        def one_round(carried):
            state = iterations(carried[0], EVERY)
            _, returns = algorithm.eval_callback(algorithm, state, state.rng)
            return state, returns.mean(), carried[2] + 1

        return jax.lax.while_loop(going_on, one_round, (algorithm.init_state(key), 0.0, 0))

    key = jax.random.PRNGKey(given.seed)
    compiled = jax.jit(until_goal).lower(key).compile()
    began = time.perf_counter()
    state, mean, rounds = jax.block_until_ready(compiled(key))
    took, age = time.perf_counter() - began, process_clock.seconds_since_start()

    alone = jax.jit(lambda s: iterations(s, 100)).lower(state).compile()
    began = time.perf_counter()
    jax.block_until_ready(alone(state))
    speed = 100 * ITERATION / (time.perf_counter() - began)
    solved = age if mean >= given.goal else None
    process_clock.report(solved, int(rounds) * EVERY * ITERATION, took, speed)


if __name__ == "__main__":
    main()
