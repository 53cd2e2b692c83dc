"""Imagination: rolling the policy out inside the world model by ``lax.scan`` over the latent state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from dreamjax.algorithms.distributions import REACH, Policy, scalar_decode
from dreamjax.algorithms.randomness import step_keys
from dreamjax.types import Imagination, Params, RSSMState, WorldModel

PolicyFn = Callable[[jax.Array, jax.Array | None], tuple[Policy, Any]]


def imagine(
    world_model: WorldModel,
    params: Params,
    policy_fn: PolicyFn,
    start: RSSMState,
    *,
    keys: jax.Array,
    row: jax.Array,
    horizon: int,
    start_mask: jax.Array | None = None,
    gamma: float,
    cont_discount: bool,
    reach: float = REACH,
) -> Imagination:
    """Imagines ``horizon`` steps from each start. Nothing here is differentiated; every output is stop-gradient.

    ``feat[0]`` is the start's own. Legal actions are the real mask at the start, predicted masks (probability above one
    half) after it. Rewards and continuation are computed for all states in one product each, outside the scan.

    Args:
        world_model, params: the world model.
        policy_fn: ``(feat [N, F], mask [N, C] or None) -> (Policy, products)``; the latter are kept with the rollouts.
        start: replayed posterior states ``[N, ...]``.
        keys: typed ``[N]``, one a rollout; folded by time step. row: int32 ``[N]`` global index of the rollout.
        horizon: H.
        start_mask: bool ``[N, C]`` legal actions at the start, or None.
        gamma, cont_discount: whether, and with what discount, the continue head's target was multiplied; it is divided
            out again here.
        reach: of the reward head's bins.
    """
    start = jax.tree.map(jax.lax.stop_gradient, start)
    chex.assert_equal_shape_prefix([start.deter, keys, row], 1)
    params = world_model.prepare(params)

    def legal(feat: jax.Array) -> jax.Array | None:
        return None if world_model.mask is None else world_model.mask(params, feat) > 0

    def step(
        carry: tuple[RSSMState, jax.Array, jax.Array | None, jax.Array], t: jax.Array
    ) -> tuple[tuple[RSSMState, jax.Array, jax.Array | None, jax.Array], tuple[Any, ...]]:
        state, feat, mask, feats = carry
        split = jax.vmap(jax.random.split)(step_keys(keys, t))
        policy, products = policy_fn(feat, mask)
        action = policy.sample(split[:, 0])
        following, _ = world_model.imagine(params, state, action, split[:, 1])
        feat = world_model.feat(following)
        feats = jax.lax.dynamic_update_index_in_dim(feats, feat, t + 1, 1)
        return (following, feat, legal(feat), feats), (action, policy.log_prob(action), mask, products)

    feat = world_model.feat(start)
    # Features are carried and written in place: what a scan stacks comes by time, and turning that round copies it.
    feats = jnp.zeros((feat.shape[0], horizon + 1, feat.shape[1]), feat.dtype).at[:, 0].set(feat)
    first_mask = start_mask if start_mask is not None else legal(feat)
    (*_, last_mask, feats), (actions, log_probs, masks, products) = jax.lax.scan(
        step, (start, feat, first_mask, feats), jnp.arange(horizon)
    )
    actions, log_probs = jnp.swapaxes(actions, 0, 1), jnp.swapaxes(log_probs, 0, 1)
    if masks is not None and last_mask is not None:
        masks = jnp.swapaxes(jnp.concatenate([masks, last_mask[None]], 0), 0, 1)

    cont = jax.nn.sigmoid(world_model.cont(params, feats))
    if cont_discount:
        cont = jnp.minimum(cont / gamma, 1.0)
    rollouts = Imagination(
        feat=feats,
        action=actions,
        log_prob=log_probs,
        mask=masks,
        reward=scalar_decode(world_model.reward(params, feats), reach),
        cont=cont,
        row=row,
        # As many as there are features, so that these need not be cut (and copied) where both are used.
        products=jax.tree.map(lambda x: jnp.swapaxes(jnp.concatenate([x, jnp.zeros_like(x[:1])]), 0, 1), products),
    )
    return jax.tree.map(jax.lax.stop_gradient, rollouts)


def imagine_actions(
    world_model: WorldModel, params: Params, start: RSSMState, actions: jax.Array, keys: jax.Array
) -> RSSMState:
    """Prior states ``[B, T, ...]`` reached by given action vectors ``[B, T, A]``: open-loop prediction."""
    params = world_model.prepare(params)

    def step(state: RSSMState, inputs: tuple[jax.Array, jax.Array]) -> tuple[RSSMState, RSSMState]:
        t, action = inputs
        following, _ = world_model.imagine(params, state, action, step_keys(keys, t))
        return following, following

    _, states = jax.lax.scan(step, start, (jnp.arange(actions.shape[1]), jnp.swapaxes(actions, 0, 1)))
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), states)
