"""The agent that acts from the policy: everything training, evaluation and reports need, as one bundle of functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.agents.acting import Carry, decide_by_policy, make_acting
from dreamjax.agents.planning import initial_plan, make_decision
from dreamjax.algorithms.distributions import observation_loss, observation_mode
from dreamjax.algorithms.exploration import disagreement, state_disagreement
from dreamjax.algorithms.imagination import imagine_actions
from dreamjax.algorithms.randomness import row_keys
from dreamjax.algorithms.update import init_state, make_update
from dreamjax.algorithms.world_model_loss import observe_window, window_inputs
from dreamjax.config import Config, ConfigError
from dreamjax.models.encoders import preprocess
from dreamjax.models.ensemble import Ensemble, make_ensemble
from dreamjax.models.heads import Networks, make_actor, make_critic
from dreamjax.models.world_model import make_world_model
from dreamjax.types import Batch, EnvSpec, Params, RSSMState, TrainState, WorldModel


class Agent(NamedTuple):
    """A Dreamer as pure functions.

    Attributes:
        init: ``(key) -> TrainState``; the key is consumed.
        update: ``(state, batch, *, axis_name=None) -> (state, metrics, replay_outs)``, both phases.
        update_world_model, update_actor_critic: the same, one phase alone.
        update_exploring, update_actor_critic_exploring: with the explorer's phase, where there is an explorer.
        initial_carry: ``(num_envs) -> Carry``.
        policy: ``(params, carry, obs, is_first, keys, *, greedy, disagreement=None) -> (carry, action record [N, K],
            latents)``; ``obs`` in the records' dtypes, ``keys`` typed ``[N]``, consumed; ``greedy`` takes the policy's
            mode. ``disagreement`` is for an explorer's planner (``DisagreementWeights``).
        planner_policy: as ``policy``, by ``config.planner``; see ``agents.planning``.
        open_loop: ``(params, batch, key, *, context) -> dict``, see ``make_open_loop``.
        world_model: the world model's own functions. networks: these, actor and critic.
        spec: the environment.
        disagreement: ``(params, state, action) -> float32 [...]`` of the ensemble about what an action vector leads to
            from a state, or None without an ensemble.
    """

    init: Callable[..., TrainState]
    update: Callable
    update_world_model: Callable
    update_actor_critic: Callable
    update_exploring: Callable
    update_actor_critic_exploring: Callable
    initial_carry: Callable[[int], Carry]
    policy: Callable
    planner_policy: Callable
    open_loop: Callable
    world_model: WorldModel
    networks: Networks
    spec: EnvSpec
    disagreement: Callable[[dict[str, Params], RSSMState, jax.Array], jax.Array] | None = None


def make_agent(config: Config, spec: EnvSpec) -> Agent:
    """The agent of a configuration for an environment.

    Raises:
        ConfigError: if ``actor.binary_bias`` does not fit the action space, or the planner does not.
    """
    bits = [part.size for part in spec.action.parts if part.kind == "binary"]
    bias = config.actor.binary_bias
    if bias and bits != [len(bias)]:
        raise ConfigError(f"actor.binary_bias={bias!r} is not allowed: the environment's bits number {sum(bits)}")
    dtype = jnp.dtype(config.parallel.precision)
    networks = Networks(
        make_world_model(config.model, spec, dtype=dtype),
        make_actor(config.actor, config.model, spec, dtype=dtype),
        make_critic(config.critic, config.model, spec, dtype=dtype),
        make_ensemble(config.ensemble, config.model, spec, dtype=dtype) if config.ensemble.size else None,
    )
    world_model = networks.world_model
    doubt = None
    if networks.ensemble is not None:
        doubt = functools.partial(state_disagreement, world_model, networks.ensemble)

    def initial_carry(num_envs: int) -> Carry:
        action = jnp.zeros((num_envs, spec.action.vector_size))
        return Carry(world_model.initial(num_envs), action, initial_plan(config.planner, spec.action, num_envs))

    act = functools.partial(make_acting, networks, spec, config.actor)
    return Agent(
        init=lambda key: init_state(networks, config, spec, key),
        update=make_update(networks, config, spec),
        update_world_model=make_update(networks, config, spec, ("world_model",)),
        update_actor_critic=make_update(networks, config, spec, ("actor_critic",)),
        update_exploring=make_update(networks, config, spec, ("world_model", "actor_critic", "explorer")),
        update_actor_critic_exploring=make_update(networks, config, spec, ("actor_critic", "explorer")),
        initial_carry=initial_carry,
        policy=act(decide_by_policy),
        planner_policy=act(make_decision(networks, config, spec)),
        open_loop=make_open_loop(world_model, config, spec, networks.ensemble),
        world_model=world_model,
        networks=networks,
        spec=spec,
        disagreement=doubt,
    )


def make_open_loop(
    world_model: WorldModel, config: Config, spec: EnvSpec, ensemble: Ensemble | None = None
) -> Callable[..., dict]:
    """Builds ``open_loop(params, batch, key, *, context) -> dict`` for pictures and figures of what the model dreams.

    The result holds, by observation name, all in the records' units and dtypes:
        "real" ``[B, T, ...]``; "dream" ``[B, T, ...]``, reconstructions of the posterior for ``t < context``, after it
        the prior alone, fed with the recorded actions; "next" ``[B, T-1, ...]``, the prior's prediction of step ``t+1``
        from the posterior at ``t``; and "valid" bool ``[B, T]``, False from the first reset after step 0 on.

    With an ensemble (and its parameters: a shipped agent has none) also, float32 ``[B, T-1]``, of the step from ``t`` to
    ``t+1``: its "disagreement"; "error_members", the squared error of its members' mean, summed over features; and
    "error_world_model", nats by which the prior's prediction misses the observation (``observation_loss`` of all entries).
    """

    def decode(params: Params, state: RSSMState) -> dict[str, jax.Array]:
        predictions = world_model.decode(params, world_model.feat(state))
        return {
            name: observation_mode(spec.obs[name], prediction, config.model.symlog)
            for name, prediction in predictions.items()
        }

    def open_loop(params: dict[str, Params], batch: Batch, key: jax.Array, *, context: int) -> dict:
        model = params["world_model"]
        observe_key, dream_key, next_key = jax.random.split(key, 3)
        embed = world_model.embed(model, preprocess(spec.obs, batch.obs))
        action, is_first, start, prev_action = window_inputs(world_model, spec, batch)
        keys = row_keys(observe_key, batch.row)
        post = observe_window(world_model, model, embed, action, is_first, start, prev_action, keys).state

        last = jax.tree.map(lambda x: x[:, context - 1], post)
        dreamed = imagine_actions(world_model, model, last, action[:, context - 1 : -1], row_keys(dream_key, batch.row))
        joined = jax.tree.map(lambda a, b: jnp.concatenate([a[:, :context], b], 1), post, dreamed)

        flat = jax.tree.map(lambda x: x[:, :-1].reshape(-1, *x.shape[2:]), post)
        flat_action = action[:, :-1].reshape(-1, action.shape[-1])
        rows = jnp.arange(flat_action.shape[0], dtype=jnp.int32)
        following, _ = world_model.imagine(model, flat, flat_action, row_keys(next_key, rows))
        shape = action[:, :-1].shape[:2]
        following = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), following)
        before, after = (jax.tree.map(lambda x, s=s: x[:, s], post) for s in (slice(None, -1), slice(1, None)))
        doubts = {}
        if ensemble is not None and "ensemble" in params:
            told = ensemble.apply(params["ensemble"], world_model.feat(before), action[:, :-1])
            missed = jnp.square(jnp.mean(told, 0) - ensemble.target(before, after))
            doubts = {"disagreement": disagreement(told), "error_members": jnp.sum(missed, -1)}
            seen = {name: x[:, 1:] for name, x in preprocess(spec.obs, batch.obs).items()}
            predicted = world_model.predict(model, before, action[:, :-1], following)
            losses = [observation_loss(spec.obs[n], x, seen[n], config.model.symlog) for n, x in predicted.items()]
            doubts["error_world_model"] = functools.reduce(jnp.add, losses)

        resets = jnp.cumsum(jnp.asarray(batch.is_first)[:, 1:], 1) > 0
        return {
            "real": {name: batch.obs[name] for name in spec.obs},
            "dream": decode(model, joined),
            "next": decode(model, following),
            "valid": jnp.pad(~resets, ((0, 0), (1, 0)), constant_values=True),
        } | doubts

    return open_loop


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
