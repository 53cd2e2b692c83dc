"""`locked_position` mode: one action places the current piece, and a cell of the board names it.

A placement is a rotation and a column in which the piece fits below the top row and falls straight
down. Its action is the cell in which its pivot comes to rest. Cells are assigned rotation by
rotation: if a cell is taken, the placement gets the next free cell above it in the column, or the
lowest free cell if there is none above. So cells and placements are one to one, and at most four
placements share a column.

All arrays are laid out as ``[4, width]``: rotation (counter-clockwise quarter turns) by column of
the pivot. Rows are kept as single bits as long as possible.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.envs.tetris import rules
from dreamjax.envs.tetris.rules import TetrisConfig

PIVOTS = {
    "I": ((1, 1), (2, 1), (2, 2), (1, 2)),
    "O": ((1, 0),) * 4,
    "3x3": ((1, 1),) * 4,
}
"""Row and column of the pivot in the matrix of a piece, by rotation."""


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cells = np.zeros((7, 4, 4), np.uint32)
    pivot_row = np.zeros((7, 4), np.uint32)
    kept = np.zeros((7, 4), bool)
    for p, name in enumerate(rules.PIECES):
        seen = set()
        for r in range(4):
            matrix = np.rot90(rules.SPAWN_MATRICES[p], k=r)
            top = int(np.flatnonzero(matrix.any(1))[0])
            row, column = PIVOTS.get(name, PIVOTS["3x3"])[r]
            shape = matrix[top:, matrix.any(0)]
            shape = shape[shape.any(1)]
            kept[p, r] = (shape.shape, shape.tobytes()) not in seen
            seen.add((shape.shape, shape.tobytes()))
            if not kept[p, r]:
                continue
            pivot_row[p, r] = row - top
            for x, y in zip(*np.nonzero(matrix.T), strict=True):
                cells[p, r, x - column + 1] |= np.uint32(1 << int(y - top))
    return cells, pivot_row, kept


CELLS, PIVOT_ROW, KEPT = _tables()
"""The pieces for placing. ``CELLS`` uint32[7, 4, 4]: columns of the piece from one left of its pivot
to two right of it, bit = row, topmost cell in row 0. ``PIVOT_ROW`` uint32[7, 4]: row of the pivot
in ``CELLS``. ``KEPT`` bool[7, 4]: False if a smaller rotation locks the same cells."""


class Placements(NamedTuple):
    """All placements of a piece, by rotation and column of the pivot.

    Attributes:
      legal: bool[4, width].
      rows: int32[4, width], row of the piece's topmost cell at rest; 0 where illegal.
      cell_bits: uint32[4, width], row of the cell that names the placement, as one bit; 0 where
        illegal.
    """

    legal: jax.Array
    rows: jax.Array
    cell_bits: jax.Array


class Placement(NamedTuple):
    """One placement.

    Attributes:
      rotation: int32, counter-clockwise quarter turns.
      column: int32, board column of the pivot.
      row: int32, row of the piece's topmost cell at rest.
      cell: int32, the cell that names the placement, row * width + column.
      legal: bool, whether the placement exists; if not, all other fields are 0.
    """

    rotation: jax.Array
    column: jax.Array
    row: jax.Array
    cell: jax.Array
    legal: jax.Array


def placements(config: TetrisConfig, board: jax.Array, piece: jax.Array) -> Placements:
    """Returns all placements of a piece (int32 scalar) on a board (uint32[width])."""
    width = config.width
    walled = rules.padded(config, board)[2:]  # The first column is the one left of the board.
    floored = walled & jnp.uint32((2 << config.height) - 1)
    shape = jnp.asarray(CELLS)[piece]
    # The shift past the lowest cell of each column; for an empty column it clears the whole word.
    past = jnp.where(shape == 0, jnp.uint32(31), jnp.uint32(32) - jax.lax.clz(shape))
    hits = jnp.zeros((4, width), jnp.uint32)
    blocks = jnp.zeros((4, width), jnp.uint32)
    for i in range(4):
        hits = hits | (walled[None, i : i + width] & shape[:, i, None])
        blocks = blocks | (floored[None, i : i + width] >> past[:, i, None])
    legal = (hits == 0) & jnp.asarray(KEPT)[piece][:, None]
    rest = jnp.where(legal, blocks & -blocks, jnp.uint32(0))  # Rows fallen, as one bit.
    pivot = rest << jnp.asarray(PIVOT_ROW)[piece][:, None]

    on_board = jnp.uint32((1 << config.height) - 1)
    taken = jnp.zeros((width,), jnp.uint32)
    cell_bits = []
    for r in range(4):
        cell = pivot[r]
        for _ in range(r):
            cell = jnp.where(taken & cell != 0, cell >> jnp.uint32(1), cell)
        below = ~taken & on_board  # Used where all cells at and above the pivot are taken.
        cell = jnp.where((cell == 0) & (pivot[r] != 0), below & -below, cell)
        taken = taken | cell
        cell_bits.append(cell)
    rows = jnp.where(legal, rules.trailing_zeros(rest), 0)
    return Placements(legal, rows, jnp.stack(cell_bits))


def cell_columns(candidates: Placements) -> jax.Array:
    """Returns uint32[width], the cells of all placements as bit columns."""
    bits = candidates.cell_bits
    return bits[0] | bits[1] | bits[2] | bits[3]


def mask(config: TetrisConfig, board: jax.Array, piece: jax.Array) -> jax.Array:
    """Returns bool[height * width], the cells that name a placement of this piece."""
    columns = cell_columns(placements(config, board, piece))
    return rules.board_cells(config, columns).reshape(-1).astype(bool)


def encode(
    config: TetrisConfig, board: jax.Array, piece: jax.Array, rotation: jax.Array, column: jax.Array
) -> Placement:
    """Returns the placement of a piece with a given rotation and pivot column.

    Args:
      board: uint32[width].
      piece, rotation, column: int32; ``column`` is the pivot's, 0 to width - 1.

    Returns:
      The placement; ``legal`` is False if the piece does not fit or a smaller rotation locks the
      same cells.
    """
    candidates = placements(config, board, piece)
    legal = candidates.legal[rotation, column]
    cell = rules.trailing_zeros(candidates.cell_bits[rotation, column]) * config.width + column
    return Placement(
        jnp.where(legal, rotation, 0),
        jnp.where(legal, column, 0),
        candidates.rows[rotation, column],
        jnp.where(legal, cell, 0),
        legal,
    )


def decode(config: TetrisConfig, board: jax.Array, piece: jax.Array, cell: jax.Array) -> Placement:
    """Returns the placement that a cell names, or the one whose cell is nearest.

    Distance is squared Euclidean. Ties go to the cell lower on the board, then to the one further
    left. ``placement.cell == cell`` says whether the cell itself names a placement.

    Args:
      board: uint32[width].
      piece: int32; cell: int32, 0 to height * width - 1 (clipped).

    Returns:
      The placement; ``legal`` is False if the piece has no placement.
    """
    candidates = placements(config, board, piece)
    cell = jnp.clip(cell, 0, config.height * config.width - 1)
    columns = jnp.arange(config.width, dtype=jnp.int32)[None, :]
    cell_rows = rules.trailing_zeros(candidates.cell_bits)
    distance = (cell_rows - cell // config.width) ** 2 + (columns - cell % config.width) ** 2
    # One word both orders the placements and holds the fields of the best one: distance, height
    # above the floor, column, rotation, row at rest.
    rotations = jnp.arange(4, dtype=jnp.int32)[:, None]
    word = ((distance * 32 + (config.height - 1 - cell_rows)) * 32 + columns) * 4 + rotations
    word = jnp.where(candidates.legal, word * 32 + candidates.rows, jnp.int32(2**31 - 1))
    best = jnp.min(word)
    legal = best != 2**31 - 1
    best = jnp.where(legal, best, 0)
    column = (best >> 7) & 31
    cell_row = config.height - 1 - ((best >> 12) & 31)
    return Placement(
        (best >> 5) & 3,
        column,
        best & 31,
        jnp.where(legal, cell_row * config.width + column, 0),
        legal,
    )


def place(
    config: TetrisConfig, board: jax.Array, piece: jax.Array, chosen: Placement, enabled: jax.Array
) -> rules.Locked:
    """Locks a placement of a piece and clears lines; has no effect unless ``enabled``."""
    cells = jnp.asarray(CELLS)[piece, chosen.rotation]
    return rules.lock(config, board, cells, chosen.column - 1, chosen.row, enabled=enabled & chosen.legal)
