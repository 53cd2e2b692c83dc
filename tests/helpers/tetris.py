"""Compiled functions that the tests share, so that each configuration is compiled once per session."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.envs.tetris import engine, rules
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState

DIRECT = TetrisConfig(max_episode_length=100)
PLACED = TetrisConfig(action_mode="locked_position", max_episode_length=100)

I, O, T, S, Z, J, L = range(7)  # noqa: E741
NUM_FIXED = 8

step = jax.jit(engine.step, static_argnums=0)
observe = jax.jit(engine.observe, static_argnums=0)
_reset = jax.jit(engine.reset, static_argnums=0)
_with_board = jax.jit(engine.with_board, static_argnums=0)


def start(config: TetrisConfig, pieces: list[int], board: list[str] | None = None) -> TetrisState:
    """A game with the given pieces (at most eight) and rows of a board, `#` locked, the last row at the floor."""
    state = _reset(config, jax.random.key(0), np.resize(np.array(pieces, np.int8), NUM_FIXED), num_pieces=len(pieces))
    return state if board is None else _with_board(config, state, drawn_words(config, board))


def drawn_words(config: TetrisConfig, rows: list[str]) -> np.ndarray:
    cells = np.zeros((config.height, config.width), bool)
    for row, text in zip(cells[config.height - len(rows) :], rows, strict=True):
        row[:] = [mark == "#" for mark in text]
    return np.array([sum(1 << int(y) for y in np.flatnonzero(column)) for column in cells.T], np.uint32)


def drawn(config: TetrisConfig, state: TetrisState) -> list[str]:
    """The rows of the board that are not empty, as `start` takes them."""
    cells = np.asarray(rules.board_cells(config, state.board))
    return ["".join("#" if cell else "." for cell in row) for row in cells if row.any()]


def buttons(*names: str) -> np.ndarray:
    """Presses by their names' first letters: l r s(oft) c(lockwise) a(nti-clockwise) h(ard) k(eep, hold) n(othing)."""
    pressed = np.zeros(8, np.int8)
    for name in names:
        pressed["lrscahkn".index(name)] = 1
    return pressed


def rollout(config: TetrisConfig, num_envs: int, num_steps: int) -> Any:
    """`(key, boards uint32[N, width]) -> every state [T, N], output [T, N], action`, of random play with autoreset."""
    return _rollout(config, num_envs, num_steps)


@functools.cache
def _rollout(config: TetrisConfig, num_envs: int, num_steps: int) -> Any:
    def body(states: Any, key: jax.Array) -> Any:
        if config.action_mode == "direct":
            action = jax.random.bernoulli(key, 0.3, (num_envs, 8))
        else:
            action = jax.random.randint(key, (num_envs,), 0, config.height * config.width)
        after, output = jax.vmap(functools.partial(engine.auto_step, config))(states, action)
        return after, (after, output, action)

    @jax.jit
    def play(key: jax.Array, boards: jax.Array) -> Any:
        key, reset_key = jax.random.split(key)
        states = jax.vmap(functools.partial(engine.reset, config))(jax.random.split(reset_key, num_envs))
        states = jax.vmap(functools.partial(engine.with_board, config))(states, jnp.asarray(boards))
        _, (after, output, action) = jax.lax.scan(body, states, jax.random.split(key, num_steps))
        return states, after, output, action

    return lambda key, boards: jax.device_get(play(key, boards))
