"""Layers that read and change a grid by shared, local weights; see ``dreamjax.models.grid`` for how they join."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import ConfigError, ModelConfig
from dreamjax.models.nets import MLP, Dense, Dtype, NormAct
from dreamjax.types import ActionSpec, EnvSpec

MAX_SHIFT = 4  # rows a row pointer may reach up
SCORE = 5.0  # the greatest score of a shift: of one never seen e^-10 is left, above what the loss can tell from nothing
GAIN = 8.0  # a power of two, which changes no digit


class GridLayout(NamedTuple):
    """How a grid environment's observation and the flat ``deter`` of its state are laid out.

    Attributes:
        name: the grid's observation name. channels, height, width: after one-hot of its classes.
        classes: values of one cell (2: one channel each). entries: names of the other, flattened entries, in order.
        sizes: their lengths. vector: their sum. recurrent, event: lengths of the two parts of the memory.
        focus: "action" (a categorical with one class for each cell), "object" (the last channel's cells) or "centre".
    """

    name: str
    channels: int
    height: int
    width: int
    classes: int
    entries: tuple[str, ...]
    sizes: tuple[int, ...]
    vector: int
    recurrent: int
    event: int
    focus: str

    @property
    def cells(self) -> int:
        return self.channels * self.height * self.width

    @property
    def memory(self) -> int:
        return self.recurrent + self.event

    @property
    def deter(self) -> int:
        return self.cells + self.vector + self.memory


def grid_layout(model: ModelConfig, spec: EnvSpec) -> GridLayout:
    """The layout for an environment.

    Raises:
        ConfigError: unless the observation has exactly one grid, and beside it only vectors, discretes and a mask.
    """
    grids = [name for name, entry in spec.obs.items() if entry.kind == "grid"]
    images = [name for name, entry in spec.obs.items() if entry.kind == "image"]
    if len(grids) != 1 or images:
        raise ConfigError(
            f"model.kind='grid' is not allowed: it needs exactly one grid and no image; grids {grids}, images {images}"
        )
    entry = spec.obs[grids[0]]
    channels, height, width = entry.shape
    if entry.classes > 2:
        channels *= entry.classes
    names = tuple(sorted(name for name, other in spec.obs.items() if other.kind in ("vector", "discrete")))
    sizes = tuple(spec.obs[n].size * (spec.obs[n].classes if spec.obs[n].kind == "discrete" else 1) for n in names)
    focus = "object" if entry.shape[0] > 1 else "centre"
    if is_cell_action(spec.action, height, width):
        focus = "action"
    return GridLayout(
        grids[0], channels, height, width, entry.classes, names, sizes, sum(sizes),
        model.deter, model.hidden, focus,
    )  # fmt: skip


def is_cell_action(action: ActionSpec, height: int, width: int) -> bool:
    """Whether an action names one cell of a grid."""
    return len(action.parts) == 1 and action.parts[0].kind == "categorical" and action.parts[0].size == height * width


def button_pairs(action: ActionSpec) -> tuple[np.ndarray, np.ndarray]:
    """The two entries of an action vector, int64 ``[P]`` each, of every pair of its buttons (binary parts)."""
    ends = np.cumsum([0] + [part.size for part in action.parts])
    buttons = [
        np.arange(end, end + part.size) for end, part in zip(ends, action.parts, strict=False) if part.kind == "binary"
    ]
    places = np.concatenate([np.zeros(0, np.int64), *buttons])
    first, second = np.triu_indices(len(places), 1)
    return places[first], places[second]


def split_state(layout: GridLayout, deter: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``deter [..., D]`` as cells ``[..., C, H, W]`` in [0, 1], vector ``[..., V]`` (symlog) and memory ``[..., M]``."""
    cells = deter[..., : layout.cells].reshape(*deter.shape[:-1], layout.channels, layout.height, layout.width)
    vector = deter[..., layout.cells : layout.cells + layout.vector]
    return cells, vector, deter[..., layout.cells + layout.vector :]


def focus_place(layout: GridLayout, cells: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Row and column int32 ``[N]`` where the action acts: its own cell, or the corner of the object it moves."""
    if layout.focus == "action":
        index = jnp.argmax(action, -1)
        return index // layout.width, index % layout.width
    if layout.focus == "object":
        occupied = cells[:, -1] > 0.5
        row, column = jnp.argmax(jnp.any(occupied, 2), 1), jnp.argmax(jnp.any(occupied, 1), 1)
        none = ~jnp.any(occupied, (1, 2))
        return jnp.where(none, 0, row), jnp.where(none, layout.width // 2, column)
    middle = jnp.zeros(cells.shape[:1], jnp.int32)
    return middle + layout.height // 2, middle + layout.width // 2


def window(
    x: jax.Array, row: jax.Array, column: jax.Array, rows: tuple[int, int], columns: tuple[int, int]
) -> jax.Array:
    """Cells around a place, with one more channel that marks what lies outside the grid.

    Args:
        x: ``[N, C, H, W]``. row, column: int32 ``[N]``.
        rows, columns: how far up and down, left and right.

    Returns:
        ``[N, C + 1, rows[0] + rows[1] + 1, columns[0] + columns[1] + 1]``.
    """
    height, width = x.shape[-2:]
    pads = (rows, columns)
    inside = jnp.pad(x, ((0, 0), (0, 0), *pads))
    border = jnp.pad(jnp.zeros((1, 1, height, width), x.dtype), ((0, 0), (0, 0), *pads), constant_values=1)
    padded = jnp.concatenate([inside, jnp.broadcast_to(border, (x.shape[0], 1, *inside.shape[2:]))], 1)
    index_r = (row[:, None] + np.arange(rows[0] + rows[1] + 1)[None])[:, None, :, None]
    index_c = (column[:, None] + np.arange(columns[0] + columns[1] + 1)[None])[:, None, None, :]
    return jnp.take_along_axis(jnp.take_along_axis(padded, index_r, 2), index_c, 3)


def place(edit: jax.Array, row: jax.Array, column: jax.Array, shape: tuple[int, int], up: int, left: int) -> jax.Array:
    """Writes windows ``[N, C, h, w]`` whose cell ``(up, left)`` is ``(row, column)`` onto empty grids ``[N, C, H, W]``."""
    high, wide = edit.shape[-2:]
    # One empty row and column stand for all that lie outside of the window.
    padded = jnp.pad(edit, ((0, 0), (0, 0), (1, 1), (1, 1)))
    from_row = jnp.clip(np.arange(shape[0])[None] - row[:, None] + up, -1, high) + 1
    from_column = jnp.clip(np.arange(shape[1])[None] - column[:, None] + left, -1, wide) + 1
    rows = jnp.take_along_axis(padded, from_row[:, None, :, None], 2)
    return jnp.take_along_axis(rows, from_column[:, None, None, :], 3)


class LocalEdit(nn.Module):
    """Logits ``[N, C, H, W]`` changed in a window around the action's place by one MLP, and its features ``[N, F]``."""

    layout: GridLayout
    units: int
    act: str
    reach: int
    dtype: Dtype

    @nn.compact
    def __call__(
        self, cells: jax.Array, still: jax.Array, row: jax.Array, column: jax.Array, cond: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        layout, reach = self.layout, self.reach
        seen = window(cells, row, column, (reach, reach), (3, 3))
        x = jnp.concatenate([seen.reshape(seen.shape[0], -1).astype(self.dtype), cond], -1)
        hidden = MLP(2, self.units, act=self.act, dtype=self.dtype)(x)
        out = Dense(layout.channels * (2 * reach + 1) * 7, dtype=self.dtype)(hidden).astype(jnp.float32)
        edit = out.reshape(-1, layout.channels, 2 * reach + 1, 7)
        room = jnp.ones((edit.shape[0], layout.channels))
        return still + place(edit, row, column, (layout.height, layout.width), reach, 3), hidden, room


class BandEdit(nn.Module):
    """Logits changed in a band of columns around a place, over all rows, by layers shared over the rows.

    Hazards ``s >= 0`` of each row are learned; ``exp(-sum of s)`` along the band, from above and from below, tells each
    row what can reach it: where something that moves along the band is stopped.
    """

    layout: GridLayout
    units: int
    act: str
    dtype: Dtype

    @nn.compact
    def __call__(
        self, cells: jax.Array, still: jax.Array, row: jax.Array, column: jax.Array, cond: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        layout = self.layout
        left, right, around, hazards = 2, 5, 3, 8
        count, height, broad = cells.shape[0], layout.height, left + right + 1
        band = window(cells, jnp.zeros_like(row), column, (around, height - 1 + around), (left, right))
        stacked = jnp.stack([band[:, :, i : i + height] for i in range(2 * around + 1)], 3)
        x = jnp.swapaxes(stacked, 1, 2).reshape(count, height, -1).astype(self.dtype)
        relative = jnp.clip(np.arange(height)[None] - row[:, None], -5, 5) + 5
        x = jnp.concatenate([x, jax.nn.one_hot(relative, 11, dtype=self.dtype)], -1)
        norm = NormAct(self.act, "rms", self.dtype)
        context = Dense(self.units, use_bias=False, dtype=self.dtype, name="context")(cond)[:, None]
        x = norm(Dense(self.units, dtype=self.dtype)(x) + context)
        hazard = jax.nn.softplus(Dense(hazards, dtype=self.dtype)(x).astype(jnp.float32) - 2)
        from_above = jnp.exp(-sums_above(hazard))
        from_below = jnp.exp(-sums_below(hazard))
        reached = jnp.concatenate([from_above, from_below], -1).astype(self.dtype)
        narrow = jnp.concatenate([Dense(16, dtype=self.dtype)(x), reached], -1)
        padded = jnp.pad(narrow, ((0, 0), (around, around), (0, 0)))
        near = jnp.concatenate([padded[:, i : i + height] for i in range(2 * around + 1)], -1)
        x = NormAct(self.act, "rms", self.dtype)(
            Dense(self.units, dtype=self.dtype)(jnp.concatenate([near, x], -1)) + context
        )
        edit = Dense(layout.channels * broad, dtype=self.dtype)(x).astype(jnp.float32)
        edit = jnp.swapaxes(edit.reshape(count, height, layout.channels, broad), 1, 2)
        zero = jnp.zeros_like(row)
        pooled = jnp.concatenate([jnp.mean(x, 1), jnp.max(x, 1)], -1)
        room = jnp.ones((count, layout.channels))
        return still + place(edit, zero, column, (height, layout.width), 0, left), pooled, room


def sums_above(rows: jax.Array) -> jax.Array:
    """Sums over each row and all rows above it, ``[N, H, F]``: one product, which compiles faster than a cumulative sum."""
    return jnp.einsum("nsf,sr->nrf", rows, np.triu(np.ones((rows.shape[1],) * 2, np.float32)))


def sums_below(rows: jax.Array) -> jax.Array:
    """Sums over each row and all rows below it, ``[N, H, F]``."""
    return jnp.einsum("nsf,sr->nrf", rows, np.tril(np.ones((rows.shape[1],) * 2, np.float32)))


def _down(rows: jax.Array, d: int, fill: float) -> jax.Array:
    """``rows [N, H, F]``, each ``d`` rows lower; ``fill`` comes in at the top."""
    return jnp.pad(rows, ((0, 0), (d, 0), (0, 0)), constant_values=fill)[:, : rows.shape[1]]


def stacked_rows(cells: jax.Array) -> jax.Array:
    """Each row of ``cells [N, C, H, W]`` as one vector of all its channels: ``[N, H, C * W]``."""
    return jnp.swapaxes(cells, 1, 2).reshape(cells.shape[0], cells.shape[2], -1)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def bounded(x: jax.Array, limit: float) -> jax.Array:
    """``x`` clipped to [-limit, limit]; beyond them, gradients pass that lead back and none that lead further out.

    For logits of what hardly ever happens: they neither drift to where a softmax passes nothing on, nor, as with a
    squashing function, need long to return.
    """
    return jnp.clip(x, -limit, limit)


def _bounded_fwd(x: jax.Array, limit: float) -> tuple[jax.Array, jax.Array]:
    return bounded(x, limit), x


def _bounded_bwd(limit: float, x: jax.Array, grad: jax.Array) -> tuple[jax.Array]:
    further = ((x > limit) & (grad < 0)) | ((x < -limit) & (grad > 0))
    return (jnp.where(further, 0.0, grad),)


bounded.defvjp(_bounded_fwd, _bounded_bwd)


class RowPointer(nn.Module):
    """Lets every row come from a row above it, or be blank: ``[N, C, H, W]`` probabilities to the same.

    For each source row and each shift, a small network scores how well that shift suits the row, from learned features of
    the row and their sums over the rows below it and over those down to it. The weights of row ``r`` are the softmax over
    shifts ``d`` of the scores of its sources ``r - d``, blank (all zeros) included; ``hard`` takes the heaviest alone.

    Rows that move are rare, and Adam's steps are of one size, however large gradients are: so kernels are kept ``GAIN``
    times smaller than they act, which makes every step that much larger (as in Karras et al. 2018, section 4.1).
    """

    units: int = 32
    features: int = 16

    def setup(self) -> None:
        # Begin close to "no row moves".
        bias = lambda *_: jnp.asarray([3.0] + [-1.0] * MAX_SHIFT, jnp.float32)  # noqa: E731
        init = nn.initializers.variance_scaling(1 / GAIN**2, "fan_in", "truncated_normal")
        self.rows = nn.Dense(self.units, kernel_init=init)
        self.feature = nn.Dense(self.features, kernel_init=init)
        self.joint = nn.Dense(self.units, kernel_init=init)
        self.score = nn.Dense(MAX_SHIFT + 1, kernel_init=init, bias_init=bias)
        self.blank = nn.Dense(1, kernel_init=init)

    def row_features(self, cells: jax.Array) -> jax.Array:
        """Learned features of each row, of its cells and of how much of it each channel fills: ``[N, H, features]``."""
        by_row = jnp.swapaxes(cells, 1, 2)
        filled = jnp.concatenate([jnp.min(by_row, -1), jnp.mean(by_row, -1), jnp.max(by_row, -1)], -1)
        seen = 2 * jnp.concatenate([stacked_rows(cells), filled], -1) - 1
        return jax.nn.sigmoid(self.feature(GAIN * jax.nn.silu(self.rows(GAIN * seen))))

    def __call__(self, cells: jax.Array, hard: bool = False) -> jax.Array:
        count, channels, height, width = cells.shape
        rows = stacked_rows(cells)
        feature = self.row_features(cells)
        below = sums_below(feature) - feature
        hidden = jax.nn.silu(self.joint(GAIN * jnp.concatenate([feature, below, sums_above(feature)], -1)))
        score = bounded(self.score(GAIN * hidden), SCORE)
        # score[s, d] speaks for source s at row s + d; a shift that would reach above the grid is as good as never taken.
        shifts = range(MAX_SHIFT + 1)
        total = jnp.stack([_down(score[..., d : d + 1], d, -20.0)[..., 0] for d in shifts], -1)
        weight = jax.nn.softmax(jnp.concatenate([total, bounded(self.blank(GAIN * hidden), SCORE)], -1))
        if hard:
            best = jnp.argmax(weight, -1)
            source = jnp.clip(np.arange(height)[None] - best, 0)
            moved = jnp.take_along_axis(rows, source[..., None], 1)
            moved = jnp.where((best > MAX_SHIFT)[..., None], 0.0, moved)
        else:
            moved = jnp.zeros_like(rows)
            for d in shifts:
                moved += weight[..., d : d + 1] * _down(rows, d, 0.0)
        return jnp.swapaxes(moved.reshape(count, height, channels, width), 1, 2)


class CellScores(nn.Module):
    """One number for each cell, from the columns around it: ``feat [..., F]`` to ``[..., H * W]`` float32.

    One network is shared over the columns; it reads the columns within ``reach`` of its own, all rows, and the observed
    vector, and scores every cell of its column.
    """

    layout: GridLayout
    layers: int
    units: int
    act: str
    dtype: Dtype
    scale: float = 1.0
    reach: int = 3

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        layout, lead = self.layout, feat.shape[:-1]
        cells, vector, _ = split_state(layout, feat.reshape(-1, feat.shape[-1])[:, : layout.deter])
        x = jnp.pad(cells, ((0, 0), (0, 0), (0, 0), (self.reach, self.reach)))
        span = 2 * self.reach + 1
        around = jnp.stack([x[..., i : i + span].reshape(x.shape[0], -1) for i in range(layout.width)], 1)
        place = np.arange(layout.width)[:, None] + np.arange(-self.reach, self.reach + 1)[None]
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
    """The policy on a grid: a score for each cell where actions are cells, else outputs from the trunk and the focus."""

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
