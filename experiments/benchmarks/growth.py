"""How cost grows with what a user can turn: fitted exponents, and a page on long runs made from them."""

from __future__ import annotations

import itertools
import resource
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dreamjax.config import Config, EnvConfig, ReplayConfig, from_dict, merge
from dreamjax.config.presets import size
from dreamjax.training.runtime import memory
from experiments.benchmarks.measuring import Row, exponent, row, timed
from experiments.benchmarks.parallel import updates_on
from experiments.benchmarks.update import reference_spec, update_gflop

BATCHES, WINDOWS, HORIZONS = (8, 16, 32), (32, 64, 128), (5, 15, 45)
BETWEEN = dict(deter=1024, hidden=128, classes=8, units=128)  # half of 12m in every width
ENVIRONMENTS, DEVICES, STORED = (16, 64, 256), (1, 2, 4), (10_000, 100_000, 1_000_000)


def measure_growth(repeats: int) -> list[Row]:
    """Rows of the benchmark: for each axis the exponent of its cost, with the points (``points``: size, seconds)."""
    few = max(1, min(repeats, 3))
    return [*_updates(few), *_environments(5 * repeats), *_replay(5 * repeats), _devices(few)]


def _fitted(name: str, points: Sequence[tuple[float, float]], **more: Any) -> Row:
    """The exponent over all points; its spread is that between neighbors."""
    points = sorted(points)
    local = [exponent(*zip(*pair, strict=True)) for pair in itertools.pairwise(points)]
    fitted = row(name, local, "exponent", points=points, **more)
    return {**fitted, "value": exponent(*zip(*points, strict=True))}


def _updates(repeats: int) -> list[Row]:
    """The update by batch, window, horizon and size; programs are compiled two at a time, then run alone."""
    import jax

    from dreamjax.agents.agent import dummy_batch, make_agent

    base = from_dict(merge(size("1m")))
    between = merge(
        size("1m"), {"model": BETWEEN, "actor": {"units": BETWEEN["units"]}, "critic": {"units": BETWEEN["units"]}}
    )
    cases: dict[tuple[str, int], Config] = {("", 0): base, ("size", 2): from_dict(between)}
    cases[("size", 12)] = from_dict(merge(size("12m")))
    for axis, field, values in (
        ("batch", "batch_size", BATCHES),
        ("window", "batch_length", WINDOWS),
        ("horizon", "horizon", HORIZONS),
    ):
        for value in values:
            if value != getattr(base, field):
                cases[axis, value] = from_dict(merge(size("1m"), {field: value}))

    spec = reference_spec()
    with ThreadPoolExecutor(2) as pool:
        compiled = {}
        for name, config in cases.items():
            agent = make_agent(config, spec)
            shapes = jax.eval_shape(agent.init, jax.random.key(0))
            batch = dummy_batch(spec, config.batch_size, config.batch_length)
            lowered = jax.jit(agent.update, donate_argnums=0).lower(shapes, batch)
            compiled[name] = shapes, batch, pool.submit(_compiled, lowered)

    found: dict[tuple[str, int], tuple[float, int, float]] = {}
    for name, (shapes, batch, program) in compiled.items():
        update = program.result()
        # Small parameters, none of them zero: the time of an update does not depend on their values.
        state = jax.tree.map(_fresh, shapes)

        def call(update: Any = update, batch: Any = batch) -> Any:
            nonlocal state
            state, metrics, _ = update(state, batch)
            return metrics

        seconds = statistics.median(timed(call, repeats))
        parameters = sum(x.size for x in jax.tree.leaves(shapes.params))
        stats = update.memory_analysis()
        found[name] = seconds, parameters, (0 if stats is None else stats.temp_size_in_bytes) / 2**20
    seconds, parameters, megabytes = found["", 0]
    rows = []
    for axis, middle in (("batch", base.batch_size), ("window", base.batch_length), ("horizon", base.horizon)):
        mine = {value: figures for (name, value), figures in found.items() if name == axis} | {middle: found["", 0]}
        rows.append(_fitted(f"update by {axis}", [(value, figures[0]) for value, figures in mine.items()]))
        rows.append(_fitted(f"its activations by {axis}", [(value, figures[2]) for value, figures in mine.items()]))
    sizes = [figures for (name, _), figures in found.items() if name in ("", "size")]
    rows.append(_fitted("update by parameters", [(count, seconds) for seconds, count, _ in sizes]))
    rows.append(_fitted("its activations by parameters", [(count, size) for _, count, size in sizes]))
    more = {"parameters": parameters, "gflop": update_gflop(base, 200, 8), "activations_MiB": megabytes}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows.append(row("update 1m, 16x64, horizon 15", [seconds], "s", **more, peak_GiB=peak))
    return rows


