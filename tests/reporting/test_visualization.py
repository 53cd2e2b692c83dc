"""Pictures have the right size, and the right color at known cells."""

import numpy as np
import pytest

from dreamjax.reporting import visualization as vis
from dreamjax.types import ObsSpec

EMPTY, FIRST, SECOND = vis.EMPTY, vis.PALETTE[0], vis.PALETTE[1]


def at(picture, row, column, cell):
    """The one color of a cell."""
    block = picture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell].reshape(-1, 3)
    assert (block == block[0]).all()
    return tuple(int(x) for x in block[0])


def test_grid_of_two_channels():
    grid = np.zeros((2, 4, 3), np.uint8)
    grid[0, 3, 0] = grid[1, 0, 2] = 1
    grid[:, 2, 1] = 1
    picture = vis.grid_picture(grid, cell=5)
    assert picture.shape == (20, 15, 3) and picture.dtype == np.uint8
    assert at(picture, 3, 0, 5) == FIRST
    assert at(picture, 0, 2, 5) == SECOND
    assert at(picture, 2, 1, 5) == SECOND  # the later channel lies above
    assert at(picture, 1, 1, 5) == EMPTY


def test_probabilities_mix():
    picture = vis.grid_picture(np.full((1, 1, 1), 0.25), cell=2)
    expected = tuple(round(0.75 * e + 0.25 * f) for e, f in zip(EMPTY, FIRST, strict=True))
    assert at(picture, 0, 0, 2) == expected


def test_each_class_has_a_color_and_channels_are_side_by_side():
    grid = np.array([[[0, 1], [2, 3]], [[3, 3], [3, 3]]])
    picture = vis.grid_picture(grid, classes=4, cell=4)
    assert picture.shape == (8, 8 + 2 + 8, 3)
    colors = [at(picture, r, c, 4) for r in (0, 1) for c in (0, 1)]
    assert colors == [EMPTY, *vis.PALETTE[:3]]
    assert tuple(picture[0, 9]) == vis.BACKGROUND
    assert tuple(picture[0, 10]) == vis.PALETTE[2]


def test_grid_needs_three_dimensions():
    with pytest.raises(ValueError, match=r"\[C, H, W\]"):
        vis.grid_picture(np.zeros((4, 4)))


def test_images():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(vis.image_picture(image), image)
    np.testing.assert_array_equal(vis.image_picture(image / 255.0, cell=2)[::2, ::2], image)
    gray = vis.image_picture(np.array([[[0.2, 0.9]]]))
    assert tuple(gray[0, 0]) == (51, 51, 51)


def test_vector_strip():
    picture = vis.vector_picture(np.array([2.0, -2.0, 0.0, 1.0, 0, 0, 0, 0, -9.0]), scale=2.0, cell=3)
    assert picture.shape == (6, 24, 3)  # nine entries: two lines of eight
    assert [at(picture, 0, c, 3) for c in (0, 1, 2)] == [vis.EXTRA, vis.MISSING, EMPTY]
    half = tuple(round(0.5 * e + 0.5 * f) for e, f in zip(EMPTY, vis.EXTRA, strict=True))
    assert at(picture, 0, 3, 3) == half
    assert at(picture, 1, 0, 3) == vis.MISSING  # beyond the scale: its end


def test_difference_of_grids():
    entry = ObsSpec("grid", (2, 20, 10), "uint8", classes=2)
    real, dream = np.zeros((2, 20, 10)), np.zeros((2, 20, 10))
    real[0, 19, 0] = dream[1, 0, 9] = 1
    real[0, 5, 5] = dream[0, 5, 5] = 1
    picture = vis.difference(entry, real, dream)
    assert picture.shape == vis.picture(entry, real).shape == (160, 80, 3)
    assert at(picture, 19, 0, 8) == vis.MISSING
    assert at(picture, 0, 9, 8) == vis.EXTRA
    assert at(picture, 5, 5, 8) == EMPTY


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        (ObsSpec("grid", (1, 10, 10), "int32", classes=5), (160, 160)),
        (ObsSpec("image", (64, 40, 3), "uint8"), (128, 80)),
        (ObsSpec("image", (300, 20, 1), "float32"), (300, 20)),
        (ObsSpec("vector", (4,), "float32"), (8, 32)),
        (ObsSpec("vector", (2, 2), "float32"), (8, 32)),
    ],
)
def test_sizes_and_differences_of_every_kind(entry, size):
    real = np.zeros(entry.shape, entry.dtype)
    dream = np.ones(entry.shape, entry.dtype)
    same, other = vis.difference(entry, real, real), vis.difference(entry, real, dream)
    assert vis.picture(entry, real).shape[:2] == same.shape[:2] == other.shape[:2] == size
    assert len(np.unique(same.reshape(-1, 3), axis=0)) == 1
    assert (same != other).any()


def test_tile_pads_to_one_size():
    red, blue = np.full((2, 3, 3), 200, np.uint8), np.full((4, 1, 3), 100, np.uint8)
    line = vis.tile([red, blue], gap=2)
    assert line.shape == (4, 6, 3)
    assert (line[:2, :3] == 200).all() and (line[:, 5] == 100).all()
    assert (line[2:, :3] == 0).all() and (line[:, 3:5] == 0).all()
    assert vis.tile([red, blue], gap=2, axis=0).shape == (8, 3, 3)


def test_border():
    framed = vis.add_border(np.zeros((2, 2, 3), np.uint8), (1, 2, 3), width=2)
    assert framed.shape == (6, 6, 3)
    assert tuple(framed[0, 0]) == tuple(framed[5, 3]) == tuple(framed[2, 1]) == (1, 2, 3)
    assert (framed[2:4, 2:4] == 0).all()


def test_text_is_light_on_the_background():
    picture = vis.text("real", 16, 40)
    assert picture.shape == (16, 40, 3) and picture.dtype == np.uint8
    assert (picture[:, 30:] == 0).all() and picture[:14, :28].max() > 150
