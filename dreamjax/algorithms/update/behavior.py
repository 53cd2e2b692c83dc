"""The actor-critic phase of an update: imagined rollouts, and what an actor and a critic learn from them."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from dreamjax.algorithms.actions import Policy, make_policy
from dreamjax.algorithms.actor_critic import actor_loss, critic_loss, imagined_returns, replay_returns
from dreamjax.algorithms.distributions import scalar_decode
from dreamjax.algorithms.imagination import imagine
from dreamjax.algorithms.micro_batches import accumulate
from dreamjax.algorithms.normalization import normalizer_scale, update_normalizer
from dreamjax.algorithms.randomness import row_keys
from dreamjax.algorithms.returns import step_weights
from dreamjax.algorithms.update import fast
from dreamjax.algorithms.update.state import Behavior, Learner
from dreamjax.algorithms.world_model_loss import Posterior
from dreamjax.buffers import imagination_buffer
from dreamjax.config import ReplayConfig
from dreamjax.types import MASK_KEY, Batch, Imagination, Metrics, NormalizerState, Params, RSSMState

T = TypeVar("T")
sg = jax.lax.stop_gradient


class ReplayedSteps(NamedTuple):
    """The replayed steps that rollouts begin from, ``[B, t, ...]``: the last ``imagination.last`` of each window.

    Attributes:
        reward, is_last, is_terminal: as in ``Batch``.
    """

    reward: jax.Array
    is_last: jax.Array
    is_terminal: jax.Array


class BehaviorUpdate(NamedTuple):
    """What the actor-critic phase gives: gradients, metrics, the moved percentiles of returns, and by replayed step the
    value's error float32 ``[B, t]``.

    ``feat_grad``: gradient ``[B, T, F]`` of the value loss on replayed steps by the features of their posterior states.
    """

    actor_grad: Params
    critic_grad: Params
    feat_grad: jax.Array
    metrics: Metrics
    retnorm: NormalizerState
    value_error: jax.Array


class CriticOutputs(NamedTuple):
    """By rollout the returns float32 ``[N, H]`` and values ``[N, H+1]``, by replayed step the value's error ``[B, t]``."""

    returns: jax.Array
    value: jax.Array
    error: jax.Array


def last_steps(tree: T, count: int) -> T:
    """The last ``count`` time steps (0: all) of leaves ``[B, T, ...]``, flattened to ``[B * count, ...]``."""
    return jax.tree.map(lambda x: x[:, -count:].reshape(-1, *x.shape[2:]), tree)


def add_value_error(replay: ReplayConfig, priority: jax.Array, error: jax.Array) -> jax.Array:
    """Priorities float32 ``[B, T]`` with the value's error ``[B, t]`` of the last steps added.

    Where actor and critic learn from some of the windows only, priorities are the world-model loss.
    """
    if replay.uniform_fraction:
        return priority
    return priority + jnp.pad(error, ((0, 0), (priority.shape[1] - error.shape[1], 0)))


def dream(
    learner: Learner, model: Params, actor: Params, batch: Batch, post: Posterior, key: jax.Array
) -> fast.Rollouts:
    """Rollouts of the actor inside the world model, from every replayed state (or the last of each window).

    Args:
        model, actor: parameters of the world model and of the actor. batch, post: windows and their posterior states.
        key: of this phase; not consumed, folded by the start's place in the global batch.
    """
    last = learner.imagination.last

    def micro(part: tuple[Batch, RSSMState]) -> tuple[None, fast.Rollouts]:
        window, states = part
        length = window.reward.shape[1]
        rows = window.row[:, None] * length + jnp.arange(length, dtype=jnp.int32)[None]
        mask = None
        if learner.networks.world_model.mask is not None:
            mask = last_steps(window.obs[MASK_KEY] > 0, last)
        ended = last_steps(window.is_terminal, last)
        start, rows = last_steps((states, rows), last)
        return None, imagine_from(learner, model, actor, start, rows, mask, ended, key)

    return accumulate(micro, (batch, post.state), learner.micro_batches)[1]


