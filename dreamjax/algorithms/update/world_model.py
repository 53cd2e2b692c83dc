"""The world-model phase of an update, and that of the ensemble, which learns from the same windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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

    def loss_fn(model_params: Params, part: Batch) -> tuple[tuple[jax.Array, jax.Array], Rest]:
        networks, loss = learner.networks, learner.loss
        total, feat, rest = world_model_loss(
            model_params, networks.world_model, learner.spec, loss, part, key, symlog=learner.symlog
        )
        return (total, feat), rest

    def pull_back(part: Batch) -> tuple[jax.Array, Callable[[Any], Params], Rest]:
        """Features of the filtered states; what takes gradients by (loss, features) to one by parameters; the rest."""
        (_, feat), to_params, rest = jax.vjp(lambda p: loss_fn(p, part), params["world_model"], has_aux=True)
        return feat, lambda grads: to_params(grads)[0], rest

    def micro_filter(part: Batch) -> tuple[None, tuple[Posterior, jax.Array]]:
        _, (post, by_step, _) = loss_fn(params["world_model"], part)
        return None, (post, by_step)

    def micro(part: Batch) -> tuple[tuple[Params, Metrics], tuple[Posterior, jax.Array]]:
        feat, to_params, (post, by_step, metrics) = pull_back(part)
        return (to_params((jnp.ones(()), jnp.zeros_like(feat))), metrics), (post, by_step)

    def micro_feat(part: tuple[Batch, jax.Array]) -> tuple[Params, None]:
        _, to_params, _ = pull_back(part[0])
        # Parameters' gradients are averaged over the parts; that by features is one of the whole batch's mean.
        return to_params((jnp.zeros(()), learner.micro_batches * part[1])), None

    if not train:
        _, (post, by_step) = accumulate(micro_filter, batch, learner.micro_batches)
        return WorldModelUpdate(lambda feat_grad: {}, {}, post, by_step)

    if learner.micro_batches == 1:
        feat, to_params, (post, by_step, metrics) = pull_back(batch)
        zeros = jnp.zeros_like(feat)

        def gradient(feat_grad: jax.Array | None) -> Params:
            return to_params((jnp.ones(()), zeros if feat_grad is None else feat_grad))

        return WorldModelUpdate(gradient, metrics, post, by_step)

    (grad, metrics), (post, by_step) = accumulate(micro, batch, learner.micro_batches)

    def gradient_of_parts(feat_grad: jax.Array | None) -> Params:
        if feat_grad is None:
            return grad
        # The parts are filtered once more: keeping what their gradients need would take the memory of the whole batch.
        more, _ = accumulate(micro_feat, (batch, feat_grad), learner.micro_batches)
        return jax.tree.map(jnp.add, grad, more)

    return WorldModelUpdate(gradient_of_parts, metrics, post, by_step)


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
