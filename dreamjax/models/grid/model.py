"""A world model whose state lies on the grid: local, shared over places, centered on where the action acts.

The observed cells are part of the latent state. A small RSSM (memory and categorical latents) holds what cells do not show
and what chance decides. The next grid is predicted from the current one in three learned steps: an *edit* around the
action's place (``motion.make_edit``: a local edit, or the *motion of an object* as one piece); a *row pointer*, by which
every row may come from a row above it; and an *absolute edit* for what appears at fixed places afterwards. No rules of a
game are built in, except that objects turn and move as a whole and that rows come from rows.

The reason: a plain vector model does not learn a board of 200 cells from 100,000 steps; locality and sharing do.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import ModelConfig
from dreamjax.models.encoders import zero_inputs
from dreamjax.models.fast.grid import grid_fast_path
from dreamjax.models.grid.layers import CellScores, GridTrunk
from dreamjax.models.grid.layout import GridLayout, button_pairs, focus_place, grid_layout, split_state
from dreamjax.models.grid.motion import EPS, make_edit
from dreamjax.models.grid.pointer import RowPointer
from dreamjax.models.latents import entropy, gaussian_logit, kl, sample, unimix_logit
from dreamjax.models.nets import MLP, Dtype, logit, symlog
from dreamjax.models.rssm import DenseGRU, reset_where
from dreamjax.types import MASK_KEY, EnvSpec, Params, RSSMState, WorldModel

SURE = 8.0  # the logit of a cell that is known


class GridModel(nn.Module):
    """The grid world model's parameters and steps; every array has one leading axis ``[N]``."""

    config: ModelConfig
    spec: EnvSpec
    layout: GridLayout
    dtype: Dtype

    def setup(self) -> None:
        model, layout = self.config, self.layout
        net = dict(act=model.act, norm=model.norm, dtype=self.dtype)
        latent = model.stoch * (model.classes if model.latent == "categorical" else 2)
        self.encoder = MLP(model.layers, model.units, **net)
        self.event = MLP(1, model.hidden, **net)
        self.cell = DenseGRU(model, self.dtype)
        self.prior_out = MLP(model.prior_layers, model.hidden, latent, **net)
        self.post_out = MLP(model.posterior_layers, model.hidden, latent, **net)
        self.edit = make_edit(layout, model.units, model.act, model.edit_radius, self.dtype)
        self.absolute = MLP(1, model.units, layout.cells, **net)
        self.pointer = RowPointer()
        if layout.vector:
            self.vector_out = MLP(model.layers, model.hidden, layout.vector, **net)
        head = dict(layout=layout, units=model.hidden, layers=model.head_layers, act=model.act, dtype=self.dtype)
        bins = model.bins if model.reward_head == "twohot" else 1
        # One trunk reads the board for both; zero outputs at the start.
        self.heads = GridTrunk(outputs=bins + 1, scale=0.0, **head)
        self.mask_head: nn.Module
        if MASK_KEY in self.spec.obs and layout.focus == "action":
            self.mask_head = CellScores(layout, model.layers, 2 * model.hidden, model.act, self.dtype)
        elif MASK_KEY in self.spec.obs:
            self.mask_head = GridTrunk(outputs=self.spec.obs[MASK_KEY].size, scale=1.0, **head)
        sticky = lambda *_: jnp.full((layout.channels, 1, 1), 4.0, jnp.float32)  # noqa: E731
        self.keep = self.param("keep", sticky)
        self.movable = self.param("movable", nn.initializers.zeros_init(), (layout.channels, 1, 1))

    def embed(self, obs: jax.Array) -> jax.Array:
        """Flat observations ``[..., cells + vector]`` to ``[..., units + cells + vector]``."""
        tokens = self.encoder(obs)
        return jnp.concatenate([tokens, obs.astype(tokens.dtype)], -1)

    def outcome(self, shown: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The grid after the action, before rows move and chance decides; see ``motion.make_edit``.

        It depends on what is shown, ``[N, cells + vector]``, alone.
        """
        cells, vector, _ = split_state(self.layout, shown)
        cells = cells.astype(jnp.float32)
        row, column = focus_place(self.layout, cells, action)
        known = jnp.concatenate([vector.astype(self.dtype), self._action(action)], -1)
        return self.edit(cells, (2 * cells - 1) * self.keep[None], row, column, known)

    def effect(self, shown: jax.Array, action: jax.Array) -> jax.Array:
        """Features of what the action did, including rows that may move: ``[N, E]``."""
        edited, hidden, _ = self.outcome(shown, action)
        rows = jnp.sum(self.pointer.row_features(jax.nn.sigmoid(edited)), 1).astype(self.dtype)
        return self.event(jnp.concatenate([hidden, rows], -1))

    def memory(self, state: RSSMState, action: jax.Array, effect: jax.Array) -> jax.Array:
        """The memory after an action, its recurrent part and the effect: ``[N, M]``."""
        layout = self.layout
        _, vector, memory = split_state(layout, state.deter)
        known = [state.stoch.reshape(effect.shape[0], -1), effect, vector]
        inputs = jnp.concatenate([x.astype(self.dtype) for x in known], -1)
        recurrent = memory[..., : layout.recurrent].astype(self.dtype)
        return jnp.concatenate([self.cell(recurrent, inputs, self._action(action)), effect], -1)

    def _action(self, action: jax.Array) -> jax.Array:
        # Where an action names a cell, the window is centered on it: the class itself would only add parameters.
        if self.layout.focus == "action":
            return action[..., :0].astype(self.dtype)
        action = action / jax.lax.stop_gradient(jnp.maximum(1.0, jnp.abs(action)))
        # Two buttons together (opposite turns: nothing) do not do what both do alone, and are slow to learn from those.
        first, second = button_pairs(self.spec.action)
        return jnp.concatenate([action, action[..., first] * action[..., second]], -1).astype(self.dtype)

    def prior_logit(self, memory: jax.Array) -> jax.Array:
        return self._logit(self.prior_out(memory))

    def post_logit(self, memory: jax.Array, tokens: jax.Array) -> jax.Array:
        return self._logit(self.post_out(jnp.concatenate([memory, tokens], -1)))

    def _logit(self, raw: jax.Array) -> jax.Array:
        model = self.config
        if model.latent == "gaussian":
            return gaussian_logit(raw, model.min_std)
        return unimix_logit(raw.reshape(*raw.shape[:-1], model.stoch, model.classes), model.unimix)

    def predict(
        self, state: RSSMState, action: jax.Array, memory: jax.Array, stoch: jax.Array, hard: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Next cells as probabilities ``[N, C, H, W]`` and next vector (symlog) ``[N, V]``.

        From the previous state and action, the next memory, and the next latent (posterior in training, prior in
        imagination), which holds what chance decided. With ``hard`` every row comes from exactly one row.
        """
        layout = self.layout
        vector = split_state(layout, state.deter)[1]
        edited, _, room = self.outcome(state.deter[..., : layout.cells + layout.vector], action)
        latent = stoch.reshape(stoch.shape[0], -1)
        known = [x.astype(self.dtype) for x in (vector, self._action(action), latent, memory)]
        whole = jnp.concatenate(known, -1)
        probs = jax.nn.sigmoid(edited)
        moved = self.pointer(probs, hard)
        share = jax.nn.sigmoid(self.movable + 2.0)[None]
        probs = (1 - share) * probs + share * moved
        if layout.focus != "action":
            # Applied after rows have moved, because things that appear at fixed places do not move with them.
            bounded = jnp.clip(probs, EPS, 1 - EPS)
            appears = self.absolute(whole).astype(jnp.float32).reshape(edited.shape)
            probs = jax.nn.sigmoid(logit(bounded) + room[..., None, None] * appears)
        following = self.vector_out(whole) if layout.vector else vector
        return probs, following.astype(jnp.float32)

    def reward(self, feat: jax.Array) -> jax.Array:
        return self.heads(feat)[..., :-1]

    def cont(self, feat: jax.Array) -> jax.Array:
        return self.heads(feat)[..., -1]

    def mask(self, feat: jax.Array) -> jax.Array:
        return self.mask_head(feat)

    def init_all(self, obs: jax.Array, state: RSSMState, action: jax.Array) -> None:
        """Calls every part once, so that ``init`` makes all parameters."""
        memory = self.memory(state, action, self.effect(state.deter[..., : obs.shape[-1]], action))
        self.post_logit(memory, self.embed(obs)[..., : self.config.units])
        self.prior_logit(memory)
        self.predict(state, action, memory, state.stoch)
        feat = jnp.concatenate([state.deter, state.stoch.reshape(state.stoch.shape[0], -1)], -1)
        self.reward(feat), self.cont(feat)
        if MASK_KEY in self.spec.obs:
            self.mask(feat)


def make_grid_model(model: ModelConfig, spec: EnvSpec, *, dtype: Dtype) -> WorldModel:
    """The grid world model as a bundle of pure functions; see ``GridModel``."""
    layout, kind = grid_layout(model, spec), model.latent
    module = GridModel(model, spec, layout, dtype)
    classes = model.classes if kind == "categorical" else 1

    def call(method: str, params: Params, *args: object) -> Any:
        return module.apply({"params": params}, *args, method=method)

    def flatten(obs: dict[str, jax.Array]) -> jax.Array:
        lead = obs[layout.name].shape[:-3]
        parts = [obs[layout.name].reshape(*lead, layout.cells)]
        for name, size in zip(layout.entries, layout.sizes, strict=True):
            x = obs[name].reshape(*lead, size)
            parts.append(symlog(x) if spec.obs[name].kind == "vector" and model.symlog else x)
        return jnp.concatenate(parts, -1)

    def initial(batch_size: int) -> RSSMState:
        shape = (batch_size, model.stoch, classes)
        return RSSMState(deter=jnp.zeros((batch_size, layout.deter), dtype), stoch=jnp.zeros(shape, dtype))

    def init(key: jax.Array) -> Params:
        obs, action = zero_inputs(spec)
        return module.init(key, flatten(obs), initial(1), action, method="init_all")["params"]

    shown = layout.cells + layout.vector

    def observe(
        params: Params,
        state: RSSMState,
        action: jax.Array,
        embed: jax.Array,
        is_first: jax.Array,
        keys: jax.Array,
    ) -> tuple[RSSMState, jax.Array]:
        state, action = reset_where(is_first, state, action)
        effect = call("effect", params, state.deter[:, :shown], action)
        memory = call("memory", params, state, action, effect)
        post_logit = call("post_logit", params, memory, embed[..., : model.units])
        deter = jnp.concatenate([embed[..., model.units :], memory], -1).astype(dtype)
        return RSSMState(deter, sample(post_logit, keys, kind).astype(dtype)), post_logit

    def read(probs: jax.Array) -> jax.Array:
        """Cells of the most likely grid ``[N, cells]``."""
        if layout.classes > 2:
            shaped = probs.reshape(probs.shape[0], -1, layout.classes, layout.height, layout.width)
            hot = jax.nn.one_hot(jnp.argmax(shaped, 2), layout.classes, axis=2)
            return hot.reshape(probs.shape[0], layout.cells)
        return (probs > 0.5).astype(jnp.float32).reshape(probs.shape[0], layout.cells)

    def entries(vector: jax.Array) -> list[tuple[str, jax.Array]]:
        parts = jnp.split(vector, np.cumsum(layout.sizes)[:-1], -1) if layout.sizes else []
        return list(zip(layout.entries, parts, strict=True))

    def settle(vector: jax.Array) -> jax.Array:
        """The predicted vector as it would be observed: discretes one-hot, the rest unchanged."""
        parts = []
        for name, part in entries(vector):
            if spec.obs[name].kind == "discrete":
                shaped = part.reshape(*part.shape[:-1], spec.obs[name].size, spec.obs[name].classes)
                part = jax.nn.one_hot(jnp.argmax(shaped, -1), spec.obs[name].classes).reshape(part.shape)
            parts.append(part)
        return jnp.concatenate(parts, -1) if parts else vector

    def imagine(params: Params, state: RSSMState, action: jax.Array, keys: jax.Array) -> tuple[RSSMState, jax.Array]:
        effect = call("effect", params, state.deter[:, :shown], action)
        memory = call("memory", params, state, action, effect)
        prior_logit = call("prior_logit", params, memory)
        stoch = sample(prior_logit, keys, kind).astype(dtype)
        probs, vector = call("predict", params, state, action, memory, stoch, True)
        deter = jnp.concatenate([read(probs), settle(vector), memory.astype(jnp.float32)], -1).astype(dtype)
        return RSSMState(deter, stoch), prior_logit

    def named(cell_logit: jax.Array, vector: jax.Array) -> dict[str, jax.Array]:
        result = {layout.name: cell_logit}
        for name, part in entries(vector):
            vector_shaped = spec.obs[name].kind == "vector"
            result[name] = part.reshape(*part.shape[:-1], *spec.obs[name].shape) if vector_shaped else part
        return result

    def predict(params: Params, previous: RSSMState, action: jax.Array, state: RSSMState) -> dict[str, jax.Array]:
        lead = action.shape[:-1]
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(lead) :]), (previous, action, state))
        memory = split_state(layout, flat[2].deter)[2]
        probs, vector = call("predict", params, flat[0], flat[1], memory, flat[2].stoch)
        outputs = logit(jnp.clip(probs, EPS, 1 - EPS)), vector
        return named(*(x.reshape(*lead, *x.shape[1:]) for x in outputs))

    def decode(params: Params, feat: jax.Array) -> dict[str, jax.Array]:
        cells, vector, _ = split_state(layout, feat[..., : layout.deter].astype(jnp.float32))
        return named((2 * cells - 1) * SURE, vector)

    return WorldModel(
        init=init,
        initial=initial,
        embed=lambda params, obs: call("embed", params, flatten(obs)),
        observe=observe,
        imagine=imagine,
        prior_logit=lambda params, deter: call("prior_logit", params, split_state(layout, deter)[2]),
        kl=lambda left, right: kl(left, right, kind),
        entropy=lambda logit: entropy(logit, kind),
        feat=lambda state: jnp.concatenate([state.deter, state.stoch.reshape(*state.deter.shape[:-1], -1)], -1),
        predict=predict,
        decode=decode,
        reward=lambda params, feat: call("reward", params, feat),
        cont=lambda params, feat: call("cont", params, feat),
        mask=(lambda params, feat: call("mask", params, feat)) if MASK_KEY in spec.obs else None,
        feat_size=layout.deter + model.stoch * classes,
        needs_previous=True,
        fast=grid_fast_path(module, model.units, shown),
    )
