"""The world-model phase of an update, and that of the ensemble, which learns from the same windows."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from dreamjax.algorithms.actions import action_vector
from dreamjax.algorithms.exploration import bootstrap_weights, ensemble_loss
from dreamjax.algorithms.micro_batches import accumulate
from dreamjax.algorithms.update.state import Learner
from dreamjax.algorithms.world_model_loss import Posterior, world_model_loss
from dreamjax.config import ReplayConfig
from dreamjax.types import Batch, Metrics, Params, RSSMState


class WorldModelUpdate(NamedTuple):
    """What the world-model phase gives.

    Attributes:
        grads: ``{"world_model": gradient}``; empty where it was not trained. metrics: likewise.
        post: filtered states of the batch ``[B, T, ...]``; no gradient flows through them.
        loss_by_step: float32 ``[B, T]``.
    """

    grads: dict[str, Params]
    metrics: Metrics
    post: Posterior
    loss_by_step: jax.Array


def world_model_phase(
    learner: Learner, params: dict[str, Params], batch: Batch, key: jax.Array, *, train: bool
) -> WorldModelUpdate:
    """Filters the windows with the world model; with ``train``, also the gradient of its loss.

    Args:
        params: of ``TrainState``. key: of this phase; not consumed, folded by global row and step.
    """

    def loss_fn(model_params: Params, part: Batch) -> tuple[jax.Array, Any]:
        return world_model_loss(
            model_params,
            learner.networks.world_model,
            learner.spec,
            learner.loss,
            part,
            key,
            symlog=learner.symlog,
        )

    def micro(part: Batch) -> tuple[Any, Any]:
        if not train:
            _, (post, by_step, _) = loss_fn(params["world_model"], part)
            return ({}, {}), (post, by_step)
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (_, (post, by_step, metrics)), grad = grad_fn(params["world_model"], part)
        return ({"world_model": grad}, metrics), (post, by_step)

    (grads, metrics), (post, by_step) = accumulate(micro, batch, learner.micro_batches)
    return WorldModelUpdate(grads, metrics, post, by_step)


def ensemble_phase(
    learner: Learner, params: Params, batch: Batch, post: Posterior, key: jax.Array
) -> tuple[Params, jax.Array]:
    """Gradient and loss float32 ``[]`` of the ensemble, whose members predict each next posterior from the one before.

    Args:
        params: of the ensemble. key: of the members' bootstrap weights; not consumed, folded by global row.
    """
    networks = learner.networks
    assert networks.ensemble is not None
    ensemble = networks.ensemble

    def micro(part: tuple[Batch, RSSMState]) -> tuple[tuple[Params, jax.Array], None]:
        window, states = part
        weight = bootstrap_weights(key, window.row, learner.ensemble.size)
        action = action_vector(learner.spec.action, window.action)
        feat = networks.world_model.feat(states)
        loss, grad = jax.value_and_grad(ensemble_loss)(params, ensemble, feat, action, states, window.is_first, weight)
        return (grad, loss), None

    return accumulate(micro, (batch, post.state), learner.micro_batches)[0]


def behavior_windows(replay: ReplayConfig, batch: Batch, post: Posterior) -> tuple[Batch, Posterior]:
    """The windows that actor and critic learn from: those drawn uniformly, where a sampler mixes them with others."""
    if not replay.uniform_fraction:
        return batch, post
    uniform = replay.uniform_rows(batch.reward.shape[0])
    return jax.tree.map(lambda x: x[uniform], (batch, post))
