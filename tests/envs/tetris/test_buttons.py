"""`direct` mode by hand: what each press does, in which order, and what a guideline player may choose."""

import numpy as np
import pytest

from dreamjax.envs.tetris import engine
from dreamjax.envs.tetris.rules import NO_PIECE, TetrisConfig
from tests.helpers.tetris import DIRECT, I, J, L, O, S, T, Z, buttons, drawn, start, step

GUIDELINE = TetrisConfig(hold_resets=True, gravity_every=3, spawn_column=3)


def press(state, *names, config=DIRECT):
    return step(config, state, buttons(*names))


def place(state):
    return int(state.x), int(state.y), int(state.rotation)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("n", (4, 1, 0)),
        ("", (4, 1, 0)),
        ("l", (3, 1, 0)),
        ("r", (5, 1, 0)),
        ("s", (4, 2, 0)),
        ("a", (4, 1, 1)),
        ("c", (4, 1, 3)),
        ("lr", (4, 1, 0)),
        ("ac", (4, 1, 0)),
        ("las", (3, 2, 1)),
        ("rcn", (5, 1, 3)),
    ],
)
def test_presses_move_the_piece_and_opposites_cancel(names, expected):
    assert place(press(start(DIRECT, [T]), *names)[0]) == expected


def test_blocked_moves_are_ignored():
    state = start(DIRECT, [O])
    for _ in range(6):
        state, _ = press(state, "l")
    assert place(state) == (0, 6, 0)
    state, _ = press(state, "l", "s")
    assert place(state) == (0, 8, 0)


def test_a_rotation_that_collides_is_dropped_without_a_kick():
    state = start(DIRECT, [I])
    state, _ = press(state, "a")
    for _ in range(6):
        state, _ = press(state, "l")
    assert place(state) == (-1, 7, 1)
    assert place(press(state, "a")[0]) == (-1, 8, 1)


def test_rotation_comes_before_the_shift():
    state = start(DIRECT, [I])
    for _ in range(3):
        state, _ = press(state, "l")
    assert place(state) == (0, 3, 0)
    # Upright first, so that the box may leave the board by one column.
    assert place(press(state, "a", "l")[0]) == (-1, 4, 1)
    # The other way round the shift would have been blocked, as it is here.
    assert place(press(state, "l")[0]) == (0, 4, 0)


def test_hard_drop_locks_at_once_without_gravity_and_the_next_piece_waits_at_the_top():
    state, output = press(start(DIRECT, [T, S]), "h")
    assert drawn(DIRECT, state) == [".....#....", "....###..."]
    assert place(state) == (4, 0, 0) and int(state.piece) == S
    assert bool(output.placed) and int(state.pieces) == 1


def test_soft_drop_then_hard_drop_is_a_hard_drop_and_shift_goes_before_it():
    state, _ = press(start(DIRECT, [O, S]), "s", "h", "r")
    assert drawn(DIRECT, state) == [".....##...", ".....##..."]


def test_there_is_no_lock_delay_and_the_shift_of_the_last_step_counts():
    state = start(DIRECT, [O, T])
    for _ in range(18):
        state, output = press(state, "n")
        assert not output.placed
    assert place(state) == (4, 18, 0)
    state, output = press(state, "l")
    assert bool(output.placed) and drawn(DIRECT, state) == ["...##.....", "...##....."]


def test_soft_drop_falls_two_rows_and_does_not_lock_by_itself():
    state = start(DIRECT, [O], ["##########"[:9] + "."] * 16)
    state, output = press(state, "s")  # The stack begins at row 4, so the piece can reach row 2.
    assert place(state) == (4, 2, 0) and not output.placed
    state, output = press(state, "s")
    assert bool(output.placed)


def test_hold_stores_once_a_piece_and_fetches_it_with_its_orientation():
    state, _ = press(start(DIRECT, [T, L, J, Z]), "a")
    state, _ = press(state, "k")
    assert (int(state.hold), int(state.hold_rotation), int(state.piece)) == (T, 1, L)
    assert place(state) == (4, 1, 0) and bool(state.hold_used)
    after, _ = press(state, "k")  # Used already: only gravity.
    assert (int(after.hold), int(after.piece)) == (T, L) and place(after) == (4, 2, 0)
    state, _ = press(state, "h")
    assert not state.hold_used and int(state.piece) == J
    state, _ = press(state, "k")
    assert (int(state.hold), int(state.piece)) == (J, T) and place(state) == (4, 1, 1)


def test_hold_with_hard_drop_drops_the_fetched_piece():
    state, output = press(start(DIRECT, [T, O, J]), "k", "h")
    assert drawn(DIRECT, state) == ["....##....", "....##...."]
    assert (int(state.hold), int(state.piece)) == (T, J)
    assert bool(output.placed) and not state.hold_used


