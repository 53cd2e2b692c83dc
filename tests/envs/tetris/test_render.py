import io

import numpy as np
import pytest
from rich.console import Console

from dreamjax.envs.tetris import render
from tests.helpers.tetris import DIRECT, PLACED, I, J, O, T, buttons, start, step


def test_text_shows_locked_falling_and_legal_cells():
    state, _ = step(DIRECT, start(DIRECT, [T, J], ["##.......#"]), buttons("l"))
    lines = render.Picture.of(DIRECT, state).text().splitlines()
    assert lines[:4] == ["|..........|", "|....@.....|", "|...@@@....|", "|..........|"]
    assert lines[19:] == [
        "|##.......#|",
        "+----------+",
        "piece T  next J  hold -  lines 0  pieces 0  step 1",
    ]
    text = render.Picture.of(PLACED, start(PLACED, [O, I], ["##.......#"])).text().splitlines()
    assert text[17:20] == ["|..........|", "|++......+.|", "|##++++++.#|"]


def test_a_piece_that_collides_is_not_drawn():
    rows = ["####..####"] + ["####.#####"] * 18
    state, output = step(DIRECT, start(DIRECT, [O, 6], rows), buttons("h"))
    assert bool(output.terminated)
    assert "@" not in render.Picture.of(DIRECT, state).text()


def test_colors_of_an_image():
    state = start(DIRECT, [I, T], ["#........."])
    image = render.Picture.of(DIRECT, state).rgb(scale=8)
    assert image.shape == (160, 80, 3)
    center = image[4::8, 4::8]
    np.testing.assert_array_equal(center[19, 0], render.COLORS[1])
    np.testing.assert_array_equal(center[1, 3], render.COLORS[2])
    np.testing.assert_array_equal(center[0, 0], render.COLORS[0])
    marked = render.Picture.of(PLACED, start(PLACED, [O, I])).rgb(scale=9)[4::9, 4::9]
    assert (marked[19, 0] != render.COLORS[0]).any() and (marked[19, 9] == render.COLORS[0]).all()


def test_the_terminal_view_shows_cursor_and_note():
    picture = render.Picture.of(PLACED, start(PLACED, [O, I]))
    console = Console(file=io.StringIO(), width=80)
    ghost = render.placed_cells(PLACED, O, 0, 4, 18)
    console.print(picture.rich(cursor=(19, 4), ghost=ghost, note="space places"))
    shown = console.file.getvalue()
    assert "[]" in shown and "space places" in shown and "piece O" in shown and "··" in shown
    assert shown.count("░░") == 3  # The fourth cell is under the cursor.


def test_cells_of_a_placement():
    cells = render.placed_cells(PLACED, I, 1, 3, 10)
    assert np.argwhere(cells).tolist() == [[row, 3] for row in range(10, 14)]


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="must be None or one of ansi"):
        render.checked_mode("human", allowed=("ansi",))
