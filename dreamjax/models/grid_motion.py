"""How an object on a grid moves: it changes its shape, goes sideways and down as one, and may become part of the rest.

Positions are soft: a mask ``[N, H, W]`` says how likely each cell is the object's. Masks live on a canvas wider than the
grid by ``MARGIN`` on each side, so that what would leave the grid is seen to.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.grid_layers import BandEdit, GridLayout, LocalEdit, place, window
from dreamjax.models.nets import MLP, Dense, Dtype

MARGIN = 3
ROWS, COLUMNS = (3, 5), (3, 5)  # how far from its corner, up and down, left and right, an object may change its shape
SIDEWAYS = 2  # columns that it may go in one step
SURE, EMPTY = 6.0, -8.0  # logits of the object's cells, and of cells beyond the grid, where no network speaks
EPS = 1e-5  # the least probability of a cell


def overlaps(mask: jax.Array, blocked: jax.Array) -> jax.Array:
    """How much of a mask would lie on blocked cells, were it ``d`` rows lower.

    Args:
        mask: ``[N, H, W]``. blocked: ``[N, H + D, W]``, how much each cell blocks.

    Returns:
        float32 ``[N, D + 1]``: entry ``d`` is the sum over cells of ``mask[r, c] * blocked[r + d, c]``.
    """
    count, height, _ = mask.shape
    pairs = jnp.einsum("nrc,nsc->nrs", mask, blocked)
    rows = pairs.shape[2]
    # Read with one more column, each next row lies one further to the left: a column holds one distance.
    skewed = jnp.pad(pairs.reshape(count, -1), ((0, 0), (0, height))).reshape(count, height, rows + 1)
    return jnp.sum(skewed[:, :, : rows - height + 1], 1)


def lowered(mask: jax.Array, share: jax.Array) -> jax.Array:
    """The mean of a mask ``[N, H, W]`` over distances: with weight ``share[:, d]`` of ``[N, D]`` it lies ``d`` lower."""
    distance = np.arange(mask.shape[1])[:, None] - np.arange(mask.shape[1])[None]
    reached = (distance >= 0) & (distance < share.shape[1])
    weight = jnp.where(reached, share[:, np.clip(distance, 0, share.shape[1] - 1)], 0.0)
    return jnp.einsum("nrs,nsc->nrc", weight, mask)


def shifted(mask: jax.Array, by: int) -> jax.Array:
    """A mask ``[N, H, W]``, ``by`` columns further right; what leaves it is lost."""
    wide = jnp.pad(mask, ((0, 0), (0, 0), (max(by, 0), max(-by, 0))))
    return wide[:, :, max(-by, 0) :][:, :, : mask.shape[2]]


def stops(wanted: jax.Array, stopped: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where something ends that may stop before each of ``D`` steps, because it wants to, or else because it must.

    Args:
        wanted, stopped: hazards >= 0, float32 ``[N, D]``: it goes on with probability ``exp(-hazard)``.

    Returns:
        The probabilities ``[N, D]`` of stopping before each step because it wants to, and because it must. What remains
        of one goes on beyond.
    """
    before = np.triu(np.ones((wanted.shape[1],) * 2, np.float32), 1)
    alive = jnp.exp(-(wanted + stopped) @ before)
    return alive * -jnp.expm1(-wanted), alive * jnp.exp(-wanted) * -jnp.expm1(-stopped)


