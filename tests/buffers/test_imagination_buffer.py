"""The device ring against a Python list, compiled and under pmap."""

from __future__ import annotations

from collections import deque

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.buffers import imagination_buffer as ring_lib
from dreamjax.types import Imagination

H = 3


def rollouts(first: int, n: int, *, mask: bool = True) -> Imagination:
    """Rollouts numbered ``first ..``; every entry of one carries its number."""
    number = np.arange(first, first + n, dtype=np.int32)

    def fill(*shape: int) -> np.ndarray:
        return np.broadcast_to(number.astype(np.float32).reshape(n, *[1] * len(shape)), (n, *shape))

    tree = Imagination(
        feat=fill(H + 1, 5).astype(jnp.bfloat16),
        action=fill(H, 2),
        log_prob=fill(H),
        mask=fill(H + 1, 4) % 2 == 1 if mask else None,
        reward=fill(H + 1),
        cont=fill(H + 1),
        row=number,
    )
    return jax.tree.map(jnp.asarray, tree)


def keys(n: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), n)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("sizes", [(4, 4, 4), (3, 3, 3, 3), (10, 1, 9), (7,)])
def test_ring_keeps_the_last_rollouts_whole(sizes: tuple[int, ...], mask: bool) -> None:
    add, draw = jax.jit(ring_lib.add), jax.jit(ring_lib.draw)
    ring = ring_lib.init(rollouts(0, 1, mask=mask), 10)
    kept: deque[int] = deque(maxlen=10)
    number = 100
    for n in sizes:
        ring = add(ring, rollouts(number, n, mask=mask))
        kept.extend(range(number, number + n))
        number += n
        assert int(ring.size) == len(kept) and int(ring.head) == (number - 100) % 10
        got = draw(ring, keys(200))
        assert set(got.row.tolist()) == set(kept)
        rows = np.asarray(got.row) - 100
        expected = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], rollouts(100, number - 100, mask=mask))  # noqa: B023
        chex.assert_trees_all_equal(got, expected, strict=True)
        assert (got.mask is None) == (not mask)


def test_draws_are_uniform_over_stored_rollouts_and_depend_only_on_their_key() -> None:
    draw = jax.jit(ring_lib.draw)
    ring = jax.jit(ring_lib.add)(ring_lib.init(rollouts(0, 1), 16), rollouts(0, 10))
    got = np.asarray(draw(ring, keys(5000)).row)
    count = np.bincount(got, minlength=10)
    assert len(count) == 10 and ((count - 500) ** 2 / 500).sum() < 9 + 4 * np.sqrt(18)
    np.testing.assert_array_equal(draw(ring, keys(5000)[40:60]).row, got[40:60])


def test_too_many_rollouts_or_other_shapes_are_refused() -> None:
    ring = ring_lib.init(rollouts(0, 1), 4)
    with pytest.raises(ValueError, match="5 rollouts do not fit into a ring of 4"):
        ring_lib.add(ring, rollouts(0, 5))
    with pytest.raises(ValueError, match="capacity=0"):
        ring_lib.init(rollouts(0, 1), 0)
    with pytest.raises(AssertionError):
        ring_lib.add(ring, rollouts(0, 2).replace(reward=jnp.zeros((2, H))))
    with pytest.raises(AssertionError):
        ring_lib.add(ring, rollouts(0, 2).replace(cont=jnp.zeros((2, H + 1), jnp.int32)))


def test_init_takes_shapes_and_an_empty_ring_draws_zeros() -> None:
    ring = ring_lib.init(jax.eval_shape(lambda: rollouts(7, 2)), 4)
    got = ring_lib.draw(ring, keys(3))
    assert got.feat.dtype == jnp.bfloat16 and got.feat.shape == (3, H + 1, 5)
    assert all(not np.asarray(leaf, np.float32).any() for leaf in jax.tree.leaves(got))


def test_devices_with_a_replicated_ring_draw_what_one_device_draws() -> None:
    """pmap over what devices there are: rollouts gathered, ring replicated, keys sharded by row."""
    devices = jax.local_device_count()

    def step(ring: ring_lib.ImaginationRing, fresh: Imagination, key: jax.Array) -> tuple:
        ring = ring_lib.add(ring, jax.tree.map(lambda x: jax.lax.all_gather(x, "device", tiled=True), fresh))
        return ring, ring_lib.draw(ring, key)

    ring = ring_lib.init(rollouts(0, 1), 3 * devices)
    fresh = rollouts(50, 2 * devices)
    whole = jax.jit(ring_lib.add)(ring, fresh)
    expected = jax.jit(ring_lib.draw)(whole, keys(5 * devices))
    shard = lambda x: x.reshape(devices, -1, *x.shape[1:])
    many = jax.pmap(step, axis_name="device", in_axes=(None, 0, 0), out_axes=(None, 0))
    got_ring, got = many(ring, jax.tree.map(shard, fresh), shard(keys(5 * devices)))
    chex.assert_trees_all_equal(got_ring, whole)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.reshape(b.shape), b), got, expected)
