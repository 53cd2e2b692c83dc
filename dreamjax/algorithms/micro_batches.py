"""Gradients of a batch from parts of it, one after another: as much memory as one part takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")
Means = TypeVar("Means")
Rows = TypeVar("Rows")


def accumulate(fn: Callable[[T], tuple[Means, Rows]], inputs: T, count: int) -> tuple[Means, Rows]:
    """Runs ``fn`` over ``count`` micro-batches in turn: its first result is averaged, its second concatenated by rows.

    Args:
        fn: ``micro -> (means, rows)``.
        inputs: pytree whose leaves have a leading axis divisible by ``count``.
        count: 1 calls ``fn`` once on everything.
    """
    if count == 1:
        return fn(inputs)
    micro = jax.tree.map(lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), inputs)
    _, (means, rows) = jax.lax.scan(lambda carry, x: (carry, fn(x)), None, micro)
    mean = jax.tree.map(lambda x: jnp.mean(x, 0), means)
    return mean, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
