"""Products inside a scan whose kernels' gradients are computed after it, over all steps at once.

Differentiated as it stands, a scan computes each kernel's gradient step by step: a product over the few rows of one step,
and a sum as large as the kernel, read and written at every step. Here each step leaves its input and its output's cotangent
in a slot instead, and one product over all rows of all steps is the kernel's gradient.

A slot is a pair of arrays whose values nothing reads: it exists for its cotangents.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.models.fast.kernels import kernel_gradient

GradSlot = tuple[jax.Array, jax.Array]


@jax.custom_vjp
def matmul_deferred(x: jax.Array, kernel: jax.Array, slot: GradSlot) -> jax.Array:
    """``x @ kernel``, ``[..., N, in]`` by ``[..., in, out]``.

    The cotangents of ``slot``, ``[..., N, in]`` and ``[..., N, out]``, are ``x`` and that of the product; no gradient flows
    to ``kernel`` from here.
    """
    return jnp.matmul(x, kernel)


def _matmul_deferred(x: jax.Array, kernel: jax.Array, slot: GradSlot) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return jnp.matmul(x, kernel), (x, kernel)


def _cotangents(kept: tuple[jax.Array, jax.Array], given: jax.Array) -> tuple[jax.Array, None, GradSlot]:
    x, kernel = kept
    return jnp.matmul(given, jnp.swapaxes(kernel, -1, -2)), None, (x, given)


matmul_deferred.defvjp(_matmul_deferred, _cotangents)


def make_slot(kernel: jax.Array, rows: int, steps: int, dtype: Any) -> GradSlot:
    """Zeros for the input and the output of ``rows`` N in each of ``steps`` T: the scan takes the second axis step by step.

    ``[N, T, in]`` and ``[N, T, out]`` for a kernel ``[in, out]``; ``[blocks, T, N, in]`` and ``[blocks, T, N, out]`` for
    kernels ``[blocks, in, out]``. The gradient of ``kernel`` is the product of what the slot is given, in its own dtype.
    """

    @jax.custom_vjp
    def slot(kernel: jax.Array) -> GradSlot:
        lead = (*kernel.shape[:-2], steps, rows) if kernel.ndim == 3 else (rows, steps)
        left, right = (jnp.zeros((*lead, size), dtype) for size in kernel.shape[-2:])
        return left, right

    def gradient(_: None, given: GradSlot) -> tuple[jax.Array]:
        gradient_of = functools.partial(kernel_gradient, dtype=kernel.dtype)
        return ((jax.vmap(gradient_of) if kernel.ndim == 3 else gradient_of)(*given),)

    slot.defvjp(lambda kernel: (slot(kernel), None), gradient)
    return slot(kernel)
