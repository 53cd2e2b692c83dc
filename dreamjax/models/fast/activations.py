"""A head applied to the same features twice: the second time without multiplying by its kernels again.

Imagination applies the actor to every imagined state, and the actor's loss applies it to the same states once more, with
the same parameters. Recording what each kernel computed the first time leaves only norms and activations for the second.
"""

from __future__ import annotations

import flax.linen as nn
import jax

from dreamjax.models.fast.kernels import Path, dense_interceptor, matmul_cached, multiply
from dreamjax.models.heads import Head
from dreamjax.types import Params

Activations = dict[Path, jax.Array]


def record(head: Head, params: Params, feat: jax.Array) -> tuple[jax.Array, Activations]:
    """``head.apply(params, feat)`` and, by layer, what each kernel made of its input: ``[..., out]`` compute dtype."""
    activations: Activations = {}

    def product(path: Path, x: jax.Array, kernel: jax.Array) -> jax.Array:
        activations[path] = multiply(x, kernel)
        return activations[path]

    with nn.intercept_methods(dense_interceptor(product)):
        return head.apply(params, feat), activations


def apply_recorded(head: Head, params: Params, feat: jax.Array, activations: Activations | None) -> jax.Array:
    """``head.apply(params, feat)`` and its gradients, from what ``record`` kept for the same ``params`` and ``feat``.

    Leading dimensions may be stacked in between: ``feat`` of several calls, and their activations likewise. None: plain.
    """
    if activations is None:
        return head.apply(params, feat)

    def product(path: Path, x: jax.Array, kernel: jax.Array) -> jax.Array:
        known = activations[path]
        return matmul_cached(x, kernel, known.reshape(*x.shape[:-1], known.shape[-1]))

    with nn.intercept_methods(dense_interceptor(product)):
        return head.apply(params, feat)