def imagine_from(
    learner: Learner,
    model: Params,
    actor: Params,
    start: RSSMState,
    row: jax.Array,
    mask: jax.Array | None,
    ended: jax.Array,
    key: jax.Array,
) -> fast.Rollouts:
    """Rollouts of the actor from ``start`` ``[N, ...]``.

    Args:
        row: int32 ``[N]`` index of each start in the global batch. mask: bool ``[N, C]`` legal actions there, or None.
        ended: bool ``[N]``, whether the replayed episode terminated there.
    """
    policy_outputs = fast.policy_outputs(learner, actor)

    def policy_fn(feat: jax.Array, mask: jax.Array | None) -> tuple[Policy, Any]:
        outputs, activations = policy_outputs(feat)
        return make_policy(learner.spec.action, outputs, mask, learner.actor), activations

    rollouts, activations = imagine(
        learner.networks.world_model,
        model,
        policy_fn,
        start,
        keys=row_keys(key, row),
        row=row,
        horizon=learner.horizon,
        start_mask=mask,
        gamma=learner.loss.gamma,
        cont_discount=learner.loss.cont_discount,
        symlog_limit=learner.loss.symlog_limit,
    )
    cont = rollouts.cont.at[:, 0].set(start_continuation(learner, rollouts.cont[:, 0], ended))
    return fast.Rollouts(dataclasses.replace(rollouts, cont=cont), activations)


def start_continuation(learner: Learner, predicted: jax.Array, ended: jax.Array) -> jax.Array:
    """What weighs each rollout's first step, float32 ``[N]``: the truth, or what the head predicts.

    The published code takes the head's prediction as it is, discount included where that is in its target.
    """
    if learner.imagination.start_cont == "true":
        return 1.0 - ended.astype(jnp.float32)
    return predicted * (learner.loss.gamma if learner.loss.cont_discount else 1.0)


def example_rollout(learner: Learner, model: Params, actor: Params) -> Imagination:
    """One rollout from a state of zeros, for its shapes."""
    start = learner.networks.world_model.initial(1)
    obs = learner.spec.obs
    mask = jnp.ones((1, obs[MASK_KEY].size), bool) if MASK_KEY in obs else None
    row, ended, key = jnp.zeros((1,), jnp.int32), jnp.zeros((1,), bool), jax.random.key(0)
    return imagine_from(learner, model, actor, start, row, mask, ended, key).rollouts


def through_ring(
    ring: imagination_buffer.ImaginationRing, dreamed: fast.Rollouts, key: jax.Array, axis_name: str | None
) -> tuple[imagination_buffer.ImaginationRing, fast.Rollouts]:
    """Adds fresh rollouts of all devices to the ring, and draws as many from it for this device to learn from."""
    rollouts, count = dreamed.rollouts, dreamed.rollouts.row.shape[0]
    index = jnp.zeros((), jnp.int32)
    if axis_name is not None:
        rollouts = jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), rollouts)
        index = jax.lax.axis_index(axis_name)
    ring = imagination_buffer.add(ring, rollouts)
    rows = index * count + jnp.arange(count, dtype=jnp.int32)
    drawn = imagination_buffer.draw(ring, row_keys(key, rows))
    return ring, fast.Rollouts(dataclasses.replace(drawn, row=rows), None)


def behavior_phase(
    learner: Learner,
    behavior: Behavior,
    dreamed: fast.Rollouts,
    batch: Batch,
    post: Posterior,
    *,
    axis_name: str | None,
) -> BehaviorUpdate:
    """Gradients of an actor and its critic from imagined rollouts, and of the critic from the replayed steps as well.

    The critic comes first: its values make the returns, whose percentiles, over the whole batch and all devices, scale the
    advantages of the actor.
    """
    feat = learner.networks.world_model.feat(post.state)
    steps = ReplayedSteps(batch.reward, batch.is_last, batch.is_terminal)
    recent, steps = jax.tree.map(lambda x: x[:, -learner.imagination.last :], (feat, steps))
    rollouts = dreamed.rollouts
    parts = fast.behavior_parts(rollouts.reward.shape, steps.reward.shape[0], least=learner.micro_batches)

    def critic_micro(part: tuple[jax.Array, Imagination, ReplayedSteps]) -> tuple[Any, tuple[CriticOutputs, jax.Array]]:
        grad_fn = jax.grad(critic_losses, argnums=(1, 2), has_aux=True)
        feat, *rest = part
        (grad, feat_grad), (metrics, outputs) = grad_fn(learner, behavior.critic, feat, behavior.slow_critic, *rest)
        # A part's mean over its own steps: its share of the mean over all.
        return (grad, metrics), (outputs, feat_grad / parts)

    (critic_grad, metrics), (critic, feat_grad) = accumulate(critic_micro, (recent, rollouts, steps), parts)
    feat_grad = jnp.pad(feat_grad, ((0, 0), (feat.shape[1] - recent.shape[1], 0), (0, 0)))
    retnorm, scale = return_scale(learner, behavior.retnorm, critic.returns, axis_name=axis_name)

    def actor_micro(part: tuple[fast.Rollouts, CriticOutputs]) -> tuple[Any, None]:
        return jax.grad(actor_losses, argnums=1, has_aux=True)(learner, behavior.actor, *part, scale), None

    (actor_grad, actor_metrics), _ = accumulate(actor_micro, (dreamed, critic), parts)
    metrics = (
        metrics
        | actor_metrics
        | {
            "imagination/return": jnp.mean(critic.returns[:, 0]),
            "imagination/reward": jnp.mean(jnp.sum(rollouts.reward[:, 1:], 1)),
            "imagination/cont": jnp.mean(rollouts.cont[:, 1:]),
            "imagination/value": jnp.mean(critic.value),
            "imagination/return_scale": scale,
        }
    )
    return BehaviorUpdate(actor_grad, critic_grad, feat_grad, metrics, retnorm, critic.error)


