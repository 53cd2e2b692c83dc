"""An update that leaves no trace where it is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.algorithms.randomness import is_key
from dreamjax.types import Batch, Metrics, ReplayOuts, TrainState

SKIPPED = "train/skipped"  # 1 where an update was left out, else 0


def skip_nonfinite(update: Callable[..., Any]) -> Callable[..., Any]:
    """``update`` that gives back the state it was given where a metric or a new parameter is not finite.

    Only ``step`` advances then, so that the next update draws other random numbers. The metrics are those of the update
    that was left out, which say why, and ``train/skipped`` (float32 ``[]``). Pure; on several devices all decide alike,
    because metrics and parameters agree there.
    """

    def guarded(
        state: TrainState, batch: Batch, *, axis_name: str | None = None
    ) -> tuple[TrainState, Metrics, ReplayOuts]:
        new, metrics, outs = update(state, batch, axis_name=axis_name)
        checked = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((metrics, new.params))]
        good = jnp.all(jnp.stack(checked))
        # Keys are the same either way: what is random folds by step.
        kept = jax.tree.map(lambda a, b: a if is_key(a) else jnp.where(good, a, b), new, state)
        skipped = (~good).astype(jnp.float32)
        return kept.replace(step=new.step), {**metrics, SKIPPED: skipped}, outs

    return guarded
