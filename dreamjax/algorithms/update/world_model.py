"""The world-model phase of an update, and that of the ensemble, which learns from the same windows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.algorithms.actions import action_vector
from dreamjax.algorithms.exploration import bootstrap_weights, ensemble_loss
from dreamjax.algorithms.micro_batches import accumulate
from dreamjax.algorithms.update.state import Learner
from dreamjax.algorithms.world_model_loss import Posterior, world_model_loss
from dreamjax.config import ReplayConfig
from dreamjax.types import Batch, Metrics, Params, RSSMState

Rest = tuple[Posterior, jax.Array, Metrics]  # what ``world_model_loss`` gives beside its loss and features


class WorldModelUpdate(NamedTuple):
    """What the world-model phase gives.

    Attributes:
        gradient: ``(feat_grad) -> gradient`` of the loss, and of what depends on the features of the filtered states by
            ``feat_grad``, its gradient ``[B, T, F]`` (None: nothing does).
        metrics: of the loss.
        post: filtered states of the batch ``[B, T, ...]``; no gradient flows through them.
        loss_by_step: float32 ``[B, T]``.
    """

    gradient: Callable[[jax.Array | None], Params]
    metrics: Metrics
    post: Posterior
    loss_by_step: jax.Array


def world_model_phase(
    learner: Learner, params: dict[str, Params], batch: Batch, key: jax.Array, *, train: bool
) -> WorldModelUpdate:
    """Filters the windows with the world model; with ``train``, also takes its loss.

    Args:
        params: of ``TrainState``. key: of this phase; not consumed, folded by global row and step.
    """
    loss_fn = functools.partial(_loss, learner, key=key)
    if not train:

        def filter_part(part: Batch) -> tuple[None, tuple[Posterior, jax.Array]]:
            _, (post, by_step, _) = loss_fn(params["world_model"], part)
            return None, (post, by_step)

        _, (post, by_step) = accumulate(filter_part, batch, learner.micro_batches)
        return WorldModelUpdate(lambda feat_grad: {}, {}, post, by_step)

    def pull_back(part: Batch) -> tuple[Callable[[float, jax.Array | None], Params], Rest]:
        """``(loss_grad, feat_grad) -> gradient`` by the parameters, and what else the loss gives."""
        (_, feat), to_params, rest = jax.vjp(lambda p: loss_fn(p, part), params["world_model"], has_aux=True)

        def gradient(loss_grad: float, feat_grad: jax.Array | None) -> Params:
            feat_grad = jnp.zeros_like(feat) if feat_grad is None else feat_grad
            return to_params((jnp.float32(loss_grad), feat_grad))[0]

        return gradient, rest

    if learner.micro_batches == 1:
        gradient, (post, by_step, metrics) = pull_back(batch)
        return WorldModelUpdate(functools.partial(gradient, 1.0), metrics, post, by_step)

    # In parts, each part takes its gradient at once: what gradients need of all parts would not fit.
    def loss_part(part: Batch) -> tuple[tuple[Params, Metrics], tuple[Posterior, jax.Array]]:
        gradient, (post, by_step, metrics) = pull_back(part)
        return (gradient(1.0, None), metrics), (post, by_step)

    def feat_part(part: tuple[Batch, jax.Array]) -> tuple[Params, None]:
        window, feat_grad = part
        # ``accumulate`` averages over the parts, but ``feat_grad`` is of the mean over the whole batch already.
        return pull_back(window)[0](0.0, learner.micro_batches * feat_grad), None

    (loss_gradient, metrics), (post, by_step) = accumulate(loss_part, batch, learner.micro_batches)

    def gradient_in_parts(feat_grad: jax.Array | None) -> Params:
        if feat_grad is None:
            return loss_gradient
        more, _ = accumulate(feat_part, (batch, feat_grad), learner.micro_batches)
        return jax.tree.map(jnp.add, loss_gradient, more)

    return WorldModelUpdate(gradient_in_parts, metrics, post, by_step)


def _loss(
    learner: Learner, params: Params, batch: Batch, *, key: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], Rest]:
    """``world_model_loss`` as ((loss, features), what carries no gradient)."""
    networks, loss = learner.networks, learner.loss
    total, feat, rest = world_model_loss(
        params, networks.world_model, learner.spec, loss, batch, key, symlog=learner.symlog
    )
    return (total, feat), rest


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


def of_all_windows(replay: ReplayConfig, gradient: jax.Array, batch_size: int) -> jax.Array:
    """A gradient by ``behavior_windows`` as one by all ``batch_size`` windows: 0 at the others."""
    if not replay.uniform_fraction:
        return gradient
    uniform = replay.uniform_rows(batch_size)
    return jnp.zeros((batch_size, *gradient.shape[1:]), gradient.dtype).at[uniform].set(gradient)
