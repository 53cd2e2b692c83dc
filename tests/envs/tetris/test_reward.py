import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.envs.tetris import reward
from dreamjax.envs.tetris.rules import TetrisConfig
from tests.helpers.tetris import DIRECT, I, L, O, T, buttons, drawn_words, rollout, start, step

WEIGHTS = {"shaping_height": 1.0, "shaping_holes": 10.0, "shaping_bumpiness": 100.0}


def parts(config, *, lines=0, drop_points=0, placed=True, terminated=False, before=None, after=None):
    empty = jnp.zeros(10, jnp.uint32)
    found = reward.reward_parts(
        config,
        before=empty if before is None else jnp.asarray(before),
        after=empty if after is None else jnp.asarray(after),
        placed=jnp.bool_(placed),
        num_lines=jnp.int32(lines),
        drop_points=jnp.int32(drop_points),
        terminated=jnp.bool_(terminated),
    )
    return {name: float(value) for name, value in found.items()}


def test_features_by_hand():
    board = drawn_words(
        DIRECT,
        [
            "..#.......",
            "..........",
            ".##......#",
            "##.#....#.",
        ],
    )
    height, holes, bumpiness = reward.features(DIRECT, jnp.asarray(board))
    # Heights 1 2 4 1 0 0 0 0 1 2; column 2 has two holes, column 9 one.
    assert (int(height), int(holes), int(bumpiness)) == (11, 3, 1 + 2 + 3 + 1 + 0 + 0 + 0 + 1 + 1)
    config = TetrisConfig(**WEIGHTS)
    assert float(reward.potential(config, jnp.asarray(board))) == -(11 + 30 + 900)
    assert float(reward.potential(config, jnp.zeros(10, jnp.uint32))) == 0


@pytest.mark.parametrize(("lines", "paid"), [(0, 0), (1, 1), (2, 3), (3, 5), (4, 8)])
def test_lines_pay_1_3_5_8(lines, paid):
    assert parts(TetrisConfig(), lines=lines)["lines"] == paid


@pytest.mark.parametrize(("lines", "paid"), [(0, 1), (1, 11), (2, 41), (3, 91), (4, 161)])
def test_gymnasium_pays_ten_n_squared_and_one_a_piece(lines, paid):
    assert parts(TetrisConfig(reward="gymnasium"), lines=lines)["lines"] == paid
    assert parts(TetrisConfig(reward="gymnasium"), lines=0, placed=False)["lines"] == 0


def test_piece_and_death_terms_are_off_by_default_and_apart():
    nothing = dict.fromkeys(reward.PARTS, 0)
    assert parts(TetrisConfig(), drop_points=36, terminated=True) == nothing
    config = TetrisConfig(piece_reward=0.25, death_penalty=2.0)
    assert parts(config, lines=2, terminated=True) == nothing | {"lines": 3, "piece": 0.25, "death": -2}
    assert parts(config, placed=False) == nothing


@pytest.mark.parametrize(("lines", "points"), [(0, 0), (1, 100), (2, 300), (3, 500), (4, 800)])
def test_the_score_is_the_guidelines(lines, points):
    found = parts(TetrisConfig(reward="score"), lines=lines, drop_points=7)
    assert (found["lines"], found["drop"]) == (points, 7)


def test_dropped_rows_score():
    """A row of a soft drop is worth 1, of a hard drop 2; gravity nothing. A T of two rows falls 18 of 20 rows."""
    config = TetrisConfig(reward="score")
    state = start(config, [T])
    assert step(config, state, buttons())[1].reward == 0
    assert step(config, state, buttons("s"))[1].reward == 1
    assert step(config, state, buttons("h"))[1].reward == 36
    assert step(config, state, buttons("s", "h"))[1].reward == 1 + 34
    placed = TetrisConfig(reward="score", action_mode="locked_position")
    # Flat on the floor: its pivot is the middle of its lower row.
    assert step(placed, start(placed, [T]), 19 * 10 + 4)[1].reward == 36


def test_one_step_of_each_form_of_shaping():
    before, after = drawn_words(DIRECT, ["##........"]), drawn_words(DIRECT, ["##.......#"])  # phi -102, -203.
    for shaping, terminated, expected in [
        ("none", False, 0),
        ("potential", False, 0.5 * -203 + 102),
        ("potential", True, 102),
        ("difference", False, 0.5 * -203 + 102),
        ("difference", True, 0.5 * -203 + 102),
    ]:
        config = TetrisConfig(shaping=shaping, shaping_discount=0.5, **WEIGHTS)
        assert parts(config, before=before, after=after, terminated=terminated)["shaping"] == expected


@pytest.mark.parametrize("mode", ["direct", "locked_position"])
def test_shaped_and_unshaped_returns_differ_by_the_potential_of_the_end_points(mode):
    config = TetrisConfig(
        action_mode=mode, max_episode_length=17, shaping="potential", shaping_discount=0.97, piece_reward=0.5, **WEIGHTS
    )
    boards = np.tile(drawn_words(config, ["#########."] * 9 + ["##.######."]), (32, 1))
    first, after, output, _ = rollout(config, 32, 60)(jax.random.key(3), boards)
    phi = jax.jit(jax.vmap(jax.vmap(lambda board: reward.potential(config, board))))
    at_start = np.asarray(phi(first.board[None]))[0]
    reached = np.asarray(phi(after.board))
    shaping = output.parts["shaping"].astype(np.float64)
    unshaped = (output.reward - output.parts["shaping"]).astype(np.float64)
    np.testing.assert_allclose(unshaped, output.parts["lines"] + output.parts["piece"], atol=1e-3)
    ends = {"terminated": 0, "truncated": 0}
    for n in range(32):
        begin, potential = 0, float(at_start[n])
        for t in range(60):
            if not (output.terminated[t, n] or output.truncated[t, n]):
                continue
            total = sum(0.97 ** (i - begin) * shaping[i, n] for i in range(begin, t + 1))
            length = t + 1 - begin
            end = 0.0 if output.terminated[t, n] else float(reached[t, n])
            np.testing.assert_allclose(total, 0.97**length * end - potential, rtol=1e-4, atol=1e-2)
            ends["terminated" if output.terminated[t, n] else "truncated"] += 1
            begin, potential = t + 2, 0.0  # The step after the end starts an empty board and pays nothing.
            if t + 1 < 60:
                assert output.reward[t + 1, n] == 0
    assert ends["terminated"] > 5 and ends["truncated"] > 5


def test_the_reward_of_a_step_is_the_sum_of_its_parts():
    config = TetrisConfig(
        reward="gymnasium", piece_reward=0.5, death_penalty=3.0, shaping="difference", shaping_discount=1.0, **WEIGHTS
    )
    state = start(config, [O, L], ["####..####"] + ["####.#####"] * 18)
    after, output = step(config, state, buttons("h"))
    assert bool(output.terminated) and int(output.lines_cleared) == 1
    shaping = float(reward.potential(config, after.board) - reward.potential(config, state.board))
    assert {name: float(value) for name, value in output.parts.items()} == {
        "lines": 11.0,
        "drop": 0.0,
        "piece": 0.5,
        "death": -3.0,
        "shaping": shaping,
    }
    assert float(output.reward) == 8.5 + shaping


def test_a_line_made_on_the_board_pays_in_the_game():
    config = TetrisConfig()
    rows = ["#########."] * 4
    state = start(config, [I, T], rows)
    state, _ = step(config, state, buttons("c"))
    for _ in range(4):
        state, _ = step(config, state, buttons("r"))
    _, output = step(config, state, buttons("h"))
    assert int(output.lines_cleared) == 4 and float(output.reward) == 8.0
