"""The model that a planner looks ahead in: one step, and the actor's policy and the critic's value of its states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.algorithms.actions import Policy, make_policy
from dreamjax.algorithms.distributions import continue_probability, scalar_decode
from dreamjax.algorithms.exploration import disagreement_scale, mixed, state_disagreement
from dreamjax.config import ActorConfig, LossConfig
from dreamjax.models.heads import Networks
from dreamjax.types import ActionSpec, EnvSpec, NormalizerState, Params, RSSMState, WorldModel


class PlanningModel(NamedTuple):
    """Pure functions of ``N`` states, whatever a state is.

    Attributes:
        step: ``(state, action [N, A], keys [N]) -> (state, reward [N], discount [N])``. The reward is received on arriving;
            the discount is 0 where the episode ends.
        policy_and_value: ``(state) -> (policy, value [N])``; illegal actions have probability 0.
    """

    step: Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array, jax.Array]]
    policy_and_value: Callable[[Any], tuple[Policy, jax.Array]]


class DisagreementWeights(NamedTuple):
    """How the reward of a planned step depends on the ensemble's disagreement about it, all float32 ``[]``.

    Attributes:
        scale: unit of the disagreement, the moving 5th-to-95th-percentile range over imagined steps.
        intrinsic, extrinsic: weights of the disagreement, in that unit, and of the predicted reward.
    """

    scale: jax.Array
    intrinsic: jax.Array
    extrinsic: jax.Array


def disagreement_weights(
    percentiles: NormalizerState, *, rate: float, intrinsic: float, extrinsic: float
) -> DisagreementWeights:
    """Weights in the unit that the moving percentiles of disagreement give.

    Args:
        percentiles: ``ExplorerState.novelty``. rate: at which they move.
    """
    scale = disagreement_scale(percentiles, rate=rate)
    return DisagreementWeights(scale, jnp.float32(intrinsic), jnp.float32(extrinsic))


def apply_disagreement(reward: jax.Array, disagreement: jax.Array, weights: DisagreementWeights) -> jax.Array:
    """``extrinsic r + intrinsic d / scale`` float32 ``[...]``: the reward of planned steps for an explorer."""
    return mixed(reward, disagreement, weights.scale, intrinsic=weights.intrinsic, extrinsic=weights.extrinsic)


def reward_and_discount(
    world_model: WorldModel, params: Params, feat: jax.Array, loss: LossConfig
) -> tuple[jax.Array, jax.Array]:
    """Predictions at ``feat [..., F]``: the mean reward of arriving there, and the discount of what follows.

    Both are float32 ``[...]``. Where the continue head predicts ``gamma c`` (``loss.cont_discount``), ``gamma`` is divided
    out first, so that the discount is ``gamma c`` either way.
    """
    logit = world_model.cont(params, feat)
    cont = continue_probability(logit, gamma=loss.gamma, cont_discount=loss.cont_discount)
    return scalar_decode(world_model.reward(params, feat), loss.symlog_limit), loss.gamma * cont


def actor_and_critic(
    networks: Networks,
    spec: ActionSpec,
    params: dict[str, Params],
    feat: jax.Array,
    mask: jax.Array | None,
    *,
    actor: ActorConfig,
    symlog_limit: float,
) -> tuple[Policy, jax.Array]:
    """The actor's policy and the critic's value float32 ``[N]`` at ``feat [N, F]`` under ``mask`` bool ``[N, C]``."""
    policy = make_policy(spec, networks.actor.apply(params["actor"], feat), mask, actor)
    return policy, scalar_decode(networks.critic.apply(params["critic"], feat), symlog_limit)


def latent_model(
    networks: Networks,
    spec: EnvSpec,
    params: dict[str, Params],
    *,
    actor: ActorConfig,
    loss: LossConfig,
    disagreement: DisagreementWeights | None = None,
) -> PlanningModel:
    """The learned model. States are ``RSSMState``, rewards are predicted means, actions are legal above probability 1/2.

    Args:
        params: ``TrainState.params``; for an explorer, with its actor and critic in the place of the task's.
        disagreement: weights by which an explorer's planner is rewarded for disagreement. Needs ``networks.ensemble``.
    """
    world_model, model = networks.world_model, params["world_model"]

    def step(state: RSSMState, action: jax.Array, keys: jax.Array) -> tuple[RSSMState, jax.Array, jax.Array]:
        following, _ = world_model.imagine(model, state, action, keys)
        reward, discount = reward_and_discount(world_model, model, world_model.feat(following), loss)
        if disagreement is not None:
            assert networks.ensemble is not None
            disagreed = state_disagreement(world_model, networks.ensemble, params, state, action)
            reward = apply_disagreement(reward, disagreed, disagreement)
        return following, reward, discount

    def policy_and_value(state: RSSMState) -> tuple[Policy, jax.Array]:
        feat = world_model.feat(state)
        mask = None if world_model.mask is None else world_model.mask(model, feat) > 0
        return actor_and_critic(networks, spec.action, params, feat, mask, actor=actor, symlog_limit=loss.symlog_limit)

    return PlanningModel(step, policy_and_value)
