"""An ensemble of one-step predictors of the latent state; its disagreement measures what has not been learned yet.

Plan2Explore (Sekar et al. 2020, section 3): K small networks with different initializations each predict the next state
from features and an action; where they differ, more data would help.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.config import EnsembleConfig, ModelConfig
from dreamjax.models.grid.layout import GridLayout, focus_place, grid_layout, split_state
from dreamjax.models.grid.motion import make_edit
from dreamjax.models.grid.pointer import RowPointer
from dreamjax.models.nets import MLP, Dtype
from dreamjax.types import EnvSpec, Params, RSSMState


class GridPredictor(nn.Module):
    """One member for the grid model: how cells and vector change, by the same local steps as the model's own.

    An edit around the action's place, an absolute edit, rows that come from rows above (``models.grid``); it does not see
    the next latent. An MLP over the board is no substitute: where it has learned nothing, all members agree.

    ``(feat [..., F], action [..., A]) -> [..., cells + vector]``.
    """

    layout: GridLayout
    units: int
    layers: int
    radius: int
    act: str
    norm: str
    dtype: Dtype

    @nn.compact
    def __call__(self, feat: jax.Array, action: jax.Array) -> jax.Array:
        layout, lead = self.layout, feat.shape[:-1]
        feat, action = feat.reshape(-1, feat.shape[-1]), action.reshape(-1, action.shape[-1])
        cells, vector, _ = split_state(layout, feat[:, : layout.deter].astype(jnp.float32))
        row, column = focus_place(layout, cells, action)
        # Where an action names a cell, the edit is centered on it.
        chosen = action[:, :0] if layout.focus == "action" else action / jnp.maximum(1.0, jnp.abs(action))
        known = jnp.concatenate([vector.astype(self.dtype), chosen.astype(self.dtype)], -1)
        shape = (layout.channels, 1, 1)
        keep = self.param("keep", lambda *_: jnp.full(shape, 4.0, jnp.float32))
        edit = make_edit(layout, self.units, self.act, self.radius, self.dtype)
        logit, hidden, room = edit(cells, (2 * cells - 1) * keep[None], row, column, known)
        rest = jnp.concatenate([known, hidden, feat[:, layout.cells + layout.vector :].astype(self.dtype)], -1)
        mlp = dict(act=self.act, norm=self.norm, dtype=self.dtype)
        if layout.focus != "action":
            appears = MLP(1, self.units, layout.cells, **mlp)(rest).astype(jnp.float32).reshape(logit.shape)
            logit += room[..., None, None] * appears
        probs = jax.nn.sigmoid(logit)
        share = jax.nn.sigmoid(self.param("movable", nn.initializers.zeros_init(), shape) + 2.0)[None]
        change = (1 - share) * probs + share * RowPointer()(probs) - cells
        parts = [change.reshape(change.shape[0], -1)]
        if layout.vector:
            parts.append(MLP(self.layers, self.units, layout.vector, **mlp)(rest).astype(jnp.float32))
        return jnp.concatenate(parts, -1).reshape(*lead, -1)


class FlatPredictor(nn.Module):
    """One member for the vector model: ``(feat [..., F], action [..., A]) -> [..., D]`` by an MLP."""

    layers: int
    units: int
    size: int
    act: str
    norm: str
    dtype: Dtype

    @nn.compact
    def __call__(self, feat: jax.Array, action: jax.Array) -> jax.Array:
        inputs = jnp.concatenate([feat.astype(self.dtype), action.astype(self.dtype)], -1)
        return MLP(self.layers, self.units, self.size, 1.0, self.act, self.norm, self.dtype)(inputs)


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


def make_ensemble(
    ensemble: EnsembleConfig, model: ModelConfig, spec: EnvSpec, *, dtype: Dtype = jnp.float32
) -> Ensemble:
    """The ensemble that ``ensemble`` describes, for the world model that ``model`` describes.

    Members predict the part of the next state that holds the observation. For the vector model these are the next
    posterior's latents, flat. The grid model's latents hold only chance, and the observation lies in ``deter``: members
    predict the change of its cells and vector entries. (The change, because most cells stay: untrained members agree on
    that. Disagreement is the same as about the cells themselves.)
    """
    dtype = jnp.dtype(dtype)
    net: dict[str, Any] = dict(
        units=ensemble.units, layers=ensemble.layers, act=model.act, norm=model.norm, dtype=dtype
    )
    member: type[nn.Module]
    if model.kind == "grid":
        layout = grid_layout(model, spec)
        size, member = layout.cells + layout.vector, GridPredictor
        net |= dict(layout=layout, radius=model.edit_radius)
    else:
        size, member = model.stoch * (model.classes if model.latent == "categorical" else 1), FlatPredictor
        net |= dict(size=size)
    members = nn.vmap(
        member,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        out_axes=0,
        axis_size=ensemble.size,
    )
    module = members(**net)

    def init(key: jax.Array, feat_size: int) -> Params:
        return module.init(key, jnp.zeros((1, feat_size)), jnp.zeros((1, spec.action.vector_size)))["params"]

    def apply(params: Params, feat: jax.Array, action: jax.Array) -> jax.Array:
        return jnp.asarray(module.apply({"params": params}, feat, action), jnp.float32)

    def target(state: RSSMState, following: RSSMState) -> jax.Array:
        if model.kind == "grid":
            change = following.deter[..., :size].astype(jnp.float32) - state.deter[..., :size].astype(jnp.float32)
            return jax.lax.stop_gradient(change)
        flat = following.stoch.reshape(*following.stoch.shape[:-2], size)
        return jax.lax.stop_gradient(flat.astype(jnp.float32))

    return Ensemble(init, apply, target)
