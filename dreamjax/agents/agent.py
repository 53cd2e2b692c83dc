"""The agent that acts from the policy: everything training, evaluation and reports need, as one bundle of functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.agents.acting import Carry, by_policy, make_acting
from dreamjax.agents.open_loop import make_open_loop
from dreamjax.agents.planning_agent import initial_plan, make_decision
from dreamjax.algorithms.distributions import Policy, scalar_decode
from dreamjax.algorithms.exploration import state_disagreement
from dreamjax.algorithms.search import NEVER, candidates, evaluate_candidates, joint_actions, standardise
from dreamjax.algorithms.update import Learner, init_state, make_optimizers, update
from dreamjax.config import Config, ConfigError, SearchConfig
from dreamjax.models.ensemble import make_ensemble
from dreamjax.models.heads import Networks, make_actor, make_critic
from dreamjax.models.world_model import make_world_model
from dreamjax.types import Array, Batch, EnvSpec, Params, RSSMState, TrainState, WorldModel


class Agent(NamedTuple):
    """A Dreamer as pure functions.

    Attributes:
        init: ``(key) -> TrainState``; the key is consumed.
        update: ``(state, batch, *, phases=TASK, axis_name=None) -> (state, metrics, replay_outs)``, see
            ``algorithms.update.update``.
        initial_carry: ``(num_envs) -> Carry``.
        policy: ``(params, carry, obs, is_first, keys, *, greedy) -> (carry, action record [N, K], latents)``; ``obs`` in
            the records' dtypes, ``keys`` typed ``[N]``, consumed; ``greedy`` takes the policy's mode.
        search_policy: as ``policy``, by one step of search (``algorithms.search``), or None where it is not configured.
        planner_policy: as ``policy``, by ``config.planner``; see ``agents.planning_agent``.
        open_loop: ``(params, batch, key, *, context) -> dict``, see ``make_open_loop``.
        world_model: the world model's own functions. networks: these, actor and critic.
        spec: the environment.
        disagreement: ``(params, state, action) -> float32 [...]`` of the ensemble about what an action vector leads to
            from a state, or None without an ensemble.
    """

    init: Callable[..., TrainState]
    update: Callable
    initial_carry: Callable[[int], Carry]
    policy: Callable
    search_policy: Callable | None
    planner_policy: Callable
    open_loop: Callable
    world_model: WorldModel
    networks: Networks
    spec: EnvSpec
    disagreement: Callable[[dict[str, Params], RSSMState, jax.Array], jax.Array] | None = None


def listed_actions(config: Config, spec: EnvSpec) -> np.ndarray | None:
    """The actions that search tries, float32 ``[M, A]``, or None where no search is configured.

    Raises:
        ConfigError: if they cannot be listed.
    """
    search, off = config.search, SearchConfig()
    asked = [name for name in ("learn", "collect", "evaluate") if getattr(search, name) != getattr(off, name)]
    if not asked:
        return None
    try:
        return joint_actions(spec.action)
    except ValueError as error:
        value, allowed = (getattr(x, asked[0]) for x in (search, off))
        raise ConfigError(f"search.{asked[0]}={value!r} is not allowed: {error}; {allowed!r} is allowed") from None


def make_networks(config: Config, spec: EnvSpec) -> Networks:
    """The networks of a configuration for an environment."""
    dtype = jnp.dtype(config.parallel.precision)
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
        optimizers=make_optimizers(config.optimiser, config.ensemble, config.explore),
        actor=config.actor,
        critic=config.critic,
        loss=config.loss,
        imagination=config.imagination,
        replay=config.replay,
        ensemble=config.ensemble,
        explore=config.explore,
        horizon=config.horizon,
        symlog=config.model.symlog,
        micro_batches=config.optimiser.accumulate,
    )


def make_agent(config: Config, spec: EnvSpec) -> Agent:
    """The agent of a configuration for an environment.

    Raises:
        ConfigError: if ``actor.binary_bias`` does not fit the action space, or search is configured for actions that cannot
            be listed.
    """
    bits = [part.size for part in spec.action.parts if part.kind == "binary"]
    bias = config.actor.binary_bias
    if bias and bits != [len(bias)]:
        raise ConfigError(f"actor.binary_bias={bias!r} is not allowed: the environment's bits number {sum(bits)}")
    networks = make_networks(config, spec)
    learner = make_learner(networks, config, spec)
    world_model = networks.world_model
    doubt = None
    if networks.ensemble is not None:
        doubt = functools.partial(state_disagreement, world_model, networks.ensemble)

    def initial_carry(num_envs: int) -> Carry:
        action = jnp.zeros((num_envs, spec.action.vector_size))
        return Carry(world_model.initial(num_envs), action, initial_plan(config, spec, num_envs))

    joint = listed_actions(config, spec)

    def searched(
        params: dict[str, Params],
        state: RSSMState,
        obs: Mapping[str, Array],
        prior: Policy,
        plan: Array,
        keys: jax.Array,
        greedy: bool,
    ) -> tuple[jax.Array, Array]:
        assert joint is not None
        split = jax.vmap(lambda key: jax.random.split(key, 3))(keys)
        tried = candidates(prior, joint, config.search.act_actions, None if greedy else split[:, 0])
        value_fn = lambda feat: scalar_decode(networks.critic.apply(params["critic"], feat), config.loss.reach)  # noqa: E731
        found = evaluate_candidates(
            world_model, params["world_model"], value_fn, state, tried, split[:, 1], config,
            bootstrap=config.search.bootstrap,
        )  # fmt: skip
        score = standardise(found.q, tried.legal) / config.search.act_temperature
        score = jnp.where(tried.legal, score, NEVER)
        if not greedy:
            score += jax.vmap(lambda key: jax.random.gumbel(key, score.shape[1:]))(split[:, 2])
        index = jnp.argmax(score, 1)
        return jnp.take_along_axis(tried.action, index[:, None, None], 1)[:, 0], plan

    planned = make_decision(networks, config, spec)
    act = functools.partial(make_acting, networks, config, spec)
    return Agent(
        init=functools.partial(init_state, learner),
        update=functools.partial(update, learner),
        initial_carry=initial_carry,
        policy=act(by_policy),
        search_policy=None if joint is None else act(searched),
        planner_policy=act(planned),
        open_loop=make_open_loop(world_model, spec, networks.ensemble, symlog=config.model.symlog),
        world_model=world_model,
        networks=networks,
        spec=spec,
        disagreement=doubt,
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