def test_hold_comes_before_the_rotation():
    state, _ = press(start(DIRECT, [I, T]), "k", "c")
    assert (int(state.hold), int(state.hold_rotation)) == (I, 0)
    assert place(state) == (4, 1, 3)


def test_a_piece_fetched_into_the_stack_falls_out_of_it_or_ends_the_game():
    state, _ = press(start(DIRECT, [I, O, T]), "k")
    state, _ = press(state, "h")
    # The held I enters in row 1, columns 3 to 6. Row 1 is taken there; row 2 is free.
    roof = state.board | np.array([0, 0, 0, 2, 0, 0, 0, 0, 0, 0], np.uint32)
    state = engine.with_board(DIRECT, state, roof)
    after, output = press(state, "k")
    assert (int(after.piece), int(after.y)) == (I, 1) and not output.terminated
    # A hard drop commits it where it is.
    _, output = press(state, "k", "h")
    assert bool(output.terminated) and not output.placed
    # Row 2 is taken too: the piece can neither stay nor fall.
    state = engine.with_board(DIRECT, state, roof | np.uint32(4))
    for names in ("k", "kh"):
        after, output = press(state, *names)
        assert bool(output.terminated) and not output.placed and int(after.pieces) == int(state.pieces) == 1
        np.testing.assert_array_equal(after.board, state.board)


def test_the_game_is_lost_when_the_next_piece_collides_at_its_entry():
    state, output = press(start(DIRECT, [O, T], [".....#...."] + ["..#......."] * 17), "h")
    assert bool(output.placed) and bool(output.terminated) and not output.truncated
    assert int(state.pieces) == 1


def test_lines_are_counted_and_paid_in_the_step_that_loses_the_game():
    # The O completes row 1; its remaining cells fall there, into the spawn of the L.
    rows = ["####..####"] + ["####.#####"] * 18
    state, output = press(start(DIRECT, [O, L], rows), "h")
    assert bool(output.terminated)
    assert int(output.lines_cleared) == int(state.lines) == 1 and float(output.reward) == 1.0


def test_guideline_options_gravity_hold_and_spawn():
    state = start(GUIDELINE, [T, L, J])
    heights = []
    for _ in range(7):
        state, _ = press(state, "n", config=GUIDELINE)
        heights.append(int(state.y))
    assert heights == [0, 0, 1, 1, 1, 2, 2] and int(state.x) == 3
    state, _ = press(state, "a", config=GUIDELINE)
    state, _ = press(state, "k", config=GUIDELINE)
    state, _ = press(state, "h", config=GUIDELINE)
    assert int(state.gravity_phase) == 0
    state, _ = press(state, "k", config=GUIDELINE)
    assert (int(state.piece), int(state.rotation), int(state.hold)) == (T, 0, J)


def test_slow_gravity_lets_a_grounded_piece_rest_until_it_is_due():
    # Rows fallen: one a step, two every third; the stack is one high.
    state = start(GUIDELINE, [O, T], ["#########."])
    placed, heights = [], []
    for _ in range(15):
        state, output = press(state, "s", config=GUIDELINE)
        placed.append(bool(output.placed))
        heights.append(int(state.y))
    assert heights[12:14] == [17, 17] and placed == [False] * 14 + [True]


def test_one_button_at_a_time_is_the_one_hot_press():
    one = TetrisConfig(buttons="one", max_episode_length=DIRECT.max_episode_length)
    rng = np.random.default_rng(0)
    left, right = start(one, [T, I, S, L]), start(DIRECT, [T, I, S, L])
    for action in rng.integers(0, 8, 60):
        left, _ = step(one, left, np.int32(action))
        right, _ = step(DIRECT, right, np.eye(8, dtype=np.int8)[action])
    assert int(left.pieces) > 0 and int(left.hold) != NO_PIECE
    for name in ("board", "piece", "rotation", "x", "y", "hold", "steps", "pieces"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@pytest.mark.parametrize(
    ("config", "action", "message"),
    [
        (DIRECT, np.int32(3), "buttons='any' takes shape (8,)"),
        (DIRECT, np.zeros(7, bool), "shape (7,)"),
        (TetrisConfig(buttons="one"), np.zeros(8, bool), "buttons='one' takes shape ()"),
        (TetrisConfig(action_mode="locked_position"), np.zeros(1, np.int32), "takes one cell"),
    ],
)
def test_an_action_of_another_shape_is_refused(config, action, message):
    with pytest.raises(ValueError, match=r"action of shape") as raised:
        engine.step(config, start(DIRECT, [T]), action)
    assert message in str(raised.value)
