"""How fast DreamJAX is on this machine: each figure is a median with its spread, after a warm-up.

    python -m experiments.benchmark [update|env|replay|policy|startup|loop|parallel|growth|all] [--json=FILE]
                                    [--size=1m] [--config=FILE[:variant]]
    python -m experiments.benchmark update --peer=sheeprl
    python -m experiments.benchmark update --sizes=reference
    python -m experiments.benchmark growth --page=experiments/SCALING.md

The update is measured at DreamerV3's size ``--size`` (vector of 200, eight actions, 16 x 64, horizon 15), or, with
``--config``, at a configuration's own sizes and environment, with the machine's rate of matrix products in the same
process, so that figures of different machines can be compared. ``--peer=sheeprl`` takes turns with sheeprl's update of
the same sizes, installed on the first use into an environment of its own under ``build/``. ``startup`` runs the training
command on CartPole at ``--size``, twice. ``calls`` acts on Tetris without updates by several values of
``schedule.steps_per_call`` in turns, and updates by several of ``schedule.updates_per_call``. ``loop`` trains on Tetris (or
what ``--config`` says) and holds the updates alone against the whole loop; ``parallel`` compares ``jit``, ``pmap`` on one
device and ``pmap`` on two virtual ones; ``growth``
fits exponents of cost to batch, window, horizon, sizes, environments, stored steps and devices. ``--sizes=reference``
measures the update at the sizes that other Dreamers were measured at: ``REFERENCE`` of ``benchmarks/update.py``.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dreamjax.commands import cli
from dreamjax.config import Config, from_dict, merge
from dreamjax.config.presets import size
from dreamjax.training.runtime import compile_cache
from dreamjax.training.storage.workdir import UsageError
from experiments.benchmarks.growth_page import page
from experiments.benchmarks.measuring import Row, row, timed

SUBJECTS = ("update", "env", "replay", "policy", "startup", "calls", "loop", "parallel", "growth")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("python -m experiments.benchmark", __doc__)
    parser.add_argument("subject", nargs="?", choices=(*SUBJECTS, "all"), default="all", help="(default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--size", default="1m", help="DreamerV3's size of the update (default: 1m)")
    parser.add_argument("--sizes", choices=("reference",), help="measure the update at every size of that table")
    parser.add_argument(
        "--config", metavar="FILE[:variant]", help="measure this configuration's update, policy, calls and loop"
    )
    parser.add_argument("--peer", choices=("sheeprl",), help="measure the update in turns with this project's")
    parser.add_argument("--repeats", type=int, default=10, help="repetitions of each measurement (default: 10)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write what growth finds as a page")
    known = parser.parse_args(arguments)
    if known.repeats < 1:
        raise UsageError(f"--repeats={known.repeats} is not allowed: must be 1 or more")
    if known.config and (known.peer or known.sizes):
        raise UsageError("--peer and --sizes measure DreamerV3's sizes: give --size, not --config")
    if known.sizes and known.subject != "update":
        raise UsageError("--sizes belongs to update")
    if known.page and known.subject != "growth":
        raise UsageError("--page belongs to growth")
    config = cli.load_config(known.config, {}) if known.config else from_dict(merge(size(known.size)))
    compile_cache.enable()
    subjects = SUBJECTS if known.subject == "all" else (known.subject,)
    before = os.getloadavg()[0]
    rows: list[Row] = []
    for subject in subjects:
        for measured in _measured(subject, config, known):
            rows.append({"subject": subject, **measured})
            print(_line(rows[-1]), flush=True)
    machine = {**_machine(), "load_before": before, "load_after": os.getloadavg()[0]}
    command = " ".join(["python -m experiments.benchmark", *(sys.argv[1:] if arguments is None else arguments)])
    if known.json:
        known.json.write_text(json.dumps({"command": command, "machine": machine, "rows": rows}, indent=1) + "\n")
    if known.page:
        known.page.write_text(page(rows, machine, command))
    return cli.OK


def _machine() -> Row:
    """What the figures depend on, apart from the code."""
    import jax

    cpu = ""
    if Path("/proc/cpuinfo").exists():
        names = [text for text in Path("/proc/cpuinfo").read_text().splitlines() if text.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else ""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "model": cpu or platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def _line(entry: Row) -> str:
    labels = {"subject", "name", "value", "unit", "least", "greatest", "points"}
    more = "  ".join(f"{key} {value:,.4g}" for key, value in entry.items() if key not in labels)
    points = "  ".join(f"{x:,.0f}: {y:.4g}" for x, y in entry.get("points", ()))
    value = f"{entry['value']:>12,.4g} {entry['unit']:<10} ({entry['least']:,.4g} .. {entry['greatest']:,.4g})"
    return "  ".join(filter(None, (f"{entry['subject']:<8} {entry['name']:<46} {value}", more, points)))


def _measured(subject: str, config: Config, known: Any) -> Iterator[Row]:
    """Rows of one subject, as they come; what a subject needs is imported only for it."""
    if subject == "update":
        from experiments.benchmarks import update

        if not known.sizes:
            yield from update.measure_update(
                config, _spec(config, bool(known.config)), known.repeats, known.peer, known.size
            )
            return
        for name in update.REFERENCE:
            yield from update.measure_reference(name, known.repeats, known.peer)
    elif subject == "startup":
        from experiments.benchmarks.startup import measure_startup

        yield from measure_startup(known.size)
    elif subject == "loop":
        from experiments.benchmarks.loop import measure_loop

        yield from measure_loop(config if known.config else loop_config(known.size), known.repeats)
    elif subject == "calls":
        from experiments.benchmarks.calls import measure_collecting, measure_updates

        chosen = config if known.config else loop_config(known.size)
        yield from measure_collecting(chosen, known.repeats)
        yield from measure_updates(chosen, known.repeats)
    elif subject == "parallel":
        from experiments.benchmarks.parallel import measure_parallel

        yield from measure_parallel(known.size, known.repeats)
    elif subject == "growth":
        from experiments.benchmarks.growth import measure_growth

        yield from measure_growth(known.repeats)
    else:
        yield from _measure(subject, config, bool(known.config), known.repeats)


def loop_config(name: str) -> Config:
    """Tetris with buttons at DreamerV3's size: train ratio 64, as many environments as the default has."""
    return from_dict(merge(size(name), {"env": {"action_mode": "direct"}, "train_ratio": 64.0}))


