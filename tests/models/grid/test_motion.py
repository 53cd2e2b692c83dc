"""The motion of an object on a grid: its arithmetic against plain loops, and what it can be told to do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models.grid.layout import GridLayout, focus_place
from dreamjax.models.grid.motion import (
    MARGIN,
    SHIFT,
    SIDEWAYS,
    ObjectMotion,
    lowered,
    overlaps,
    quarter_turns,
    shifted,
    stops,
    turned,
)
from tests.helpers.xla import QUICK

LAYOUT = GridLayout("board", 2, 9, 7, 2, (), (), 0, 8, 5, "object")
jit = functools.partial(jax.jit, compiler_options=QUICK)
random = np.random.default_rng(0)


def test_overlaps_against_loops():
    mask, blocked = random.random((3, 4, 5), np.float32), random.random((3, 7, 5), np.float32)
    expected = np.zeros((3, 4))
    for d in range(4):
        for r in range(4):
            expected[:, d] += np.sum(mask[:, r] * blocked[:, r + d], 1)
    np.testing.assert_allclose(overlaps(mask, blocked), expected, rtol=1e-5)


def test_lowered_against_loops():
    mask, share = random.random((3, 5, 2), np.float32), random.random((3, 3), np.float32)
    expected = np.zeros((3, 5, 2))
    for d in range(3):
        expected[:, d:] += share[:, d, None, None] * mask[:, : 5 - d]
    np.testing.assert_allclose(lowered(mask, share), expected, rtol=1e-5)


@pytest.mark.parametrize("by", [-2, -1, 0, 1, 2])
def test_shifted_against_roll(by):
    mask = random.random((2, 3, 6), np.float32)
    expected = np.roll(mask, by, 2)
    expected[:, :, slice(0, by) if by > 0 else slice(6 + by, 6)] = 0
    np.testing.assert_array_equal(shifted(mask, by), expected)


def test_stops_by_hand():
    """Before the second step it wants to stop half of the time, and else must half of the time; then nothing stops it."""
    half = np.log(2.0)
    wants, must = stops(jnp.asarray([[0.0, half, 0.0]]), jnp.asarray([[half, half, 0.0]]))
    np.testing.assert_allclose(wants, [[0.0, 0.25, 0.0]], atol=1e-6)
    np.testing.assert_allclose(must, [[0.5, 0.125, 0.0]], atol=1e-6)


def shape_at(size, corner, rows):
    """A grid with the drawn object at a corner; what lies outside is left out."""
    grid = np.zeros(size, np.float32)
    for r, text in enumerate(rows):
        for c, cell in enumerate(text):
            if cell == "o" and 0 <= corner[0] + r < size[0] and 0 <= corner[1] + c < size[1]:
                grid[corner[0] + r, corner[1] + c] = 1
    return grid


BAR, HOOK = ("oooo",), (".o", ".o", "oo")


@pytest.mark.parametrize(
    ("item", "turns"),
    [
        # About the middle of four cells in a row, between two: half a row up, half a column left.
        (BAR, [(0, 0, BAR), (-2, 1, ("o",) * 4), (0, 0, BAR), (-2, 1, ("o",) * 4)]),
        (HOOK, [(0, 0, HOOK), (0, -1, ("ooo", "..o")), (0, 0, ("oo", "o.", "o.")), (0, -1, ("o..", "ooo"))]),
    ],
)
def test_quarter_turns_by_hand(item, turns):
    patch = shape_at((5, 5), (0, 0), item)
    got = quarter_turns(jnp.asarray(patch)[None])[0]
    for i, (down, right, expected) in enumerate(turns):
        np.testing.assert_array_equal(got[i], shape_at((9, 9), (2 + down, 2 + right), expected), err_msg=f"{i} turns")


@pytest.mark.parametrize("corner", [(4, 3), (0, 0), (7, 5)])
def test_turned_is_the_mean_over_turns_and_where_they_end(corner):
    mask = shape_at((9, 7), corner, HOOK)
    mask[8, 6] = 1  # beyond the patch, or the hook's own
    choice = random.random((4, 2 * SHIFT + 1, 2 * SHIFT + 1), np.float32)
    choice /= choice.sum()
    row, column = (np.flatnonzero(mask.any(axis))[0] for axis in (1, 0))
    patch = np.pad(mask, ((0, 5), (0, 5)))[row : row + 5, column : column + 5]
    expected = np.pad(mask, MARGIN)
    size = expected.shape
    all_turns = np.asarray(quarter_turns(jnp.asarray(patch)[None])[0])
    for k, i, j in np.ndindex(choice.shape):
        for r, c in np.argwhere(all_turns[k]):
            at = row + MARGIN + r - 2 + i - SHIFT, column + MARGIN + c - 2 + j - SHIFT
            if all(0 <= x < n for x, n in zip(at, size, strict=True)):
                expected[at] += choice[k, i, j]
    for r, c in np.argwhere(patch):
        expected[row + MARGIN + r, column + MARGIN + c] -= 1
    args = (jnp.asarray(x)[None] for x in (mask, row, column, choice))
    np.testing.assert_allclose(turned(*args)[0], np.clip(expected, 0, 1), atol=1e-6)


@functools.cache
def motion():
    module = ObjectMotion(LAYOUT, 8, "silu", jnp.float32)
    return module, jit(module.apply)


def told(*, sideways=0, wanted=(), strength=20.0, turn=0, miss=(0, 0)):
    """Parameters that read nothing and do what they are told: biases alone."""
    module, _ = motion()
    x = jnp.zeros((1, 2, 9, 7))
    params = jax.eval_shape(
        module.init, jax.random.key(0), x, x, jnp.zeros(1, int), jnp.zeros(1, int), jnp.zeros((1, 3))
    )
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), params)["params"]
    params["strength"]["dense"]["bias"] += strength
    params["sideways"]["dense"]["bias"][sideways + SIDEWAYS] += 50.0
    params["wanted"]["dense"]["bias"] += [50.0 if d in wanted else -50.0 for d in range(9)]
    side = 2 * SHIFT + 1
    where = (miss[0] + SHIFT) * side + miss[1] + SHIFT
    params["turns"]["dense"]["bias"][1 + (turn - 1) * side**2 + where if turn else 0] += 1000.0
    params["turns"]["dense"]["bias"] -= 500.0
    params["into"] += 50.0
    params["blocking"] += 1.0
    params["outside"] += 1.0
    return {"params": params}


def moved(board, params):
    """The likely cells after a board ``[2, 9, 7]`` has gone on, as ``(rest, object)``."""
    return np.asarray(after(board, params)[0][0] > 0, int)


def after(board, params):
    """Logits, features and room."""
    cells = jnp.asarray(board, jnp.float32)[None]
    row, column = focus_place(LAYOUT, cells, jnp.zeros((1, 3)))
    return motion()[1](params, cells, 20.0 * (2 * cells - 1), row, column, jnp.zeros((1, 3)))


def drop(rest, item):
    """Straight down to where one more row would overlap: plain loops."""
    cells = np.argwhere(item)
    d = 0
    while all(r + d + 1 < 9 and not rest[r + d + 1, c] for r, c in cells):
        d += 1
    return np.array([(r + d, c) for r, c in cells])


def example(seed):
    rng = np.random.default_rng(seed)
    board = np.zeros((2, 9, 7), int)
    board[0, 5:] = rng.random((4, 7)) < 0.4
    column = rng.integers(0, 6)
    board[1, 1, column : column + 2] = 1
    board[1, 2, column + rng.integers(0, 2)] = 1
    return board


@pytest.mark.parametrize("seed", range(12))
def test_what_never_wants_to_stop_falls_as_far_as_it_can_and_joins(seed):
    board = example(seed)
    result = moved(board, told())
    expected = board[0].copy()
    for r, c in drop(board[0], board[1]):
        expected[r, c] = 1
    np.testing.assert_array_equal(result[0], expected)
    assert not result[1].any()


@pytest.mark.parametrize("by", [-2, -1, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_it_goes_sideways_and_one_row_down_unless_something_is_in_the_way(seed, by):
    board = example(seed)
    board[0, 1, 6 if by > 0 else 0] = 1
    cells = np.argwhere(board[1])
    free = all(0 <= c + by < 7 and not board[0, r, c + by] for r, c in cells)
    result = moved(board, told(sideways=by, wanted=(1,)))
    expected = np.zeros((9, 7), int)
    for r, c in cells:
        expected[r + 1, c + by * free] = 1
    np.testing.assert_array_equal(result[1], expected)
    np.testing.assert_array_equal(result[0], board[0])


@pytest.mark.parametrize("blocked", [False, True])
def test_it_turns_unless_something_is_in_the_way(blocked):
    board = np.zeros((2, 9, 7), int)
    board[1] = shape_at((9, 7), (3, 2), ("ooo",))
    board[0, 2, 3] = blocked
    result = moved(board, told(wanted=(0,), turn=1))
    expected = shape_at((9, 7), (3, 2), ("ooo",)) if blocked else shape_at((9, 7), (2, 3), ("o",) * 3)
    np.testing.assert_array_equal(result[1], expected)
    board[1] = shape_at((9, 7), (3, 6), ("o",) * 3)  # at the wall: lying, it would stick out
    board[0] = 0
    np.testing.assert_array_equal(moved(board, told(wanted=(0,), turn=3))[1], board[1])


def test_nothing_turns_at_first():
    """Logits of 0: no turn has 5, each of the 27 others -3; at their bounds, 5 and -5 for whichever is to be."""
    weigh = lambda logit: np.asarray(motion()[0]._turn(jnp.asarray(logit, jnp.float32)[None]))[0]
    logit = np.zeros(28)
    first = weigh(logit)
    assert first[0, SHIFT, SHIFT] == pytest.approx(np.exp(5) / (np.exp(5) + 27 * np.exp(-3)), rel=1e-5)
    np.testing.assert_allclose(first[1:].sum(), 1 - first[0, SHIFT, SHIFT], rtol=1e-4)
    logit[[0, 1 + 9 + 4]] = -100, 100
    second = weigh(logit)
    assert second[2, 1, 1] == pytest.approx(np.exp(5) / (np.exp(5) + np.exp(-5) + 26 * np.exp(-3)), rel=1e-5)


@pytest.mark.parametrize(("params", "room"), [({"wanted": (1,)}, 0), ({}, 1)])
def test_there_is_room_where_the_object_has_joined(params, room):
    board = example(2)
    logit, _, free = after(board, told(**params))
    assert free[0, 0] == 0 and free[0, 1] == pytest.approx(room, abs=0.06)
    assert (np.asarray(logit[0, 1]) > 0).any() == (room == 0)


def test_nothing_in_the_way_counts_when_its_strength_is_none():
    board = example(0)
    result = moved(board, told(wanted=(7,), strength=-60.0))
    assert result[1].any() and np.argwhere(result[1])[:, 0].min() == 8


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_cells_of_any_board_are_likely_or_not_but_finite(density):
    """Dreams may show objects of any size, in many pieces."""
    cells = jnp.asarray(random.random((64, 2, 9, 7)) < density, jnp.float32)
    cond = jnp.asarray(random.random((64, 3)), jnp.float32)
    row, column = focus_place(LAYOUT, cells, cond)
    args = cells, 20.0 * (2 * cells - 1), row, column, cond
    logit, _, room = motion()[1](told(wanted=(1,), turn=2, miss=(1, 1), strength=-60.0), *args)
    assert np.isfinite(logit).all() and (room >= 0).all() and (room <= 1).all()


def test_no_object_leaves_the_rest_alone():
    board = example(1)
    board[1] = 0
    np.testing.assert_array_equal(moved(board, told())[0], board[0])
