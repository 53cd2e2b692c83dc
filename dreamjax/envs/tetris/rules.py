"""The rules of Tetris on bit columns: pieces, collisions, line clears, the sequence of pieces.

A board is ``uint32[width]``, one word per column; bit ``y`` is the cell in row ``y`` and row 0 is
the top. Words make the rules short: the distance of a fall is a count of trailing zeros, a full row
is an AND over the columns, a line clear shifts the bits above it. Every function takes one game;
``jax.vmap`` gives a batch.

The rules are those of tetris-gymnasium 0.3.1 (Weichart and Hartl, 2024) with its defaults and
without its bugs; ``experiments/difftest.py`` compares the two.
"""

import dataclasses
import itertools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dreamjax.config.schema import Options, option, require

PIECES = "IOTSZJL"
NO_PIECE = 7
"""Value of ``TetrisState.hold`` while no piece is held."""

SPAWN_MATRICES = tuple(
    np.array([[int(cell) for cell in row] for row in text.split()], np.uint8)
    for text in (
        "0000 1111 0000 0000",
        "11 11",
        "010 111 000",
        "011 110 000",
        "110 011 000",
        "100 111 000",
        "001 111 000",
    )
)
"""The seven pieces at spawn, in the order I O T S Z J L; a rotation turns the whole matrix."""


