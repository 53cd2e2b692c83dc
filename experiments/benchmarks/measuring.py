"""What the benchmarks share: repetitions, and rows of figures with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def row(name: str, values: Sequence[float], unit: str, **more: Any) -> Row:
    """A figure: the median of ``values`` with the least and the greatest, and whatever else belongs to it."""
    spread = {"value": statistics.median(values), "least": min(values), "greatest": max(values)}
    return {"name": name, "unit": unit, **spread, **more}


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


def in_turns(
    turns: Mapping[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds, and CPU seconds of this process, of ``repeats`` calls of each function, one after the other in turns.

    Two rounds before do not count. Each function waits for its own work to be done.
    """
    wall: dict[str, list[float]] = {name: [] for name in turns}
    cpu: dict[str, list[float]] = {name: [] for name in turns}
    for repetition in range(repeats + 2):
        for name, turn in turns.items():
            began, spent = time.perf_counter(), time.process_time()
            turn()
            if repetition >= 2:
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - spent)
    return wall, cpu


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The ``p`` of the least-squares line ``log cost = p log size + c``: 1 is linear growth."""
    import numpy as np

    return float(np.polyfit(np.log(np.asarray(sizes, float)), np.log(np.asarray(costs, float)), 1)[0])
