"""Losses of the actor and the critic, on imagined rollouts and on replayed steps (DreamerV3, eqs. 5-8)."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from dreamjax.algorithms.actions import Policy
from dreamjax.algorithms.distributions import scalar_decode, scalar_loss
from dreamjax.algorithms.returns import lambda_return, step_weights
from dreamjax.types import Imagination, Metrics

sg = jax.lax.stop_gradient


def imagined_returns(
    outputs: jax.Array,
    slow_outputs: jax.Array,
    rollouts: Imagination,
    *,
    gamma: float,
    lam: float,
    slow_target: bool,
    symlog_limit: float,
) -> tuple[jax.Array, jax.Array]:
    """Lambda-returns float32 ``[N, H]`` of imagined rollouts and the values ``[N, H+1]`` they bootstrap from.

    Args:
        outputs, slow_outputs: ``[N, H+1, bins]`` of the critic and the slow one. No gradient flows to either.
        gamma, lam: discount and mixing. slow_target: whether the slow critic gives the values.
        symlog_limit: of the critic's bins, see ``distributions.scalar_decode``.
    """
    value = scalar_decode(slow_outputs if slow_target else outputs, symlog_limit)
    returns = lambda_return(rollouts.reward, rollouts.cont, value, gamma=gamma, lam=lam)
    return sg(returns), sg(value)


def actor_loss(
    policy: Policy,
    rollouts: Imagination,
    returns: jax.Array,
    value: jax.Array,
    scale: jax.Array,
    *,
    gamma: float,
    entropy_scale: float,
    off_policy: bool,
) -> tuple[jax.Array, Metrics]:
    """REINFORCE with a baseline, normalized returns and an entropy bonus.

    ``-w[t] (log pi(a[t] | s[t]) sg((R[t] - v[t]) / scale) + entropy_scale H[pi(. | s[t])])``, averaged over rollouts
    and steps.
    Log-probability, entropy and baseline are those of the state the action was taken from.

    Args:
        policy: of ``feat[:, :-1]``; the gradient flows through it alone.
        rollouts: ``N`` rollouts of ``H`` steps.
        returns: float32 ``[N, H]``. value: float32 ``[N, H+1]``. scale: float32 ``[]``.
        gamma: discount of the weights ``w``.
        off_policy: weight by ``min(1, pi / mu)`` for rollouts of an older policy (V-trace's truncated weights).

    Returns:
        The loss ``[]`` and metrics.
    """
    chex.assert_equal_shape([returns, rollouts.log_prob])
    weight = step_weights(rollouts.cont[:, :-1], gamma=gamma)
    advantage = (returns - value[:, :-1]) / scale
    log_prob, entropy = policy.log_prob(rollouts.action), policy.entropy()
    chex.assert_equal_shape([log_prob, entropy, advantage])
    ratio = jnp.minimum(1.0, jnp.exp(sg(log_prob) - rollouts.log_prob)) if off_policy else jnp.ones(())
    target = sg(weight) * jnp.broadcast_to(ratio, weight.shape)
    loss = -target * log_prob * sg(advantage) - sg(weight) * entropy_scale * entropy
    metrics = {
        "train/actor_entropy": jnp.mean(entropy),
        "imagination/advantage_size": jnp.mean(jnp.abs(advantage)),
    }
    return jnp.mean(loss), metrics


def critic_loss(
    outputs: jax.Array,
    slow_outputs: jax.Array,
    target: jax.Array,
    weight: jax.Array,
    *,
    slow_regularizer: float,
    symlog_limit: float,
) -> jax.Array:
    """Loss of value predictions towards returns and towards the slow critic, weighted, averaged: float32 ``[]``.

    Args:
        outputs: ``[N, T, bins]`` of the critic; the gradient flows through it alone.
        slow_outputs: ``[N, T, bins]`` of the slow critic.
        target: float32 ``[N, T]``. weight: float32 ``[N, T]``. Both stop-gradient.
        slow_regularizer: scale of the loss towards the slow critic. symlog_limit: of the critic's bins.
    """
    chex.assert_equal_shape([target, weight])
    slow_value = scalar_decode(sg(slow_outputs), symlog_limit)
    loss = scalar_loss(outputs, target, symlog_limit)
    loss += slow_regularizer * scalar_loss(outputs, slow_value, symlog_limit)
    return jnp.mean(sg(weight) * loss)


def replay_returns(
    reward: jax.Array,
    is_last: jax.Array,
    is_terminal: jax.Array,
    value: jax.Array,
    *,
    gamma: float,
    lam: float,
) -> jax.Array:
    """Lambda-returns float32 ``[B, T-1]`` along replayed steps; ``value`` ``[B, T]`` bootstraps (imagined returns).

    A termination ends the return; a time limit bootstraps from the value and ends the mixing.
    """
    cont = 1.0 - is_terminal.astype(jnp.float32)
    returns = lambda_return(reward, cont, value, gamma=gamma, lam=lam, is_last=is_last)
    return sg(returns)