def _measure(subject: str, config: Config, own_env: bool, repeats: int) -> list[Row]:
    if subject == "env":
        from experiments.benchmarks.environments import measure_env

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
    if own_env:
        from dreamjax.envs.make import make_env

        env = make_env(config.env, 1, seed=0)
        env.close()
        return env.spec
    from experiments.benchmarks.update import reference_spec

    return reference_spec()


def _policy(config: Config, own_env: bool, repeats: int) -> list[Row]:
    """Acting for several environments at once."""
    import jax
    import jax.numpy as jnp

    from dreamjax.agents.agent import make_agent

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
        rows.append(row(f"policy for {num_envs} environments", [1e3 * x for x in times], "ms"))
    return rows


def _replay(config: Config, own_env: bool, repeats: int) -> list[Row]:
    """Adding to and sampling from a replay of Tetris."""
    import numpy as np

    from dreamjax.buffers.samplers import make_sampler
    from dreamjax.buffers.sequence_buffer import SequenceBuffer
    from dreamjax.config import EnvConfig, ReplayConfig
    from dreamjax.envs.make import make_env

    num_envs = 16
    rows = []
    for mode in ("direct", "locked_position"):
        env = make_env(EnvConfig(action_mode=mode), num_envs, seed=0)
        for sampler in ("uniform", "prioritized"):
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
            rows.append(row(f"add 16 records, {label}", [1e3 * x for x in adding], "ms"))
            rows.append(row(f"sample 16x64, {label}", [1e3 * x for x in sampling], "ms"))
        rows.append(row(f"bytes a step, {mode}", [buffer.nbytes / 100_000], "bytes"))
        env.close()
    return rows
