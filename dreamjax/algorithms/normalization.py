"""Return normalization by moving percentiles (DreamerV3, eq. 7)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dreamjax.types import NormalizerState

PERCENTILES = (5.0, 95.0)


def init_normalizer() -> NormalizerState:
    """A state that has seen nothing."""
    return NormalizerState(low=jnp.zeros(()), high=jnp.zeros(()), count=jnp.zeros((), jnp.int32))


def update_normalizer(
    state: NormalizerState, values: jax.Array, *, rate: float, axis_name: str | None = None
) -> NormalizerState:
    """Moves the percentiles towards those of ``values`` (any shape), gathered over all devices of ``axis_name``."""
    values = jax.lax.stop_gradient(values).reshape(-1)
    if axis_name is not None:
        values = jax.lax.all_gather(values, axis_name, tiled=True)
    low, high = jnp.percentile(values, jnp.asarray(PERCENTILES))
    return NormalizerState(
        low=(1 - rate) * state.low + rate * low,
        high=(1 - rate) * state.high + rate * high,
        count=state.count + 1,
    )


def normalizer_scale(state: NormalizerState, *, rate: float, limit: float, debias: bool = True) -> jax.Array:
    """``max(limit, high - low)`` float32 ``[]``.

    ``debias``: unbiased from the first update on (as Adam corrects its moments). Without it the range grows from 0, as in
    the published code of DreamerV3.
    """
    correction = 1 - (1 - rate) ** jnp.maximum(state.count, 1).astype(jnp.float32) if debias else 1.0
    return jnp.maximum(limit, (state.high - state.low) / correction)
