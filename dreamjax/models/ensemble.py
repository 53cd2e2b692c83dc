"""An ensemble of one-step predictors of the latent state, whose disagreement tells what has not been learned yet.

Plan2Explore (Sekar et al. 2020, section 3): K small networks, differently initialised, each predict from features and an
action what the next state holds; where they differ, more data would teach something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.config import Config
from dreamjax.models.grid_layers import grid_layout
from dreamjax.models.nets import MLP
from dreamjax.types import EnvSpec, Params, RSSMState


class Ensemble(NamedTuple):
    """K predictors as pure functions; the leaves of their parameters have a leading axis K.

    Attributes:
        init: ``(key, feat_size) -> params``; the key is consumed, members differ.
        apply: ``(params, feat [..., F], action [..., A]) -> predictions float32 [K, ..., D]``.
        target: ``(state, following) -> float32 [..., D]``, what they predict; no gradient flows through it.
    """

    init: Callable[[jax.Array, int], Params]
    apply: Callable[[Params, jax.Array, jax.Array], jax.Array]
    target: Callable[[RSSMState, RSSMState], jax.Array]


def make_ensemble(config: Config, spec: EnvSpec) -> Ensemble:
    """The ensemble that ``config.ensemble`` describes, for the world model of the same configuration.

    What is predicted is where each world model keeps what it learned of the next observation. The vector model: the next
    posterior's latents, flat. The grid model's latents hold chance alone, the observation lies in ``deter``: the change of
    its cells and of its vector entries. (A change, because most cells stay: members that know nothing then agree on
    that. What they disagree on is the same, for all of them add the same cells.)
    """
    ensemble, model = config.ensemble, config.model
    if model.kind == "grid":
        layout = grid_layout(config, spec)
        size = layout.cells + layout.vector
    else:
        size = model.stoch * (model.classes if model.latent == "categorical" else 1)
    members = nn.vmap(
        MLP, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, out_axes=0, axis_size=ensemble.size
    )
    dtype = jnp.dtype(config.parallel.precision)
    module = members(ensemble.layers, ensemble.units, size, 1.0, model.act, model.norm, dtype)

    def init(key: jax.Array, feat_size: int) -> Params:
        return module.init(key, jnp.zeros((1, feat_size + spec.action.vector_size)))["params"]

    def apply(params: Params, feat: jax.Array, action: jax.Array) -> jax.Array:
        inputs = jnp.concatenate([feat.astype(dtype), action.astype(dtype)], -1)
        return jnp.asarray(module.apply({"params": params}, inputs), jnp.float32)

    def target(state: RSSMState, following: RSSMState) -> jax.Array:
        if model.kind == "grid":
            change = following.deter[..., :size].astype(jnp.float32) - state.deter[..., :size].astype(jnp.float32)
            return jax.lax.stop_gradient(change)
        flat = following.stoch.reshape(*following.stoch.shape[:-2], size)
        return jax.lax.stop_gradient(flat.astype(jnp.float32))

    return Ensemble(init, apply, target)
