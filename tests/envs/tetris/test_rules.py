import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.config import ConfigError
from dreamjax.envs.tetris import rules
from dreamjax.envs.tetris.rules import TetrisConfig
from tests.envs.tetris import brute_force

CONFIG = TetrisConfig()


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("action_mode", "buttons", "'direct', 'locked_position'"),
        ("buttons", "two", "'any', 'one'"),
        ("randomizer", "random", "'bag', 'uniform', 'sz'"),
        ("garbage_rows", 17, "lie in [0, 16]"),
        ("illegal", "ignore", "'nearest', 'refuse'"),
        ("reward", "points", "'lines', 'score', 'gymnasium'"),
        ("shaping", True, "'none', 'potential', 'difference'"),
        ("falling_channel", 1, "true or false"),
        ("hold_resets", "no", "true or false"),
        ("spawn_column", 5, "one of [4, 3]"),
        ("max_episode_length", 0, "lie in [1, "),
        ("max_episode_length", 10.5, "whole number"),
        ("height", 27, "lie in [4, 26]"),
        ("width", 3, "lie in [4, 32]"),
        ("preview", 8, "lie in [1, 7]"),
        ("gravity_every", True, "whole number"),
        ("piece_reward", float("nan"), "finite"),
        ("death_penalty", "1", "a number"),
        ("shaping_holes", -0.1, "0 or more"),
        ("shaping_discount", 1.01, "lie in [0, 1]"),
    ],
)
def test_an_impossible_value_is_refused_with_field_value_and_what_is_allowed(field, value, allowed):
    with pytest.raises(ConfigError) as raised:
        TetrisConfig(**{field: value})
    assert str(raised.value).startswith(f"{field}={value!r} is not allowed: must ")
    assert allowed in str(raised.value)


def test_spawn_column_defaults_to_the_packages_and_takes_the_guidelines():
    assert rules.spawn_columns(CONFIG).tolist() == [3, 4, 4, 4, 4, 4, 4]
    assert rules.spawn_columns(TetrisConfig(spawn_column=3)).tolist() == [3, 4, 3, 3, 3, 3, 3]
    assert TetrisConfig(width=6).spawn_column == 2


def test_a_rotation_is_a_counterclockwise_quarter_turn_as_the_eye_sees_it():
    def matrix(piece, rotation):
        return ["".join(".#"[int(word) >> y & 1] for word in rules.CELLS[piece, rotation]) for y in range(4)]

    assert matrix(2, 0) == [".#..", "###.", "....", "...."]
    assert matrix(2, 1) == [".#..", "##..", ".#..", "...."]
    assert matrix(0, 1) == [".#..", ".#..", ".#..", ".#.."]
    assert matrix(0, 3) == ["..#.", "..#.", "..#.", "..#."]
    assert matrix(6, 1) == ["##..", ".#..", ".#..", "...."]
    assert matrix(1, 0) == matrix(1, 3) == ["##..", "##..", "....", "...."]


@pytest.mark.parametrize(
    ("piece", "rotation", "x", "y", "expected"),
    [
        (2, 0, 0, 0, False),
        (2, 0, -1, 0, True),
        (2, 3, -1, 0, False),  # Its left column is empty.
        (2, 3, -2, 0, True),
        (0, 1, -1, 0, False),
        (0, 3, -2, 0, False),
        (0, 1, -2, 0, True),
        (0, 1, 8, 0, False),
        (0, 3, 8, 0, True),
        (0, 0, 6, 18, False),
        (0, 0, 7, 18, True),
        (0, 0, 3, 19, True),  # The floor.
        (1, 0, 5, 18, True),  # The locked cell at row 19, column 5.
        (1, 0, 6, 18, False),
        (1, 0, 4, 18, True),
        (1, 0, 5, 17, False),
    ],
)
def test_collision_with_walls_floor_and_locked_cells(piece, rotation, x, y, expected):
    board = np.zeros(10, np.uint32)
    board[5] = 1 << 19
    assert bool(rules.collides(CONFIG, jnp.asarray(board), jnp.asarray(rules.CELLS[piece, rotation]), x, y)) == expected


