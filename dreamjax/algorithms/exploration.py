"""Exploration by disagreement: the ensemble's loss, and its disagreement as an intrinsic reward of imagined steps.

Plan2Explore (Sekar et al. 2020, eqs. 1-3). Everything here is a function of states and rollouts that are given, so that
the bonus can go to the task's actor (``config.ensemble.bonus``) or to an explorer of its own.
"""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp

from dreamjax.algorithms.normalisation import normaliser_scale, update_normaliser
from dreamjax.algorithms.randomness import row_keys
from dreamjax.config import EnsembleConfig
from dreamjax.models.ensemble import Ensemble
from dreamjax.types import Imagination, NormaliserState, Params, RSSMState

SMALLEST_SCALE = 1e-6  # of a range of disagreements: less than that is rounding


def bootstrap_weights(key: jax.Array, row: jax.Array, count: int) -> jax.Array:
    """Weights float32 ``[count, B]``, exponential with mean 1: each member's own resampling of the batch.

    The Bayesian bootstrap (Rubin 1981): smooth weights instead of draws with replacement. ``key`` is folded by the global
    ``row`` int32 ``[B]``, so that the devices that share a batch do not matter; it is not consumed.
    """
    draw = lambda key: jax.random.exponential(key, (count,))  # noqa: E731
    return jax.vmap(draw)(row_keys(key, row)).T


def ensemble_loss(
    params: Params,
    ensemble: Ensemble,
    feat: jax.Array,
    action: jax.Array,
    state: RSSMState,
    is_first: jax.Array,
    weight: jax.Array,
) -> jax.Array:
    """Squared error of one-step predictions: float32 ``[]``.

    Summed over features, averaged over members, windows and steps. Steps across a reset count nothing: the state after it
    does not follow from the action before it. The gradient flows to ``params`` alone.

    Args:
        params: of the ensemble.
        feat: ``[B, T, F]`` and state ``[B, T, ...]`` of filtered windows. action: float32 ``[B, T, A]`` chosen there.
        is_first: bool ``[B, T]``.
        weight: float32 ``[K, B]``, each member's weight of each window.
    """
    chex.assert_equal_shape_prefix([feat, action, is_first], 2)
    before, after = (jax.tree.map(lambda x, s=s: x[:, s], state) for s in (slice(None, -1), slice(1, None)))
    target = ensemble.target(before, after)
    inputs = jax.lax.stop_gradient((feat[:, :-1], action[:, :-1]))
    error = jnp.sum(jnp.square(ensemble.apply(params, *inputs) - target[None]), -1)
    follows = 1.0 - is_first[:, 1:].astype(jnp.float32)
    chex.assert_shape(error, (weight.shape[0], *follows.shape))
    return jnp.mean(error * follows[None] * jax.lax.stop_gradient(weight)[..., None])


def disagreement(predictions: jax.Array) -> jax.Array:
    """Variance over members, averaged over features: float32 ``[...]`` from predictions ``[K, ..., D]``."""
    return jnp.mean(jnp.var(predictions, 0), -1)


def imagined_disagreement(ensemble: Ensemble, params: Params, rollouts: Imagination) -> jax.Array:
    """Disagreement float32 ``[N, H]`` about what each imagined action leads to. No gradient."""
    predictions = ensemble.apply(params, rollouts.feat[:, :-1], rollouts.action)
    return jax.lax.stop_gradient(disagreement(predictions))


def add_bonus(
    rollouts: Imagination,
    disagreed: jax.Array,
    state: NormaliserState,
    config: EnsembleConfig,
    *,
    axis_name: str | None = None,
) -> tuple[Imagination, NormaliserState]:
    """Rollouts whose rewards are ``extrinsic r[t+1] + bonus d[t] / range``: the bonus of an action comes on arriving.

    ``range`` is the moving distance of the 5th to the 95th percentile of disagreements, over all devices: ensembles grow
    surer by orders of magnitude, the bonus keeps its size.

    Args:
        rollouts: rewards float32 ``[N, H+1]``. disagreed: float32 ``[N, H]``.
        state: the moving percentiles, which are returned as they are after these.
    """
    chex.assert_equal_shape([disagreed, rollouts.log_prob])
    state = update_normaliser(state, disagreed, rate=config.rate, axis_name=axis_name)
    if config.bonus == 0 and config.extrinsic == 1:
        return rollouts, state
    scale = normaliser_scale(state, rate=config.rate, limit=SMALLEST_SCALE)
    bonus = jnp.pad(config.bonus * disagreed / scale, ((0, 0), (1, 0)))
    return dataclasses.replace(rollouts, reward=config.extrinsic * rollouts.reward + bonus), state