def return_scale(
    learner: Learner, retnorm: NormalizerState, returns: jax.Array, *, axis_name: str | None
) -> tuple[NormalizerState, jax.Array]:
    """Percentiles moved by these returns, and the range float32 ``[]`` that advantages are divided by (1: not at all)."""
    loss, rate = learner.loss, learner.loss.return_norm_rate
    retnorm = update_normalizer(retnorm, returns, rate=rate, axis_name=axis_name)
    if loss.return_norm == "none":
        return retnorm, jnp.ones(())
    scale = normalizer_scale(retnorm, rate=rate, limit=loss.return_norm_limit, debias=loss.return_norm_debias)
    return retnorm, scale


def critic_losses(
    learner: Learner, params: Params, feat: jax.Array, slow_params: Params, rollouts: Imagination, steps: ReplayedSteps
) -> tuple[jax.Array, tuple[Metrics, CriticOutputs]]:
    """The critic's loss on rollouts and on replayed steps, float32 ``[]``.

    The gradient flows to ``params``, and, by the replayed steps, to their features ``feat`` ``[B, t, F]`` where
    ``critic.replay_gradient`` is set.
    """
    apply, loss, config = learner.networks.critic.apply, learner.loss, learner.critic
    # The last state takes part in no loss: returns bootstrap from its value.
    outputs, slow = apply(params, rollouts.feat), apply(slow_params, rollouts.feat)
    returns, value = imagined_returns(
        outputs,
        slow,
        rollouts,
        gamma=loss.gamma,
        lam=loss.lam,
        slow_target=config.slow_target,
        symlog_limit=loss.symlog_limit,
    )
    towards = dict(slow_regularizer=config.slow_regularizer, symlog_limit=loss.symlog_limit)
    weight = step_weights(rollouts.cont[:, :-1], gamma=loss.gamma)
    losses = {"critic": critic_loss(outputs[:, :-1], slow[:, :-1], returns, weight, **towards)}

    if not config.replay_gradient:
        feat = sg(feat)
    if learner.imagination.use_ring:  # rollouts do not begin at these steps
        outputs, slow = apply(params, feat), apply(slow_params, feat)
        bootstrap = scalar_decode(outputs, loss.symlog_limit)
    else:
        outputs, slow = (x[:, 0].reshape(*steps.reward.shape, -1) for x in (outputs, slow))
        bootstrap = returns[:, 0].reshape(steps.reward.shape)
        if config.replay_gradient:  # the same values, with a gradient to the features
            outputs = apply(params, feat)
    targets = replay_returns(
        steps.reward, steps.is_last, steps.is_terminal, sg(bootstrap), gamma=loss.gamma, lam=loss.lam
    )
    live = 1.0 - steps.is_last[:, :-1].astype(jnp.float32)
    error = jnp.abs(targets - scalar_decode(outputs, loss.symlog_limit)[:, :-1]) * live
    total = losses["critic"]
    if config.replay_scale:
        losses["critic_replay"] = critic_loss(outputs[:, :-1], slow[:, :-1], targets, live, **towards)
        total += config.replay_scale * losses["critic_replay"]
    metrics = {f"train/loss/{name}": value for name, value in losses.items()}
    return total, (metrics, CriticOutputs(returns, value, sg(jnp.pad(error, ((0, 0), (0, 1))))))


def actor_losses(
    learner: Learner, params: Params, dreamed: fast.Rollouts, critic: CriticOutputs, scale: jax.Array
) -> tuple[jax.Array, Metrics]:
    """The actor's loss on rollouts, float32 ``[]``; the gradient flows to ``params`` alone."""
    rollouts = dreamed.rollouts
    outputs = fast.policy_outputs_again(learner, params, dreamed)
    mask = None if rollouts.mask is None else rollouts.mask[:, :-1]
    loss, metrics = actor_loss(
        make_policy(learner.spec.action, outputs[:, :-1], mask, learner.actor),
        rollouts,
        critic.returns,
        critic.value,
        scale,
        gamma=learner.loss.gamma,
        entropy_scale=learner.actor.entropy,
        off_policy=learner.imagination.use_ring,
    )
    return loss, metrics | {"train/loss/actor": loss}
