"""One step of the game: the action, the next piece, the end, the reward; all pure functions.

    state = reset(config, key)
    state, output = step(config, state, action)
    observation = observe(config, state)

Each takes one game; ``jax.vmap`` gives a batch and ``jax.lax.scan`` a rollout (``auto_step``).
``config`` is static: bind it by ``functools.partial`` or mark it with ``static_argnums``.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dreamjax.envs.tetris import buttons, placement, rules
from dreamjax.envs.tetris.observation import action_mask, observe
from dreamjax.envs.tetris.reward import reward_parts
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState

__all__ = [
    "StepOutput",
    "action_mask",
    "auto_step",
    "fixed_pieces",
    "observe",
    "reset",
    "step",
    "with_board",
]


class StepOutput(struct.PyTreeNode):
    """What a step tells beside the new state.

    Attributes:
      reward: float32, the sum of ``parts``.
      terminated: bool, the game is lost; truncated: bool, the time limit cut it.
      lines_cleared: int32, by this step; placed: bool, a piece was locked by it.
      parts: float32 by name, see ``reward.PARTS``.
    """

    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    lines_cleared: jax.Array
    placed: jax.Array
    parts: dict[str, jax.Array]


def fixed_pieces(pieces: Sequence[int] | None) -> np.ndarray:
    """int8[n]: a prescribed stream of pieces, checked on the host.

    Raises:
      ValueError: when it is empty or holds anything but whole numbers from 0 to 6.
    """
    if pieces is None:
        return np.zeros((0,), np.int8)
    values = np.asarray(pieces)
    is_whole = values.ndim == 1 and values.size and np.issubdtype(values.dtype, np.integer)
    if not is_whole or values.min() < 0 or values.max() > 6:
        raise ValueError(
            f"pieces={pieces!r}: must be a non-empty sequence of whole numbers from 0 to 6"
            f" (the order is {' '.join(rules.PIECES)})"
        )
    return values.astype(np.int8)


def reset(config: TetrisConfig, key: jax.Array, pieces: Any = None, *, num_pieces: Any = None) -> TetrisState:
    """Starts a game.

    Args:
      config: static.
      key: a typed PRNG key, or its raw words uint32[2]. It is consumed.
      pieces: an optional stream of pieces, int8[n] (0..6, order I O T S Z J L); it repeats when it
        runs out and is not checked (``fixed_pieces`` does that). Without it the stream is random.
      num_pieces: int32, how many of ``pieces`` count (all); 0 makes the stream random.

    Returns:
      The state before the first step.
    """
    fixed = jnp.zeros((0,), jnp.int8) if pieces is None else jnp.asarray(pieces, jnp.int8)
    number = fixed.shape[0] if num_pieces is None else num_pieces
    return _new_game(config, rules.key_words(key), fixed, number)


def _new_game(config: TetrisConfig, key: jax.Array, fixed: jax.Array, num_fixed: Any) -> TetrisState:
    state = rules.new_game(config, key, fixed=fixed, num_fixed=num_fixed)
    return _with_codes(config, state)


def _with_codes(config: TetrisConfig, state: TetrisState) -> TetrisState:
    if config.action_mode == "direct":
        return state
    found = placement.placements(config, state.board, state.piece)
    return state.replace(codes=placement.code_columns(found))


def with_board(
    config: TetrisConfig, state: TetrisState, board: jax.Array, piece: jax.Array | None = None
) -> TetrisState:
    """The state with another board (uint32[width]) and, optionally, another piece at its spawn."""
    state = state.replace(board=board)
    if piece is not None:
        state = rules.spawn(config, state, jnp.asarray(piece, jnp.int32))
    return _with_codes(config, state)


def _act(config: TetrisConfig, state: TetrisState, action: jax.Array) -> buttons.Pressed:
    if config.action_mode == "direct":
        return buttons.press(config, state, buttons.pressed_buttons(config, action))
    action = jnp.asarray(action)
    if action.shape != ():
        raise ValueError(f"action of shape {action.shape}: locked_position takes one cell, shape ()")
    action = action.astype(jnp.int32)
    chosen = placement.decode(config, state.board, state.piece, action)
    enabled = jnp.bool_(True) if config.illegal == "nearest" else chosen.cell == action
    locked = placement.place(config, state.board, state.piece, chosen, enabled)
    state = state.replace(board=locked.board)
    return buttons.Pressed(state, locked.num_lines, locked.placed, jnp.bool_(False))


def _advance(config: TetrisConfig, state: TetrisState, action: jax.Array) -> tuple[TetrisState, StepOutput]:
    """A step of a game that has not ended."""
    before = state.board
    pressed = _act(config, state, action)
    state, placed, num_lines = pressed.state, pressed.placed, pressed.num_lines

    piece = rules.coming(state, 0)
    entered = rules.spawn(config, rules.draw(config, state, placed.astype(jnp.int32)), piece)
    state = jax.tree.map(lambda new, old: jnp.where(placed, new, old), entered, state)
    cells = jnp.asarray(rules.CELLS)[state.piece, 0]
    blocked = rules.collides(config, state.board, cells, state.x, state.y)
    terminated = pressed.lost | (placed & blocked)
    if config.action_mode == "locked_position":
        state = _with_codes(config, state)
        terminated = terminated | ~jnp.any(state.codes != 0)

    steps = state.steps + 1
    truncated = ~terminated & (steps >= config.max_episode_length)
    state = state.replace(
        steps=steps,
        pieces=state.pieces + placed,
        lines=state.lines + num_lines,
        last_lines=num_lines,
        terminated=terminated,
        truncated=truncated,
    )
    parts = reward_parts(
        config,
        before=before,
        after=state.board,
        placed=placed,
        num_lines=num_lines,
        terminated=terminated,
    )
    reward = sum(parts.values(), jnp.float32(0.0))
    return state, StepOutput(reward, terminated, truncated, num_lines, placed, parts)


def step(config: TetrisConfig, state: TetrisState, action: jax.Array) -> tuple[TetrisState, StepOutput]:
    """One step of one game. A game that has ended stays as it is and pays nothing.

    Args:
      config: static.
      state: a state of ``reset`` or ``step`` with the same configuration.
      action: in `direct` bool or integer [8] (an integer with ``buttons="one"``), in
        `locked_position` an integer, row * width + column.

    Returns:
      The next state and a ``StepOutput``.

    Raises:
      ValueError: when the action has another shape.
    """
    is_over = state.terminated | state.truncated
    after, output = _advance(config, state, action)
    after = jax.tree.map(lambda new, old: jnp.where(is_over, old, new), after, state)
    silent = jax.tree.map(jnp.zeros_like, output)
    output = jax.tree.map(lambda new, old: jnp.where(is_over, old, new), output, silent)
    return after, output.replace(terminated=after.terminated, truncated=after.truncated)


def auto_step(config: TetrisConfig, state: TetrisState, action: jax.Array) -> tuple[TetrisState, StepOutput]:
    """A step, or after the end of a game the start of the next (Gymnasium's NEXT_STEP autoreset).

    The step after the end ignores its action, pays nothing and returns the first state of a game
    with a key derived from the last; a prescribed stream of pieces ends with the game it began.
    """
    is_over = state.terminated | state.truncated
    after, output = _advance(config, state, action)
    fresh = _new_game(config, rules.next_key(state.key), jnp.zeros_like(state.fixed), 0)
    after = jax.tree.map(lambda new, old: jnp.where(is_over, new, old), fresh, after)
    silent = jax.tree.map(jnp.zeros_like, output)
    output = jax.tree.map(lambda new, old: jnp.where(is_over, new, old), silent, output)
    return after, output
