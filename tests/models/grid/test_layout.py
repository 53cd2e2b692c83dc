"""Where things are on a grid, against NumPy and by hand."""

import jax
import numpy as np
import pytest

from dreamjax.config import ConfigError
from dreamjax.models.grid.layout import GridLayout, button_pairs, focus_place, grid_layout, place, split_state, window
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from tests.helpers.grids import BUTTONS, PIECE, SPECS, bits, board, grid_config


def test_window_against_numpy_and_place_is_its_transpose():
    x, row, column = bits(4, 2, 6, 5), np.array([0, 5, 2, 3]), np.array([4, 0, 2, 1])
    rows, columns = (2, 1), (1, 3)
    got = window(x, row, column, rows, columns)
    assert got.shape == (4, 3, 4, 5)
    for n in range(4):
        for i in range(4):
            for j in range(5):
                r, c = row[n] - 2 + i, column[n] - 1 + j
                inside = 0 <= r < 6 and 0 <= c < 5
                expected = [*x[n, :, r, c], 0] if inside else [0, 0, 1]
                np.testing.assert_array_equal(got[n, :, i, j], expected, f"{n} {i} {j}")
    edit = np.random.default_rng(1).normal(size=(4, 2, 4, 5)).astype(np.float32)
    transposed = jax.vjp(lambda x: window(x, row, column, rows, columns)[:, :-1], x)[1](edit)[0]
    np.testing.assert_allclose(place(edit, row, column, (6, 5), 2, 1), transposed, atol=1e-6)


def test_layouts():
    config = grid_config(0)
    cells, thing, colors, alone = (
        grid_layout(config.model, SPECS[name]) for name in ("cells", "object", "colors", "alone")
    )
    assert cells == ("board", 1, 6, 5, 2, ("piece",), (3,), 3, 16, 16, "action")
    assert thing == ("board", 2, 6, 5, 2, ("kind", "piece"), (6, 3), 9, 16, 16, "object")
    assert colors == ("board", 6, 5, 7, 3, ("kind",), (6,), 6, 16, 16, "object")
    assert alone == ("board", 1, 6, 4, 2, (), (), 0, 16, 16, "center")
    assert (colors.cells, colors.deter) == (210, 248)


def test_the_place_of_the_action():
    cells = np.zeros((3, 2, 6, 5), np.float32)
    cells[:, 0] = 1  # the first channel does not count
    cells[0, 1, 2, 3] = cells[0, 1, 3, 1] = cells[1, 1, 5, 4] = 1
    action = np.eye(30, dtype=np.float32)[[13, 29, 0]]
    for focus, expected in (
        ("action", ([2, 5, 0], [3, 4, 0])),
        ("object", ([2, 5, 0], [1, 4, 2])),
        ("center", ([3] * 3, [2] * 3)),
    ):
        layout = GridLayout("board", 2, 6, 5, 2, (), (), 0, 8, 5, focus)
        np.testing.assert_array_equal(focus_place(layout, cells, action), expected, focus)


def test_split_state_gives_back_what_was_joined():
    layout = grid_layout(grid_config(0).model, SPECS["object"])
    cells, vector, memory = bits(2, 3, 2, 6, 5), np.full((2, 3, 9), 0.5), np.full((2, 3, 32), 2.0)
    deter = np.concatenate([cells.reshape(2, 3, -1), vector, memory], -1)
    assert deter.shape[-1] == layout.deter
    for got, expected in zip(split_state(layout, deter), (cells, vector, memory), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_pairs_of_buttons():
    spec = ActionSpec(
        (ActionPart("categorical", 2), ActionPart("binary", 2), ActionPart("continuous", 1), ActionPart("binary", 1))
    )
    first, second = button_pairs(spec)
    np.testing.assert_array_equal(first, [2, 2, 3])
    np.testing.assert_array_equal(second, [3, 5, 5])
    assert button_pairs(ActionSpec((ActionPart("categorical", 5),)))[0].size == 0


@pytest.mark.parametrize(
    "obs",
    [{"piece": PIECE}, {"a": board(1, 4, 4), "b": board(1, 4, 4)},
     {"a": board(1, 4, 4), "camera": ObsSpec("image", (8, 8, 3), "uint8")}],
)  # fmt: skip
def test_only_one_grid_and_no_image(obs):
    with pytest.raises(ConfigError, match=r"model\.kind='grid' is not allowed: it needs exactly one grid and no image"):
        grid_layout(grid_config(0).model, EnvSpec(obs, BUTTONS))
