"""Renders a game as text, as RGB pixels, or as a live view in the terminal."""

import dataclasses
import time
from typing import Any

import numpy as np

from dreamjax.envs.tetris import placement, rules
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState

MODES = ("human", "ansi", "rgb_array")

COLORS = np.array(
    [
        (24, 26, 31),  # empty
        (122, 130, 145),  # locked
        (64, 200, 220),  # I
        (235, 205, 70),  # O
        (175, 95, 215),  # T
        (100, 200, 95),  # S
        (225, 80, 80),  # Z
        (80, 115, 225),  # J
        (235, 150, 60),  # L
    ],
    np.uint8,
)
"""RGB colors of the values in ``Picture.cells``: 0 empty, 1 locked, 2 + p the current piece p."""

LEGAL = np.array((235, 235, 240), np.uint8)
"""Color of the mark on a legal cell in `locked_position`."""


def checked_mode(mode: str | None, *, allowed: tuple[str, ...] = MODES) -> str | None:
    """Returns the render mode.

    Raises:
      ValueError: if it is not one of ``allowed``.
    """
    if mode is not None and mode not in allowed:
        raise ValueError(f"render_mode={mode!r}: must be None or one of {', '.join(allowed)}")
    return mode


@dataclasses.dataclass(frozen=True)
class Picture:
    """The visible state of one game, on the host.

    Attributes:
      cells: uint8[height, width], indices into ``COLORS``.
      legal: bool[height, width], cells marked as legal.
      current: the falling piece.
      preview: the next pieces.
      hold: the held piece or ``NO_PIECE``.
      lines, pieces, steps: counts so far.
    """

    cells: np.ndarray
    legal: np.ndarray
    current: int
    preview: tuple[int, ...]
    hold: int
    lines: int
    pieces: int
    steps: int

    @classmethod
    def of(cls, config: TetrisConfig, state: TetrisState) -> "Picture":
        """Makes the picture of one game (no batch axis); transfers the state to the host."""

        def number(leaf: Any) -> int:
            return int(np.asarray(leaf))

        def unpack(words: Any) -> np.ndarray:
            bits = np.asarray(words, np.uint32)[None, :] >> np.arange(config.height)[:, None]
            return (bits & 1).astype(np.uint8)

        cells = unpack(state.board)
        legal = np.zeros(cells.shape, bool)
        piece, rotation = number(state.piece), number(state.rotation)
        if config.action_mode == "locked_position":
            legal = unpack(state.legal_cells).astype(bool)
        else:
            falling = np.zeros_like(cells)
            words = rules.CELLS[piece, rotation].astype(np.uint64) << np.uint64(number(state.y))
            is_free = True
            for i, word in enumerate(words):
                for row in range(32):
                    if not int(word) >> row & 1:
                        continue
                    column = number(state.x) + i
                    inside = 0 <= column < config.width and row < config.height
                    is_free = is_free and inside and not cells[row, column]
                    if inside:
                        falling[row, column] = piece + 2
            cells = np.where(falling > 0, falling, cells) if is_free else cells
        return cls(
            cells,
            legal,
            piece,
            tuple(int(rules.peek(state, i)) for i in range(config.preview)),
            number(state.hold),
            number(state.lines),
            number(state.pieces),
            number(state.steps),
        )

    def caption(self) -> str:
        """Returns one line with the pieces and the counts."""
        names = rules.PIECES + "-"
        preview = " ".join(names[p] for p in self.preview)
        return (
            f"piece {names[self.current]}  next {preview}  hold {names[self.hold]}"
            f"  lines {self.lines}  pieces {self.pieces}  step {self.steps}"
        )

    def text(self) -> str:
        """Returns the board as characters: locked ``#``, falling ``@``, legal ``+``, empty ``.``."""
        rows = []
        for cells, legal in zip(self.cells, self.legal, strict=True):
            marks = np.where(cells == 1, "#", np.where(cells > 1, "@", np.where(legal, "+", ".")))
            rows.append("|" + "".join(marks) + "|")
        return "\n".join([*rows, "+" + "-" * self.cells.shape[1] + "+", self.caption()]) + "\n"

    def rgb(self, *, scale: int = 12) -> np.ndarray:
        """Returns uint8[height * scale, width * scale, 3]; each cell is a square of ``scale`` pixels."""
        image = COLORS[self.cells].repeat(scale, 0).repeat(scale, 1)
        image[::scale] = image[::scale] // 2 + 8
        image[:, ::scale] = image[:, ::scale] // 2 + 8
        low, high = scale // 3, scale - scale // 3
        for row, column in zip(*np.nonzero(self.legal & (self.cells == 0)), strict=True):
            top, left = row * scale, column * scale
            image[top + low : top + high, left + low : left + high] = LEGAL // 3
        return image

    def rich(self, *, cursor: tuple[int, int] | None = None, ghost: np.ndarray | None = None, note: str = "") -> Any:
        """Returns a ``rich`` panel for the terminal.

        Args:
          cursor: row and column of the cursor.
          ghost: bool[height, width], cells that a placement would lock (``placed_cells``).
          note: text of an additional last line.
        """
        from rich.panel import Panel
        from rich.text import Text

        text = Text()
        for row, (cells, legal) in enumerate(zip(self.cells, self.legal, strict=True)):
            for column, cell in enumerate(cells):
                red, green, blue = COLORS[cell]
                mark = "··" if legal[column] and not cell else "  "
                if ghost is not None and ghost[row, column]:
                    mark = "░░"
                if cursor == (row, column):
                    mark = "[]"
                text.append(mark, style=f"bold rgb(235,235,240) on rgb({red},{green},{blue})")
            text.append("\n")
        text.append(self.caption() + (f"\n{note}" if note else ""))
        return Panel(text, title="DreamJAX Tetris", expand=False)


class Screen:
    """A live view in the terminal with at most ``fps`` pictures per second."""

    def __init__(self, fps: float) -> None:
        from rich.live import Live

        self._pause = 1.0 / fps
        self._last = 0.0
        self._live = Live(auto_refresh=False)
        self._live.start()

    def show(self, picture: Picture, **marks: Any) -> None:
        """Draws a picture with the options of ``Picture.rich``; waits to keep the frame rate."""
        time.sleep(max(0.0, self._last + self._pause - time.monotonic()))
        self._last = time.monotonic()
        self._live.update(picture.rich(**marks), refresh=True)

    def close(self) -> None:
        """Ends the live view."""
        self._live.stop()


def placed_cells(config: TetrisConfig, piece: int, rotation: int, column: int, row: int) -> Any:
    """Returns bool[height, width], the cells that a placement would lock.

    Args:
      piece, rotation, column, row: as in ``placement.Placement``.
    """
    cells = np.zeros((config.height, config.width), bool)
    for i, word in enumerate(placement.CELLS[piece, rotation]):
        for y in range(4):
            if int(word) >> y & 1:
                cells[row + y, column - 1 + i] = True
    return cells