def test_a_fall_ends_at_the_first_cell_below_and_goes_under_no_overhang():
    board = np.zeros(10, np.uint32)
    board[4] = 1 << 10 | 1 << 19
    board[6] = 1 << 2
    t = jnp.asarray(rules.CELLS[2, 0])
    assert int(rules.drop_distance(CONFIG, jnp.asarray(board), t, 4, 5)) == 3  # Its left arm (row 6) above row 10.
    assert int(rules.drop_distance(CONFIG, jnp.asarray(board), t, 4, 12)) == 5  # Already below that cell.
    assert int(rules.drop_distance(CONFIG, jnp.asarray(board), t, 7, 0)) == 18
    assert int(rules.drop_distance(CONFIG, jnp.asarray(board), t, 4, 0)) == 0  # Row 1 of column 6 over its row 2.


_clear = jax.jit(jax.vmap(functools.partial(rules.clear_lines, CONFIG)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_full_rows_go_at_once_and_the_rows_above_move_down(seed):
    rng = np.random.default_rng(seed)
    boards = rng.random((64, 20, 10)) < rng.choice([0.3, 0.7, 1.0], (64, 20, 1))
    for board in boards:  # No lock fills more than four rows.
        full = np.flatnonzero(board.all(1))
        board[rng.permutation(full)[4:], 3] = False
    after, num_lines = _clear(np.stack([brute_force.words(board) for board in boards]))
    for board, got, number in zip(boards, brute_force.cells(after), num_lines, strict=True):
        expected, count = brute_force.lock(board, frozenset())
        assert number == count
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers_of_random123(counter, key, expected):
    words = rules.threefry(jnp.array(key, jnp.uint32), tuple(np.uint32(word) for word in counter))
    assert tuple(int(word) for word in words) == expected


@functools.partial(jax.jit, static_argnums=0)
def _bags(config, keys):
    words = jax.vmap(lambda key: jax.vmap(lambda i: rules.draw_bag(config, key, i))(jnp.arange(20)))(keys)
    return (words[..., None] >> (3 * jnp.arange(7, dtype=jnp.uint32))[None, None, :]) & jnp.uint32(7)


def _chi_square(counts):
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


def test_every_bag_holds_each_piece_once_and_orders_are_uniform():
    bags = np.asarray(_bags(CONFIG, jax.random.bits(jax.random.key(0), (700, 2), jnp.uint32))).reshape(-1, 7)
    np.testing.assert_array_equal(np.sort(bags), np.broadcast_to(np.arange(7), bags.shape))
    for place in range(7):  # 6 degrees of freedom: 22.5 is exceeded once in 1,000.
        assert _chi_square(np.bincount(bags[:, place], minlength=7)) < 22.5
    pairs = np.bincount(bags[:, 0] * 7 + bags[:, 1], minlength=49)
    assert _chi_square(pairs[pairs > 0]) < 76.1  # 41 degrees of freedom.
    assert (bags[0] != bags[1]).any() and (bags[0] != bags[20]).any()


def test_the_uniform_randomizer_draws_independently():
    config = TetrisConfig(randomizer="uniform")
    bags = np.asarray(_bags(config, jax.random.bits(jax.random.key(1), (700, 2), jnp.uint32))).reshape(-1, 7)
    pairs = np.bincount((bags[:, :-1] * 7 + bags[:, 1:]).reshape(-1), minlength=49)
    assert _chi_square(pairs) < 84.0  # 48 degrees of freedom.


def test_the_sz_randomizer_draws_only_s_and_z_fairly_and_independently():
    config = TetrisConfig(randomizer="sz")
    bags = np.asarray(_bags(config, jax.random.bits(jax.random.key(2), (300, 2), jnp.uint32))).reshape(-1, 7)
    assert {rules.PIECES[piece] for piece in np.unique(bags)} == {"S", "Z"}
    pairs = np.bincount(((bags[:, :-1] - 3) * 2 + bags[:, 1:] - 3).reshape(-1), minlength=4)
    assert _chi_square(pairs) < 16.3  # 3 degrees of freedom: exceeded once in 1,000.


def test_streams_of_pieces_are_those_of_earlier_versions():
    key = jnp.array([1, 2], jnp.uint32)
    for randomizer, words in (("bag", [82845, 714763, 477848]), ("uniform", [180624, 1002596, 429189])):
        config = TetrisConfig(randomizer=randomizer)
        assert [int(rules.draw_bag(config, key, i)) for i in range(3)] == words


def test_garbage_has_one_hole_a_row_anywhere_and_nothing_above_it():
    config = TetrisConfig(garbage_rows=7)
    keys = jax.random.bits(jax.random.key(3), (400, 2), jnp.uint32)
    boards = jax.jit(jax.vmap(lambda key: rules.board_cells(config, rules.first_board(config, key))))(keys)
    boards = np.asarray(boards)
    assert not boards[:, :13].any()
    np.testing.assert_array_equal(boards[:, 13:].sum(-1), 9)
    holes = boards[:, 13:].argmin(-1)
    for row in range(7):  # 9 degrees of freedom: 27.9 is exceeded once in 1,000.
        assert _chi_square(np.bincount(holes[:, row], minlength=10)) < 27.9
    pairs = np.bincount((holes[:, :-1] * 10 + holes[:, 1:]).reshape(-1), minlength=100)
    assert _chi_square(pairs) < 149  # 99 degrees of freedom.
    assert not np.asarray(rules.first_board(CONFIG, keys[0])).any()


def _stream(state, number, ahead):
    """Draws pieces one by one; returns the pieces that ``peek`` announces before each draw."""

    def body(state, _):
        preview = jnp.stack([rules.peek(state, i) for i in range(ahead)])
        return rules.draw(CONFIG, state, jnp.int32(1)), preview

    return np.asarray(jax.lax.scan(body, state, None, length=number)[1])


def test_the_preview_shows_the_next_pieces_and_seven_pieces_make_a_bag():
    state = rules.new_game(CONFIG, jnp.array([1, 2], jnp.uint32), fixed=jnp.zeros((0,), jnp.int8), num_fixed=0)
    preview = _stream(state, 49, 7)
    drawn = np.concatenate([[int(state.piece)], preview[:, 0]])
    bags = np.asarray(_bags(CONFIG, state.key[None]))[0]
    np.testing.assert_array_equal(drawn[:49].reshape(7, 7), bags[:7])
    np.testing.assert_array_equal(np.sort(bags), np.broadcast_to(np.arange(7), bags.shape))
    for t in range(40):
        np.testing.assert_array_equal(preview[t], drawn[t + 1 : t + 8])


def test_the_key_of_the_next_game_differs_and_draws_no_bag():
    key = jnp.array([3, 4], jnp.uint32)
    seen = {tuple(np.asarray(rules.threefry(key, (i, 0)))) for i in range(50)}
    for _ in range(50):
        seen.add(tuple(np.asarray(key)))
        key = rules.next_key(key)
    assert len(seen) == 100


def test_a_fixed_sequence_repeats():
    fixed = jnp.array([3, 0, 6, 9, 9], jnp.int8)
    state = rules.new_game(CONFIG, jnp.array([1, 2], jnp.uint32), fixed=fixed, num_fixed=3)
    assert [int(state.piece), *_stream(state, 7, 1)[:, 0]] == [3, 0, 6, 3, 0, 6, 3, 0]


def test_board_words_and_cells_are_inverse():
    rng = np.random.default_rng(0)
    cells = rng.random((20, 10)) < 0.5
    words = rules.board_words(CONFIG, cells)
    np.testing.assert_array_equal(words, brute_force.words(cells))
    np.testing.assert_array_equal(rules.board_cells(CONFIG, words), cells)
