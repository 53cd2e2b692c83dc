"""Losses of actor and critic from searching the states of replayed windows; see ``dreamjax.algorithms.search``."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.algorithms.actor_critic import critic_loss
from dreamjax.algorithms.distributions import action_vector, make_policy, scalar_decode
from dreamjax.algorithms.planning import latent_simulator
from dreamjax.algorithms.randomness import row_keys
from dreamjax.algorithms.search import (
    Candidates,
    Searched,
    candidates,
    distillation_loss,
    evaluate_candidates,
    joint_actions,
    tree_backup,
)
from dreamjax.algorithms.tree_search import propose, tree_search
from dreamjax.config import Config
from dreamjax.models.heads import Networks
from dreamjax.types import MASK_KEY, Batch, EnvSpec, Metrics, Params, RSSMState


class SearchTargets(NamedTuple):
    """Targets of a batch ``[B, T]``, flat over ``N = B T`` states where they are by candidate; all stop-gradient.

    Attributes:
        feat: ``[B, T, F]``. mask: bool ``[N, C]`` or None. tried, found: the search.
        value: float32 ``[B, T]``, the critic's target.
    """

    feat: jax.Array
    mask: jax.Array | None
    tried: Candidates
    found: Searched
    value: jax.Array


def last_states(batch: Batch, state: RSSMState, count: int) -> tuple[Batch, RSSMState]:
    """The last ``count`` steps (0: all) of windows and their states."""
    if count == 0:
        return batch, state
    cut = dataclasses.replace(batch, row=None, prev_action=None, context=None, weight=None)
    cut, state = jax.tree.map(lambda x: x[:, -count:], (cut, state))
    return dataclasses.replace(cut, row=batch.row, prev_action=batch.prev_action), state


def search_targets(
    networks: Networks,
    config: Config,
    spec: EnvSpec,
    params: dict[str, Params],
    slow_critic: Params,
    batch: Batch,
    state: RSSMState,
    key: jax.Array,
) -> SearchTargets:
    """Searches every state ``[B, T]`` of the batch; values bootstrap from the critic (or the slow one, as configured).

    ``batch`` and ``state`` are what ``last_states`` leaves of them.
    """
    batch_size, length = batch.reward.shape
    world_model, actor, critic = networks[:3]
    state = jax.lax.stop_gradient(state)
    feat = world_model.feat(state)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), state)
    mask = batch.obs[MASK_KEY].reshape(batch_size * length, -1) > 0 if MASK_KEY in spec.obs else None
    rows = batch.row[:, None] * length + jnp.arange(length, dtype=jnp.int32)[None]
    split = jax.vmap(jax.random.split)(row_keys(key, rows.reshape(-1)))
    policy = make_policy(spec.action, actor.apply(params["actor"], world_model.feat(flat)), mask, config.actor)
    taken = action_vector(spec.action, batch.action).reshape(batch_size * length, -1)
    source = slow_critic if config.critic.slow_target else params["critic"]
    value_fn = lambda feat: scalar_decode(critic.apply(source, feat), config.loss.reach)  # noqa: E731
    joint = joint_actions(spec.action)
    if config.search.method == "tree":
        proposal = propose(policy, joint, config.search.actions, split[:, 0], noise=True, taken=taken)
        simulator = latent_simulator(networks, config, spec, params, source)
        tree = tree_search(
            simulator, spec.action, flat, proposal, value_fn(feat.reshape(-1, feat.shape[-1])), split[:, 1],
            config.planner, config.search.simulations,
        )  # fmt: skip
        tried = Candidates(action_vector(spec.action, proposal.record), proposal.log_prior, proposal.legal)
        found = Searched(tree.q, tree.weight, tree.value)
    else:
        tried = candidates(policy, joint, config.search.actions, split[:, 0], taken)
        found = evaluate_candidates(world_model, params["world_model"], value_fn, flat, tried, split[:, 1], config)
    value = tree_backup(
        found.value.reshape(batch_size, length),
        found.q[:, 0].reshape(batch_size, length),
        jnp.maximum(found.weight[:, 0], config.search.trace).reshape(batch_size, length),
        batch.reward,
        batch.is_last,
        batch.is_terminal,
        gamma=config.loss.gamma,
        lam=config.loss.lam,
    )
    return jax.lax.stop_gradient(SearchTargets(feat, mask, tried, found, value))


def search_loss(
    trained: tuple[Params, Params],
    slow_critic: Params,
    networks: Networks,
    config: Config,
    spec: EnvSpec,
    batch: Batch,
    targets: SearchTargets,
) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
    """Distils the search into the actor and its values into the critic, at every step that is acted from.

    Args:
        trained: parameters of actor and critic; the gradient is for these.

    Returns:
        The loss ``[]`` and (metrics, error of the value by step float32 ``[B, T]``).
    """
    live = 1.0 - batch.is_last.astype(jnp.float32)
    flat_feat = targets.feat.reshape(-1, targets.feat.shape[-1])
    policy = make_policy(spec.action, networks.actor.apply(trained[0], flat_feat), targets.mask, config.actor)
    distil = distillation_loss(policy, targets.tried, targets.found) - config.actor.entropy * policy.entropy()
    actor_loss = jnp.mean(live * distil.reshape(live.shape))
    outputs = networks.critic.apply(trained[1], targets.feat)
    slow = networks.critic.apply(slow_critic, targets.feat)
    value_loss = critic_loss(outputs, slow, targets.value, live, config)
    value = scalar_decode(outputs, config.loss.reach)
    error = jax.lax.stop_gradient(jnp.abs(value - targets.value) * live)
    found, tried = targets.found, targets.tried
    best = jnp.argmax(jnp.where(tried.legal, found.q, -jnp.inf), 1)
    likely = jnp.argmax(jnp.where(tried.legal, tried.log_prob, -jnp.inf), 1)
    metrics = {
        "train/loss/actor_search": actor_loss,
        "train/loss/critic_search": value_loss,
        "train/actor_entropy": jnp.mean(policy.entropy()),
        "search/value": jnp.mean(found.value),
        "search/target": jnp.mean(targets.value),
        "search/value_error": jnp.mean(error),
        "search/agreement": jnp.mean((best == likely).astype(jnp.float32)),
        "search/model_bias": jnp.mean(live * (targets.value - found.value.reshape(live.shape))),
        "imagination/return": jnp.mean(found.value),
    }
    return actor_loss + value_loss, (metrics, error)
