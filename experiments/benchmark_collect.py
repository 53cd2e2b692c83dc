"""How fast a run collects when it learns nothing: step by step, and several steps in one compiled call, in turns."""

from __future__ import annotations

from collections.abc import Callable

from dreamjax.config import Config
from experiments.measuring import Row, in_turns, row

IN_CALL = (1, 8, 32)  # steps of all environments in one call
STEPS = 64  # of all environments in each turn


def measure_collecting(config: Config, repeats: int) -> list[Row]:
    """Rows of the benchmark: environment steps a second of the configuration's policy on Tetris into its replay.

    Everything that collecting costs is in it (acting, the engine, records, replay); the parameters are fresh ones.
    """
    import jax

    from dreamjax.agents.dream_agent import make_agent
    from dreamjax.envs.adapter import make_env
    from dreamjax.training import recording
    from dreamjax.training.collector import Collector, make_policy
    from dreamjax.training.compiled_collector import CompiledSteps

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

    wall, cpu = in_turns({f"{in_call} in a call": collecting(in_call) for in_call in IN_CALL}, repeats)
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
