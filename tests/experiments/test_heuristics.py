"""Players that know the rules: features of a placement, the place they choose, and how they steer to it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.envs.tetris import engine, reward, rules
from dreamjax.envs.tetris.rules import TetrisConfig
from experiments.baselines import heuristics
from tests.helpers.tetris import I, O, drawn, drawn_words, start

SMALL = TetrisConfig(action_mode="locked_position", width=4, height=6)


def outcome(before, filled):
    """The outcome of a placement between two drawings of a small board."""
    before, filled = jnp.asarray(drawn_words(SMALL, before)), jnp.asarray(drawn_words(SMALL, filled))
    return heuristics.Outcome(before, filled, *rules.clear_lines(SMALL, filled))


BEFORE, FILLED = ["..#.", ".##.", ".###"], ["#...", "#.#.", "###.", "####"]


def test_features_by_hand():
    # An I stands in the first column and completes the lowest row; three of its cells stay. What is left:
    #   # . . .
    #   # . # .
    #   # # # .
    found = heuristics.features(SMALL, outcome(BEFORE, FILLED))
    assert float(found["landing_height"]) == 0 + 4 / 2
    assert float(found["eroded_cells"]) == 1 * 1
    # Between the walls, from the top: three empty rows of 2 each, then # to . and . to the wall, and so on.
    assert float(found["row_transitions"]) == 3 * 2 + 2 + 4 + 2
    # Each of the first three columns changes once, at its top; the last is empty down to the floor.
    assert float(found["column_transitions"]) == 1 + 1 + 1 + 1
    assert float(found["holes"]) == 0
    # The second column has one cell between filled ones, the last two between its neighbor and the wall: 1, and 1 + 2.
    assert float(found["wells"]) == 1 + 3
    assert float(heuristics.dellacherie_score(SMALL, outcome(BEFORE, FILLED))) == -2 + 1 - 14 - 4 - 4 * 0 - 4


def features_by_cells(before, filled, num_lines):
    """The same from their definitions, cell by cell; boards are bool [H, W]."""
    height, width = before.shape
    piece = filled & ~before
    rows = np.flatnonzero(piece.any(1))
    full = filled.all(1)
    after = np.vstack([np.zeros((full.sum(), width), bool), filled[~full]])
    walled = np.pad(after, ((0, 0), (1, 1)), constant_values=True)
    floored = np.vstack([after, np.ones((1, width), bool)])
    wells = 0
    for x in range(width):
        depth = 0
        for y in range(height):
            is_well = not after[y, x] and walled[y, x] and walled[y, x + 2]
            depth = depth + 1 if is_well else 0
            wells += depth
    return {
        "landing_height": (height - 1 - rows[-1]) + (rows[-1] - rows[0] + 1) / 2,
        "eroded_cells": num_lines * piece[full].sum(),
        "row_transitions": (walled[:, 1:] != walled[:, :-1]).sum(),
        "column_transitions": (floored[1:] != floored[:-1]).sum(),
        "holes": sum(after[:y, x].any() and not after[y, x] for x in range(width) for y in range(height)),
        "wells": wells,
    }


def test_features_against_cells():
    rng = np.random.default_rng(0)
    config = TetrisConfig(height=8, width=5)
    before, filled = [], []
    for _ in range(40):
        board = rng.random((8, 5)) < rng.uniform(0.2, 0.9)
        board[:3] = False
        board[np.flatnonzero(board.all(1)), rng.integers(5)] = False
        piece = np.zeros_like(board)
        y, x = rng.integers(1, 5), rng.integers(0, 3)
        piece[y : y + 2, x : x + 2] = True
        piece[-rng.integers(1, 4)] |= rng.random() < 0.4  # often completes a row
        before.append(board & ~piece)
        filled.append(board | piece)
    words = jax.vmap(functools.partial(rules.board_words, config))

    def measured(before, filled):
        after, num_lines = rules.clear_lines(config, filled)
        return heuristics.features(config, heuristics.Outcome(before, filled, after, num_lines)), num_lines

    found, num_lines = jax.jit(jax.vmap(measured))(words(np.array(before)), words(np.array(filled)))
    assert np.asarray(num_lines).max() >= 2 and np.asarray(num_lines).min() == 0
    for i, (one, other) in enumerate(zip(before, filled, strict=True)):
        expected = features_by_cells(one, other, int(num_lines[i]))
        assert {name: float(value[i]) for name, value in found.items()} == expected


def test_the_reward_score_is_what_the_step_pays():
    config = TetrisConfig(action_mode="locked_position", width=4, height=6, piece_reward=0.5, shaping="difference")
    after = drawn_words(config, FILLED[:-1])
    paid = 1 + 0.5 + 0.997 * reward.potential(config, jnp.asarray(after))
    paid = paid - reward.potential(config, jnp.asarray(drawn_words(config, BEFORE)))
    assert float(heuristics.reward_score(config, outcome(BEFORE, FILLED))) == pytest.approx(float(paid), abs=1e-6)


@functools.cache
def small_player(name):
    step = jax.jit(functools.partial(engine.step, SMALL))
    player = jax.jit(functools.partial(heuristics.PLAYERS[name], SMALL))
    return step, player


def test_greedy_by_placements_clears_what_can_be_cleared():
    step, player = small_player("heuristic")
    state = start(SMALL, [I, O, O, I], ["###.", "###.", "###.", "###."])
    for lines in (4, 4, 6, 7):
        state, output = step(state, player(state, jax.random.key(0)))
        assert int(state.lines) == lines, drawn(SMALL, state)
    assert not drawn(SMALL, state)


def test_random_play_is_uniform_over_what_is_legal():
    _, player = small_player("random")
    state = start(SMALL, [O], ["##.."])
    legal = np.flatnonzero(np.asarray(engine.action_mask(SMALL, state)))
    keys = jax.random.split(jax.random.key(0), 600)
    drawn_actions, counts = np.unique(jax.vmap(player, (None, 0))(state, keys), return_counts=True)
    assert list(drawn_actions) == list(legal)
    # Chi-square of two degrees of freedom: 13.8 at one in a thousand.
    assert len(legal) == 3 and ((counts - 200) ** 2 / 200).sum() < 13.8


def test_steering_brings_every_piece_to_every_place():
    config = TetrisConfig(height=12)
    shapes = rules.CELLS

    def placed(piece, turn, x):
        state = engine.reset(config, jax.random.key(0), jnp.zeros(8, jnp.int8).at[:].set(piece.astype(jnp.int8)))
        cells = jnp.asarray(shapes)[piece, turn]
        empty = jnp.zeros(config.width, jnp.uint32)
        fits = ~rules.collides(config, empty, cells, x, 0)
        target = rules.write(config, empty, cells, x, rules.drop_distance(config, empty, cells, x, 0))
        player = heuristics.greedy(
            lambda config, found: -jnp.sum(jax.lax.population_count(found.after ^ target)).astype(jnp.float32)
        )

        def body(carry):
            state, steps = carry
            return engine.step(config, state, player(config, state, jax.random.key(0)))[0], steps + 1

        state, steps = jax.lax.while_loop(lambda carry: carry[0].pieces == 0, body, (state, 0))
        return fits, jnp.all(state.board == target), steps

    grid = np.meshgrid(np.arange(7), np.arange(4), np.arange(-2, 9), indexing="ij")
    fits, reached, steps = jax.jit(jax.vmap(placed))(*(jnp.asarray(axis.reshape(-1), jnp.int32) for axis in grid))
    assert fits.sum() == 2 * (7 + 10) + 4 * 9 + 5 * 2 * (8 + 9)  # I, O, and the five that are three wide
    assert np.asarray(reached)[np.asarray(fits)].all()
    # Seven columns at most from the entry, and the drop in the same step as the last of them.
    assert np.asarray(steps)[np.asarray(fits)].max() <= 6


def test_play_measures_whole_games():
    fields = {"action_mode": "locked_position", "width": 4, "height": 6, "max_episode_length": 30}
    lines, pieces = heuristics.play("random", episodes=5, seed=3, fields=fields)
    assert lines.shape == pieces.shape == (5,)
    assert (pieces > 0).all() and (pieces <= 30).all() and len(set(pieces)) > 1
    # A row holds four cells, a piece too: no more rows than pieces.
    assert (lines <= pieces).all()
    again = heuristics.play("random", episodes=5, seed=3, fields=fields)
    other = heuristics.play("random", episodes=5, seed=4, fields=fields)
    assert (again[1] == pieces).all() and (other[1] != pieces).any()
