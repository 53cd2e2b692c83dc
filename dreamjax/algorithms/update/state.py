"""What an update is made of: the learner's fixed parts, the state that changes, and how gradients are applied to it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dreamjax.algorithms import optimizers as optimizer_lib
from dreamjax.config import (
    ActorConfig,
    CriticConfig,
    EnsembleConfig,
    ExploreConfig,
    ImaginationConfig,
    LossConfig,
    OptimizerConfig,
    ReplayConfig,
)
from dreamjax.models.heads import Networks
from dreamjax.types import (
    ONE_TENSOR_EACH,
    EnvSpec,
    ExplorerState,
    Metrics,
    NormalizerState,
    Params,
    Tensors,
    TrainState,
)

Phase = Literal["world_model", "actor_critic", "explorer"]
Phases = tuple[Phase, ...]


class Learner(NamedTuple):
    """The parts of an update that do not change: networks as pure functions, optimizers, and numbers by subject.

    Attributes:
        networks, spec: the networks, and the environment that they read.
        optimizers: by group of parameters (``make_optimizers``).
        actor, critic, loss, imagination, replay, ensemble, explore: configuration of these subjects.
        horizon: imagined steps H. symlog: whether vector observations are predicted in symlog space.
        micro_batches: parts of the batch whose gradients are averaged into one update.
    """

    networks: Networks
    spec: EnvSpec
    optimizers: Mapping[str, optax.GradientTransformation]
    actor: ActorConfig
    critic: CriticConfig
    loss: LossConfig
    imagination: ImaginationConfig
    replay: ReplayConfig
    ensemble: EnsembleConfig
    explore: ExploreConfig
    horizon: int
    symlog: bool
    micro_batches: int


class Behavior(NamedTuple):
    """An actor and its critic, the task's or the explorer's.

    Attributes:
        actor, critic: parameters. slow_critic: moving average of the critic's. retnorm: percentiles of imagined returns.
    """

    actor: Params
    critic: Params
    slow_critic: Params
    retnorm: NormalizerState


def task_behavior(state: TrainState) -> Behavior:
    """The actor and critic that learn the task."""
    return Behavior(state.params["actor"], state.params["critic"], state.slow_critic, state.retnorm)


def explorer_behavior(state: TrainState) -> Behavior:
    """The actor and critic that learn to explore."""
    assert state.explorer is not None
    params, own = state.params, state.explorer
    return Behavior(params["explorer_actor"], params["explorer_critic"], own.slow_critic, own.retnorm)


class Stream(enum.IntEnum):
    """Numbers that a key is folded by where a part exists only in some configurations: the other parts draw the same
    numbers with and without it. Those of ``init_state`` are numbers that no step of a row reaches."""

    BOOTSTRAP = 3  # 0 to 2 are the keys that every update splits
    EXPLORER = 7
    INIT_EXPLORER_CRITIC = 2**32 - 3
    INIT_EXPLORER_ACTOR = 2**32 - 2
    INIT_ENSEMBLE = 2**32 - 1


class UpdateKeys(NamedTuple):
    """The keys of one update, each for one use; rows and time steps fold them further."""

    world_model: jax.Array
    dream: jax.Array
    ring: jax.Array
    bootstrap: jax.Array
    explorer: jax.Array


def fold(key: jax.Array, stream: Stream) -> jax.Array:
    """``key`` folded by a stream's number; ``key`` is not consumed."""
    return jax.random.fold_in(key, jnp.uint32(stream))


def update_keys(state: TrainState) -> UpdateKeys:
    """Keys of the update after ``state``: its key folded by its step, so that a resumed run draws the same numbers."""
    key = jax.random.fold_in(state.key, state.step)
    world_model, dream, ring = jax.random.split(key, 3)
    return UpdateKeys(world_model, dream, ring, fold(key, Stream.BOOTSTRAP), fold(key, Stream.EXPLORER))


def make_optimizers(
    config: OptimizerConfig,
    ensemble: EnsembleConfig,
    explore: ExploreConfig,
    tensors: Mapping[str, Tensors] = MappingProxyType({}),
) -> dict[str, optax.GradientTransformation]:
    """One optimizer for each group of parameters that these configurations have.

    "world_model", "actor", "critic"; "ensemble" where it has members; "explorer_actor" and "explorer_critic", at the rates
    of actor and critic, where there is an explorer. ``tensors``: by network, what counts as one tensor to the clipping.
    """
    rates = {"world_model": config.world_model_lr, "actor": config.actor_lr, "critic": config.critic_lr}
    if ensemble.size:
        rates["ensemble"] = ensemble.lr
    if explore.steps:
        rates |= {"explorer_actor": config.actor_lr, "explorer_critic": config.critic_lr}
    delays = {"actor": config.actor_delay, "explorer_actor": config.actor_delay}
    return {
        name: optimizer_lib.make_optimizer(
            config, rate, delays.get(name, 0), tensors.get(name.removeprefix("explorer_"), ONE_TENSOR_EACH)
        )
        for name, rate in rates.items()
    }


def apply_gradients(
    optimizers: Mapping[str, optax.GradientTransformation], state: TrainState, grads: Mapping[str, Params]
) -> tuple[dict[str, Params], dict[str, Any], Metrics]:
    """Parameters and optimizer states after a step of the groups in ``grads``, and each gradient's global norm.

    Other groups stay as they are.
    """
    params, opt_state, norms = dict(state.params), dict(state.opt_state), {}
    for name, grad in grads.items():
        changes, opt_state[name] = optimizers[name].update(grad, opt_state[name], params[name])
        params[name] = optax.apply_updates(params[name], changes)
        norms[f"train/grad_norm/{name}"] = optax.tree.norm(grad)
    return params, opt_state, norms


def update_slow_critics(
    rate: float,
    slow_critic: Params,
    explorer: ExplorerState | None,
    params: Mapping[str, Params],
    grads: Mapping[str, Params],
) -> tuple[Params, ExplorerState | None]:
    """The slow critics, moved towards the critics that learned in this update; others stay."""
    if "critic" in grads:
        slow_critic = moving_average(slow_critic, params["critic"], rate)
    if "explorer_critic" in grads and explorer is not None:
        slow = moving_average(explorer.slow_critic, params["explorer_critic"], rate)
        explorer = dataclasses.replace(explorer, slow_critic=slow)
    return slow_critic, explorer


def moving_average(average: Params, params: Params, rate: float) -> Params:
    """``(1 - rate) average + rate params``.

    ``optax.incremental_update`` adds the two in the other order, which changes the last bit of running experiments.
    """
    return jax.tree.map(lambda old, new: (1 - rate) * old + rate * new, average, params)
