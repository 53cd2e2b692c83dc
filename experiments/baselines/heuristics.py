"""Players that know the rules of Tetris: what the learning agents are measured against, from above and from below.

The greedy players try every place at which the piece can come to rest, by the exact rules, and take the one whose board
scores best; they look no further ahead and learn nothing. In `direct` they steer towards that place with rotation,
shift and hard drop pressed together, and choose again at each step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.envs.tetris import TetrisVectorEnv, buttons, engine, placement, reward, rules
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState
from dreamjax.seeds import evaluation_seed

DELLACHERIE = {
    "landing_height": -1.0,
    "eroded_cells": 1.0,
    "row_transitions": -1.0,
    "column_transitions": -1.0,
    "holes": -4.0,
    "wells": -1.0,
}
"""Weights of Dellacherie's player (Fahey 2003; Thiery and Scherrer, Building Controllers for Tetris, 2009, table 2)."""

Player = Callable[[TetrisConfig, TetrisState, jax.Array], jax.Array]
"""``(config, state, key) -> action`` of one game."""


class Outcome(NamedTuple):
    """One resting place of a piece: boards before, with it in, and after the clear, uint32[width]; lines int32."""

    before: jax.Array
    filled: jax.Array
    after: jax.Array
    num_lines: jax.Array


def features(config: TetrisConfig, outcome: Outcome) -> dict[str, jax.Array]:
    """Dellacherie's features of a placement, float32 scalars by the names in ``DELLACHERIE``.

    ``landing_height``: rows beneath the piece and half of its own height. ``eroded_cells``: lines cleared times cells
    of the piece in them. On the board after the clear, its walls and floor counted as filled and what lies above it not
    counted: ``row_transitions`` and ``column_transitions``, changes between filled and empty along rows and columns;
    ``holes``, empty cells with a filled one above them in their column; ``wells``, the sum of 1 + 2 + ... + d over runs
    of d cells in a column that are empty between filled neighbors left and right.
    """
    everywhere = jnp.uint32((1 << config.height) - 1)
    piece = outcome.filled & ~outcome.before
    rows = jax.lax.reduce(piece, np.uint32(0), jax.lax.bitwise_or, (0,))
    top, bottom = rules.trailing_zeros(rows), 31 - jax.lax.clz(rows).astype(jnp.int32)
    full = jax.lax.reduce(outcome.filled, everywhere, jax.lax.bitwise_and, (0,))
    eroded = outcome.num_lines * _count(piece & full)

    board = outcome.after
    wall = jnp.full((1,), everywhere)
    left, right = jnp.concatenate([wall, board[:-1]]), jnp.concatenate([board[1:], wall])
    floored = board | rules.floor_word(config)
    well = ~board & left & right & everywhere
    wells, _ = jax.lax.fori_loop(0, config.height, _add_runs, (jnp.int32(0), well))
    found = {
        "landing_height": config.height - 1 - bottom + (bottom - top + 1) / 2,
        "eroded_cells": eroded,
        "row_transitions": _count(left ^ board) + _count(board[-1] ^ everywhere),
        "column_transitions": _count((floored ^ (floored >> jnp.uint32(1))) & everywhere),
        "holes": reward.features(config, board)[1],
        "wells": wells,
    }
    return {name: jnp.asarray(value, jnp.float32) for name, value in found.items()}


