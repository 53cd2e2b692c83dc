"""One update of a Dreamer as one pure function: the whole algorithm, read from top to bottom.

The world model learns from replayed windows; actor and critic learn inside it, from rollouts that it imagines. Each phase
is a function of a module of this package. All gradients are taken at the same parameters and then applied together.

DreamerV3 (Hafner et al., Nature 2025), section "Learning algorithm"; exploration as in Plan2Explore (Sekar et al. 2020).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dreamjax.algorithms.update.behavior import add_value_error, behavior_phase, dream, through_ring
from dreamjax.algorithms.update.explorer import disagreement_of_rollouts, explorer_phase
from dreamjax.algorithms.update.init import init_state
from dreamjax.algorithms.update.state import (
    Learner,
    Phases,
    apply_gradients,
    make_optimizers,
    task_behavior,
    update_keys,
    update_slow_critics,
)
from dreamjax.algorithms.update.world_model import behavior_windows, ensemble_phase, of_all_windows, world_model_phase
from dreamjax.types import Batch, Metrics, ReplayOuts, TrainState

TASK: Phases = ("world_model", "actor_critic")

__all__ = ["TASK", "Learner", "Phases", "init_state", "make_optimizers", "update"]


def update(
    learner: Learner, state: TrainState, batch: Batch, *, phases: Phases = TASK, axis_name: str | None = None
) -> tuple[TrainState, Metrics, ReplayOuts]:
    """One gradient step of every network that ``phases`` names.

    Args:
        learner: the networks, optimizers and numbers of the run.
        state: what learning changes. batch: ``[B, T]`` replayed windows.
        phases: which parts learn. Parts left out keep their parameters and optimizer states; the world model filters the
            batch in any case. "explorer" needs an explorer in the state.
        axis_name: under ``pmap`` (or ``vmap``), the axis over which devices share the batch; ``batch`` is one device's
            share. Gradients and metrics are averaged over it, percentiles and the imagination ring see all devices.

    Returns:
        The new state, metrics float32 ``[]`` by their final names, and what replay learns: posterior states of the batch,
        and priorities ``[B, T]``, the world-model loss by step plus the value's error where the critic was trained on it.
    """
    keys = update_keys(state)

    # The world model: filter the windows, reconstruct them, predict rewards, ends and the next latent.
    model = world_model_phase(learner, state.params, batch, keys.world_model, train="world_model" in phases)
    grads, metrics, priority, feat_grad = {}, dict(model.metrics), model.loss_by_step, None
    if "world_model" in phases and learner.networks.ensemble is not None:
        grads["ensemble"], metrics["train/loss/ensemble"] = ensemble_phase(
            learner, state.params["ensemble"], batch, model.post, keys.bootstrap
        )

    # Actor and critic: imagine rollouts from the posterior states, and learn from the returns that the model predicts.
    windows, post = behavior_windows(learner.replay, batch, model.post)
    ring, retnorm, explorer = state.ring, state.retnorm, state.explorer
    if "actor_critic" in phases:
        task = task_behavior(state)
        dreamed = dream(learner, state.params["world_model"], task.actor, windows, post, keys.dream)
        if ring is not None:
            ring, dreamed = through_ring(ring, dreamed, keys.ring, axis_name)
        if learner.networks.ensemble is not None:
            disagreement = disagreement_of_rollouts(learner, state.params["ensemble"], dreamed.rollouts)
            metrics["imagination/disagreement"] = jnp.mean(disagreement)
        learned = behavior_phase(learner, task, dreamed, windows, post, axis_name=axis_name)
        grads |= {"actor": learned.actor_grad, "critic": learned.critic_grad}
        metrics, retnorm = metrics | learned.metrics, learned.retnorm
        if learner.critic.replay_gradient:
            feat_grad = of_all_windows(learner.replay, learned.feat_grad, batch.reward.shape[0])
        priority = add_value_error(learner.replay, priority, learned.value_error)

    # The explorer: a second actor and critic, rewarded for what the ensemble's members disagree on.
    if "explorer" in phases:
        explored = explorer_phase(learner, state, windows, post, keys.explorer, axis_name=axis_name)
        grads, metrics, explorer = grads | explored.grads, metrics | explored.metrics, explored.explorer

    # The world model's gradient comes last: that of the values of replayed steps joins it where configured.
    if "world_model" in phases:
        grads["world_model"] = model.gradient(feat_grad)
    if axis_name is not None:
        grads, metrics = jax.lax.pmean((grads, metrics), axis_name)
    params, opt_state, grad_norms = apply_gradients(learner.optimizers, state, grads)
    slow_critic, explorer = update_slow_critics(learner.critic.slow_rate, state.slow_critic, explorer, params, grads)
    state = dataclasses.replace(
        state,
        step=state.step + 1,
        params=params,
        opt_state=opt_state,
        slow_critic=slow_critic,
        retnorm=retnorm,
        ring=ring,
        explorer=explorer,
    )
    return state, metrics | grad_norms, ReplayOuts(model.post.state, priority)
