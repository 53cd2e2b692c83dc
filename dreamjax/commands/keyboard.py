"""Keys of a terminal, and what they mean in Tetris: pure functions, and one object that reads them."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}
NAMED = {"\x1b": "", " ": "space", "\r": "space", "\n": "space", "a": "left", "d": "right", "s": "down", "w": "up"}
KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)
UNFINISHED = re.compile(r"\x1b(\[[0-9;]*|O)?$")
BUTTONS = {
    "left": "left",
    "right": "right",
    "down": "soft_drop",
    "up": "rotate_clockwise",
    "x": "rotate_clockwise",
    "z": "rotate_counterclockwise",
    "space": "hard_drop",
    "c": "hold",
}


def split_keys(text: str) -> tuple[list[str], str]:
    """The keys in what a terminal sent, by name, and the beginning of an arrow whose rest is still to come."""
    unfinished = UNFINISHED.search(text)
    rest = unfinished[0] if unfinished else ""
    keys = KEY.findall(text.removesuffix(rest))
    names = [ARROWS.get(key[-1], "") if len(key) > 1 else NAMED.get(key.lower(), key.lower()) for key in keys]
    return [name for name in names if name], rest


def pressed(keys: Sequence[str]) -> np.ndarray:
    """int8[8]: the buttons of `direct` that the keys press together; keys without a button do nothing."""
    from dreamjax.envs.tetris.buttons import NAMES

    buttons = {BUTTONS.get(key) for key in keys}
    return np.array([name in buttons for name in NAMES], np.int8)


def nearest(legal: np.ndarray, cell: tuple[int, int]) -> tuple[int, int]:
    """The (row, column) of ``legal`` (bool[height, width], not empty) nearest to a cell; of equals the lower."""
    rows, columns = np.nonzero(legal)
    distance = (rows - cell[0]) ** 2 + (columns - cell[1]) ** 2
    _, height, column = min(zip(distance.tolist(), (-rows).tolist(), columns.tolist(), strict=True))
    return -height, column


def move(legal: np.ndarray, cursor: tuple[int, int], key: str) -> tuple[int, int]:
    """Where a key takes a cursor over legal cells; it stays where there is nothing on that side.

    Left and right go to the next column with a legal cell, to the row nearest there; up and down to the next legal cell
    of the column. So every legal cell can be reached.
    """
    rows, columns = np.arange(legal.shape[0])[:, None], np.arange(legal.shape[1])[None, :]
    sides = {
        "left": columns < cursor[1],
        "right": columns > cursor[1],
        "up": (columns == cursor[1]) & (rows < cursor[0]),
        "down": (columns == cursor[1]) & (rows > cursor[0]),
    }
    allowed = legal & sides.get(key, np.bool_(False))
    if not allowed.any():
        return cursor
    if key in ("left", "right"):
        there = np.flatnonzero(allowed.any(axis=0))
        allowed &= columns == (there[-1] if key == "left" else there[0])
    return nearest(allowed, cursor)


def landing(cells: np.ndarray) -> np.ndarray:
    """bool[height, width]: where the falling cells (2 and above) would rest on the locked ones (1) and the floor."""
    falling, locked = cells > 1, cells == 1
    ghost = falling
    while falling.any() and not ghost[-1].any() and not (np.roll(ghost, 1, 0) & locked).any():
        ghost = np.roll(ghost, 1, 0)
    return ghost & ~falling


# The terminal.


class Keys(Protocol):
    """Where keys come from."""

    def read(self, seconds: float | None) -> list[str]:
        """The keys of the next ``seconds``; with None, of now, waiting for the first."""


class Terminal:
    """Keys of a terminal, one by one and without their echo; gives the terminal back as it was."""

    def __init__(self, file: int) -> None:
        self._file, self._rest = file, ""

    def __enter__(self) -> Terminal:
        import termios
        import tty

        self._before = termios.tcgetattr(self._file)
        self._handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
        tty.setcbreak(self._file)
        return self

    def __exit__(self, *error: object) -> None:
        import termios

        termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def read(self, seconds: float | None) -> list[str]:
        """See ``Keys``. A terminal that is gone presses q."""
        keys: list[str] = []
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if select.select([self._file], [], [], left)[0]:
                try:
                    sent = os.read(self._file, 1024)
                except OSError:
                    sent = b""
                if not sent:
                    return [*keys, "q"]
                more, self._rest = split_keys(self._rest + sent.decode("ascii", "ignore"))
                keys += more
            if (keys and deadline is None) or (deadline is not None and time.monotonic() >= deadline):
                return keys


def _leave(number: int, _: Any) -> None:
    raise SystemExit(128 + number)
