"""`direct` mode: any combination of eight buttons, and one row of gravity.

The pressed buttons act in one step in this order: hold, rotate, shift, soft drop, then hard drop
or gravity, then lock. Opposite buttons cancel, blocked moves are ignored, and there is no lock
delay: a piece locks in the step in which it cannot fall.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.envs.tetris import rules
from dreamjax.envs.tetris.reward import HARD_POINTS, SOFT_POINTS
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState

NAMES = (
    "left",
    "right",
    "soft_drop",
    "rotate_clockwise",
    "rotate_counterclockwise",
    "hard_drop",
    "hold",
    "nothing",
)
"""The buttons in the order of their bits; rotations are named as they look on the screen."""

LEFT, RIGHT, SOFT, CLOCKWISE, COUNTERCLOCKWISE, HARD, HOLD, NOTHING = range(8)


class PressResult(NamedTuple):
    """The result of a press, before the next piece enters.

    Attributes:
      state: the state with the piece moved and, if it locked, written into the board.
      num_lines: int32, lines cleared.
      placed: bool, whether a piece was locked.
      lost: bool, whether the piece had to lock while it overlapped locked cells.
      drop_points: int32, the guideline's points for the rows that it was dropped.
    """

    state: TetrisState
    num_lines: jax.Array
    placed: jax.Array
    lost: jax.Array
    drop_points: jax.Array


def pressed_buttons(config: TetrisConfig, action: jax.Array) -> jax.Array:
    """Returns bool[8], the buttons that an action presses.

    Args:
      action: with ``buttons="any"`` bool or integer [8]; with ``buttons="one"`` an integer 0..7.

    Raises:
      ValueError: if the action has another shape.
    """
    action = jnp.asarray(action)
    expected = (8,) if config.buttons == "any" else ()
    if action.shape != expected:
        raise ValueError(f"action of shape {action.shape}: buttons={config.buttons!r} takes shape {expected}")
    return action != 0 if config.buttons == "any" else jnp.arange(8) == action


def press(config: TetrisConfig, state: TetrisState, buttons: jax.Array) -> PressResult:
    """Applies the buttons (bool[8]), gravity and the lock to one game."""
    board, all_cells = state.board, jnp.asarray(rules.CELLS)

    # Hold: if no piece is held, the next piece is drawn; otherwise the two are exchanged. The new
    # piece is not checked against the stack.
    swap = buttons[HOLD] & ~state.hold_used
    from_queue = swap & (state.hold == rules.NO_PIECE)
    fetched = jnp.where(from_queue, rules.peek(state, 0), state.hold)
    turned = jnp.where(from_queue | config.hold_resets, 0, state.hold_rotation)
    state = rules.draw(config, state, from_queue.astype(jnp.int32)).replace(
        hold=jnp.where(swap, state.piece, state.hold),
        hold_rotation=jnp.where(swap, state.rotation, state.hold_rotation),
        hold_used=state.hold_used | swap,
    )
    piece = jnp.where(swap, fetched, state.piece)
    rotation = jnp.where(swap, turned, state.rotation)
    x = jnp.where(swap, jnp.asarray(rules.spawn_columns(config))[piece], state.x)
    y = jnp.where(swap, 0, state.y)

    turn = buttons[COUNTERCLOCKWISE].astype(jnp.int32) - buttons[CLOCKWISE].astype(jnp.int32)
    candidate = (rotation + turn) & 3
    blocked = rules.collides(config, board, all_cells[piece, candidate], x, y)
    rotation = jnp.where(blocked, rotation, candidate)
    cells = all_cells[piece, rotation]

    shift = buttons[RIGHT].astype(jnp.int32) - buttons[LEFT].astype(jnp.int32)
    # Keep the box within the padding of the board, where `collides` can look it up.
    candidate = jnp.clip(x + shift, -2, config.width - 2)
    blocked = rules.collides(config, board, cells, candidate, y)
    x = jnp.where(blocked, x, candidate)

    falls = ~rules.collides(config, board, cells, x, y + 1)
    soft = buttons[SOFT] & falls
    y = jnp.where(soft, y + 1, y)

    phase = state.gravity_phase + 1
    due = ~buttons[HARD] & (phase >= config.gravity_every)
    phase = jnp.where(phase >= config.gravity_every, 0, phase)
    falls = ~rules.collides(config, board, cells, x, y + 1)
    y = jnp.where(due & falls, y + 1, y)

    locks = buttons[HARD] | (due & ~falls)
    stuck = rules.collides(config, board, cells, x, y)
    placed = locks & ~stuck
    distance = rules.drop_distance(config, board, cells, x, y)
    y = jnp.where(placed, y + distance, y)
    locked = rules.lock(config, board, cells, x, y, enabled=placed)
    state = state.replace(
        board=locked.board,
        piece=piece,
        rotation=rotation,
        x=x,
        y=y,
        hold_used=state.hold_used & ~placed,
        gravity_phase=jnp.where(placed, 0, phase),
    )
    hard = jnp.where(placed & buttons[HARD], distance, 0)
    points = SOFT_POINTS * soft.astype(jnp.int32) + HARD_POINTS * hard
    return PressResult(state, locked.num_lines, placed, locks & stuck, points)
