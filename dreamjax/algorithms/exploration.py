"""The ensemble's loss, and the disagreement of its members as a reward for exploration.

Plan2Explore (Sekar et al. 2020, eqs. 1-3).
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from dreamjax.algorithms.normalization import normalizer_scale
from dreamjax.algorithms.randomness import row_keys
from dreamjax.models.ensemble import Ensemble
from dreamjax.types import Imagination, NormalizerState, Params, RSSMState, WorldModel

SMALLEST_SCALE = 1e-6  # of a range of disagreements: less than that is rounding


def bootstrap_weights(key: jax.Array, row: jax.Array, count: int) -> jax.Array:
    """Weights float32 ``[count, B]``, exponential with mean 1: each member's own resampling of the batch.

    The Bayesian bootstrap (Rubin 1981): smooth weights instead of draws with replacement. Every update draws new weights,
    so that members see different batches of one replay, not different halves of it. ``key`` is folded by the global
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


def replayed_disagreement(
    ensemble: Ensemble, params: Params, feat: jax.Array, action: jax.Array, is_first: jax.Array
) -> jax.Array:
    """Disagreement float32 ``[B, T-1]`` about what followed each replayed step but the last; 0 across resets. No gradient.

    Args:
        params: of the ensemble. feat: ``[B, T, F]``. action: float32 ``[B, T, A]``. is_first: bool ``[B, T]``.
    """
    chex.assert_equal_shape_prefix([feat, action, is_first], 2)
    predictions = ensemble.apply(params, feat[:, :-1], action[:, :-1])
    return jax.lax.stop_gradient(jnp.where(is_first[:, 1:], 0.0, disagreement(predictions)))


def state_disagreement(
    world_model: WorldModel, ensemble: Ensemble, params: dict[str, Params], state: RSSMState, action: jax.Array
) -> jax.Array:
    """Disagreement float32 ``[...]`` about what an action vector ``[..., A]`` leads to from a state. No gradient.

    For planning: how little the model knows of a step, before it is taken. ``params``: those of ``TrainState``.
    """
    predictions = ensemble.apply(params["ensemble"], world_model.feat(state), action)
    return jax.lax.stop_gradient(disagreement(predictions))


def mixed(
    reward: jax.Array,
    disagreed: jax.Array,
    scale: jax.Array,
    *,
    intrinsic: float | jax.Array,
    extrinsic: float | jax.Array,
) -> jax.Array:
    """``extrinsic r + intrinsic d / scale``, float32 ``[...]``: rewards mixed with the disagreement about the steps."""
    return extrinsic * reward + intrinsic * disagreed / scale


def mixed_reward(
    reward: jax.Array, disagreed: jax.Array, scale: jax.Array, *, intrinsic: float, extrinsic: float
) -> jax.Array:
    """``mixed`` of ``r[t+1]`` and ``d[t]``: disagreement about an action is rewarded on arriving.

    Args:
        reward: float32 ``[N, T]``; the first is on no action here. disagreed: float32 ``[N, T-1]``. scale: float32 ``[]``.
    """
    return mixed(reward, jnp.pad(disagreed, ((0, 0), (1, 0))), scale, intrinsic=intrinsic, extrinsic=extrinsic)


def disagreement_scale(state: NormalizerState, *, rate: float) -> jax.Array:
    """The unit of disagreement, float32 ``[]``: the moving distance of its 5th to its 95th percentile in imagined steps.

    Ensembles grow surer by orders of magnitude; in this unit the reward for it keeps its size.
    """
    return normalizer_scale(state, rate=rate, limit=SMALLEST_SCALE)


def explorer_params(params: dict[str, Params]) -> dict[str, Params]:
    """Parameters with the explorer's actor and critic in the place of the task's."""
    return {**params, "actor": params["explorer_actor"], "critic": params["explorer_critic"]}
