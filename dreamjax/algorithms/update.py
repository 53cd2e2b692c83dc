"""One update as one pure function: world model, imagination, actor and critic, then the optimisers.

All gradients are taken at the same parameters, then applied together. With micro-batches, each phase runs over all of
them before the next begins, because returns are normalised over the whole batch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import optax

from dreamjax.algorithms.actor_critic import actor_loss, critic_loss, imagined_returns, imitation_loss, replay_returns
from dreamjax.algorithms.distributions import Policy, action_vector, make_policy, scalar_decode
from dreamjax.algorithms.exploration import (
    add_bonus,
    as_explorer,
    bootstrap_weights,
    ensemble_loss,
    imagined_disagreement,
    mixed_reward,
    replayed_disagreement,
    stop_where_unsure,
)
from dreamjax.algorithms.imagination import imagine
from dreamjax.algorithms.micro_batches import accumulate
from dreamjax.algorithms.normalisation import init_normaliser, normaliser_scale, update_normaliser
from dreamjax.algorithms.optimisers import make_optimisers, update_average
from dreamjax.algorithms.randomness import row_keys
from dreamjax.algorithms.returns import step_weights
from dreamjax.algorithms.world_model_loss import Posterior, world_model_loss
from dreamjax.buffers import imagination_buffer
from dreamjax.config import Config
from dreamjax.models.ensemble import Ensemble
from dreamjax.models.fast.activations import Activations, apply_recorded, record
from dreamjax.models.heads import Networks
from dreamjax.types import (
    MASK_KEY,
    Batch,
    EnvSpec,
    ExplorerState,
    Imagination,
    Metrics,
    NormaliserState,
    Params,
    ReplayOuts,
    RSSMState,
    TrainState,
)

Phase = Literal["world_model", "actor_critic", "explorer"]
T = TypeVar("T")
CACHED_STATES = 4096  # imagined states, H + 1 a rollout, whose losses a CPU computes at once


def last_steps(tree: T, count: int) -> T:
    """The last ``count`` time steps (0: all) of leaves ``[B, T, ...]``, flattened to ``[B * count, ...]``."""
    return jax.tree.map(lambda x: x[:, -count:].reshape(-1, *x.shape[2:]), tree)


def add_to_last(by_step: jax.Array, more: jax.Array) -> jax.Array:
    """``by_step [B, T]`` with ``more [B, t]`` added to its last ``t`` steps."""
    return by_step + jnp.pad(more, ((0, 0), (by_step.shape[1] - more.shape[1], 0)))


def optimisers_of(networks: Networks, config: Config) -> dict[str, optax.GradientTransformation]:
    """The optimisers of every group of parameters that this configuration has."""
    rate = None if networks.ensemble is None else config.ensemble.lr
    return make_optimisers(config.optimiser, rate, explorer=config.explore.steps > 0)


def init_state(networks: Networks, config: Config, spec: EnvSpec, key: jax.Array) -> TrainState:
    """A fresh ``TrainState``; ``key`` is consumed."""
    key, world_key, actor_key, critic_key = jax.random.split(key, 4)
    size = networks.world_model.feat_size
    params = {
        "world_model": networks.world_model.init(world_key),
        "actor": networks.actor.init(actor_key, size),
        "critic": networks.critic.init(critic_key, size),
    }
    if networks.ensemble is not None:
        # Folded by a number that no step reaches, so that the other parameters are those without an ensemble.
        params["ensemble"] = networks.ensemble.init(jax.random.fold_in(key, jnp.uint32(2**32 - 1)), size)
    explorer = None
    if config.explore.steps:
        keys = [jax.random.fold_in(key, jnp.uint32(2**32 - 2 - i)) for i in range(2)]
        params["explorer_actor"] = networks.actor.init(keys[0], size)
        params["explorer_critic"] = networks.critic.init(keys[1], size)
        slow = jax.tree.map(jnp.copy, params["explorer_critic"])
        explorer = ExplorerState(slow, init_normaliser(), init_normaliser())
    optimisers = optimisers_of(networks, config)
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params=params,
        # A copy, not the same buffers: the state is donated to the update.
        slow_critic=jax.tree.map(jnp.copy, params["critic"]),
        opt_state={name: optimiser.init(params[name]) for name, optimiser in optimisers.items()},
        retnorm=init_normaliser(),
        novelty=None if networks.ensemble is None else init_normaliser(),
        explorer=explorer,
    )
    if config.imagination.use_ring:
        rows = jnp.zeros((1,), jnp.int32)
        start = networks.world_model.initial(1)
        mask = jnp.ones((1, spec.obs[MASK_KEY].size), bool) if MASK_KEY in spec.obs else None
        dream = lambda key: imagine_from(networks, config, spec, params, start, rows, mask, jnp.ones((1,)), key)  # noqa: E731
        example, _ = jax.eval_shape(dream, jax.random.key(0))
        ring = imagination_buffer.init(example, config.imagination.capacity // config.horizon)
        state = dataclasses.replace(state, ring=ring)
    return state


def imagine_from(
    networks: Networks,
    config: Config,
    spec: EnvSpec,
    params: dict[str, Params],
    start: RSSMState,
    row: jax.Array,
    mask: jax.Array | None,
    cont: jax.Array,
    key: jax.Array,
) -> tuple[Imagination, Activations | None]:
    """Rollouts of the current actor from ``start`` ``[N, ...]``; the start's own continuation ``cont`` is the true one.

    Beside them the actor's activations (``models.fast.activations``), or None where they are not kept.
    """

    def policy_fn(feat: jax.Array, mask: jax.Array | None) -> tuple[Policy, Activations | None]:
        outputs, activations = record(networks.actor, params["actor"], feat)
        # Rollouts of the ring teach actors that did not make them, and micro-batches are there to save memory.
        kept = None if config.imagination.use_ring or config.optimiser.accumulate > 1 else activations
        return make_policy(spec.action, outputs, mask, config.actor), kept

    rollouts, activations = imagine(
        networks.world_model,
        params["world_model"],
        policy_fn,
        start,
        keys=row_keys(key, row),
        row=row,
        horizon=config.horizon,
        start_mask=mask,
        gamma=config.loss.gamma,
        cont_discount=config.loss.cont_discount,
        symlog_limit=config.loss.reach,
    )
    return dataclasses.replace(rollouts, cont=rollouts.cont.at[:, 0].set(cont)), activations


def behaviour_parts(states: tuple[int, int], windows: int, least: int) -> int:
    """Parts that the losses on rollouts of ``states`` ``(N, H + 1)`` are computed in: ``least``, and more on CPUs.

    There the fewest that divide rollouts and windows and leave at most ``CACHED_STATES`` to a part: what a head makes of
    more falls out of the caches between one operation and the next.
    """
    if jax.default_backend() != "cpu":
        return least
    allowed = [parts for parts in range(least, windows + 1, least) if windows % parts == states[0] % parts == 0]
    return next(
        (parts for parts in allowed if states[0] * states[1] <= CACHED_STATES * parts), (allowed or [least])[-1]
    )


def make_update(
    networks: Networks, config: Config, spec: EnvSpec, phases: tuple[Phase, ...] = ("world_model", "actor_critic")
) -> Callable[..., tuple[TrainState, Metrics, ReplayOuts]]:
    """Builds ``update(state, batch, *, axis_name=None) -> (state, metrics, replay_outs)``, pure and jittable.

    Under ``pmap`` (or ``vmap`` with an axis name) ``batch`` is one device's share and ``axis_name`` names the axis:
    gradients and metrics are averaged over it, percentiles see the returns of all devices, rollouts of all devices enter
    the ring. Phases left out keep their parameters and optimiser state. The phase "explorer" is none without one.

    Metrics are float32 scalars by their final names. ``replay_outs.latents`` are the posterior states of the batch,
    ``replay_outs.priority`` the world-model loss by step, plus the value's error where the critic is trained (with
    ``replay.even``, where behaviours learn from some windows alone: without it).
    """
    world_model, actor, critic, ensemble = networks
    optimisers = optimisers_of(networks, config)
    count = config.optimiser.accumulate
    learn_model, learn_behaviour = "world_model" in phases, "actor_critic" in phases
    learn_explorer = "explorer" in phases and config.explore.steps > 0
    steps = config.imagination.last or config.batch_length
    use_ring = config.imagination.use_ring
    loss_fn = functools.partial(world_model_loss, symlog=config.model.symlog)

    def model_phase(
        params: dict[str, Params], batch: Batch, key: jax.Array
    ) -> tuple[Params | None, Metrics, Posterior, jax.Array]:
        def micro(part: Batch) -> tuple[Any, Any]:
            if not learn_model:
                _, (post, by_step, _) = loss_fn(params["world_model"], world_model, spec, config.loss, part, key)
                return (None, {}), (post, by_step)
            grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
            (_, (post, by_step, metrics)), grads = grad_fn(
                params["world_model"], world_model, spec, config.loss, part, key
            )
            return (grads, metrics), (post, by_step)

        (grads, metrics), (post, by_step) = accumulate(micro, batch, count)
        return grads, metrics, post, by_step

    def ensemble_phase(
        predictors: Ensemble, params: Params, batch: Batch, post: Posterior, key: jax.Array
    ) -> tuple[Params, Metrics]:
        def micro(part: tuple[Batch, RSSMState]) -> tuple[tuple[Params, Metrics], None]:
            window, states = part
            weight = bootstrap_weights(key, window.row, config.ensemble.size)
            action = action_vector(spec.action, window.action)
            loss, grads = jax.value_and_grad(ensemble_loss)(
                params, predictors, world_model.feat(states), action, states, window.is_first, weight
            )
            return (grads, {"train/loss/ensemble": loss}), None

        return accumulate(micro, (batch, post.state), count)[0]

    def on_rollouts(predictors: Ensemble, state: TrainState, rollouts: Imagination) -> jax.Array:
        params = state.params["ensemble"]
        return accumulate(lambda part: (None, imagined_disagreement(predictors, params, part)), rollouts, count)[1]

    def on_replay(predictors: Ensemble, state: TrainState, batch: Batch, post: Posterior) -> jax.Array:
        def micro(part: tuple[Batch, RSSMState]) -> tuple[None, jax.Array]:
            window, states = part
            inputs = world_model.feat(states), action_vector(spec.action, window.action), window.is_first
            return None, replayed_disagreement(predictors, state.params["ensemble"], *inputs)

        return accumulate(micro, (batch, post.state), count)[1]

    def with_error(priority: jax.Array, error: jax.Array) -> jax.Array:
        """What is surprising, with the value's error; without, where that is known of some windows alone."""
        return priority if config.replay.even else add_to_last(priority, error)

    def doubt(
        predictors: Ensemble, state: TrainState, batch: Batch, post: Posterior, rollouts: Imagination, axis: str | None
    ) -> tuple[Imagination, NormaliserState | None, Metrics]:
        """The task's rollouts with what the ensemble disagrees on as a bonus, a penalty or a stop, as configured."""
        own = config.ensemble
        disagreed = on_rollouts(predictors, state, rollouts)
        metrics = {"imagination/disagreement": jnp.mean(disagreed)}
        assert state.novelty is not None
        weights = dict(intrinsic=own.bonus - own.penalty, extrinsic=own.extrinsic, rate=own.rate)
        rollouts, novelty, _ = add_bonus(rollouts, disagreed, state.novelty, **weights, axis_name=axis)
        if own.limit:
            known = jnp.sum(on_replay(predictors, state, batch, post)), jnp.sum(~batch.is_first[:, 1:])
            if axis is not None:
                known = jax.lax.psum(known, axis)
            limit = own.limit * known[0] / jnp.maximum(known[1], 1)
            rollouts, metrics["imagination/trusted"] = stop_where_unsure(rollouts, disagreed, limit)
        return rollouts, novelty, metrics

    def dream_phase(
        params: dict[str, Params], batch: Batch, post: Posterior, key: jax.Array
    ) -> tuple[Imagination, Activations | None]:
        def micro(part: tuple[Batch, RSSMState]) -> tuple[None, tuple[Imagination, Activations | None]]:
            window, states = part
            length = window.reward.shape[1]
            rows = window.row[:, None] * length + jnp.arange(length, dtype=jnp.int32)[None]
            mask = last_steps(window.obs[MASK_KEY] > 0, steps) if world_model.mask is not None else None
            alive = 1.0 - last_steps(window.is_terminal, steps).astype(jnp.float32)
            start, rows = last_steps((states, rows), steps)
            return None, imagine_from(networks, config, spec, params, start, rows, mask, alive, key)

        return accumulate(micro, (batch, post.state), count)[1]

    def through_ring(
        ring: imagination_buffer.ImaginationRing, rollouts: Imagination, key: jax.Array, axis_name: str | None
    ) -> tuple[imagination_buffer.ImaginationRing, Imagination]:
        """Adds the fresh rollouts of all devices and draws this device's share of those to learn from."""
        fresh = rollouts.row.shape[0]
        devices, index = 1, jnp.zeros((), jnp.int32)
        if axis_name is not None:
            rollouts = jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), rollouts)
            devices, index = jax.lax.axis_size(axis_name), jax.lax.axis_index(axis_name)
        ring = imagination_buffer.add(ring, rollouts)
        share = config.imagination.draw // devices if config.imagination.draw else fresh
        rows = index * share + jnp.arange(share, dtype=jnp.int32)
        return ring, dataclasses.replace(imagination_buffer.draw(ring, row_keys(key, rows)), row=rows)

    def critic_losses(
        critic_params: Params, slow_critic: Params, part: tuple[Imagination, tuple[Any, ...]]
    ) -> tuple[jax.Array, tuple[Metrics, tuple[jax.Array, jax.Array, jax.Array]]]:
        """The critic's loss; by row the returns and values of rollouts, and the value's error on replayed steps."""
        rollouts, (replay_feat, reward, is_last, is_terminal, _, _) = part
        feat = rollouts.feat
        # The heads read the last state too, which takes part in no loss: returns bootstrap from what they say of it.
        outputs, slow = critic.apply(critic_params, feat), critic.apply(slow_critic, feat)
        returns, value = imagined_returns(outputs, slow, rollouts, config)
        weight = step_weights(rollouts.cont[:, :-1], gamma=config.loss.gamma)
        losses = {"critic": critic_loss(outputs[:, :-1], slow[:, :-1], returns, weight, config)}

        # Rollouts begin at the replayed steps themselves, unless the ring has mixed them.
        at_start = lambda x: x[:, 0].reshape(*reward.shape, -1)  # noqa: E731
        replay_outputs = critic.apply(critic_params, replay_feat) if use_ring else at_start(outputs)
        replay_value = scalar_decode(replay_outputs, config.loss.reach)
        boot = replay_value if use_ring else returns[:, 0].reshape(reward.shape)
        targets = replay_returns(reward, is_last, is_terminal, jax.lax.stop_gradient(boot), config)
        live = 1.0 - is_last[:, :-1].astype(jnp.float32)
        error = jnp.pad(jnp.abs(targets - replay_value[:, :-1]) * live, ((0, 0), (0, 1)))
        total = losses["critic"]
        if config.critic.replay_scale:
            replay_slow = critic.apply(slow_critic, replay_feat) if use_ring else at_start(slow)
            losses["critic_replay"] = critic_loss(replay_outputs[:, :-1], replay_slow[:, :-1], targets, live, config)
            total += config.critic.replay_scale * losses["critic_replay"]
        metrics = {f"train/loss/{name}": loss for name, loss in losses.items()}
        return total, (metrics, (returns, value, jax.lax.stop_gradient(error)))

    def actor_losses(
        actor_params: Params, scale: jax.Array, imitation: float, part: tuple[Any, ...]
    ) -> tuple[jax.Array, Metrics]:
        """The actor's loss on rollouts, whose returns and values come by row, and on what replay shows was done."""
        rollouts, activations, returns, value, (replay_feat, _, is_last, _, action, replay_mask) = part
        feat = rollouts.feat
        mask = None if rollouts.mask is None else rollouts.mask[:, :-1]
        policy = make_policy(
            spec.action, apply_recorded(actor, actor_params, feat, activations)[:, :-1], mask, config.actor
        )
        total, metrics = actor_loss(policy, rollouts, returns, value, scale, config, off_policy=use_ring)
        metrics["train/loss/actor"] = total
        if imitation:
            policy = make_policy(spec.action, actor.apply(actor_params, replay_feat), replay_mask, config.actor)
            metrics["train/loss/actor_imitation"] = imitation_loss(policy, action, is_last)
            total += imitation * metrics["train/loss/actor_imitation"]
        return total, metrics

    def behaviour_phase(
        state: TrainState,
        batch: Batch,
        post: Posterior,
        rollouts: Imagination,
        activations: Activations | None,
        axis_name: str | None,
        imitation: float,
    ) -> tuple[tuple[Params, Params], Metrics, NormaliserState, jax.Array]:
        params = state.params
        windows = batch.reward.shape[0]
        action = action_vector(spec.action, batch.action)
        mask = batch.obs[MASK_KEY] > 0 if MASK_KEY in spec.obs else None
        recent = jax.tree.map(
            lambda x: x[:, -steps:],
            (world_model.feat(post.state), batch.reward, batch.is_last, batch.is_terminal, action, mask),
        )
        parts = behaviour_parts(rollouts.feat.shape[:2], windows, count)

        def critic_micro(part: tuple[Any, ...]) -> tuple[Any, Any]:
            grad, (metrics, rows) = jax.grad(critic_losses, has_aux=True)(params["critic"], state.slow_critic, part)
            return (grad, metrics), rows

        (critic_grad, metrics), (returns, value, error) = accumulate(critic_micro, (rollouts, recent), parts)
        rate = config.loss.return_norm_rate
        retnorm = update_normaliser(state.retnorm, returns, rate=rate, axis_name=axis_name)
        scale = jnp.ones(())
        if config.loss.return_norm == "percentile":
            scale = normaliser_scale(retnorm, rate=rate, limit=config.loss.return_norm_limit)

        def actor_micro(part: tuple[Any, ...]) -> tuple[Any, None]:
            return jax.grad(actor_losses, has_aux=True)(params["actor"], scale, imitation, part), None

        (actor_grad, more), _ = accumulate(actor_micro, (rollouts, activations, returns, value, recent), parts)
        metrics = {**metrics, **more} | {
            "imagination/return": jnp.mean(returns[:, 0]),
            "imagination/reward": jnp.mean(jnp.sum(rollouts.reward[:, 1:], 1)),
            "imagination/cont": jnp.mean(rollouts.cont[:, 1:]),
            "imagination/value": jnp.mean(value),
            "imagination/return_scale": scale,
        }
        return (actor_grad, critic_grad), metrics, retnorm, error

    def explorer_phase(
        predictors: Ensemble, state: TrainState, batch: Batch, post: Posterior, key: jax.Array, axis_name: str | None
    ) -> tuple[dict[str, Params], ExplorerState, Metrics]:
        """The behaviour phase of the explorer: its own dreams, and disagreement as reward, in dreams and in replay."""
        own = as_explorer(state)
        rollouts, activations = dream_phase(own.params, batch, post, key)
        disagreed = on_rollouts(predictors, state, rollouts)
        assert state.explorer is not None
        weights = dict(intrinsic=config.explore.intrinsic, extrinsic=config.explore.extrinsic)
        rollouts, novelty, scale = add_bonus(
            rollouts, disagreed, state.explorer.novelty, **weights, rate=config.ensemble.rate, axis_name=axis_name
        )
        paid = mixed_reward(batch.reward, on_replay(predictors, state, batch, post), scale, **weights)
        batch = dataclasses.replace(batch, reward=paid)
        (actor_grad, critic_grad), metrics, retnorm, _ = behaviour_phase(
            own, batch, post, rollouts, activations, axis_name, 0.0
        )
        told = {f"explorer/{name.split('/', 1)[1]}": value for name, value in metrics.items()}
        told["explorer/disagreement"] = jnp.mean(disagreed)
        grads = {"explorer_actor": actor_grad, "explorer_critic": critic_grad}
        return grads, dataclasses.replace(state.explorer, retnorm=retnorm, novelty=novelty), told

    def update(
        state: TrainState, batch: Batch, *, axis_name: str | None = None
    ) -> tuple[TrainState, Metrics, ReplayOuts]:
        key = jax.random.fold_in(state.key, state.step)
        model_key, dream_key, ring_key = jax.random.split(key, 3)
        grads: dict[str, Params] = {}
        model_grads, metrics, post, priority = model_phase(state.params, batch, model_key)
        if learn_model:
            grads["world_model"] = model_grads
            if ensemble is not None:
                # fold_in(key, 3): beside the three keys of the split.
                bootstrap_key = jax.random.fold_in(key, 3)
                grads["ensemble"], more = ensemble_phase(ensemble, state.params["ensemble"], batch, post, bootstrap_key)
                metrics = {**metrics, **more}
        latents = post.state
        if config.replay.even:
            even = config.replay.even_rows(batch.reward.shape[0])
            batch, post = jax.tree.map(lambda x: x[even], (batch, post))
        retnorm, ring, novelty = state.retnorm, state.ring, state.novelty
        if learn_behaviour:
            rollouts, activations = dream_phase(state.params, batch, post, dream_key)
            if use_ring:
                ring, rollouts = through_ring(ring, rollouts, ring_key, axis_name)
            if ensemble is not None:
                rollouts, novelty, more = doubt(ensemble, state, batch, post, rollouts, axis_name)
                metrics = {**metrics, **more}
            imitation = config.actor.imitation
            found, more, retnorm, error = behaviour_phase(
                state, batch, post, rollouts, activations, axis_name, imitation
            )
            grads["actor"], grads["critic"] = found
            metrics = {**metrics, **more}
            priority = with_error(priority, error)
        explorer = state.explorer
        if learn_explorer:
            assert ensemble is not None
            explorer_key = jax.random.fold_in(key, 7)
            explorer_grads, explorer, more = explorer_phase(ensemble, state, batch, post, explorer_key, axis_name)
            grads, metrics = {**grads, **explorer_grads}, {**metrics, **more}
        if axis_name is not None:
            grads, metrics = jax.lax.pmean((grads, metrics), axis_name)

        params, opt_state = dict(state.params), dict(state.opt_state)
        for name, grad in grads.items():
            changes, opt_state[name] = optimisers[name].update(grad, opt_state[name], params[name])
            params[name] = optax.apply_updates(params[name], changes)
            metrics[f"train/grad_norm/{name}"] = optax.tree.norm(grad)
        slow_critic = state.slow_critic
        if learn_behaviour:
            slow_critic = update_average(slow_critic, params["critic"], config.critic.slow_rate)
        if learn_explorer and explorer is not None:
            slow = update_average(explorer.slow_critic, params["explorer_critic"], config.critic.slow_rate)
            explorer = dataclasses.replace(explorer, slow_critic=slow)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            slow_critic=slow_critic,
            retnorm=retnorm,
            ring=ring,
            novelty=novelty,
            explorer=explorer,
        )
        return state, metrics, ReplayOuts(latents, priority)

    return update
