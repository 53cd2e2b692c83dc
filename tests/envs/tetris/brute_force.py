"""An independent implementation of the rules with NumPy and loops, as a reference for the engine.

It shares no table and no trick with the engine: matrices of cells, collision by looking at each cell, falls row by row.
Boards are bool (height, width), row 0 at the top.
"""

import numpy as np

MATRICES = [
    np.array([[int(cell) for cell in row] for row in text.split("/")], bool)
    for text in (
        "0000/1111/0000/0000",
        "11/11",
        "010/111/000",
        "011/110/000",
        "110/011/000",
        "100/111/000",
        "001/111/000",
    )
]


def pivot(piece: int, rotation: int) -> tuple[int, int]:
    if piece == 0:
        return [(1, 1), (2, 1), (2, 2), (1, 2)][rotation]
    return (1, 0) if piece == 1 else (1, 1)


def placements(board: np.ndarray, piece: int) -> dict[int, tuple[int, int, frozenset[tuple[int, int]]]]:
    """Cell that names the placement -> (rotation, column of the pivot, cells locked), by section 12 of the rules."""
    height, width = board.shape
    found: dict[int, tuple[int, int, frozenset[tuple[int, int]]]] = {}
    seen = set()
    for rotation in range(4):
        matrix = np.rot90(MATRICES[piece], k=rotation)
        top, left = np.flatnonzero(matrix.any(1))[0], np.flatnonzero(matrix.any(0))[0]
        shape = [(y - top, x - left) for y, x in zip(*np.nonzero(matrix), strict=True)]
        pivot_y, pivot_x = pivot(piece, rotation)[0] - top, pivot(piece, rotation)[1] - left
        for column in range(width):

            def is_free(row: int, shape: list = shape, column: int = column) -> bool:
                return all(row + y < height and column + x < width and not board[row + y, column + x] for y, x in shape)

            if not is_free(0):
                continue
            row = 0
            while is_free(row + 1):
                row += 1
            cells = frozenset((int(row + y), int(column + x)) for y, x in shape)
            if cells in seen:
                continue
            seen.add(cells)
            cell_row, pivot_column = int(row + pivot_y), int(column + pivot_x)
            going_up = [r for r in range(cell_row, -1, -1) if r * width + pivot_column not in found]
            going_down = [r for r in range(cell_row, height) if r * width + pivot_column not in found]
            action = (going_up or going_down)[0] * width + pivot_column
            found[action] = (rotation, pivot_column, cells)
    return found


def nearest(cells: list[int], cell: int, width: int) -> int:
    """The nearest of ``cells`` to a cell; ties go to the lower one on the board, then to the one further left."""

    def rank(candidate: int) -> tuple[int, int, int]:
        dy, dx = candidate // width - cell // width, candidate % width - cell % width
        return dy * dy + dx * dx, -(candidate // width), candidate % width

    return min(cells, key=rank)


def lock(board: np.ndarray, cells: frozenset[tuple[int, int]]) -> tuple[np.ndarray, int]:
    """The board after a lock, full rows cleared, and how many there were."""
    board = board.copy()
    for y, x in cells:
        assert not board[y, x]
        board[y, x] = True
    rows = [row for row in board if not row.all()]
    num_lines = len(board) - len(rows)
    empty = np.zeros((num_lines, board.shape[1]), bool)
    return np.concatenate([empty, *(row[None] for row in rows)]), num_lines


def random_board(rng: np.random.Generator, height: int = 20, width: int = 10) -> np.ndarray:
    """A board of random height and density without a full row; sometimes one that reaches the top."""
    stack = int(rng.integers(0, height + 1))
    board = np.zeros((height, width), bool)
    board[height - stack :] = rng.random((stack, width)) < rng.choice([0.2, 0.5, 0.8, 0.95])
    board[board.all(1), int(rng.integers(width))] = False
    return board


def words(board: np.ndarray) -> np.ndarray:
    """uint32[width]: the engine's bit columns."""
    return np.array([sum(1 << int(y) for y in np.flatnonzero(column)) for column in board.T], np.uint32)


def cells(columns: np.ndarray, height: int = 20) -> np.ndarray:
    """The inverse of `words`, for any number of leading axes."""
    return (np.asarray(columns)[..., None, :] >> np.arange(height)[:, None] & 1).astype(bool)
