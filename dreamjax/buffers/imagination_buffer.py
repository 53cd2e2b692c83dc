"""A ring of imagined rollouts on the device: pure functions, all shapes fixed, no synchronization with the host."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from flax import struct

from dreamjax.types import Array, Imagination


@struct.dataclass
class ImaginationRing:
    """The last ``R`` rollouts.

    Attributes:
        data: rollouts with leading dimension ``[R]``; entries that are None stay None.
        head: int32 ``[]`` in [0, R), where the next rollout is written.
        size: int32 ``[]`` in [0, R], rollouts filled.
    """

    data: Imagination
    head: Array
    size: Array


def init(example: Imagination, capacity: int) -> ImaginationRing:
    """An empty ring of ``capacity`` rollouts shaped like those of ``example`` (arrays or ``jax.eval_shape`` of them).

    A configured capacity counts imagined steps: the ring holds ``imagination.capacity // horizon`` rollouts.
    """
    if capacity < 1:
        raise ValueError(f"capacity={capacity} must be 1 rollout or more")
    data = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape[1:]), leaf.dtype), example)
    return ImaginationRing(data=data, head=jnp.zeros((), jnp.int32), size=jnp.zeros((), jnp.int32))


def add(ring: ImaginationRing, rollouts: Imagination) -> ImaginationRing:
    """Writes ``[n]`` rollouts at the head, over the oldest ones; their shapes and dtypes are the ring's.

    Under ``pmap`` a replicated ring needs the same rollouts on every device: gather them first, in order of ``row``.

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
    """One rollout for each key, uniform over the filled ones, with replacement.

    Args:
        keys: typed PRNG keys ``[n]``, consumed; folded by global row they make the draw the same on any number of
            devices.

    Returns:
        Rollouts ``[n]``; ``row`` is still that of the rollout when it was imagined, the caller sets a fresh one.
        From an empty ring: zeros.
    """
    chex.assert_rank(keys, 1)
    pick = jax.vmap(lambda key: jax.random.randint(key, (), 0, jnp.maximum(ring.size, 1)))(keys)
    return jax.tree.map(lambda leaf: leaf[pick], ring.data)
