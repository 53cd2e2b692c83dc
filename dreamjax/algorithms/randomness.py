"""Keys by global row and by time step, so that one device, several devices and a resumed run draw the same numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def is_key(leaf: Any) -> bool:
    """Whether an array, or its shape, is of typed PRNG keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def row_keys(key: jax.Array, row: jax.Array) -> jax.Array:
    """One typed key for each row: ``[N]`` from a key and int32 ``[N]`` global row indices. ``key`` is not consumed."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, row)


def step_keys(keys: jax.Array, t: jax.Array) -> jax.Array:
    """The rows' keys ``[N]`` for time step ``t`` (int32 ``[]``)."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, t)
