"""Lambda-returns and the weights of imagined steps."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def lambda_return(
    reward: jax.Array,
    cont: jax.Array,
    value: jax.Array,
    *,
    gamma: float,
    lam: float,
    is_last: jax.Array | None = None,
) -> jax.Array:
    """TD(lambda) returns along axis 1.

    ``R[t] = r[t+1] + gamma c[t+1] ((1 - l[t+1]) v[t+1] + l[t+1] R[t+1])`` for ``t = 0..T-1``, ``R[T] = v[T]``, with
    ``l[t] = lam (1 - is_last[t])``: where an episode was cut, its value is bootstrapped and the mixing ends
    (Sutton & Barto, 12.3; Dreamer, eq. 6).

    Args:
        reward: float32 ``[N, T+1]``, received on arriving at each step; index 0 is not used.
        cont: float32 ``[N, T+1]``, probability of going on from each step; index 0 is not used.
        value: float32 ``[N, T+1]``.
        gamma: discount of one step, applied once.
        lam: mixing in [0, 1].
        is_last: bool ``[N, T+1]`` or None.

    Returns:
        float32 ``[N, T]``.
    """
    chex.assert_rank(reward, 2)
    chex.assert_equal_shape([reward, cont, value])
    mix = jnp.full_like(reward, lam)
    if is_last is not None:
        chex.assert_equal_shape([reward, is_last])
        mix = jnp.where(is_last, 0.0, mix)

    discount = gamma * cont[:, 1:]
    base = reward[:, 1:] + discount * (1 - mix[:, 1:]) * value[:, 1:]

    def step(following: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        base_t, carry_t = inputs
        current = base_t + carry_t * following
        return current, current

    inputs = (base.T, (discount * mix[:, 1:]).T)
    _, returns = jax.lax.scan(step, value[:, -1], inputs, reverse=True)
    return returns.T


def step_weights(cont: jax.Array, *, gamma: float) -> jax.Array:
    """``w[t] = gamma^t prod_{i <= t} c[i]``: how likely, and how much discounted, step ``t`` is reached and acted in.

    Includes the start's own ``c[0]`` (nothing is learned from acting in a finished episode), never the outcome's.

    Args:
        cont: float32 ``[N, T]``, discount not included.
        gamma: discount of one step.
    """
    chex.assert_rank(cont, 2)
    powers = gamma ** jnp.arange(cont.shape[1], dtype=jnp.float32)
    return jnp.cumprod(cont, 1) * jnp.broadcast_to(powers, cont.shape)
