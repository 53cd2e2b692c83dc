"""A ring buffer of imagined rollouts on the device: pure functions with fixed shapes, without host synchronization."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from flax import struct

from dreamjax.types import Array, Imagination


@struct.dataclass
class ImaginationRing:
    """The most recent ``R`` rollouts.

    Attributes:
        data: rollouts with leading dimension ``[R]``; fields that are None stay None.
        head: int32 ``[]`` in [0, R), position of the next rollout.
        size: int32 ``[]`` in [0, R], number of rollouts stored.
    """

    data: Imagination
    head: Array
    size: Array


def init(example: Imagination, capacity: int) -> ImaginationRing:
    """Returns an empty ring of ``capacity`` rollouts.

    Args:
        example: rollouts (arrays or shapes) whose shapes without the leading dimension are those of the ring.
        capacity: number of rollouts. ``imagination.capacity`` of the configuration counts imagined steps instead.

    Raises:
        ValueError: if ``capacity`` is below 1.
    """
    if capacity < 1:
        raise ValueError(f"capacity={capacity} must be 1 rollout or more")
    data = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape[1:]), leaf.dtype), example)
    return ImaginationRing(data=data, head=jnp.zeros((), jnp.int32), size=jnp.zeros((), jnp.int32))


def add(ring: ImaginationRing, rollouts: Imagination) -> ImaginationRing:
    """Writes ``[n]`` rollouts of the ring's shapes and dtypes at the head, over the oldest ones.

    On several devices a replicated ring needs the same rollouts on each of them: gather them first, in order of ``row``.

    Raises:
        ValueError: if ``n`` exceeds the capacity.
    """
    capacity, n = ring.data.row.shape[0], rollouts.row.shape[0]
    if n > capacity:
        raise ValueError(f"{n} rollouts do not fit into a ring of {capacity}")
    for old, new in zip(jax.tree.leaves(ring.data), jax.tree.leaves(rollouts), strict=True):
        chex.assert_shape(new, (n, *old.shape[1:]))
        chex.assert_type(new, old.dtype)
    place = (ring.head + jnp.arange(n, dtype=jnp.int32)) % capacity
    data = jax.tree.map(lambda old, new: old.at[place].set(new), ring.data, rollouts)
    return ImaginationRing(data=data, head=(ring.head + n) % capacity, size=jnp.minimum(ring.size + n, capacity))


def draw(ring: ImaginationRing, keys: Array) -> Imagination:
    """Draws one stored rollout per key, uniformly and with replacement.

    Args:
        ring: the ring.
        keys: typed PRNG keys ``[n]``, consumed. If they are folded by global row, the draw does not depend on the
            number of devices.

    Returns:
        Rollouts ``[n]``; zeros if the ring is empty. ``row`` is the row at imagination; the caller replaces it.
    """
    chex.assert_rank(keys, 1)
    pick = jax.vmap(lambda key: jax.random.randint(key, (), 0, jnp.maximum(ring.size, 1)))(keys)
    return jax.tree.map(lambda leaf: leaf[pick], ring.data)
