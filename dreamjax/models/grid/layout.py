"""Where things are on a grid: the layout of a state, the place where an action acts, and windows around places."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import ConfigError, ModelConfig
from dreamjax.types import ActionSpec, EnvSpec


class GridLayout(NamedTuple):
    """How a grid environment's observation and the flat ``deter`` of its state are laid out.

    Attributes:
        name: the grid's observation name. channels, height, width: after one-hot of its classes.
        classes: values of one cell (2: one channel each). entries: names of the other, flattened entries, in order.
        sizes: their lengths. vector: their sum. recurrent, event: lengths of the two parts of the memory.
        focus: "action" (a categorical with one class for each cell), "object" (the last channel's cells) or "center".
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
        ConfigError: unless the observation has exactly one grid, and otherwise only vectors, discretes and a mask.
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
    focus = "object" if entry.shape[0] > 1 else "center"
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
    slices = zip(action.parts, action.slices("vector"), strict=True)
    buttons = [np.arange(where.start, where.stop) for part, where in slices if part.kind == "binary"]
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
