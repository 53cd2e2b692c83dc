"""What several devices cost: the update by ``jit`` and by ``pmap`` on one device, and split over virtual ones.

    python -m experiments.benchmarks.parallel SIZE REPEATS DEVICES...

is the process that measures, with as many virtual devices of this machine's CPU as asked for; ``benchmark`` starts it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dreamjax.config import from_dict, merge
from dreamjax.config.presets import size as size_of
from dreamjax.training.storage.workdir import UsageError
from experiments.benchmarks.measuring import Row, in_turns, row

Figures = dict[str, dict[str, list[float]]]  # "wall" or "cpu": seconds of each update, by program


def measure_parallel(size: str, repeats: int) -> list[Row]:
    """Rows of the benchmark: ``pmap`` over ``jit`` on one device, and two virtual devices over one."""
    figures = updates_on(size, (1, 2), repeats)
    wall, cpu = figures["wall"], figures["cpu"]
    over_jit = [100 * (b / a - 1) for a, b in zip(wall["jit"], wall["pmap 1"], strict=True)]
    of_medians = 100 * (statistics.median(wall["pmap 1"]) / statistics.median(wall["jit"]) - 1)
    over_one = [100 * (b / a - 1) for a, b in zip(cpu["jit"], cpu["pmap 2"], strict=True)]
    faster = statistics.median(wall["jit"]) / statistics.median(wall["pmap 2"])
    return [
        row(f"update {size} by jit", wall["jit"], "s", cpu_s=statistics.median(cpu["jit"])),
        row(f"update {size} by pmap, 1 device", wall["pmap 1"], "s", cpu_s=statistics.median(cpu["pmap 1"])),
        row(f"update {size} by pmap, 2 devices", wall["pmap 2"], "s", cpu_s=statistics.median(cpu["pmap 2"])),
        row("pmap on one device costs over jit", over_jit, "%", of_medians=of_medians),
        row("CPU time of 2 devices over one", over_one, "%", times_faster=faster),
    ]


def updates_on(size: str, devices: Sequence[int], repeats: int) -> Figures:
    """Times of the update of one global batch, by "jit" and by "pmap N" for N of ``devices``, in a process of its own."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={max(devices)}"
    process = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.parallel", size, str(repeats), *map(str, devices)],
        env={**os.environ, "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if process.returncode:
        raise UsageError(f"parallel: the process that measures ended with code {process.returncode}; see above")
    return json.loads(process.stdout.splitlines()[-1])


def _measure(size: str, repeats: int, device_counts: Sequence[int]) -> Figures:
    import jax

    from dreamjax.agents.agent import dummy_batch, make_agent
    from dreamjax.training.runtime import devices
    from dreamjax.training.updates import compile_update
    from experiments.benchmarks.update import reference_spec

    config, spec = from_dict(merge(size_of(size))), reference_spec()
    agent = make_agent(config, spec)
    batch = jax.device_get(dummy_batch(spec, config.batch_size, config.batch_length))
    state = jax.device_get(devices.jit_once(agent.init)(jax.random.key(0)).replace(key=None))

    def turn(update: Any, num_devices: int) -> Callable[[], None]:
        own = devices.replicate(state.replace(key=jax.random.key(0)), num_devices)
        placed = devices.place(batch, num_devices)

        def call() -> None:
            nonlocal own
            own = jax.block_until_ready(update(own, placed)[0])

        return call

    turns = {"jit": turn(compile_update(agent.update, 1), 1)}
    for count in device_counts:
        turns[f"pmap {count}"] = turn(compile_update(agent.update, count, always_map=True), count)
    wall, cpu = in_turns(turns, repeats)
    return {"wall": wall, "cpu": cpu}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]), [int(text) for text in sys.argv[3:]])))
