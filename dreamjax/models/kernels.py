"""Products with a kernel: the kernel's gradient in the form that CPUs compute fastest, and products that are known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def kernel_gradient(x: jax.Array, given: jax.Array, dtype: Any) -> jax.Array:
    """The gradient of a kernel, ``sum_n x[n]^T given[n]``: ``dtype [in, out]``.

    Args:
        x: ``[..., in]`` what the kernel was applied to. given: ``[..., out]`` the cotangent of the product.
    """
    rows = tuple(range(x.ndim - 1))
    swapped = jax.lax.dot_general(given, x, ((rows, rows), ((), ())), preferred_element_type=dtype)
    if jax.default_backend() == "cpu":
        # Else XLA makes one product of both steps, which takes 1.4 times as long where kernels are tall (2560 x 256).
        swapped = jax.lax.optimization_barrier(swapped)
    return swapped.T


@jax.custom_vjp
def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``x @ kernel``: ``[..., out]`` from ``[..., in]`` and ``[in, out]``."""
    return jnp.matmul(x, kernel)


def _multiply(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return jnp.matmul(x, kernel), (x, kernel)


def _cotangents(kept: tuple[jax.Array, jax.Array], given: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    return jnp.matmul(given, kernel.T), kernel_gradient(x, given, kernel.dtype)


multiply.defvjp(_multiply, _cotangents)


@jax.custom_vjp
def recall(x: jax.Array, kernel: jax.Array, known: jax.Array) -> jax.Array:
    """``known``, which ``multiply(x, kernel)`` was before: its gradients, without making the product again."""
    return known


def _recall(x: jax.Array, kernel: jax.Array, known: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return known, (x, kernel)


recall.defvjp(_recall, lambda kept, given: (*_cotangents(kept, given), None))
