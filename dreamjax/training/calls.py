"""Several updates in one compiled call, where that many are owed at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from dreamjax.training.schedule import Due
from dreamjax.types import Batch, Metrics, ReplayOuts, TrainState


def in_calls(due: Sequence[Due], most: int) -> list[Due]:
    """What is owed, in order, cut into calls of exactly ``most`` updates, and of one for what is left over."""
    calls = []
    for item in due:
        whole, rest = divmod(item.count, most)
        counts = [most] * whole + [1] * rest
        calls += [dataclasses.replace(item, count=count) for count in counts]
    return calls


def several(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn(state, batch, axis_name=...)`` as one function of several batches ``[U, B, T, ...]``, by ``lax.scan``.

    Returns:
        ``(state, batches) -> (state, metrics [U], outs [U, B, T, ...])``: those of ``U`` calls of ``fn`` in a row.
    """

    def updates(
        state: TrainState, batches: Batch, *, axis_name: str | None = None
    ) -> tuple[TrainState, Metrics, ReplayOuts]:
        def body(state: TrainState, batch: Batch) -> tuple[TrainState, tuple[Metrics, ReplayOuts]]:
            state, metrics, outs = fn(state, batch, axis_name=axis_name)
            return state, (metrics, outs)

        state, (metrics, outs) = jax.lax.scan(body, state, batches)
        return state, metrics, outs

    return updates


def stacked(batches: Sequence[Batch]) -> Batch:
    """One batch as it is; several with a new leading axis, on the host."""
    return batches[0] if len(batches) == 1 else jax.tree.map(lambda *x: np.stack(x), *batches)


def separate(tree: Any, count: int) -> list[Any]:
    """The parts of what one call of ``count`` updates gave; waits for them where there are several."""
    if count == 1:
        return [tree]
    tree = jax.device_get(tree)
    return [jax.tree.map(lambda x: x[i], tree) for i in range(count)]  # noqa: B023
