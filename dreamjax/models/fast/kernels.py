"""Products with a kernel: the kernel's gradient in the form that CPUs compute fastest, and products known already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Path = tuple[str, ...]  # a module's place among the parameters, names from the root on


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


def matmul(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """``multiply`` with the signature that ``flax.linen.Dense`` calls its ``dot_general`` with."""
    return multiply(x, kernel)


@jax.custom_vjp
def matmul_cached(x: jax.Array, kernel: jax.Array, known: jax.Array) -> jax.Array:
    """``known``, the result of an earlier ``multiply(x, kernel)``: its gradients, without computing the product again."""
    return known


def _matmul_cached(x: jax.Array, kernel: jax.Array, known: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return known, (x, kernel)


matmul_cached.defvjp(_matmul_cached, lambda kept, given: (*_cotangents(kept, given), None))


def dense_interceptor(product: Callable[[Path, jax.Array, jax.Array], jax.Array]) -> Callable[..., Any]:
    """An interceptor for ``flax.linen.intercept_methods`` that replaces the products of all Dense layers.

    Every ``flax.linen.Dense`` whose ``dot_general`` is ``matmul`` then computes ``product(path, x, kernel)``, ``path``
    being its place among the parameters; promotion to the layer's dtype and bias are as in the layer itself.
    """

    def intercept(next_fun: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if not (isinstance(module, nn.Dense) and module.dot_general is matmul and context.method_name == "__call__"):
            return next_fun(*args, **kwargs)
        kernel: jax.Array = module.get_variable("params", "kernel")
        bias: jax.Array | None = module.get_variable("params", "bias") if module.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(*args, kernel, bias, dtype=module.dtype)
        y = product(module.path, x, kernel)
        return y if bias is None else y + jnp.reshape(bias, (1,) * (y.ndim - 1) + (-1,))

    return intercept
