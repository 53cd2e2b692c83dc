"""Layers that all networks share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.models.fast.kernels import matmul

Dtype = Any

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "tanh": jnp.tanh,
}


def kernel_init(scale: float = 1.0) -> Callable[..., jax.Array]:
    """Truncated normal with variance ``scale**2 / fan_in``; zeros for scale 0."""
    if scale == 0:
        return nn.initializers.zeros_init()
    return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")


def symlog(x: jax.Array) -> jax.Array:
    """``sign(x) ln(1 + |x|)`` (DreamerV3, eq. 9)."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x: jax.Array) -> jax.Array:
    """``sign(x) (exp|x| - 1)``, the inverse of ``symlog``."""
    return jnp.sign(x) * jnp.expm1(jnp.abs(x))


def logit(probs: jax.Array) -> jax.Array:
    """``ln p - ln (1 - p)``, the inverse of ``sigmoid``; for ``p`` strictly between 0 and 1."""
    return jnp.log(probs) - jnp.log1p(-probs)


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps) * scale`` over the last axis, computed in float32; eps is Dreamer's 1e-4.

    With ``by_blocks``, ``x`` is ``[blocks, N, size]`` and each of the N rows is normalized over all its blocks together.
    """

    dtype: Dtype = jnp.float32
    eps: float = 1e-4
    by_blocks: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = x.shape[0] * x.shape[-1] if self.by_blocks else x.shape[-1]
        scale = self.param("scale", nn.initializers.ones_init(), (size,))
        if self.by_blocks:
            scale = scale.reshape(x.shape[0], 1, x.shape[-1])
        x32 = x.astype(jnp.float32)
        # Not keepdims: with it, XLA does not see that a forward pass and the one under its gradient are the same.
        mean_square = jnp.mean(x32 * x32, (0, 2) if self.by_blocks else -1)
        y = x32 * jnp.broadcast_to(jax.lax.rsqrt(mean_square + self.eps)[..., None], x.shape)
        return (y * jnp.broadcast_to(scale, y.shape)).astype(self.dtype)


class Dense(nn.Module):
    """Affine map of the last axis with Dreamer's initialization.

    ``fan_in``: inputs of the whole layer, where this one holds some rows of its kernel; None: its own are all.
    """

    features: int
    scale: float = 1.0
    use_bias: bool = True
    dtype: Dtype = jnp.float32
    fan_in: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = kernel_init(self.scale * math.sqrt(x.shape[-1] / (self.fan_in or x.shape[-1])))
        layer = dict(use_bias=self.use_bias, dtype=self.dtype, kernel_init=init, dot_general=matmul)
        return nn.Dense(self.features, **layer, name="dense")(x)


class BlockDense(nn.Module):
    """An affine map with a kernel for each block: ``[blocks, N, in]`` to ``[blocks, N, features]``.

    Every block also reads ``shared`` ``[N, inputs]``; its rows of the kernels come last. One product computes them for all
    blocks, without a copy of ``shared`` for each. The initial scale counts the inputs of all blocks together as fan-in, as
    the published code does.

    Blocks lead in memory, so that each block is a plain matrix product. With the batch first, XLA transposes on the way
    in and out, and on CPUs works element by element through what follows (3 times slower in all).
    """

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, shared: jax.Array | None = None) -> jax.Array:
        blocks, rows, own = x.shape
        inputs = own + (0 if shared is None else shared.shape[-1])
        init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=(0, 1))
        kernel = self.param("kernel", init, (blocks, inputs, self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (blocks, self.features))
        x, shared, kernel, bias = nn.dtypes.promote_dtype(x, shared, kernel, bias, dtype=self.dtype)
        y = self.own_product(x, kernel) + jnp.broadcast_to(bias[:, None], (blocks, rows, self.features))
        if shared is None:
            return y
        z = self.shared_product(shared, kernel)
        return y + jnp.swapaxes(z.reshape(rows, blocks, self.features), 0, 1)

    def own_product(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """``x [blocks, N, in]`` by the first rows of each kernel: ``[blocks, N, features]``."""
        return jnp.matmul(x, kernel[:, : x.shape[-1]])

    def shared_product(self, shared: jax.Array, kernel: jax.Array) -> jax.Array:
        """``shared [N, inputs]`` by the last rows of all kernels: ``[N, blocks * features]``."""
        return jnp.matmul(shared, side_by_side(kernel[:, kernel.shape[1] - shared.shape[-1] :]))


def side_by_side(kernel: jax.Array) -> jax.Array:
    """Kernels ``[blocks, in, out]`` as one ``[in, blocks * out]``."""
    return jnp.swapaxes(kernel, 0, 1).reshape(kernel.shape[1], -1)


class Layer(nn.Module):
    """Dense, norm, activation."""

    features: int
    act: str = "silu"
    norm: str = "rms"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return NormAct(self.act, self.norm, self.dtype)(Dense(self.features, dtype=self.dtype)(x))


class NormAct(nn.Module):
    """Norm (or none), then the activation. ``by_blocks``: see ``RMSNorm``."""

    act: str = "silu"
    norm: str = "rms"
    dtype: Dtype = jnp.float32
    by_blocks: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.norm == "rms":
            x = RMSNorm(dtype=self.dtype, by_blocks=self.by_blocks)(x)
        return ACTIVATIONS[self.act](x)


class MLP(nn.Module):
    """``layers`` hidden layers of ``units``, then, where ``features`` is given, a Dense output of scale ``scale``."""

    layers: int
    units: int
    features: int | None = None
    scale: float = 1.0
    act: str = "silu"
    norm: str = "rms"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(self.dtype)
        for _ in range(self.layers):
            x = Layer(self.units, self.act, self.norm, self.dtype)(x)
        if self.features is not None:
            x = Dense(self.features, self.scale, dtype=self.dtype)(x)
        return x


def module_names(names: Collection[str]) -> dict[str, str]:
    """Names of Flax modules by the names of observation entries: "/" becomes "_".

    Where several entries would then have the same name, those with "/" are numbered, in alphabetical order.
    """
    result: dict[str, str] = {}
    for name in sorted(names, key=lambda name: ("/" in name, name)):
        plain = name.replace("/", "_")
        numbered = (f"{plain}_{i}" for i in itertools.count(2))
        taken = {*result.values(), *(other for other in names if other != name)}
        result[name] = plain if plain not in taken else next(each for each in numbered if each not in taken)
    return result
