"""`locked_position`: one step places the piece, named by the cell at which its pivot rests.

A placement is a rotation and a column at which the piece fits with its bounding box against the top
row and falls straight down. Its code is the cell of its pivot at rest; placements claim cells
rotation by rotation, and one whose cell is taken moves up its column to the next free one (or down,
where the top is reached). So codes and placements are one to one, and at most four share a column.

Everything here is laid out as candidates ``[4, width]``: rotation (counter-clockwise quarter turns)
by column of the pivot. Rows are kept as single bits as long as possible.
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
"""Row and column of the pivot in the matrix, by rotation."""


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
"""Pieces as they are placed. ``CELLS`` uint32[7, 4, 4]: columns of the piece from one left of its
pivot to two right of it, bit = row, topmost cell in row 0. ``PIVOT_ROW`` uint32[7, 4]: the pivot's
row in it. ``KEPT`` bool[7, 4]: whether this rotation locks cells that no smaller one locks."""


class Placements(NamedTuple):
    """All placements of a piece, by rotation and column of the pivot.

    Attributes:
      legal: bool[4, width].
      rows: int32[4, width], the row of the piece's topmost cell at rest (0 where illegal).
      code_bits: uint32[4, width], the row of the code's cell as one bit; 0 where illegal.
    """

    legal: jax.Array
    rows: jax.Array
    code_bits: jax.Array


class Placement(NamedTuple):
    """One placement.

    Attributes:
      rotation: int32, counter-clockwise quarter turns.
      column: int32, the board column of the pivot; row: int32, of the piece's topmost cell at rest.
      cell: int32, its code, row * width + column.
      legal: bool; everything else is 0 where there is no such placement.
    """

    rotation: jax.Array
    column: jax.Array
    row: jax.Array
    cell: jax.Array
    legal: jax.Array


def placements(config: TetrisConfig, board: jax.Array, piece: jax.Array) -> Placements:
    """Every placement of a piece (int32 scalar) on a board (uint32[width]) with its code."""
    width = config.width
    walled = rules.padded(config, board)[2:]  # Starts one column left of the board.
    floored = walled & jnp.uint32((2 << config.height) - 1)
    shape = jnp.asarray(CELLS)[piece]
    # Past a column's lowest cell; where it has none the shift leaves nothing of the column.
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
    codes = []
    for r in range(4):
        code = pivot[r]
        for _ in range(r):
            code = jnp.where(taken & code != 0, code >> jnp.uint32(1), code)
        below = ~taken & on_board  # Used where everything at and above the pivot is taken.
        code = jnp.where((code == 0) & (pivot[r] != 0), below & -below, code)
        taken = taken | code
        codes.append(code)
    rows = jnp.where(legal, rules.trailing_zeros(rest), 0)
    return Placements(legal, rows, jnp.stack(codes))


def code_columns(found: Placements) -> jax.Array:
    """uint32[width]: all codes as bit columns."""
    bits = found.code_bits
    return bits[0] | bits[1] | bits[2] | bits[3]


def mask(config: TetrisConfig, board: jax.Array, piece: jax.Array) -> jax.Array:
    """bool[height * width]: the cells that are codes of a placement of this piece."""
    columns = code_columns(placements(config, board, piece))
    return rules.board_cells(config, columns).reshape(-1).astype(bool)


def encode(
    config: TetrisConfig, board: jax.Array, piece: jax.Array, rotation: jax.Array, column: jax.Array
) -> Placement:
    """The placement of a piece by rotation and pivot column, with its code.

    Args:
      board: uint32[width].
      piece, rotation, column: int32; ``column`` is that of the pivot, 0 to width - 1.

    Returns:
      The placement; ``legal`` is False where the piece does not fit or the same cells are locked by
      a smaller rotation.
    """
    found = placements(config, board, piece)
    legal = found.legal[rotation, column]
    cell = rules.trailing_zeros(found.code_bits[rotation, column]) * config.width + column
    return Placement(
        jnp.where(legal, rotation, 0),
        jnp.where(legal, column, 0),
        found.rows[rotation, column],
        jnp.where(legal, cell, 0),
        legal,
    )


def decode(config: TetrisConfig, board: jax.Array, piece: jax.Array, cell: jax.Array) -> Placement:
    """The placement whose code is a cell, or is nearest to it.

    Nearest is by squared distance between cells; of equally near codes the lower on the board wins,
    then the one further left. ``placement.cell == cell`` tells whether the cell was a code.

    Args:
      board: uint32[width].
      piece: int32; cell: int32, 0 to height * width - 1 (clipped).

    Returns:
      The placement; ``legal`` is False where the piece has none at all.
    """
    found = placements(config, board, piece)
    cell = jnp.clip(cell, 0, config.height * config.width - 1)
    columns = jnp.arange(config.width, dtype=jnp.int32)[None, :]
    code_rows = rules.trailing_zeros(found.code_bits)
    distance = (code_rows - cell // config.width) ** 2 + (columns - cell % config.width) ** 2
    # One word orders the candidates and carries the winner's fields: distance, height above the
    # floor, column, rotation, row at rest.
    rotations = jnp.arange(4, dtype=jnp.int32)[:, None]
    word = ((distance * 32 + (config.height - 1 - code_rows)) * 32 + columns) * 4 + rotations
    word = jnp.where(found.legal, word * 32 + found.rows, jnp.int32(2**31 - 1))
    best = jnp.min(word)
    legal = best != 2**31 - 1
    best = jnp.where(legal, best, 0)
    column = (best >> 7) & 31
    code_row = config.height - 1 - ((best >> 12) & 31)
    return Placement(
        (best >> 5) & 3,
        column,
        best & 31,
        jnp.where(legal, code_row * config.width + column, 0),
        legal,
    )


def place(
    config: TetrisConfig, board: jax.Array, piece: jax.Array, chosen: Placement, enabled: jax.Array
) -> rules.Locked:
    """Locks a placement of a piece and clears lines; without effect unless ``enabled``."""
    cells = jnp.asarray(CELLS)[piece, chosen.rotation]
    return rules.lock(config, board, cells, chosen.column - 1, chosen.row, enabled=enabled & chosen.legal)
