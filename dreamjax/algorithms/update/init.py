"""The state that learning begins with."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dreamjax.algorithms.normalization import init_normalizer
from dreamjax.algorithms.update.behavior import example_rollout
from dreamjax.algorithms.update.state import Learner, Stream, fold
from dreamjax.buffers import imagination_buffer
from dreamjax.types import ExplorerState, Params, TrainState


def init_state(learner: Learner, key: jax.Array) -> TrainState:
    """A fresh ``TrainState``; ``key`` is consumed."""
    networks = learner.networks
    size = networks.world_model.feat_size
    key, world_key, actor_key, critic_key = jax.random.split(key, 4)
    params = {
        "world_model": networks.world_model.init(world_key),
        "actor": networks.actor.init(actor_key, size),
        "critic": networks.critic.init(critic_key, size),
    }
    if networks.ensemble is not None:
        params["ensemble"] = networks.ensemble.init(fold(key, Stream.INIT_ENSEMBLE), size)
    explorer = None
    if learner.explore.steps:
        params["explorer_actor"] = networks.actor.init(fold(key, Stream.INIT_EXPLORER_ACTOR), size)
        params["explorer_critic"] = networks.critic.init(fold(key, Stream.INIT_EXPLORER_CRITIC), size)
        explorer = ExplorerState(_copy(params["explorer_critic"]), init_normalizer(), init_normalizer())
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params=params,
        slow_critic=_copy(params["critic"]),
        opt_state={name: optimizer.init(params[name]) for name, optimizer in learner.optimizers.items()},
        retnorm=init_normalizer(),
        ring=_init_ring(learner, params) if learner.imagination.use_ring else None,
        explorer=explorer,
    )


def _copy(params: Params) -> Params:
    """Parameters in memory of their own: the state is donated to the update, so no two leaves may share a buffer."""
    return jax.tree.map(jnp.copy, params)


def _init_ring(learner: Learner, params: dict[str, Params]) -> imagination_buffer.ImaginationRing:
    example = jax.eval_shape(lambda: example_rollout(learner, params["world_model"], params["actor"]))
    return imagination_buffer.init(example, learner.imagination.capacity // learner.horizon)
