"""The step as a whole: properties of random play, batches, ends, and the start of the next game."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.envs.tetris import engine, placement, rules
from dreamjax.envs.tetris.rules import TetrisConfig
from tests.envs.tetris import brute_force
from tests.helpers.tetris import DIRECT, PLACED, I, T, buttons, observe, rollout, start, step

NUM_ENVS, NUM_STEPS = 64, 60


def random_play(config, seed):
    rng = np.random.default_rng(seed)
    boards = np.stack([brute_force.words(brute_force.random_board(rng)) for _ in range(NUM_ENVS)])
    boards[: NUM_ENVS // 2] &= np.uint32(0xFFF00)  # Half of them leave room at the top.
    return rollout(config, NUM_ENVS, NUM_STEPS)(jax.random.key(seed), boards)


@pytest.mark.parametrize("config", [DIRECT, PLACED])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_cells_are_conserved_no_full_row_survives_and_counts_add_up(config, seed):
    first, after, output, _ = random_play(config, seed)
    states = jax.tree.map(lambda a, b: np.concatenate([a[None], b]), first, after)
    cells = brute_force.cells(states.board)
    assert not cells.all(-1).any()
    count = cells.sum((-1, -2)).astype(int)
    was_over = states.terminated[:-1] | states.truncated[:-1]
    placed, lines = output.placed.astype(int), output.lines_cleared.astype(int)
    expected = np.where(was_over, 0, count[:-1] + 4 * placed - 10 * lines)
    np.testing.assert_array_equal(count[1:], expected)
    assert lines[placed == 0].sum() == 0 and lines.min() >= 0 and lines.max() <= 4
    for name, gained in (("pieces", placed), ("lines", lines), ("steps", np.ones_like(lines))):
        now, then = getattr(states, name)[1:], getattr(states, name)[:-1]
        np.testing.assert_array_equal(now, np.where(was_over, 0, then + gained))
    np.testing.assert_array_equal(states.last_lines[1:], np.where(was_over, 0, lines))
    assert not (output.terminated & output.truncated).any()
    # Nothing is paid in the step that begins a game.
    assert not output.reward[was_over].any()
    if config.action_mode == "locked_position":
        pieces_on_show = states.legal_cells.any(-1) | states.terminated
        assert pieces_on_show[1:].all() and placed[~was_over & first.legal_cells.any(-1)[None]].all()


def test_random_play_clears_lines_and_ends_both_ways():
    """So that the properties above are about something."""
    seen = {name: 0 for name in ("lines", "terminated", "truncated")}
    for config in (DIRECT, PLACED):
        short = dataclasses.replace(config, max_episode_length=100)
        _, _, output, _ = random_play(short, 1)
        seen["lines"] += int(output.lines_cleared.sum())
        seen["terminated"] += int(output.terminated.sum())
    assert seen["lines"] > 0 and seen["terminated"] > 50


@pytest.mark.parametrize("config", [DIRECT, PLACED])
def test_a_batch_equals_single_games(config):
    first, after, output, action = random_play(config, 5)
    single = jax.jit(functools.partial(engine.auto_step, config))
    for n in (0, NUM_ENVS - 1):
        state = jax.tree.map(lambda leaf, n=n: leaf[n], first)
        for t in range(25):
            state, one = single(state, action[t, n])
            for name in (field.name for field in dataclasses.fields(state)):
                np.testing.assert_array_equal(getattr(state, name), getattr(after, name)[t, n], err_msg=name)
            assert float(one.reward) == output.reward[t, n]


def test_the_seven_bag_holds_in_play():
    _, after, _, _ = random_play(PLACED, 7)
    for n in range(NUM_ENVS // 2):
        over = np.flatnonzero(after.terminated[:, n] | after.truncated[:, n])
        if len(over) < 2:
            continue
        # A game that began on an empty board: its pieces in order, seven by seven.
        pieces = after.piece[over[0] + 1 : over[1], n]
        for begin in range(0, len(pieces) - 6, 7):
            assert sorted(pieces[begin : begin + 7]) == list(range(7))


def test_a_time_limit_truncates_and_never_terminates():
    config = TetrisConfig(max_episode_length=5)
    state = start(config, [T, I])
    ends = []
    for _ in range(5):
        state, output = step(config, state, buttons("n"))
        ends.append((bool(output.terminated), bool(output.truncated)))
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_a_game_lost_in_the_last_step_is_terminated_not_truncated():
    config = TetrisConfig(max_episode_length=1)
    rows = ["####..####"] + ["####.#####"] * 18
    _, output = step(config, start(config, [1, 6], rows), buttons("h"))
    assert bool(output.terminated) and not output.truncated


def test_a_game_that_has_ended_stays_as_it_is():
    config = TetrisConfig(max_episode_length=2, piece_reward=1.0)
    state = start(config, [T, I])
    for _ in range(2):
        state, _ = step(config, state, buttons("n"))
    after, output = step(config, state, buttons("h"))
    for name in (field.name for field in dataclasses.fields(state)):
        np.testing.assert_array_equal(getattr(after, name), getattr(state, name))
    assert float(output.reward) == 0 and bool(output.truncated) and not output.placed


def test_auto_step_is_step_and_then_a_fresh_game_of_another_key():
    config = TetrisConfig(max_episode_length=3)
    auto = jax.jit(functools.partial(engine.auto_step, config))
    state = start(config, [T, I, T])
    for _ in range(3):
        expected, _ = step(config, state, buttons("l"))
        state, output = auto(state, buttons("l"))
        for name in (field.name for field in dataclasses.fields(state)):
            np.testing.assert_array_equal(getattr(state, name), getattr(expected, name))
    assert bool(output.truncated)
    after, output = auto(state, buttons("h"))
    assert float(output.reward) == 0 and not output.truncated and not output.placed
    fresh = jax.jit(functools.partial(engine.reset, config))(rules.next_key(state.key))
    for name in (field.name for field in dataclasses.fields(after)):
        if name != "fixed":
            np.testing.assert_array_equal(getattr(after, name), getattr(fresh, name), err_msg=name)
    assert int(after.num_fixed) == 0  # The prescribed stream ended with its game.


def test_games_that_follow_each_other_differ():
    _, after, _, _ = random_play(PLACED, 11)
    for n in range(8):
        keys, bags = after.key[:, n], after.bags[after.steps[:, n] == 0, n]
        assert len(np.unique(keys, axis=0)) == len(bags) + 1  # And the game it began with.
        assert len(np.unique(bags, axis=0)) == len(bags) > 1


def test_keys_make_different_games_and_equal_keys_equal_ones():
    reset = jax.jit(jax.vmap(functools.partial(engine.reset, PLACED)))
    state = reset(jax.random.split(jax.random.key(0), 200))
    assert len(np.unique(np.asarray(state.bags), axis=0)) > 190
    again = reset(jax.random.split(jax.random.key(0), 200))
    np.testing.assert_array_equal(state.bags, again.bags)
    assert (np.bincount(np.asarray(state.piece), minlength=7) > 10).all()
    words = jax.random.key_data(jax.random.split(jax.random.key(0), 200))
    np.testing.assert_array_equal(reset(words).bags, state.bags)


def test_with_board_updates_the_legal_cells():
    state = engine.with_board(PLACED, start(PLACED, [T, I]), jnp.full(10, 1 << 19, jnp.uint32), I)
    expected = placement.cell_columns(placement.placements(PLACED, state.board, jnp.int32(I)))
    np.testing.assert_array_equal(state.legal_cells, expected)
    assert (int(state.piece), int(state.x)) == (I, 3)
    mask = engine.action_mask(PLACED, state)
    assert mask.dtype == bool and mask.shape == (200,)
    np.testing.assert_array_equal(mask, observe(PLACED, state)["action_mask"])
    assert np.asarray(engine.action_mask(DIRECT, start(DIRECT, [T]))).tolist() == [True] * 8


@pytest.mark.parametrize("pieces", [[], [7], [-1], [0.5], [[1, 2]], "IO"])
def test_invalid_pieces_are_refused(pieces):
    with pytest.raises(ValueError, match=r"integers from 0 to 6"):
        engine.fixed_pieces(pieces)


def test_other_sizes_of_the_board_play_too():
    config = TetrisConfig(action_mode="locked_position", height=7, width=6, max_episode_length=40)
    first, after, output, _ = rollout(config, 16, 60)(jax.random.key(0), np.zeros((16, 6), np.uint32))
    cells = brute_force.cells(after.board, 7)
    assert not cells.all(-1).any() and output.lines_cleared.sum() > 0
    assert first.board.shape == (16, 6) and int(after.board.max()) < 1 << 7
