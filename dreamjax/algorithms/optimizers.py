"""Optimizers from optax parts: LaProp with adaptive clipping by tensor and warm-up (DreamerV3), or Adam."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from dreamjax.config import OptimizerConfig


def clip_by_tensor(limit: float, min_norm: float = 1e-3) -> optax.GradientTransformation:
    """Adaptive gradient clipping (Brock et al. 2021) with one norm for each whole tensor, as DreamerV3 has it.

    Scales an update so that its norm is at most ``limit * max(min_norm, norm of the parameter)``. optax's own works by
    output unit.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def clip(update: jax.Array, param: jax.Array) -> jax.Array:
            update_norm = jnp.linalg.norm(update.reshape(-1))
            allowed = limit * jnp.maximum(min_norm, jnp.linalg.norm(param.reshape(-1)))
            return update * (1 / jnp.maximum(1.0, update_norm / allowed))

        return jax.tree.map(clip, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def make_optimizer(config: OptimizerConfig, learning_rate: float, delay: int = 0) -> optax.GradientTransformation:
    """The optimizer of one group: clipping, LaProp (Ziyin et al. 2020) or Adam, a linear warm-up of the rate.

    For its first ``delay`` updates the parameters stay as they are, while moments accumulate; then the warm-up begins.
    """
    chain = []
    if config.agc:
        chain.append(clip_by_tensor(config.agc))
    if config.clip:
        chain.append(optax.clip_by_global_norm(config.clip))
    if config.kind == "laprop":
        # LaProp normalizes first and takes the momentum of normalized gradients.
        chain.append(optax.scale_by_rms(config.beta2, eps=config.eps, eps_in_sqrt=False, bias_correction=True))
        chain.append(optax.ema(config.beta1, debias=True))
    else:
        chain.append(optax.scale_by_adam(config.beta1, config.beta2, eps=config.eps))
    rate: optax.ScalarOrSchedule = learning_rate
    if config.warmup or delay:
        begin = delay if config.warmup else delay - 1  # the first step of a rise is still 0
        rate = optax.linear_schedule(0.0, learning_rate, max(1, config.warmup), transition_begin=begin)
    chain.append(optax.scale_by_learning_rate(rate))
    return optax.chain(*chain)