def _add_runs(_: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Counts the runs of k cells and leaves those of k + 1: a run of d cells holds d of 1, d - 1 of 2, ... 1 of d."""
    total, runs = carry
    return total + _count(runs), runs & (runs >> jnp.uint32(1))


def _count(words: jax.Array) -> jax.Array:
    return jnp.sum(jax.lax.population_count(words).astype(jnp.int32))


def dellacherie_score(config: TetrisConfig, outcome: Outcome) -> jax.Array:
    """float32: the weighted sum of ``features``."""
    found = features(config, outcome)
    return sum((weight * found[name] for name, weight in DELLACHERIE.items()), jnp.float32(0.0))


def reward_score(config: TetrisConfig, outcome: Outcome) -> jax.Array:
    """float32: what the environment pays for the placement, as if the game went on after it and nothing was dropped."""
    paid = reward.reward_parts(
        config,
        before=outcome.before,
        after=outcome.after,
        placed=jnp.bool_(True),
        num_lines=outcome.num_lines,
        drop_points=jnp.int32(0),
        terminated=jnp.bool_(False),
    )
    return sum(paid.values(), jnp.float32(0.0))


def _outcome(config: TetrisConfig, board: jax.Array, cells: jax.Array, x: jax.Array, y: jax.Array) -> Outcome:
    filled = rules.write(config, board, cells, x, y)
    return Outcome(board, filled, *rules.clear_lines(config, filled))


def _best_cell(score: Any, config: TetrisConfig, state: TetrisState) -> jax.Array:
    found = placement.placements(config, state.board, state.piece)
    columns = jnp.arange(config.width, dtype=jnp.int32)

    def one(cells: jax.Array, column: jax.Array, row: jax.Array) -> jax.Array:
        return score(config, _outcome(config, state.board, cells, column - 1, row))

    shapes = jnp.asarray(placement.CELLS)[state.piece]
    scores = jax.vmap(jax.vmap(one, (None, 0, 0)), (0, None, 0))(shapes, columns, found.rows)
    best = jnp.argmax(jnp.where(found.legal, scores, -jnp.inf))
    cell_row = rules.trailing_zeros(found.cell_bits.reshape(-1)[best])
    return cell_row * config.width + columns[best % config.width]


def _best_press(score: Any, config: TetrisConfig, state: TetrisState) -> jax.Array:
    columns = jnp.arange(-2, config.width - 1, dtype=jnp.int32)
    turns = jnp.arange(4, dtype=jnp.int32)
    shapes = jnp.asarray(rules.CELLS)[state.piece]

    def one(cells: jax.Array, turn: jax.Array, x: jax.Array) -> jax.Array:
        rest = state.y + rules.drop_distance(config, state.board, cells, x, state.y)
        quarter = (turn - state.rotation) % 4
        presses = jnp.maximum(jnp.minimum(quarter, 4 - quarter), jnp.abs(x - state.x))
        hit = rules.collides(config, state.board, cells, x, state.y)
        # Of places that lock the same cells, the one reached soonest.
        found = score(config, _outcome(config, state.board, cells, x, rest)) - 1e-3 * presses
        return jnp.where(hit, -jnp.inf, found)

    scores = jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))(shapes, turns, columns)
    best = jnp.argmax(scores)
    turn, x = best // columns.shape[0], columns[best % columns.shape[0]]

    # What the press will do, in the order of the rules: rotate, shift, and drop only where it then stands right.
    quarter = (turn - state.rotation) % 4
    clockwise = quarter == 3
    counter = (quarter == 1) | (quarter == 2)
    turned = (state.rotation + jnp.where(clockwise, 3, counter.astype(jnp.int32))) % 4
    blocked = rules.collides(config, state.board, shapes[turned], state.x, state.y)
    turned = jnp.where(blocked, state.rotation, turned)
    shift = jnp.sign(x - state.x)
    blocked = rules.collides(config, state.board, shapes[turned], state.x + shift, state.y)
    shifted = jnp.where(blocked, state.x, state.x + shift)
    pressed = jnp.zeros((8,), bool)
    pressed = pressed.at[buttons.LEFT].set(shift < 0).at[buttons.RIGHT].set(shift > 0)
    pressed = pressed.at[buttons.CLOCKWISE].set(clockwise).at[buttons.COUNTERCLOCKWISE].set(counter)
    return pressed.at[buttons.HARD].set((turned == turn) & (shifted == x))


def greedy(score: Callable[[TetrisConfig, Outcome], jax.Array]) -> Player:
    """The player that takes the place of the best score."""

    def player(config: TetrisConfig, state: TetrisState, key: jax.Array) -> jax.Array:
        best = _best_press if config.action_mode == "direct" else _best_cell
        return best(score, config, state)

    return player


def random_player(config: TetrisConfig, state: TetrisState, key: jax.Array) -> jax.Array:
    """Uniform over the legal cells, or a fair coin for each of the eight buttons."""
    if config.action_mode == "direct":
        return jax.random.bernoulli(key, 0.5, (8,))
    legal = engine.action_mask(config, state)
    return jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf))


PLAYERS: dict[str, Player] = {
    "heuristic": greedy(dellacherie_score),
    "greedy": greedy(reward_score),
    "random": random_player,
}


def play(name: str, *, episodes: int, seed: int, fields: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Plays ``episodes`` games with a player of ``PLAYERS``, as `games.play` does, in one compiled loop.

    Returns:
        Lines and pieces of every game, int32 ``[episodes]`` each.
    """
    env = TetrisVectorEnv(episodes, **fields)
    env.reset(seed=evaluation_seed(seed))
    states = _played(env.config, name, env.state, jax.random.key(evaluation_seed(seed)))
    return np.asarray(states.lines), np.asarray(states.pieces)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _played(config: TetrisConfig, name: str, states: TetrisState, key: jax.Array) -> TetrisState:
    def goes_on(carry: tuple[TetrisState, jax.Array]) -> jax.Array:
        return jnp.any(~(carry[0].terminated | carry[0].truncated))

    def body(carry: tuple[TetrisState, jax.Array]) -> tuple[TetrisState, jax.Array]:
        states, index = carry
        keys = jax.random.split(jax.random.fold_in(key, index), states.lines.shape[0])
        actions = jax.vmap(functools.partial(PLAYERS[name], config))(states, keys)
        after, _ = jax.vmap(functools.partial(engine.step, config))(states, actions)
        return after, index + 1

    return jax.lax.while_loop(goes_on, body, (states, jnp.int32(0)))[0]
