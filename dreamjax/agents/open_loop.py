"""What the world model predicts on replayed windows, one step ahead and open loop, next to the recorded observations."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dreamjax.algorithms.distributions import observation_loss, observation_mode
from dreamjax.algorithms.exploration import disagreement
from dreamjax.algorithms.imagination import imagine_actions
from dreamjax.algorithms.randomness import row_keys
from dreamjax.algorithms.world_model_loss import observe_window, window_inputs
from dreamjax.models.encoders import preprocess
from dreamjax.models.ensemble import Ensemble
from dreamjax.types import Batch, EnvSpec, Params, RSSMState, WorldModel


def make_open_loop(
    world_model: WorldModel, spec: EnvSpec, ensemble: Ensemble | None = None, *, symlog: bool
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
        return {name: observation_mode(spec.obs[name], prediction, symlog) for name, prediction in predictions.items()}

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
        uncertainty = {}
        if ensemble is not None and "ensemble" in params:
            members = ensemble.apply(params["ensemble"], world_model.feat(before), action[:, :-1])
            error = jnp.square(jnp.mean(members, 0) - ensemble.target(before, after))
            uncertainty = {"disagreement": disagreement(members), "error_members": jnp.sum(error, -1)}
            seen = {name: x[:, 1:] for name, x in preprocess(spec.obs, batch.obs).items()}
            predicted = world_model.predict(model, before, action[:, :-1], following)
            losses = [observation_loss(spec.obs[n], x, seen[n], symlog) for n, x in predicted.items()]
            uncertainty["error_world_model"] = functools.reduce(jnp.add, losses)

        resets = jnp.cumsum(jnp.asarray(batch.is_first)[:, 1:], 1) > 0
        return {
            "real": {name: batch.obs[name] for name in spec.obs},
            "dream": decode(model, joined),
            "next": decode(model, following),
            "valid": jnp.pad(~resets, ((0, 0), (1, 0)), constant_values=True),
        } | uncertainty

    return open_loop
