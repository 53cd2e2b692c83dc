"""The motion of an object on a grid: its arithmetic against plain loops, and what it can be told to do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dreamjax.models.grid_layers import GridLayout, focus_place
from dreamjax.models.grid_motion import SIDEWAYS, ObjectMotion, lowered, overlaps, shifted, stops

LAYOUT = GridLayout("board", 2, 9, 7, 2, (), (), 0, 8, 5, "object")
jit = functools.partial(jax.jit, compiler_options=small.QUICK)
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


@functools.cache
def motion():
    module = ObjectMotion(LAYOUT, 8, "silu", jnp.float32)
    return module, jit(module.apply)


def told(*, sideways=0, wanted=(), strength=20.0, shape=0.0):
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
    params["local"]["dense"]["bias"].reshape(9, 9)[3, 5] = (
        shape  # one cell to the right of the corner's right neighbour
    )
    params["into"] += 50.0
    params["blocking"] += 1.0
    params["outside"] += 1.0
    return {"params": params}


def moved(board, params):
    """The likely cells after a board ``[2, 9, 7]`` has gone on, as ``(rest, object)``."""
    cells = jnp.asarray(board, jnp.float32)[None]
    row, column = focus_place(LAYOUT, cells, jnp.zeros((1, 3)))
    logit, _ = motion()[1](params, cells, 20.0 * (2 * cells - 1), row, column, jnp.zeros((1, 3)))
    return np.asarray(logit[0] > 0, int)


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
    after = moved(board, told())
    expected = board[0].copy()
    for r, c in drop(board[0], board[1]):
        expected[r, c] = 1
    np.testing.assert_array_equal(after[0], expected)
    assert not after[1].any()


@pytest.mark.parametrize("by", [-2, -1, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_it_goes_sideways_and_one_row_down_unless_something_is_in_the_way(seed, by):
    board = example(seed)
    board[0, 1, 6 if by > 0 else 0] = 1
    cells = np.argwhere(board[1])
    free = all(0 <= c + by < 7 and not board[0, r, c + by] for r, c in cells)
    after = moved(board, told(sideways=by, wanted=(1,)))
    expected = np.zeros((9, 7), int)
    for r, c in cells:
        expected[r + 1, c + by * free] = 1
    np.testing.assert_array_equal(after[1], expected)
    np.testing.assert_array_equal(after[0], board[0])


@pytest.mark.parametrize("blocked", [False, True])
def test_a_shape_is_taken_unless_something_is_in_the_way(blocked):
    board = np.zeros((2, 9, 7), int)
    board[1, 2, 1:3] = 1
    board[0, 2, 3] = blocked
    after = moved(board, told(wanted=(0,), shape=50.0))
    np.testing.assert_array_equal(np.flatnonzero(after[1, 2]), [1, 2] if blocked else [1, 2, 3])
    board[:, 2] = np.roll(board[:, 2], 4, 1)  # columns 5 and 6: the new cell would lie outside
    np.testing.assert_array_equal(np.flatnonzero(moved(board, told(wanted=(0,), shape=50.0))[1, 2]), [5, 6])


def test_nothing_in_the_way_counts_when_its_strength_is_none():
    board = example(0)
    after = moved(board, told(wanted=(7,), strength=-60.0))
    assert after[1].any() and np.argwhere(after[1])[:, 0].min() == 8


def test_no_object_leaves_the_rest_alone():
    board = example(1)
    board[1] = 0
    np.testing.assert_array_equal(moved(board, told())[0], board[0])
