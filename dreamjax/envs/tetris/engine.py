"""One step of the game as a pure function: the action, the next piece, the end, the reward.

    state = reset(config, key)
    state, output = step(config, state, action)
    observation = observe(config, state)

Each function takes one game; ``jax.vmap`` steps a batch and ``jax.lax.scan`` with ``auto_step``
makes a rollout. ``config`` is static: bind it with ``functools.partial`` or use ``static_argnums``.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dreamjax.envs.tetris import buttons, placement, rules
from dreamjax.envs.tetris.observation import action_mask, observe
from dreamjax.envs.tetris.reward import HARD_POINTS, reward_parts
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
    """The outcome of a step.

    Attributes:
      reward: float32, the sum of ``parts``.
      terminated: bool, whether the game is lost.
      truncated: bool, whether the time limit ended the game.
      lines_cleared: int32, lines cleared by this step.
      placed: bool, whether this step locked a piece.
      parts: float32 by name, see ``reward.PARTS``.
    """

    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    lines_cleared: jax.Array
    placed: jax.Array
    parts: dict[str, jax.Array]


def fixed_pieces(pieces: Sequence[int] | None) -> np.ndarray:
    """Checks a fixed sequence of pieces on the host and returns it as int8[n].

    Raises:
      ValueError: if it is empty or contains anything but integers from 0 to 6.
    """
    if pieces is None:
        return np.zeros((0,), np.int8)
    values = np.asarray(pieces)
    is_whole = values.ndim == 1 and values.size and np.issubdtype(values.dtype, np.integer)
    if not is_whole or values.min() < 0 or values.max() > 6:
        raise ValueError(
            f"pieces={pieces!r}: must be a non-empty sequence of integers from 0 to 6"
            f" (the order is {' '.join(rules.PIECES)})"
        )
    return values.astype(np.int8)


def reset(config: TetrisConfig, key: jax.Array, pieces: Any = None, *, num_pieces: Any = None) -> TetrisState:
    """Starts a game.

    Args:
      config: static.
      key: a typed PRNG key, or its raw words uint32[2]. It is consumed.
      pieces: an optional sequence of pieces, int8[n] (0..6, order I O T S Z J L), which repeats when
        it runs out. Its values are not checked; ``fixed_pieces`` does that. None: random pieces.
      num_pieces: int32, length of the part of ``pieces`` that is used (default: all of it); 0 makes
        the pieces random.

    Returns:
      The state before the first step.
    """
    fixed = jnp.zeros((0,), jnp.int8) if pieces is None else jnp.asarray(pieces, jnp.int8)
    number = fixed.shape[0] if num_pieces is None else num_pieces
    return _new_game(config, rules.key_words(key), fixed, number)


def _new_game(config: TetrisConfig, key: jax.Array, fixed: jax.Array, num_fixed: Any) -> TetrisState:
    state = rules.new_game(config, key, fixed=fixed, num_fixed=num_fixed)
    return _with_legal_cells(config, state)


def _with_legal_cells(config: TetrisConfig, state: TetrisState) -> TetrisState:
    if config.action_mode == "direct":
        return state
    placements = placement.placements(config, state.board, state.piece)
    return state.replace(legal_cells=placement.cell_columns(placements))


def with_board(
    config: TetrisConfig, state: TetrisState, board: jax.Array, piece: jax.Array | None = None
) -> TetrisState:
    """Replaces the board (uint32[width]) and optionally the current piece, which enters at its spawn."""
    state = state.replace(board=board)
    if piece is not None:
        state = rules.spawn(config, state, jnp.asarray(piece, jnp.int32))
    return _with_legal_cells(config, state)


def _act(config: TetrisConfig, state: TetrisState, action: jax.Array) -> buttons.PressResult:
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
    # The piece is dropped from the top row.
    points = HARD_POINTS * jnp.where(locked.placed, chosen.row, 0)
    return buttons.PressResult(state, locked.num_lines, locked.placed, jnp.bool_(False), points)


def _advance(config: TetrisConfig, state: TetrisState, action: jax.Array) -> tuple[TetrisState, StepOutput]:
    """Steps a game that has not ended."""
    before = state.board
    pressed = _act(config, state, action)
    state, placed, num_lines = pressed.state, pressed.placed, pressed.num_lines

    piece = rules.peek(state, 0)
    entered = rules.spawn(config, rules.draw(config, state, placed.astype(jnp.int32)), piece)
    state = jax.tree.map(lambda new, old: jnp.where(placed, new, old), entered, state)
    cells = jnp.asarray(rules.CELLS)[state.piece, 0]
    blocked = rules.collides(config, state.board, cells, state.x, state.y)
    terminated = pressed.lost | (placed & blocked)
    if config.action_mode == "locked_position":
        state = _with_legal_cells(config, state)
        terminated = terminated | ~jnp.any(state.legal_cells != 0)

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
        drop_points=pressed.drop_points,
        terminated=terminated,
    )
    reward = sum(parts.values(), jnp.float32(0.0))
    return state, StepOutput(reward, terminated, truncated, num_lines, placed, parts)


def step(config: TetrisConfig, state: TetrisState, action: jax.Array) -> tuple[TetrisState, StepOutput]:
    """Steps one game. A game that has ended stays as it is, with reward 0.

    Args:
      config: static.
      state: a state from ``reset`` or ``step`` with the same configuration.
      action: in `direct` bool or integer [8] (an integer with ``buttons="one"``), in
        `locked_position` an integer, row * width + column.

    Returns:
      The next state and a ``StepOutput``.

    Raises:
      ValueError: if the action has another shape.
    """
    is_over = state.terminated | state.truncated
    after, output = _advance(config, state, action)
    after = jax.tree.map(lambda new, old: jnp.where(is_over, old, new), after, state)
    no_output = jax.tree.map(jnp.zeros_like, output)
    output = jax.tree.map(lambda new, old: jnp.where(is_over, old, new), output, no_output)
    return after, output.replace(terminated=after.terminated, truncated=after.truncated)


def auto_step(config: TetrisConfig, state: TetrisState, action: jax.Array) -> tuple[TetrisState, StepOutput]:
    """Steps one game, or starts the next one if it has ended (Gymnasium's NEXT_STEP autoreset).

    The step after the end ignores its action, has reward 0 and returns the first state of a new
    game, whose key is derived from the previous one. A fixed sequence of pieces applies to one game
    only.
    """
    is_over = state.terminated | state.truncated
    after, output = _advance(config, state, action)
    fresh = _new_game(config, rules.next_key(state.key), jnp.zeros_like(state.fixed), 0)
    after = jax.tree.map(lambda new, old: jnp.where(is_over, new, old), fresh, after)
    no_output = jax.tree.map(jnp.zeros_like, output)
    output = jax.tree.map(lambda new, old: jnp.where(is_over, new, old), no_output, output)
    return after, output
