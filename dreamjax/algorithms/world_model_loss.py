"""Filtering a replayed window with the world model, and the losses that train it (DreamerV3, eqs. 1-4)."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from dreamjax.algorithms.actions import action_vector
from dreamjax.algorithms.distributions import binary_loss, observation_loss, scalar_decode, scalar_loss, weighted_sum
from dreamjax.algorithms.randomness import row_keys, step_keys
from dreamjax.config import LossConfig
from dreamjax.models.encoders import preprocess
from dreamjax.models.fast.steps import observe_steps
from dreamjax.models.rssm import reset_where
from dreamjax.types import MASK_KEY, Batch, EnvSpec, Metrics, Params, RSSMState, WorldModel

sg = jax.lax.stop_gradient


class Posterior(NamedTuple):
    """Filtered states of a window: ``state`` and ``logit``, all ``[B, T, ...]``."""

    state: RSSMState
    logit: jax.Array


def observe_window(
    world_model: WorldModel,
    params: Params,
    embed: jax.Array,
    action: jax.Array,
    is_first: jax.Array,
    start: RSSMState,
    prev_action: jax.Array,
    keys: jax.Array,
) -> Posterior:
    """``post[t] = observe(post[t-1], action[t-1], embed[t], is_first[t])`` for a whole window, by ``lax.scan``.

    Only sequential work runs inside the scan; embeddings come in, priors are computed from ``deter`` afterwards.

    Args:
        world_model: the functions. params: their parameters.
        embed: ``[B, T, E]``. action: float32 ``[B, T, A]``, ``action[:, t]`` chosen from step ``t``.
        is_first: bool ``[B, T]``.
        start: the state before the window, ``[B, ...]``; prev_action: float32 ``[B, A]`` chosen there.
        keys: typed ``[B]``, one a row; folded by time step.
    """
    chex.assert_equal_shape_prefix([embed, action, is_first], 2)
    previous = jnp.concatenate([prev_action[:, None], action[:, :-1]], 1)
    keys_at = lambda t: step_keys(keys, t)  # noqa: E731
    return Posterior(*observe_steps(world_model, params, start, embed, previous, is_first, keys_at))


def window_inputs(
    world_model: WorldModel, spec: EnvSpec, batch: Batch
) -> tuple[jax.Array, jax.Array, RSSMState, jax.Array]:
    """Action vectors, ``is_first``, start state and previous action of a batch, for ``observe_window``.

    Without stored latents a window starts from the initial state, whether or not an episode starts there.
    """
    action = action_vector(spec.action, batch.action)
    prev_action = action_vector(spec.action, batch.prev_action)
    size = batch.reward.shape[0]
    initial = world_model.initial(size)
    if batch.context is None:
        return action, jnp.asarray(batch.is_first).at[:, 0].set(True), initial, prev_action
    context = jax.tree.map(lambda x, like: x.astype(like.dtype), batch.context, initial)
    return action, batch.is_first, context, prev_action


def world_model_loss(
    params: Params,
    world_model: WorldModel,
    spec: EnvSpec,
    loss: LossConfig,
    batch: Batch,
    key: jax.Array,
    *,
    symlog: bool,
) -> tuple[jax.Array, jax.Array, tuple[Posterior, jax.Array, Metrics]]:
    """The world model's loss on a batch of windows.

    The sum of reconstructions, reward, continue, ``dyn = KL(sg(post) || prior)`` and ``rep = KL(post || sg(prior))``. KLs
    are summed over latents, then clipped from below at the free nats. Losses sum over event dimensions and average over
    ``[B, T]``. The continue target is ``1 - is_terminal``, times the discount where configured; truncation is not
    termination.

    Args:
        params: of the world model; the gradient is for these.
        loss: scales and constants. symlog: whether vectors are predicted in symlog space.
        key: of this update; folded by the batch's global rows.

    Returns:
        The loss ``[]``, the features ``[B, T, F]`` of the posterior states, through which gradients flow, and (posterior,
        loss by step float32 ``[B, T]``, metrics), through which none does.
    """
    chex.assert_rank([batch.reward, batch.is_first, batch.is_terminal], 2)
    obs = preprocess(spec.obs, batch.obs)
    action, is_first, start, prev_action = window_inputs(world_model, spec, batch)
    embed = world_model.embed(params, obs)
    keys = row_keys(key, batch.row)
    post = observe_window(world_model, params, embed, action, is_first, start, prev_action, keys)
    prior_logit = world_model.prior_logit(params, post.state.deter)
    feat = world_model.feat(post.state)

    dyn_kl = world_model.kl(sg(post.logit), prior_logit)
    rep_kl = world_model.kl(post.logit, sg(prior_logit))
    losses = {"dyn": jnp.maximum(dyn_kl, loss.free_nats), "rep": jnp.maximum(rep_kl, loss.free_nats)}
    weights = {"dyn": loss.dyn, "rep": loss.rep, "reward": loss.reward, "cont": loss.cont}

    reward_outputs = world_model.reward(params, feat)
    losses["reward"] = scalar_loss(reward_outputs, batch.reward, loss.symlog_limit)
    cont_target = 1.0 - batch.is_terminal.astype(jnp.float32)
    if loss.cont_discount:
        cont_target *= loss.gamma
    losses["cont"] = binary_loss(world_model.cont(params, feat), cont_target)

    previous = jax.tree.map(lambda s, x: jnp.concatenate([s[:, None], x[:, :-1]], 1), start, post.state)
    taken = jnp.concatenate([prev_action[:, None], action[:, :-1]], 1)
    previous, taken = reset_where(is_first, previous, taken)
    predictions = world_model.predict(params, previous, taken, post.state)
    known = jnp.ones_like(batch.reward)  # 0 where the prediction would read a previous state that there is not
    if world_model.needs_previous and batch.context is None:
        known = known.at[:, 0].set(jnp.asarray(batch.is_first, known.dtype)[:, 0])
    if world_model.mask is not None:
        predictions = {**predictions, MASK_KEY: world_model.mask(params, feat)}
    for name, prediction in predictions.items():
        losses[f"rec_{name}"] = known * observation_loss(spec.obs[name], prediction, obs[name], symlog)
        weights[f"rec_{name}"] = loss.rec

    chex.assert_shape(list(losses.values()), batch.reward.shape)
    by_step = weighted_sum(losses, weights)
    total = jnp.mean(by_step)

    metrics = {f"train/loss/{name}": jnp.mean(value) for name, value in losses.items()}
    metrics["train/world_model_loss"] = total
    metrics["train/kl"] = jnp.mean(dyn_kl)
    metrics["train/prior_entropy"] = jnp.mean(world_model.entropy(prior_logit))
    metrics["train/post_entropy"] = jnp.mean(world_model.entropy(post.logit))
    metrics["train/reward_error"] = jnp.mean(jnp.abs(scalar_decode(reward_outputs, loss.symlog_limit) - batch.reward))
    return total, feat, (jax.tree.map(sg, post), sg(by_step), metrics)
