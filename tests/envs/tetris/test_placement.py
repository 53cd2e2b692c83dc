"""`locked_position` against an independent NumPy implementation of its definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.envs.tetris import engine, placement
from dreamjax.envs.tetris.rules import TetrisConfig
from tests.envs.tetris import brute_force
from tests.helpers.tetris import PLACED, I, J, L, O, S, T, Z, drawn, start, step

NUM_BOARDS = 48
SMALL = TetrisConfig(action_mode="locked_position", height=7, width=6)


@functools.cache
def _program(config):
    """For boards [B, width] and pieces [B]: placements, the decoding of every cell, the encoding of every candidate."""
    cells = jnp.arange(config.height * config.width, dtype=jnp.int32)
    rotations, columns = (grid.reshape(-1) for grid in jnp.mgrid[0:4, 0 : config.width])

    def one(board, piece):
        found = placement.placements(config, board, piece)
        decoded = jax.vmap(lambda cell: placement.decode(config, board, piece, cell))(cells)
        encoded = jax.vmap(lambda r, c: placement.encode(config, board, piece, r, c))(rotations, columns)
        places = jax.vmap(lambda chosen: placement.place(config, board, piece, chosen, jnp.bool_(True)))(encoded)
        return found, placement.mask(config, board, piece), decoded, encoded, places

    return jax.jit(jax.vmap(one))


def _random_batch(config, seed):
    rng = np.random.default_rng(seed)
    boards = [brute_force.random_board(rng, config.height, config.width) for _ in range(NUM_BOARDS)]
    pieces = rng.integers(0, 7, NUM_BOARDS).astype(np.int32)
    words = np.stack([brute_force.words(board) for board in boards])
    return boards, pieces, jax.device_get(_program(config)(words, pieces))


@pytest.mark.parametrize(("piece", "number"), [(I, 17), (O, 9), (T, 34), (S, 17), (Z, 17), (J, 34), (L, 34)])
def test_number_of_placements_on_an_empty_board(piece, number):
    found = placement.placements(PLACED, jnp.zeros(10, jnp.uint32), jnp.int32(piece))
    assert int(found.legal.sum()) == number
    assert int(placement.mask(PLACED, jnp.zeros(10, jnp.uint32), jnp.int32(piece)).sum()) == number


@pytest.mark.parametrize("config", [PLACED, SMALL])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mask_encode_and_decode_agree_with_brute_force(config, seed):
    boards, pieces, (_, mask, decoded, encoded, places) = _random_batch(config, seed)
    width = config.width
    for b, (board, piece) in enumerate(zip(boards, pieces, strict=True)):
        expected = brute_force.placements(board, int(piece))
        assert np.flatnonzero(mask[b]).tolist() == sorted(expected)
        # Every legal cell decodes to its placement, and that placement encodes to the cell.
        for action, (rotation, column, cells) in expected.items():
            assert decoded.legal[b, action] and decoded.cell[b, action] == action
            assert (decoded.rotation[b, action], decoded.column[b, action]) == (rotation, column)
            candidate = rotation * width + column
            assert encoded.legal[b, candidate] and encoded.cell[b, candidate] == action
            assert encoded.row[b, candidate] == decoded.row[b, action] == min(y for y, _ in cells)
            after, num_lines = brute_force.lock(board, cells)
            np.testing.assert_array_equal(brute_force.cells(places.board[b, candidate], config.height), after)
            assert places.num_lines[b, candidate] == num_lines
        assert encoded.legal[b].sum() == len(expected)
        np.testing.assert_array_equal(places.placed[b], encoded.legal[b])
        for candidate in np.flatnonzero(~encoded.legal[b]):
            np.testing.assert_array_equal(brute_force.cells(places.board[b, candidate], config.height), board)
        if not expected:
            assert not decoded.legal[b].any()


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_cell_decodes_to_the_nearest_legal_one_and_ties_to_the_lower_then_the_left_one(seed):
    boards, pieces, (_, _, decoded, _, _) = _random_batch(PLACED, seed)
    for b, (board, piece) in enumerate(zip(boards[:12], pieces, strict=False)):
        legal = list(brute_force.placements(board, int(piece)))
        for cell in range(200) if legal else ():
            assert decoded.cell[b, cell] == brute_force.nearest(legal, cell, 10)


def test_ties_by_hand():
    # An O on an empty board: the legal cells are row 19, columns 0 to 8. From the last column only column 8 is near.
    board = jnp.zeros(10, jnp.uint32)
    chosen = placement.decode(PLACED, board, jnp.int32(O), jnp.int32(199))
    assert (int(chosen.cell), int(chosen.column), int(chosen.row)) == (198, 8, 18)
    # A vertical and a horizontal I share a column: cells in rows 19 (flat) and 18 (upright, its pivot the third cell).
    chosen = placement.decode(PLACED, board, jnp.int32(I), jnp.int32(184))
    assert (int(chosen.cell), int(chosen.rotation)) == (184, 1)
    # Column 3 is a tower and the columns right of it are one high: (19, 1) and (18, 4) are equally far from (14, 1).
    board = jnp.array([0] * 3 + [0xFFFFF] + [1 << 19] * 6, jnp.uint32)
    assert int(placement.decode(PLACED, board, jnp.int32(O), jnp.int32(141)).cell) == 191
    # Columns 3 and 4 are towers: (19, 1) and (19, 5) are equally far from (15, 3).
    board = jnp.array([0] * 3 + [0xFFFFF] * 2 + [0] * 5, jnp.uint32)
    assert int(placement.decode(PLACED, board, jnp.int32(O), jnp.int32(153)).cell) == 191


def test_placements_of_one_column_get_cells_above_each_other():
    # The four T's over column 4 rest with their pivots in rows 19, 18, 18 and 18; taken cells are passed by.
    cells = [int(placement.encode(PLACED, jnp.zeros(10, jnp.uint32), jnp.int32(T), r, 4).cell) for r in range(4)]
    assert cells == [194, 184, 174, 164]


def test_a_placement_gets_a_lower_cell_if_none_above_is_free():
    # Three rows are free, over column 5 only two. Around column 4 the pivots of the four T's rest in row 1: the second
    # moves up to row 0, the others find the top taken and go down.
    board = np.array([0xFFFF8] * 5 + [0xFFFFC] + [0xFFFF8] * 3 + [0], np.uint32)
    cells = [int(placement.encode(PLACED, jnp.asarray(board), jnp.int32(T), r, 4).cell) for r in range(4)]
    assert cells == [14, 4, 24, 34]


def test_a_step_places_the_named_piece_and_brings_the_next():
    state, output = step(PLACED, start(PLACED, [O, I]), np.int32(190))
    assert drawn(PLACED, state) == ["##........", "##........"]
    assert int(state.piece) == I and bool(output.placed) and int(state.pieces) == int(state.steps) == 1
    assert int(np.bitwise_count(np.asarray(state.legal_cells)).sum()) == 17


def test_nearest_makes_every_action_legal():
    rng = np.random.default_rng(3)
    state = start(PLACED, [O, S, T, L])
    for cell in rng.integers(0, 200, 6):
        state, output = step(PLACED, state, np.int32(cell))
        assert bool(output.placed)


def test_refuse_makes_a_step_with_an_illegal_cell_have_no_effect():
    refuse = TetrisConfig(action_mode="locked_position", illegal="refuse", max_episode_length=2)
    state = start(refuse, [O, I])
    after, output = step(refuse, state, np.int32(0))
    assert not output.placed and float(output.reward) == 0 and int(after.steps) == 1
    for name in ("board", "piece", "legal_cells", "pieces", "drawn"):
        np.testing.assert_array_equal(getattr(after, name), getattr(state, name))
    after, output = step(refuse, after, np.int32(190))
    assert bool(output.placed) and bool(output.truncated)


def test_the_game_is_lost_when_the_next_piece_collides_at_its_entry():
    state = start(PLACED, [T, T], ["#########."] * 18)
    _, output = step(PLACED, state, np.int32(1 * 10 + 1))
    assert bool(output.placed) and not output.terminated
    state, output = step(PLACED, state, np.int32(1 * 10 + 5))
    assert bool(output.placed) and bool(output.terminated) and int(state.pieces) == 1
    assert np.asarray(state.legal_cells).any()  # There would have been places.


def test_a_piece_that_enters_but_has_no_placement_loses():
    # An I enters in row 1 of its box, but its placements start in row 0, which is taken at columns 2, 5 and 8; upright
    # it is blocked in row 3 everywhere.
    blocked = ["..#..#..#."] + [".........."] * 2 + ["#########."] + ["........#."] * 16
    board = np.array([int("".join(row[x] for row in reversed(blocked)).replace("#", "1").replace(".", "0"), 2)
                      for x in range(10)], np.uint32)  # fmt: skip
    board[9] |= np.uint32(1 << 2)
    state = engine.with_board(PLACED, start(PLACED, [O, I]), jnp.asarray(board), O)
    assert not brute_force.placements(brute_force.cells(board), I)
    action = min(brute_force.placements(brute_force.cells(board), O))
    before = brute_force.placements(brute_force.cells(board), O)[action][2]
    after, output = step(PLACED, state, np.int32(action))
    taken = {(1, x) for x in range(3, 7)} & before
    assert bool(output.placed) and bool(output.terminated) and not taken
    assert int(np.bitwise_count(np.asarray(after.legal_cells)).sum()) == 0


def test_spins_and_tucks_are_left_out():
    # A roof over columns 0 to 3: nothing can be placed under it, though there is room.
    board = jnp.array([1 << 10] * 4 + [0] * 6, jnp.uint32)
    for piece in (I, O, T, S, Z, J, L):
        mask = np.asarray(placement.mask(PLACED, board, jnp.int32(piece))).reshape(20, 10)
        assert not mask[11:, :3].any()
