"""Stochastic latents: categorical (straight-through, unimix) and Gaussian; sampling and KL divergence.

Distribution parameters travel as one array ``logit``: ``[..., S, K]`` mixed log-probabilities (categorical) or
``[..., S, 2]`` mean and standard deviation (Gaussian), float32, so that they can leave a scan.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def unimix_logit(logit: jax.Array, unimix: float) -> jax.Array:
    """Log-probabilities of ``(1 - unimix) softmax(logit) + unimix / K`` over the last axis, in float32.

    The least probability is ``unimix / K`` (DreamerV3, "1% unimix").
    """
    logit = jax.nn.log_softmax(logit.astype(jnp.float32))
    if unimix == 0:
        return logit
    probs = (1 - unimix) * jnp.exp(logit) + unimix / logit.shape[-1]
    return jnp.log(probs)


def gaussian_logit(raw: jax.Array, min_std: float) -> jax.Array:
    """Mean and deviation ``[..., S, 2]`` from raw outputs ``[..., 2 S]``; deviation softplus + ``min_std`` (PlaNet)."""
    mean, std = jnp.split(raw.astype(jnp.float32), 2, -1)
    return jnp.stack([mean, jax.nn.softplus(std) + min_std], -1)


def row_uniform(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniform numbers in [0, 1), ``[N, *shape]`` float32; row ``i`` depends on ``keys[i]`` alone. Keys are consumed."""
    return jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)


def row_normal(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Standard normal numbers, ``[N, *shape]`` float32; row ``i`` depends on ``keys[i]`` alone. Keys are consumed."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def one_hot_sample(probs: jax.Array, uniform: jax.Array) -> jax.Array:
    """One-hot samples by inversion of the cumulative distribution; one uniform number a categorical. No gradient.

    Args:
        probs: float32 ``[..., K]``, not necessarily normalized; classes of probability 0 are never drawn.
        uniform: float32 ``[...]`` in [0, 1).

    Returns:
        float32 ``[..., K]``, exactly one-hot.
    """
    chex.assert_equal_shape_prefix([probs, uniform], uniform.ndim)
    cumulative = jnp.cumsum(jax.lax.stop_gradient(probs), -1)
    # 1 - u lies in (0, 1]: "first class whose cumulative reaches it" then skips classes of probability 0.
    threshold = (1 - uniform)[..., None] * cumulative[..., -1:]
    index = jnp.sum(cumulative < threshold, -1)
    return jax.nn.one_hot(index, probs.shape[-1])


def sample(logit: jax.Array, keys: jax.Array, kind: str) -> jax.Array:
    """Draws latents ``[B, S, K]`` (K = 1 for Gaussians) from ``logit`` ``[B, S, K or 2]`` with one key a row, consumed.

    Categorical: the value is exactly one-hot, the gradient that of the mixed probabilities (straight-through).
    Gaussian: reparameterised, ``mean + std * noise``.
    """
    if kind == "gaussian":
        mean, std = logit[..., 0], logit[..., 1]
        return (mean + std * row_normal(keys, mean.shape[1:]))[..., None]
    probs = jnp.exp(logit)
    hot = one_hot_sample(probs, row_uniform(keys, logit.shape[1:-1]))
    # (hot - sg(probs)) + probs rounds to something close to one-hot; keep the value exact.
    return jax.lax.stop_gradient(hot) + (probs - jax.lax.stop_gradient(probs))


def kl(left: jax.Array, right: jax.Array, kind: str) -> jax.Array:
    """``KL(left || right)`` summed over the latents: float32 ``[...]`` from two logits ``[..., S, K or 2]``.

    Categorical: ``sum p (log p - log q)``. Gaussian, by dimension:
    ``log(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2``.
    """
    chex.assert_equal_shape([left, right])
    if kind == "categorical":
        return jnp.sum(jnp.exp(left) * (left - right), (-2, -1))
    mean_p, std_p = left[..., 0], left[..., 1]
    mean_q, std_q = right[..., 0], right[..., 1]
    terms = jnp.log(std_q / std_p) + (jnp.square(std_p) + jnp.square(mean_p - mean_q)) / (2 * jnp.square(std_q)) - 0.5
    return jnp.sum(terms, -1)


def entropy(logit: jax.Array, kind: str) -> jax.Array:
    """Entropy in nats summed over the latents: float32 ``[...]``."""
    if kind == "categorical":
        return -jnp.sum(jnp.exp(logit) * logit, (-2, -1))
    return jnp.sum(jnp.log(logit[..., 1]) + 0.5 * jnp.log(2 * jnp.pi * jnp.e), -1)
