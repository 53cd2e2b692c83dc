import numpy as np
import pytest

from dreamjax.envs.tetris import observation
from dreamjax.envs.tetris.rules import TetrisConfig
from tests.helpers.tetris import DIRECT, PLACED, I, L, O, S, T, Z, buttons, observe, start, step

LONG = TetrisConfig(preview=4, gravity_every=4, max_episode_length=10, falling_channel=False)


def hot(*indices, size=32):
    vector = np.zeros(size, np.float32)
    vector[list(indices)] = 1
    return vector


def test_piece_vector_entry_by_entry_in_direct():
    state = start(DIRECT, [T, L])
    # Current T, next L, hold none, rotation 0, x = 4 of -2..8, hold available.
    expected = hot(2, 7 + 6, 14, 22, 28)
    expected[26] = 6 / 10
    np.testing.assert_allclose(observe(DIRECT, state)["piece"], expected, rtol=1e-6)
    state, _ = step(DIRECT, state, buttons("a"))
    state, _ = step(DIRECT, state, buttons("k"))
    # L is current, T next, T held (15 + 2), and the hold is used; two of 100 steps; the L has fallen by one row.
    expected = hot(6, 7 + 2, 15 + 2, 22)
    expected[26], expected[27], expected[29] = 6 / 10, 1 / 19, 2 / 100
    np.testing.assert_allclose(observe(DIRECT, state)["piece"], expected, rtol=1e-6)


def test_rotation_lines_and_gravity_phase():
    state = start(LONG, [I, O, S, Z, T], ["###....###"])
    state, _ = step(LONG, state, buttons("c"))
    piece = np.asarray(observe(LONG, state)["piece"])
    np.testing.assert_array_equal(piece[22:26], [0, 0, 0, 1])
    assert piece[30] == 1 / 4 and piece[29] == np.float32(0.1)
    state, output = step(LONG, state, buttons("a", "h"))
    assert int(output.lines_cleared) == 1
    assert np.asarray(observe(LONG, state)["piece"])[31] == 0.25
    state, _ = step(LONG, state, buttons("n"))
    assert np.asarray(observe(LONG, state)["piece"])[31] == 0


def test_a_longer_preview_is_appended():
    observed = observe(LONG, start(LONG, [I, O, S, Z, T]))
    assert observed["piece"].shape == (32 + 21,)
    assert np.flatnonzero(observed["piece"][7:14]).tolist() == [O]
    assert np.flatnonzero(observed["piece"][32:]).tolist() == [S, 7 + Z, 14 + T]


def test_channels_are_locked_cells_and_the_falling_piece():
    state = start(DIRECT, [T, L], ["##.#######"])
    board = np.asarray(observe(DIRECT, state)["board"])
    assert board.dtype == np.uint8 and board.shape == (2, 20, 10)
    assert board[0].sum() == 9 and not board[0, 19, 2]
    assert [tuple(cell) for cell in np.argwhere(board[1])] == [(0, 5), (1, 4), (1, 5), (1, 6)]
    assert observe(LONG, start(LONG, [I]))["board"].shape == (1, 20, 10)


def test_a_piece_that_collides_is_not_shown():
    state, output = step(DIRECT, start(DIRECT, [O, L], ["####..####"] + ["####.#####"] * 18), buttons("h"))
    assert bool(output.terminated)
    assert not np.asarray(observe(DIRECT, state)["board"])[1].any()


def test_locked_position_shows_one_channel_the_mask_and_no_hold():
    observed = observe(PLACED, start(PLACED, [O, I]))
    assert observed["board"].shape == (1, 20, 10)
    assert observed["action_mask"].dtype == np.int8
    assert np.flatnonzero(observed["action_mask"]).tolist() == list(range(190, 199))
    assert observed["piece"][14] == 1 and observed["piece"][28] == 0


@pytest.mark.parametrize("config", [DIRECT, PLACED, LONG])
def test_every_observation_lies_in_its_space(config):
    space = observation.observation_space(config)
    state = start(config, [I, Z, O, S])
    rng = np.random.default_rng(0)
    for _ in range(12):
        action = rng.integers(0, 2, 8) if config.action_mode == "direct" else np.int32(rng.integers(200))
        state, _ = step(config, state, action)
        observed = {name: np.asarray(leaf) for name, leaf in observe(config, state).items()}
        assert space.contains(observed)


def test_action_spaces():
    assert str(observation.action_space(DIRECT)) == "MultiBinary(8)"
    assert str(observation.action_space(TetrisConfig(buttons="one"))) == "Discrete(8)"
    assert str(observation.action_space(PLACED)) == "Discrete(200)"
