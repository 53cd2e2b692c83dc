"""Networks that read or change a grid by shared, local weights."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.grid.layout import GridLayout, focus_place, place, split_state, window
from dreamjax.models.nets import MLP, Dense, Dtype, NormAct


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def bounded(x: jax.Array, limit: float) -> jax.Array:
    """``x`` clipped to [-limit, limit]. Beyond the limits only gradients that lead back pass, none that lead further out.

    For logits of rare events: they neither drift to where a softmax has no gradient nor, as with a squashing function, take
    long to return.
    """
    return jnp.clip(x, -limit, limit)


def _bounded_fwd(x: jax.Array, limit: float) -> tuple[jax.Array, jax.Array]:
    return bounded(x, limit), x


def _bounded_bwd(limit: float, x: jax.Array, grad: jax.Array) -> tuple[jax.Array]:
    further = ((x > limit) & (grad < 0)) | ((x < -limit) & (grad > 0))
    return (jnp.where(further, 0.0, grad),)


bounded.defvjp(_bounded_fwd, _bounded_bwd)


class LocalEdit(nn.Module):
    """Logits ``[N, C, H, W]`` changed in a window around the action's place by one MLP; see ``motion.make_edit``.

    The window is ``2 radius + 1`` rows high and 7 columns wide.
    """

    layout: GridLayout
    units: int
    act: str
    radius: int
    dtype: Dtype

    @nn.compact
    def __call__(
        self, cells: jax.Array, still: jax.Array, row: jax.Array, column: jax.Array, cond: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        layout, radius = self.layout, self.radius
        seen = window(cells, row, column, (radius, radius), (3, 3))
        x = jnp.concatenate([seen.reshape(seen.shape[0], -1).astype(self.dtype), cond], -1)
        hidden = MLP(2, self.units, act=self.act, dtype=self.dtype)(x)
        out = Dense(layout.channels * (2 * radius + 1) * 7, dtype=self.dtype)(hidden).astype(jnp.float32)
        edit = out.reshape(-1, layout.channels, 2 * radius + 1, 7)
        room = jnp.ones((edit.shape[0], layout.channels))
        return still + place(edit, row, column, (layout.height, layout.width), radius, 3), hidden, room


class CellScores(nn.Module):
    """One score for each cell, from the columns around it: ``feat [..., F]`` to ``[..., H * W]`` float32.

    One network is shared over the columns; it reads the columns within ``radius`` of its own, all rows, and the observed
    vector, and scores every cell of its column.
    """

    layout: GridLayout
    layers: int
    units: int
    act: str
    dtype: Dtype
    scale: float = 1.0
    radius: int = 3

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        layout, lead = self.layout, feat.shape[:-1]
        cells, vector, _ = split_state(layout, feat.reshape(-1, feat.shape[-1])[:, : layout.deter])
        x = jnp.pad(cells, ((0, 0), (0, 0), (0, 0), (self.radius, self.radius)))
        span = 2 * self.radius + 1
        around = jnp.stack([x[..., i : i + span].reshape(x.shape[0], -1) for i in range(layout.width)], 1)
        place = np.arange(layout.width)[:, None] + np.arange(-self.radius, self.radius + 1)[None]
        outside = jnp.asarray((place < 0) | (place >= layout.width), jnp.float32)
        outside = jnp.broadcast_to(outside[None], (x.shape[0], *outside.shape))
        x = jnp.concatenate([around, outside], -1).astype(self.dtype)
        x = Dense(self.units, dtype=self.dtype)(x)
        if layout.vector:
            x += Dense(self.units, use_bias=False, dtype=self.dtype, name="context")(vector.astype(self.dtype))[:, None]
        x = NormAct(self.act, "rms", self.dtype)(x)
        out = MLP(self.layers - 1, self.units, layout.height, self.scale, self.act, "rms", self.dtype)(x)
        return jnp.swapaxes(out.astype(jnp.float32), 1, 2).reshape(*lead, layout.height * layout.width)


class GridTrunk(nn.Module):
    """Features of a whole board for values and rewards: windows of four columns through one shared network, pooled.

    ``feat [..., F]`` (the flat state) to ``[..., outputs]`` float32.
    """

    layout: GridLayout
    units: int
    layers: int
    outputs: int
    scale: float
    act: str
    dtype: Dtype
    focused: bool = False

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        layout, lead = self.layout, feat.shape[:-1]
        feat = feat.reshape(-1, feat.shape[-1])
        cells, _, _ = split_state(layout, feat[:, : layout.deter])
        rest = feat[:, layout.cells :].astype(self.dtype)
        span = min(4, layout.width)
        windows = jnp.stack([cells[..., i : i + span] for i in range(layout.width - span + 1)], 1)
        windows = windows.reshape(*windows.shape[:2], -1).astype(self.dtype)
        context = Dense(self.units, use_bias=False, dtype=self.dtype, name="context")(rest)[:, None]
        x = NormAct(self.act, "rms", self.dtype)(Dense(self.units, dtype=self.dtype)(windows) + context)
        x = NormAct(self.act, "rms", self.dtype)(Dense(self.units, dtype=self.dtype)(x))
        parts = [jnp.mean(x, 1), jnp.max(x, 1), rest]
        if self.focused and layout.focus == "object":
            row, column = focus_place(layout, cells, rest)
            around = window(cells, jnp.zeros_like(row), column, (0, layout.height - 1), (4, 5))
            parts.append(around.reshape(around.shape[0], -1).astype(self.dtype))
            parts.append(jax.nn.one_hot(row, layout.height, dtype=self.dtype))
        out = MLP(self.layers, self.units, self.outputs, self.scale, self.act, "rms", self.dtype)(
            jnp.concatenate(parts, -1)
        )
        return out.astype(jnp.float32).reshape(*lead, self.outputs)


class GridActor(nn.Module):
    """The policy on a grid: a score for each cell where actions name cells, else a trunk focused on the object."""

    layout: GridLayout
    units: int
    layers: int
    outputs: int
    scale: float
    act: str
    dtype: Dtype

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        if self.layout.focus == "action":
            return CellScores(self.layout, self.layers, self.units, self.act, self.dtype, self.scale)(feat)
        net = (self.layout, self.units, self.layers, self.outputs, self.scale, self.act, self.dtype)
        return GridTrunk(*net, focused=True)(feat)