def _compiled(lowered: Any) -> Any:
    program = lowered.compile()
    memory.trim()
    return program


def _fresh(x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    return jnp.full(x.shape, 0.01, x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else jnp.zeros(x.shape, x.dtype)


def _environments(repeats: int) -> list[Row]:
    """One step of all Tetris environments, their records stored, and the policy for them."""
    import jax
    import numpy as np

    from dreamjax.agents.agent import make_agent
    from dreamjax.buffers.samplers import make_sampler
    from dreamjax.buffers.sequence_buffer import SequenceBuffer
    from dreamjax.envs.make import make_env
    from dreamjax.training.collection.collector import Collector, make_policy
    from dreamjax.training.runtime import devices

    config = from_dict(merge(size("1m")))
    points: list[tuple[float, float]] = []
    params: Any = None
    for count in ENVIRONMENTS:
        env = make_env(EnvConfig(action_mode="direct"), count, seed=0)
        agent = make_agent(config, env.spec)
        params = devices.jit_once(agent.init)(jax.random.key(0)).params if params is None else params
        sampler = make_sampler(ReplayConfig(), num_envs=count)
        buffer = SequenceBuffer(env.spec, capacity=100_000, num_envs=count, sampler=sampler, seed=0)
        collector = Collector(make_policy(agent.policy, agent.initial_carry), env, buffer, num_envs=count, seed=0)
        collector.start()

        def step(collector: Collector = collector, params: Any = params) -> Any:
            collector.begin(params)
            collector.finish()
            return np.zeros(())

        points.append((count, statistics.median(timed(step, repeats))))
        env.close()
    return [_fitted("a step of all environments, by their number", points)]


def _replay(repeats: int) -> list[Row]:
    """Drawing 16 x 64 steps, by how many are stored."""
    import numpy as np

    from dreamjax.buffers.samplers import make_sampler
    from dreamjax.buffers.sequence_buffer import SequenceBuffer
    from dreamjax.envs.make import make_env

    rows, num_envs = [], 64
    env = make_env(EnvConfig(action_mode="direct"), num_envs, seed=0)
    records = env.reset(0)
    action = np.zeros((num_envs, env.spec.action.record_size), env.spec.action.record_dtype)
    for kind in ("uniform", "prioritized"):
        points = []
        for capacity in STORED:
            replay = ReplayConfig(capacity=capacity, sampler=kind)  # type: ignore[arg-type]
            buffer = SequenceBuffer(
                env.spec, capacity=capacity, num_envs=num_envs, sampler=make_sampler(replay, num_envs=num_envs), seed=0
            )
            for _ in range(capacity // num_envs):
                buffer.add(records, action)
            points.append((capacity, statistics.median(timed(lambda: buffer.sample(16, 64)[0].reward, repeats))))  # noqa: B023
            stored = buffer.nbytes / capacity
        rows.append(_fitted(f"drawing a batch, by steps stored, {kind}", points, bytes_a_step=stored))
    env.close()
    return rows


def _devices(repeats: int) -> Row:
    cpu = updates_on("1m", DEVICES, repeats)["cpu"]
    points = [(count, statistics.median(cpu[f"pmap {count}"])) for count in DEVICES]
    return _fitted("CPU time of an update of one batch, by devices", points)