@dataclasses.dataclass(frozen=True)
class TetrisConfig(Options):
    """The options of the game; the defaults are tetris-gymnasium's.

    Raises:
      ConfigError: if a value is not allowed.
    """

    action_mode: Literal["direct", "locked_position"] = option(
        "direct",
        "Press buttons, with one row of gravity a step; or place one piece a step, by the cell at which its pivot rests.",
    )
    max_episode_length: int = option(
        1000, "Steps after which an episode is truncated.", unit="steps", at_least=1, at_most=2**30
    )
    height: int = option(20, "Playable rows.", at_least=4, at_most=26)
    width: int = option(10, "Playable columns.", at_least=4, at_most=32)
    buttons: Literal["any", "one"] = option(
        "any", "direct only: eight bits at once (MultiBinary), or one index (Discrete)."
    )
    falling_channel: bool = option(True, "direct only: show the falling piece as a second channel of the board.")
    preview: int = option(1, "Next pieces that an observation shows.", at_least=1, at_most=7)
    spawn_column: int | None = option(
        None,
        "Column of the box of a three-wide piece when it enters. None: width // 2 - 1, tetris-gymnasium's; the "
        "guideline's is width // 2 - 2.",
    )
    hold_resets: bool = option(False, "A held piece returns unrotated (guideline) instead of as it was stored.")
    randomizer: Literal["bag", "uniform", "sz"] = option(
        "bag", "Every seven pieces in a random order; independent draws; or independent draws of S and Z."
    )
    garbage_rows: int = option(
        0, "Rows at the floor that are full at the start, except for one random hole each.", at_least=0
    )
    gravity_every: int = option(
        1, "direct only: steps between two rows of gravity.", unit="steps", at_least=1, at_most=2**30
    )
    illegal: Literal["nearest", "refuse"] = option(
        "nearest", "locked_position only: an illegal cell takes the nearest legal one, or the step has no effect."
    )
    reward: Literal["lines", "score", "gymnasium"] = option(
        "lines",
        "1, 3, 5, 8 for one to four lines; the guideline's points of its first level: 100, 300, 500, 800, and 1 for each "
        "row of a soft drop, 2 of a hard drop; or tetris-gymnasium's 10 n^2, and 1 for each piece.",
    )
    piece_reward: float = option(0.0, "Reward of each piece placed.")
    death_penalty: float = option(0.0, "Subtracted from the reward when the game is lost.")
    shaping: Literal["none", "potential", "difference"] = option(
        "none",
        "Reward for the shape of the stack. With phi = -(height * aggregate height + holes * number + bumpiness * sum of "
        "steps), potential pays g phi(s') - phi(s) with phi = 0 at a lost game, which keeps the best policy (Ng, Harada "
        "and Russell 1999); difference does not pay phi back at a lost game.",
    )
    shaping_height: float = option(0.05, "Weight of the aggregate height in phi.", at_least=0)
    shaping_holes: float = option(0.035, "Weight of the holes in phi.", at_least=0)
    shaping_bumpiness: float = option(0.018, "Weight of the bumpiness in phi.", at_least=0)
    shaping_discount: float = option(0.997, "g of the potential: the agent's own discount.", at_least=0, at_most=1)

    def check(self) -> None:
        """Raises ConfigError if the garbage rows reach the spawn rows or the spawn column is not supported."""
        most = self.height - 4
        require(self.garbage_rows <= most, "garbage_rows", self.garbage_rows, f"must lie in [0, {most}]")
        columns = (self.width // 2 - 1, self.width // 2 - 2)
        if self.spawn_column is None:
            object.__setattr__(self, "spawn_column", columns[0])
        require(self.spawn_column in columns, "spawn_column", self.spawn_column, f"must be one of {list(columns)}")


class TetrisState(struct.PyTreeNode):
    """The state of one game; under ``vmap`` every leaf has a leading batch axis.

    Attributes:
      key: uint32[2], words of the episode's PRNG key, which determines all its pieces.
      board: uint32[width], locked cells as bit columns.
      piece, rotation, x, y: int32, the falling piece, its counter-clockwise quarter turns, and
        the column and row of the corner of its matrix.
      hold: int32, the held piece or ``NO_PIECE``.
      hold_rotation: int32, rotation of the held piece.
      hold_used: bool, whether hold was used since the last lock.
      drawn: int32, number of pieces drawn so far.
      bags: uint32[2], the bag that contains the next piece and the bag after it, seven pieces of
        three bits each.
      fixed: int8[n], a fixed sequence of pieces; n may be 0.
      num_fixed: int32, length of the part of ``fixed`` that is used; 0: the pieces are random.
      legal_cells: uint32[width], the cells that name a placement of the current piece, as bit
        columns (`locked_position`; uint32[0] in `direct`).
      gravity_phase: int32, steps since the last row of gravity.
      steps: int32, steps so far.
      pieces: int32, pieces placed so far.
      lines: int32, lines cleared so far.
      last_lines: int32, lines cleared by the last step.
      terminated, truncated: bool.
    """

    key: jax.Array
    board: jax.Array
    piece: jax.Array
    rotation: jax.Array
    x: jax.Array
    y: jax.Array
    hold: jax.Array
    hold_rotation: jax.Array
    hold_used: jax.Array
    drawn: jax.Array
    bags: jax.Array
    fixed: jax.Array
    num_fixed: jax.Array
    legal_cells: jax.Array
    gravity_phase: jax.Array
    steps: jax.Array
    pieces: jax.Array
    lines: jax.Array
    last_lines: jax.Array
    terminated: jax.Array
    truncated: jax.Array


def _matrix_columns(matrix: np.ndarray) -> list[int]:
    """Returns the four columns of a matrix (padded right and below) as words, bit = row."""
    words = [int(sum(int(cell) << y for y, cell in enumerate(column))) for column in matrix.T]
    return words + [0] * (4 - len(words))


CELLS = np.array([[_matrix_columns(np.rot90(m, k=r)) for r in range(4)] for m in SPAWN_MATRICES], np.uint32)
"""uint32[7, 4, 4], the cells of each piece, rotation and column of the matrix, bit = row."""

_WALL = np.uint32(0xFFFFFFFF)
_MARGIN = 3
"""Columns of wall on each side of a padded board: the matrix of an I may start at -2 or at width - 2."""


def spawn_columns(config: TetrisConfig) -> np.ndarray:
    """Returns int32[7], the column at which the matrix of each piece enters."""
    assert config.spawn_column is not None
    middle = config.width // 2
    return np.array([middle - 2, middle - 1] + [config.spawn_column] * 5, np.int32)


def floor_word(config: TetrisConfig) -> np.uint32:
    """Returns the bits of a column that lie below the board."""
    return np.uint32(0xFFFFFFFF & ~((1 << config.height) - 1))


def padded(config: TetrisConfig, board: jax.Array) -> jax.Array:
    """Returns uint32[width + 6], the board with a floor, and walls on both sides."""
    wall = jnp.full((_MARGIN,), _WALL)
    return jnp.concatenate([wall, board | floor_word(config), wall])


def collides(config: TetrisConfig, board: jax.Array, cells: jax.Array, x: Any, y: Any) -> jax.Array:
    """Returns whether a piece overlaps a locked cell, a wall or the floor.

    Args:
      board: uint32[width].
      cells: uint32[4], columns of the piece's matrix.
      x, y: int32, board position of the corner of the matrix; ``-2 <= x <= width - 2``, ``y >= 0``.

    Returns:
      bool.
    """
    under = jax.lax.dynamic_slice(padded(config, board), (x + _MARGIN,), (4,))
    return jnp.any((cells << jnp.uint32(y)) & under != 0)


def drop_distance(config: TetrisConfig, board: jax.Array, cells: jax.Array, x: Any, y: Any) -> jax.Array:
    """Returns int32, the rows that a piece can fall from (x, y), where it does not collide."""
    under = jax.lax.dynamic_slice(padded(config, board), (x + _MARGIN,), (4,))
    # The cells of a piece are contiguous in a column, so only the cells below its lowest one matter.
    lowest = jnp.uint32(32) - jax.lax.clz(cells)
    blocks = jnp.where(cells == 0, jnp.uint32(0), under >> (lowest + jnp.uint32(y)))
    return trailing_zeros(blocks[0] | blocks[1] | blocks[2] | blocks[3])


def trailing_zeros(word: jax.Array) -> jax.Array:
    """Returns int32, the index of the lowest set bit of a uint32; 32 if no bit is set."""
    return jax.lax.population_count(~word & (word - np.uint32(1))).astype(jnp.int32)


def write(config: TetrisConfig, board: jax.Array, cells: jax.Array, x: Any, y: Any) -> jax.Array:
    """Returns uint32[width], the board with the cells of a piece set; cells off the board are dropped."""
    moved = cells << jnp.uint32(y)
    column = jnp.arange(config.width, dtype=jnp.int32) - x
    for i in range(4):
        board = board | jnp.where(column == i, moved[i], jnp.uint32(0))
    return board & ~floor_word(config)


def clear_lines(config: TetrisConfig, board: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Removes full rows (at most four) and moves the rows above down.

    Args:
      board: uint32[width].

    Returns:
      The new board, uint32[width], and the number of rows removed, int32.
    """
    full = jax.lax.reduce(board, np.uint32((1 << config.height) - 1), jax.lax.bitwise_and, (0,))
    num_lines = jax.lax.population_count(full).astype(jnp.int32)
    for _ in range(4):  # From the top, so that the remaining full rows do not move.
        row = full & -full
        above = jnp.where(row == 0, jnp.uint32(0), row - jnp.uint32(1))
        board = (board & ~(above | row)) | ((board & above) << jnp.uint32(1))
        full = full & ~row
    return board, num_lines


# --- The sequence of pieces ---


def threefry(key: jax.Array, counter: tuple[Any, Any]) -> jax.Array:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011), the default generator of ``jax.random``.

    JAX implements it as a loop on CPU, which would keep XLA from fusing the step into one kernel.

    Args:
      key: uint32[2].
      counter: two uint32.

    Returns:
      uint32[2], random words.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(0x1BD11BDA))
    a, b = jnp.uint32(counter[0]) + keys[0], jnp.uint32(counter[1]) + keys[1]
    for group in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            a = a + b
            b = a ^ ((b << jnp.uint32(turn)) | (b >> jnp.uint32(32 - turn)))
        a = a + keys[(group + 1) % 3]
        b = b + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return jnp.stack([a, b])


def key_words(key: jax.Array) -> jax.Array:
    """Returns uint32[2], the words of a typed PRNG key or of raw key data."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return jnp.asarray(key, jnp.uint32).reshape(-1)[-2:]


def next_key(key: jax.Array) -> jax.Array:
    """Returns uint32[2], the key of the next episode."""
    return threefry(key, (0, 1))


_SHUFFLES = np.array(
    [sum(p << 3 * i for i, p in enumerate(order)) for order in itertools.permutations(range(7))],
    np.uint32,
)


def draw_bag(config: TetrisConfig, key: jax.Array, index: Any) -> jax.Array:
    """Returns uint32, the seven pieces of bag number ``index`` of an episode, three bits each."""
    if config.randomizer == "bag":
        word = threefry(key, (index, 0))[0]
        return jnp.asarray(_SHUFFLES)[word % jnp.uint32(len(_SHUFFLES))]
    index = jnp.uint32(index) * jnp.uint32(7)
    words = [threefry(key, (index + jnp.uint32(i), 0))[0] for i in range(7)]
    if config.randomizer == "sz":
        pieces = [jnp.uint32(PIECES.index("S")) + word % jnp.uint32(2) for word in words]
    else:
        pieces = [word % jnp.uint32(7) for word in words]
    return sum((w << jnp.uint32(3 * i) for i, w in enumerate(pieces)), jnp.uint32(0))


def first_board(config: TetrisConfig, key: jax.Array) -> jax.Array:
    """Returns uint32[width], the first board of a game with this key (uint32[2]), see ``garbage_rows``."""
    board = jnp.zeros((config.width,), jnp.uint32)
    columns = jnp.arange(config.width, dtype=jnp.uint32)
    for row in range(config.height - config.garbage_rows, config.height):
        hole = threefry(key, (row, 2))[0] % jnp.uint32(config.width)
        board = board | jnp.where(columns == hole, jnp.uint32(0), jnp.uint32(1 << row))
    return board


def peek(state: TetrisState, ahead: int) -> jax.Array:
    """Returns int32, the piece that will be drawn after ``ahead`` (0 to 7) others."""
    place = state.drawn % 7 + ahead
    bag = jnp.where(place < 7, state.bags[0], state.bags[1])
    place = jnp.where(place < 7, place, place - 7)
    piece = ((bag >> (3 * place).astype(jnp.uint32)) & jnp.uint32(7)).astype(jnp.int32)
    if state.fixed.shape[0] == 0:
        return piece
    index = (state.drawn + ahead) % jnp.maximum(state.num_fixed, 1)
    return jnp.where(state.num_fixed > 0, state.fixed[index].astype(jnp.int32), piece)


def draw(config: TetrisConfig, state: TetrisState, number: jax.Array) -> TetrisState:
    """Draws ``number`` (0 to 7) pieces and returns the new state."""
    drawn = state.drawn + number
    is_new = drawn // 7 > state.drawn // 7
    new_bag = draw_bag(config, state.key, drawn // 7 + 1)
    bags = jnp.stack(
        [
            jnp.where(is_new, state.bags[1], state.bags[0]),
            jnp.where(is_new, new_bag, state.bags[1]),
        ]
    )
    return state.replace(drawn=drawn, bags=bags)


def new_game(config: TetrisConfig, key: jax.Array, *, fixed: jax.Array, num_fixed: Any) -> TetrisState:
    """Returns the first state of a game: ``first_board`` with the first piece at its spawn.

    Args:
      key: uint32[2], words of the episode's key.
      fixed: int8[n], a fixed sequence of pieces.
      num_fixed: int32, length of the part of ``fixed`` that is used.

    Returns:
      The state. Its ``legal_cells`` are 0; ``engine.reset`` fills them.
    """
    zero, false = jnp.int32(0), jnp.bool_(False)
    state = TetrisState(
        key=key,
        board=first_board(config, key),
        piece=zero,
        rotation=zero,
        x=zero,
        y=zero,
        hold=jnp.int32(NO_PIECE),
        hold_rotation=zero,
        hold_used=false,
        drawn=zero,
        bags=jnp.stack([draw_bag(config, key, 0), draw_bag(config, key, 1)]),
        fixed=fixed,
        num_fixed=jnp.asarray(num_fixed, jnp.int32),
        legal_cells=jnp.zeros((config.width if config.action_mode == "locked_position" else 0,), "uint32"),
        gravity_phase=zero,
        steps=zero,
        pieces=zero,
        lines=zero,
        last_lines=zero,
        terminated=false,
        truncated=false,
    )
    return spawn(config, draw(config, state, jnp.int32(1)), peek(state, 0))


def spawn(config: TetrisConfig, state: TetrisState, piece: jax.Array) -> TetrisState:
    """Puts a piece at its spawn, unrotated, without checking whether it collides there."""
    x = jnp.asarray(spawn_columns(config))[piece]
    return state.replace(piece=piece, rotation=jnp.int32(0), x=x, y=jnp.int32(0))


class Locked(NamedTuple):
    """The result of a lock: the board, lines cleared (int32), and whether a piece was placed (bool)."""

    board: jax.Array
    num_lines: jax.Array
    placed: jax.Array


def lock(config: TetrisConfig, board: jax.Array, cells: jax.Array, x: Any, y: Any, *, enabled: jax.Array) -> Locked:
    """Writes a piece into the board and clears lines; has no effect unless ``enabled`` (bool)."""
    after, num_lines = clear_lines(config, write(config, board, cells, x, y))
    return Locked(jnp.where(enabled, after, board), jnp.where(enabled, num_lines, 0), enabled)


def board_cells(config: TetrisConfig, board: jax.Array) -> jax.Array:
    """Returns uint8[height, width], the board as 0 and 1, row 0 at the top."""
    rows = jnp.arange(config.height, dtype=jnp.uint32)[:, None]
    return ((board[None, :] >> rows) & jnp.uint32(1)).astype(jnp.uint8)


def board_words(config: TetrisConfig, cells: Any) -> jax.Array:
    """Returns uint32[width], bit columns from cells [height, width], the inverse of ``board_cells``."""
    rows = jnp.arange(config.height, dtype=jnp.uint32)[:, None]
    return jnp.sum((jnp.asarray(cells) != 0).astype(jnp.uint32) << rows, axis=0, dtype=jnp.uint32)
