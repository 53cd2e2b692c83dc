"""Losses of the actor and the critic, on imagined rollouts and on replayed steps (DreamerV3, eqs. 5-8)."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from dreamjax.algorithms.distributions import Policy, scalar_decode, scalar_loss
from dreamjax.algorithms.returns import lambda_return, step_weights
from dreamjax.config import Config
from dreamjax.types import Imagination, Metrics

sg = jax.lax.stop_gradient


def imagined_returns(
    outputs: jax.Array, slow_outputs: jax.Array, rollouts: Imagination, config: Config
) -> tuple[jax.Array, jax.Array]:
    """Lambda-returns float32 ``[N, H]`` of imagined rollouts and the values ``[N, H+1]`` they bootstrap from.

    Args:
        outputs, slow_outputs: ``[N, H+1, bins]`` of the critic and the slow one. No gradient flows to either.
    """
    value = scalar_decode(slow_outputs if config.critic.slow_target else outputs, config.loss.reach)
    returns = lambda_return(rollouts.reward, rollouts.cont, value, gamma=config.loss.gamma, lam=config.loss.lam)
    return sg(returns), sg(value)


def actor_loss(
    policy: Policy,
    rollouts: Imagination,
    returns: jax.Array,
    value: jax.Array,
    scale: jax.Array,
    config: Config,
    *,
    off_policy: bool,
) -> tuple[jax.Array, Metrics]:
    """REINFORCE with a baseline, normalised returns and an entropy bonus.

    ``-w[t] (log pi(a[t] | s[t]) sg((R[t] - v[t]) / scale) + entropy H[pi(. | s[t])])``, averaged over rollouts and steps.
    Log-probability, entropy and baseline are those of the state the action was taken from.

    Args:
        policy: of ``feat[:, :-1]``; the gradient flows through it alone.
        rollouts: ``N`` rollouts of ``H`` steps.
        returns: float32 ``[N, H]``. value: float32 ``[N, H+1]``. scale: float32 ``[]``.
        off_policy: weight by ``min(1, pi / mu)`` for rollouts of an older policy (V-trace's truncated weights).

    Returns:
        The loss ``[]`` and metrics.
    """
    chex.assert_equal_shape([returns, rollouts.log_prob])
    weight = step_weights(rollouts.cont[:, :-1], gamma=config.loss.gamma)
    advantage = (returns - value[:, :-1]) / scale
    log_prob, entropy = policy.log_prob(rollouts.action), policy.entropy()
    chex.assert_equal_shape([log_prob, entropy, advantage])
    ratio = jnp.minimum(1.0, jnp.exp(sg(log_prob) - rollouts.log_prob)) if off_policy else jnp.ones(())
    target = sg(weight) * jnp.broadcast_to(ratio, weight.shape)
    loss = -target * log_prob * sg(advantage) - sg(weight) * config.actor.entropy * entropy
    metrics = {
        "train/actor_entropy": jnp.mean(entropy),
        "imagination/advantage_size": jnp.mean(jnp.abs(advantage)),
    }
    return jnp.mean(loss), metrics


def imitation_loss(policy: Policy, action: jax.Array, is_last: jax.Array) -> jax.Array:
    """Mean of ``-log pi(a | s)`` over the replayed steps that are acted from: float32 ``[]``, nats.

    Where a planner collects, this teaches the actor what it did (expert iteration, Anthony et al. 2017).

    Args:
        policy: of ``B x T`` states; the gradient flows through it alone. action: vectors ``[B, T, A]``, what was done.
        is_last: bool ``[B, T]``.
    """
    live = 1.0 - is_last.astype(jnp.float32)
    return -jnp.mean(live * policy.log_prob(sg(action)))


def critic_loss(
    outputs: jax.Array, slow_outputs: jax.Array, target: jax.Array, weight: jax.Array, config: Config
) -> jax.Array:
    """Loss of value predictions towards returns and towards the slow critic, weighted, averaged: float32 ``[]``.

    Args:
        outputs: ``[N, T, bins]`` of the critic; the gradient flows through it alone.
        slow_outputs: ``[N, T, bins]`` of the slow critic.
        target: float32 ``[N, T]``. weight: float32 ``[N, T]``. Both stop-gradient.
    """
    chex.assert_equal_shape([target, weight])
    reach = config.loss.reach
    loss = scalar_loss(outputs, target, reach)
    loss += config.critic.slow_regulariser * scalar_loss(outputs, scalar_decode(sg(slow_outputs), reach), reach)
    return jnp.mean(sg(weight) * loss)


def replay_returns(
    reward: jax.Array, is_last: jax.Array, is_terminal: jax.Array, value: jax.Array, config: Config
) -> jax.Array:
    """Lambda-returns float32 ``[B, T-1]`` along replayed steps; ``value`` ``[B, T]`` bootstraps (imagined returns).

    A termination ends the return; a time limit bootstraps from the value and ends the mixing.
    """
    cont = 1.0 - is_terminal.astype(jnp.float32)
    returns = lambda_return(reward, cont, value, gamma=config.loss.gamma, lam=config.loss.lam, is_last=is_last)
    return sg(returns)
