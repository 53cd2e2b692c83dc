"""The agent: everything that training, evaluation and reports need, as one bundle of functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.agents.acting import Carry, decide_by_policy, make_acting
from dreamjax.agents.open_loop import make_open_loop
from dreamjax.agents.planning import initial_plan, make_decision
from dreamjax.algorithms.update import Learner, init_state, make_optimizers, update
from dreamjax.config import Config, ConfigError
from dreamjax.models.ensemble import make_ensemble
from dreamjax.models.heads import Networks, make_actor, make_critic
from dreamjax.models.world_model import make_world_model
from dreamjax.types import Batch, EnvSpec, TrainState, WorldModel


class Agent(NamedTuple):
    """A Dreamer as pure functions.

    Attributes:
        init: ``(key) -> TrainState``; the key is consumed.
        update: ``(state, batch, *, phases=TASK, axis_name=None) -> (state, metrics, replay_outs)``, see
            ``algorithms.update.update``.
        initial_carry: ``(num_envs) -> Carry``.
        policy: ``(params, carry, obs, is_first, keys, *, greedy, disagreement=None) -> (carry, action record [N, K],
            latents)``; ``obs`` in the records' dtypes, ``keys`` typed ``[N]``, consumed; ``greedy`` takes the policy's
            mode. ``disagreement`` is for an explorer's planner (``DisagreementWeights``).
        planner_policy: as ``policy``, by ``config.planner``; see ``agents.planning``.
        open_loop: ``(params, batch, key, *, context) -> dict``, see ``make_open_loop``.
        world_model: the world model's own functions. networks: these, actor and critic.
        spec: the environment.
    """

    init: Callable[..., TrainState]
    update: Callable
    initial_carry: Callable[[int], Carry]
    policy: Callable
    planner_policy: Callable
    open_loop: Callable
    world_model: WorldModel
    networks: Networks
    spec: EnvSpec


def compute_dtype(precision: str) -> jnp.dtype:
    """The dtype of computation that ``parallel.precision`` means on this machine."""
    if precision == "auto":
        precision = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(precision)


def make_networks(config: Config, spec: EnvSpec) -> Networks:
    """The networks of a configuration for an environment."""
    dtype = compute_dtype(config.parallel.precision)
    return Networks(
        make_world_model(config.model, spec, dtype=dtype),
        make_actor(config.actor, config.model, spec, dtype=dtype),
        make_critic(config.critic, config.model, spec, dtype=dtype),
        make_ensemble(config.ensemble, config.model, spec, dtype=dtype) if config.ensemble.size else None,
    )


def make_learner(networks: Networks, config: Config, spec: EnvSpec) -> Learner:
    """The parts of an update, from a configuration."""
    return Learner(
        networks=networks,
        spec=spec,
        optimizers=make_optimizers(
            config.optimizer,
            config.ensemble,
            config.explore,
            {"world_model": networks.world_model.tensors, "actor": networks.actor.tensors},
        ),
        actor=config.actor,
        critic=config.critic,
        loss=config.loss,
        imagination=config.imagination,
        replay=config.replay,
        ensemble=config.ensemble,
        explore=config.explore,
        horizon=config.horizon,
        symlog=config.model.symlog,
        micro_batches=config.optimizer.accumulate,
    )


def make_agent(config: Config, spec: EnvSpec) -> Agent:
    """The agent of a configuration for an environment.

    Raises:
        ConfigError: if ``actor.binary_bias`` does not fit the action space, or the planner does not.
    """
    bits = [part.size for part in spec.action.parts if part.kind == "binary"]
    bias = config.actor.binary_bias
    if bias and bits != [len(bias)]:
        raise ConfigError(f"actor.binary_bias={bias!r} is not allowed: the environment's bits number {sum(bits)}")
    networks = make_networks(config, spec)
    learner = make_learner(networks, config, spec)
    world_model = networks.world_model

    def initial_carry(num_envs: int) -> Carry:
        action = jnp.zeros((num_envs, spec.action.vector_size))
        return Carry(world_model.initial(num_envs), action, initial_plan(config.planner, spec.action, num_envs))

    act = functools.partial(make_acting, networks, spec, config.actor)
    return Agent(
        init=functools.partial(init_state, learner),
        update=functools.partial(update, learner),
        initial_carry=initial_carry,
        policy=act(decide_by_policy),
        planner_policy=act(make_decision(networks, config, spec)),
        open_loop=make_open_loop(world_model, spec, networks.ensemble, symlog=config.model.symlog),
        world_model=world_model,
        networks=networks,
        spec=spec,
    )


def dummy_batch(spec: EnvSpec, batch_size: int, length: int) -> Batch:
    """A batch of zeros with the right shapes and dtypes, for tracing, memory estimates and tests."""
    obs = {name: jnp.zeros((batch_size, length, *entry.shape), entry.dtype) for name, entry in spec.obs.items()}
    action = jnp.zeros((batch_size, length, spec.action.record_size), spec.action.record_dtype)
    flags = jnp.zeros((batch_size, length), bool)
    return Batch(
        obs=obs,
        action=action,
        reward=jnp.zeros((batch_size, length)),
        is_first=flags,
        is_last=flags,
        is_terminal=flags,
        row=jnp.arange(batch_size, dtype=jnp.int32),
        prev_action=action[:, 0],
    )
