"""How fast DreamJAX is on this machine: each figure is a median with its spread, after a warm-up.

    python -m experiments.benchmark [update|env|replay|policy|startup|all] [--json=FILE]
                                    [--size=1m] [--config=FILE[:variant]]
    python -m experiments.benchmark update --peer=sheeprl

The update is measured at DreamerV3's size ``--size`` (vector of 200, eight actions, 16 x 64, horizon 15), or, with
``--config``, at a configuration's own sizes and environment, beside the machine's rate of matrix products in the same
process, so that figures of different machines can be compared. ``--peer=sheeprl`` takes turns with sheeprl's update of
the same sizes, installed on the first use into an environment of its own under ``build/``. ``startup`` runs the training
command on CartPole at ``--size``, twice.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dreamjax.config import Config, from_dict, merge
from dreamjax.presets import size
from dreamjax.training.workdir import UsageError
from experiments import cli

SUBJECTS = ("update", "env", "replay", "policy", "startup")
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser(__doc__ or "")
    parser.add_argument("subject", nargs="?", choices=(*SUBJECTS, "all"), default="all", help="(default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--size", default="1m", help="DreamerV3's size of the update (default: 1m)")
    parser.add_argument("--config", metavar="FILE[:variant]", help="measure this configuration's update and policy")
    parser.add_argument("--peer", choices=("sheeprl",), help="measure the update in turns with this project's")
    parser.add_argument("--repeats", type=int, default=10, help="repetitions of each measurement (default: 10)")
    known = parser.parse_args(arguments)
    if known.repeats < 1:
        raise UsageError(f"--repeats={known.repeats} is not allowed: must be 1 or more")
    if known.peer and known.config:
        raise UsageError("--peer measures DreamerV3's sizes: give --size, not --config")
    config = cli.load_config(known.config, {}) if known.config else from_dict(merge(size(known.size)))
    cli.cache_compilations()
    subjects = SUBJECTS if known.subject == "all" else (known.subject,)
    rows: list[Row] = []
    for subject in subjects:
        if subject == "update":
            from experiments.benchmark_update import measure_update

            measured = measure_update(config, _spec(config, bool(known.config)), known.repeats, known.peer, known.size)
        elif subject == "startup":
            from experiments.benchmark_startup import measure_startup

            measured = measure_startup(known.size)
        else:
            measured = _measure(subject, config, bool(known.config), known.repeats)
        for row in measured:
            rows.append({"subject": subject, **row})
            print(_line(rows[-1]), flush=True)
    if known.json:
        machine = {"cpus": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}
        known.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    return cli.OK


def _line(row: Row) -> str:
    labels = {"subject", "name", "value", "unit", "least", "greatest"}
    more = "  ".join(f"{key} {value:,.4g}" for key, value in row.items() if key not in labels)
    value = f"{row['value']:>12,.4g} {row['unit']:<10} ({row['least']:,.4g} .. {row['greatest']:,.4g})"
    return f"{row['subject']:<8} {row['name']:<40} {value}  {more}"


def timed(fn: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of each of ``repeats`` calls after two that do not count; results are waited for."""
    import jax

    for _ in range(2):
        jax.block_until_ready(fn())
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(fn())
        times.append(time.perf_counter() - began)
    return times


def _row(name: str, values: Sequence[float], unit: str, **more: float) -> Row:
    spread = {"value": statistics.median(values), "least": min(values), "greatest": max(values)}
    return {"name": name, "unit": unit, **spread, **more}


def _measure(subject: str, config: Config, own_env: bool, repeats: int) -> list[Row]:
    if subject == "env":
        from experiments.benchmark_env import measure_env

        return [
            {
                "name": f"{row['name']} x{row['num_envs']}",
                "unit": "steps/s",
                "value": row["steps_per_s"],
                "least": row["least"],
                "greatest": row["greatest"],
            }
            for row in measure_env(repeats=min(repeats, 7))
        ]
    return {"replay": _replay, "policy": _policy}[subject](config, own_env, repeats)


def _spec(config: Config, own_env: bool) -> Any:
    from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec

    if own_env:
        from dreamjax.envs.adapter import make_env

        env = make_env(config.env, 1, seed=0)
        env.close()
        return env.spec
    action = ActionSpec((ActionPart("categorical", 8),))
    return EnvSpec({"observation": ObsSpec("vector", (200,), "float32")}, action)


def _policy(config: Config, own_env: bool, repeats: int) -> list[Row]:
    """Acting for several environments at once."""
    import jax
    import jax.numpy as jnp

    from dreamjax.agents.dream_agent import make_agent

    spec = _spec(config, own_env)
    agent = make_agent(config, spec)
    params = jax.jit(agent.init)(jax.random.key(0)).params
    policy = jax.jit(agent.policy, static_argnames="greedy")
    rows = []
    for num_envs in (1, 16, 64):
        obs = {name: jnp.zeros((num_envs, *entry.shape), entry.dtype) for name, entry in spec.obs.items()}
        inputs = (agent.initial_carry(num_envs), obs, jnp.zeros(num_envs, bool))
        keys = jax.random.split(jax.random.key(0), num_envs)
        times = timed(lambda: policy(params, *inputs, keys, greedy=False)[1], 5 * repeats)  # noqa: B023
        rows.append(_row(f"policy for {num_envs} environments", [1e3 * x for x in times], "ms"))
    return rows


def _replay(config: Config, own_env: bool, repeats: int) -> list[Row]:
    """Adding to and sampling from a replay of Tetris."""
    import numpy as np

    from dreamjax.buffers.samplers import make_sampler
    from dreamjax.buffers.sequence_buffer import SequenceBuffer
    from dreamjax.config import EnvConfig, ReplayConfig
    from dreamjax.envs.adapter import make_env

    num_envs = 16
    rows = []
    for mode in ("direct", "locked_position"):
        env = make_env(EnvConfig(action_mode=mode), num_envs, seed=0)
        for sampler in ("uniform", "prioritised"):
            replay = ReplayConfig(sampler=sampler)  # type: ignore[arg-type]
            buffer = SequenceBuffer(
                env.spec,
                capacity=100_000,
                num_envs=num_envs,
                sampler=make_sampler(replay, num_envs=num_envs),
                seed=0,
            )
            records = env.reset(0)
            action = np.zeros((num_envs, env.spec.action.record_size), env.spec.action.record_dtype)
            adding = timed(lambda: buffer.add(records, action), 200)  # noqa: B023
            for _ in range(1000):
                buffer.add(records, action)
            sampling = timed(lambda: buffer.sample(16, 64)[0].reward, 10 * repeats)  # noqa: B023
            label = f"{mode}, {sampler}"
            rows.append(_row(f"add 16 records, {label}", [1e3 * x for x in adding], "ms"))
            rows.append(_row(f"sample 16x64, {label}", [1e3 * x for x in sampling], "ms"))
        rows.append(_row(f"bytes a step, {mode}", [buffer.nbytes / 100_000], "bytes"))
        env.close()
    return rows


if __name__ == "__main__":
    sys.exit(main())
