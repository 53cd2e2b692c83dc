"""Imagination: rolling the policy out inside the world model by ``lax.scan`` over the latent state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from dreamjax.algorithms.actions import Policy
from dreamjax.algorithms.distributions import SYMLOG_LIMIT, continue_probability, scalar_decode
from dreamjax.algorithms.randomness import step_keys
from dreamjax.models.fast.steps import imagine_step
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
    symlog_limit: float = SYMLOG_LIMIT,
) -> tuple[Imagination, Any]:
    """Imagines ``horizon`` steps from each start. Every output is stop-gradient.

    ``feat[0]`` is that of the start. Legal actions are those of the real mask at the start and of predicted masks
    (probability above 1/2) afterwards. Rewards and continuation are computed for all states at once, after the scan.

    Args:
        world_model, params: the world model.
        policy_fn: ``(feat [N, F], mask [N, C] or None) -> (Policy, aux)``; ``aux`` is any pytree of ``[N, ...]``, or None.
        start: replayed posterior states ``[N, ...]``.
        keys: typed ``[N]``, one a rollout; folded by time step. row: int32 ``[N]`` global index of the rollout.
        horizon: H.
        start_mask: bool ``[N, C]`` legal actions at the start, or None.
        gamma, cont_discount: see ``continue_probability``.
        symlog_limit: of the reward head's bins.

    Returns:
        The rollouts, and the ``aux`` of all steps stacked like the features: leaves ``[N, H+1, ...]``, 0 at the last.
    """
    start = jax.tree.map(jax.lax.stop_gradient, start)
    chex.assert_equal_shape_prefix([start.deter, keys, row], 1)
    imagine_one = imagine_step(world_model, params)

    def legal(feat: jax.Array) -> jax.Array | None:
        return None if world_model.mask is None else world_model.mask(params, feat) > 0

    def step(
        carry: tuple[RSSMState, jax.Array, jax.Array | None, jax.Array], t: jax.Array
    ) -> tuple[tuple[RSSMState, jax.Array, jax.Array | None, jax.Array], tuple[Any, ...]]:
        state, feat, mask, feats = carry
        split = jax.vmap(jax.random.split)(step_keys(keys, t))
        policy, aux = policy_fn(feat, mask)
        action = policy.sample(split[:, 0])
        following, _ = imagine_one(state, action, split[:, 1])
        feat = world_model.feat(following)
        feats = jax.lax.dynamic_update_index_in_dim(feats, feat, t + 1, 1)
        return (following, feat, legal(feat), feats), (action, policy.log_prob(action), mask, aux)

    feat = world_model.feat(start)
    # Features are carried and written in place: a scan stacks its outputs time-major, and transposing them is a copy.
    feats = jnp.zeros((feat.shape[0], horizon + 1, feat.shape[1]), feat.dtype).at[:, 0].set(feat)
    first_mask = start_mask if start_mask is not None else legal(feat)
    (*_, last_mask, feats), (actions, log_probs, masks, aux) = jax.lax.scan(
        step, (start, feat, first_mask, feats), jnp.arange(horizon)
    )
    actions, log_probs = jnp.swapaxes(actions, 0, 1), jnp.swapaxes(log_probs, 0, 1)
    if masks is not None and last_mask is not None:
        masks = jnp.swapaxes(jnp.concatenate([masks, last_mask[None]], 0), 0, 1)

    rollouts = Imagination(
        feat=feats,
        action=actions,
        log_prob=log_probs,
        mask=masks,
        reward=scalar_decode(world_model.reward(params, feats), symlog_limit),
        cont=continue_probability(world_model.cont(params, feats), gamma=gamma, cont_discount=cont_discount),
        row=row,
    )
    # As many steps as features have, so that features need not be sliced (and copied) where both are used.
    aux = jax.tree.map(lambda x: jnp.swapaxes(jnp.concatenate([x, jnp.zeros_like(x[:1])]), 0, 1), aux)
    return jax.tree.map(jax.lax.stop_gradient, (rollouts, aux))


def imagine_actions(
    world_model: WorldModel, params: Params, start: RSSMState, actions: jax.Array, keys: jax.Array
) -> RSSMState:
    """Prior states ``[B, T, ...]`` reached by given action vectors ``[B, T, A]``: open-loop prediction."""
    imagine_one = imagine_step(world_model, params)

    def step(state: RSSMState, inputs: tuple[jax.Array, jax.Array]) -> tuple[RSSMState, RSSMState]:
        t, action = inputs
        following, _ = imagine_one(state, action, step_keys(keys, t))
        return following, following

    _, states = jax.lax.scan(step, start, (jnp.arange(actions.shape[1]), jnp.swapaxes(actions, 0, 1)))
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), states)