class ObjectMotion(nn.Module):
    """The grid after an object, the last channel, has acted: logits ``[N, C, H, W]`` and features ``[N, F]``.

    Three steps, and what may be in the way of each: how much of the object would lie on blocked cells decides, by learned
    strengths. A network that sees the object alone proposes a shape; it goes some columns sideways; and down, row by row,
    until it wants to stop or is stopped. What stopped it decides whether it becomes part of the other channels. Which
    cells block, how far it goes and when it joins are learned.
    """

    layout: GridLayout
    units: int
    act: str
    dtype: Dtype

    @nn.compact
    def __call__(
        self, cells: jax.Array, still: jax.Array, row: jax.Array, column: jax.Array, cond: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """From cells and their logits were nothing to happen ``[N, C, H, W]``, the object's corner, and what is known."""
        layout = self.layout
        count, height, width = cells.shape[0], layout.height, layout.width
        canvas = lambda x: jnp.pad(x, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))  # noqa: E731
        dense = lambda n, name, x: Dense(n, dtype=self.dtype, name=name)(x).astype(jnp.float32)  # noqa: E731
        ones = nn.initializers.ones_init()

        around = window(cells[:, -1:], row, column, ROWS, COLUMNS)[:, :1].reshape(count, -1).astype(self.dtype)
        hidden = MLP(2, self.units, act=self.act, dtype=self.dtype)(jnp.concatenate([around, cond], -1))
        strength = jax.nn.softplus(dense(3, "strength", hidden) + 1.0)
        blocking, outside = self.param("blocking", ones, (layout.channels - 1,)), self.param("outside", ones, ())
        wall = np.pad(np.zeros((height, width), np.float32), MARGIN, constant_values=1)
        wall[:MARGIN] = 0  # an object may begin above the grid
        blocked = canvas(jnp.einsum("nchw,c->nhw", cells[:, :-1], blocking)) + outside * wall[None]
        # Less than half a cell is what soft masks spill.
        felt = lambda overlap: jax.nn.relu(2 * overlap - 1)  # noqa: E731
        in_the_way = lambda mask: felt(jnp.sum(mask * blocked, (1, 2)))  # noqa: E731

        before, mask = canvas(cells[:, -1]), self._shape(cells[:, -1], hidden, cond, row, column)
        takes = jnp.exp(-strength[:, 0] * in_the_way(mask))
        mask = before + takes[:, None, None] * (mask - before)

        moved = [shifted(mask, by) for by in range(-SIDEWAYS, SIDEWAYS + 1)]
        goes = jax.nn.softmax(dense(len(moved), "sideways", hidden))
        goes *= jnp.exp(-strength[:, 1:2] * jnp.stack([in_the_way(x) for x in moved], 1))
        goes = goes.at[:, SIDEWAYS].add(1 - jnp.sum(goes, 1))
        mask = jnp.einsum("nk,knhw->nhw", goes, jnp.stack(moved))

        floor = jnp.broadcast_to(outside, (count, height, blocked.shape[2]))
        below = overlaps(mask, jnp.concatenate([blocked, floor], 1))[:, 1:]
        wanted = jax.nn.softplus(dense(height, "wanted", hidden) - 1.0)
        wants, must = stops(wanted, strength[:, 2:] * felt(below))
        landed = lowered(mask, wants + must)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]

        stopped = jnp.sum(must, 1, keepdims=True)
        facts = jnp.concatenate([stopped, wants + must, goes, takes[:, None]], -1).astype(self.dtype)
        features = jnp.concatenate([hidden, facts], -1)
        joins = jax.nn.sigmoid(6 * stopped - 3 + dense(1, "joins", features))[..., None]
        into = jax.nn.sigmoid(self.param("into", ones, (layout.channels - 1,)))
        joined = (joins * landed)[:, None] * into[None, :, None, None]
        rest = 1 - (1 - jax.nn.sigmoid(still[:, :-1])) * (1 - joined)
        probs = EPS + (1 - 2 * EPS) * jnp.concatenate([rest, ((1 - joins) * landed)[:, None]], 1)
        return jnp.log(probs) - jnp.log1p(-probs), features

    def _shape(
        self, shape: jax.Array, hidden: jax.Array, cond: jax.Array, row: jax.Array, column: jax.Array
    ) -> jax.Array:
        """The object's new shape on the canvas: edited around its corner, and, by what is known, at fixed places."""
        count, height, width = shape.shape
        size, whole = (sum(ROWS) + 1, sum(COLUMNS) + 1), (height + 2 * MARGIN, width + 2 * MARGIN)
        local = Dense(size[0] * size[1], dtype=self.dtype, name="local")(hidden).astype(jnp.float32)
        edit = place(local.reshape(count, 1, *size), row + MARGIN, column + MARGIN, whole, ROWS[0], COLUMNS[0])[:, 0]
        # What comes from elsewhere, a held object say, has its own place.
        anywhere = MLP(1, self.units, height * width, act=self.act, dtype=self.dtype, name="anywhere")(cond)
        known = SURE * (2 * shape - 1) + anywhere.astype(jnp.float32).reshape(shape.shape)
        pads = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN))
        return jax.nn.sigmoid(jnp.pad(known, pads, constant_values=EMPTY) + edit)


def make_edit(layout: GridLayout, units: int, act: str, reach: int, dtype: Dtype) -> nn.Module:
    """What an action does to the grid: all of them map ``(cells, still, row, column, cond)`` to logits and features."""
    if reach:
        return LocalEdit(layout, units, act, reach, dtype)
    if layout.focus == "object":
        return ObjectMotion(layout, units, act, dtype)
    return BandEdit(layout, units // 4, act, dtype)
