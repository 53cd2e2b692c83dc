"""Layers that all networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

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


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps) * scale`` over the last axis, computed in float32; eps is Dreamer's 1e-4."""

    dtype: Dtype = jnp.float32
    eps: float = 1e-4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],))
        x32 = x.astype(jnp.float32)
        y = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), -1, keepdims=True) + self.eps)
        return (y * jnp.broadcast_to(scale, y.shape)).astype(self.dtype)


class Dense(nn.Module):
    """Affine map of the last axis with Dreamer's initialisation."""

    features: int
    scale: float = 1.0
    use_bias: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(
            self.features,
            use_bias=self.use_bias,
            dtype=self.dtype,
            kernel_init=kernel_init(self.scale),
            name="dense",
        )(x)


class BlockDense(nn.Module):
    """A block-diagonal affine map ``[..., blocks, in] -> [..., blocks, features]``: each block has its own kernel."""

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        blocks, inputs = x.shape[-2:]
        # Fan-in is that of one block: the leading axis is a batch of kernels.
        init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", batch_axis=(0,))
        kernel = self.param("kernel", init, (blocks, inputs, self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (blocks, self.features))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = jnp.einsum("...gi,gio->...go", x, kernel)
        return y + jnp.broadcast_to(bias, y.shape)


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
    """Norm (or none), then the activation."""

    act: str = "silu"
    norm: str = "rms"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.norm == "rms":
            x = RMSNorm(dtype=self.dtype)(x)
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
