"""The explorer's phase of an update: an actor and a critic that learn to reach what the world model does not know yet."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.algorithms.actions import action_vector
from dreamjax.algorithms.exploration import (
    disagreement_scale,
    imagined_disagreement,
    mixed_reward,
    replayed_disagreement,
)
from dreamjax.algorithms.micro_batches import accumulate
from dreamjax.algorithms.normalization import update_normalizer
from dreamjax.algorithms.update.behavior import behavior_phase, dream
from dreamjax.algorithms.update.state import Learner, explorer_behavior
from dreamjax.algorithms.world_model_loss import Posterior
from dreamjax.types import Batch, ExplorerState, Imagination, Metrics, Params, RSSMState, TrainState


class ExplorerUpdate(NamedTuple):
    """What the explorer's phase gives: gradients by group, metrics, and the explorer with its moved percentiles."""

    grads: dict[str, Params]
    metrics: Metrics
    explorer: ExplorerState


def explorer_phase(
    learner: Learner, state: TrainState, batch: Batch, post: Posterior, key: jax.Array, *, axis_name: str | None
) -> ExplorerUpdate:
    """The actor-critic phase of the explorer: rollouts of its own, rewarded for the ensemble's disagreement.

    Imagined and replayed rewards are ``explore.extrinsic`` of the task's plus ``explore.intrinsic`` of the disagreement, in
    units of its moving range (Plan2Explore, Sekar et al. 2020).
    """
    assert state.explorer is not None
    own, params = explorer_behavior(state), state.params
    dreamed = dream(learner, params["world_model"], own.actor, batch, post, key)

    imagined = disagreement_of_rollouts(learner, params["ensemble"], dreamed.rollouts)
    rate = learner.ensemble.rate
    novelty = update_normalizer(state.explorer.novelty, imagined, rate=rate, axis_name=axis_name)
    scale = disagreement_scale(novelty, rate=rate)
    replayed = disagreement_of_replay(learner, params["ensemble"], batch, post)

    weights = dict(intrinsic=learner.explore.intrinsic, extrinsic=learner.explore.extrinsic)
    rollouts = dreamed.rollouts
    rollouts = dataclasses.replace(rollouts, reward=mixed_reward(rollouts.reward, imagined, scale, **weights))
    batch = dataclasses.replace(batch, reward=mixed_reward(batch.reward, replayed, scale, **weights))
    dreamed = dataclasses.replace(dreamed, rollouts=rollouts)
    learned = behavior_phase(learner, own, dreamed, batch, post, axis_name=axis_name)

    metrics = {f"explorer/{name.split('/', 1)[1]}": value for name, value in learned.metrics.items()}
    metrics["explorer/disagreement"] = jnp.mean(imagined)
    return ExplorerUpdate(
        grads={"explorer_actor": learned.actor_grad, "explorer_critic": learned.critic_grad},
        metrics=metrics,
        explorer=dataclasses.replace(state.explorer, retnorm=learned.retnorm, novelty=novelty),
    )


def disagreement_of_rollouts(learner: Learner, params: Params, rollouts: Imagination) -> jax.Array:
    """Disagreement float32 ``[N, H]`` about what each imagined action leads to; ``params`` are the ensemble's."""
    ensemble = learner.networks.ensemble
    assert ensemble is not None
    micro = lambda part: (None, imagined_disagreement(ensemble, params, part))  # noqa: E731
    return accumulate(micro, rollouts, learner.micro_batches)[1]


def disagreement_of_replay(learner: Learner, params: Params, batch: Batch, post: Posterior) -> jax.Array:
    """Disagreement float32 ``[B, T-1]`` about what each replayed action led to; ``params`` are the ensemble's."""
    networks = learner.networks
    ensemble = networks.ensemble
    assert ensemble is not None

    def micro(part: tuple[Batch, RSSMState]) -> tuple[None, jax.Array]:
        window, states = part
        action = action_vector(learner.spec.action, window.action)
        feat = networks.world_model.feat(states)
        return None, replayed_disagreement(ensemble, params, feat, action, window.is_first)

    return accumulate(micro, (batch, post.state), learner.micro_batches)[1]
