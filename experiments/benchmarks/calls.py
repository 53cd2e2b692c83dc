"""Several steps, and several updates, in one compiled call, in turns with single ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from dreamjax.config import Config
from experiments.benchmarks.measuring import Row, in_turns, row

STEPS_IN_CALL = (1, 8, 32)  # of all environments
STEPS = 64  # of all environments in each turn
UPDATES_IN_CALL = (1, 4, 8)
UPDATES = 8  # in each turn


def measure_collecting(config: Config, repeats: int) -> list[Row]:
    """Rows of the benchmark: environment steps a second of the configuration's policy on Tetris into its replay.

    Everything that collecting costs is in it (acting, the engine, records, replay); the parameters are fresh ones.
    """
    import jax

    from dreamjax.agents.agent import make_agent
    from dreamjax.envs.make import make_env
    from dreamjax.training.collection.collector import Collector, make_policy
    from dreamjax.training.collection.compiled_collector import CompiledSteps
    from dreamjax.training.storage import recording

    num_envs = config.num_envs
    spec = make_env(config.env, 1, seed=0).spec
    agent = make_agent(config, spec)
    params = jax.jit(lambda key: agent.init(key).params)(jax.random.key(0))
    policy = make_policy(agent.policy, agent.initial_carry)

    def collecting(in_call: int) -> Callable[[], None]:
        env = make_env(config.env, num_envs, seed=config.seed)
        replay = recording.make_replay(config.replay, spec, num_envs=num_envs, seed=0, latents=None)
        steps = CompiledSteps(policy, env, num_steps=in_call, counted=num_envs) if in_call > 1 else None
        collector = Collector(policy, env, replay, num_envs=num_envs, seed=config.seed, steps=steps)
        collector.start()

        def turn() -> None:
            for _ in range(STEPS // in_call):
                collector.begin(params)
                collector.finish()

        return turn

    wall, cpu = in_turns({f"{in_call} in a call": collecting(in_call) for in_call in STEPS_IN_CALL}, repeats)
    count = STEPS * num_envs
    return [
        row(
            f"collecting alone, x{num_envs}, {name}",
            [count / seconds for seconds in taken],
            "steps/s",
            cpu_ms_a_step=1e3 * min(cpu[name]) / STEPS,
        )
        for name, taken in wall.items()
    ]


def measure_updates(config: Config, repeats: int) -> list[Row]:
    """Rows of the benchmark: seconds of one update and of drawing its batch, which may overlap with the update before."""
    import jax

    from dreamjax.agents.agent import make_agent
    from dreamjax.algorithms.update import TASK
    from dreamjax.envs.make import make_env
    from dreamjax.training.schedule import Pending
    from dreamjax.training.storage import recording
    from dreamjax.training.updates import Updates

    env = make_env(config.env, config.num_envs, seed=config.seed)
    agent = make_agent(config, env.spec)
    replay = recording.make_replay(config.replay, env.spec, num_envs=config.num_envs, seed=0, latents=None)
    records = env.reset(config.seed)
    for _ in range(2 * config.batch_length):
        action = env.actions.encode(env.env.action_space.sample(), config.num_envs)
        replay.add(records, action)
        _, records = env.step(action)
    init = jax.jit(agent.init)

    def updating(in_call: int) -> Callable[[], None]:
        schedule = dataclasses.replace(config.schedule, updates_per_call=in_call)
        updates = Updates(agent, dataclasses.replace(config, schedule=schedule), [TASK], 1)
        state = init(jax.random.key(0))
        call = Pending(TASK, in_call, config.batch_size)

        def turn() -> None:
            nonlocal state
            for _ in range(UPDATES // in_call):
                batches = [replay.sample(config.batch_size, config.batch_length)[0] for _ in range(in_call)]
                state, _, _ = updates(call, state, batches)
            jax.block_until_ready(state.step)

        return turn

    wall, cpu = in_turns({f"{in_call} in a call": updating(in_call) for in_call in UPDATES_IN_CALL}, repeats)
    return [
        row(f"update, {name}", [x / UPDATES for x in taken], "s", cpu_s_an_update=min(cpu[name]) / UPDATES)
        for name, taken in wall.items()
    ]
