"""Observations: the board as channels, the pieces as numbers, the legal cells; and the spaces."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.envs.tetris import rules
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState


def num_channels(config: TetrisConfig) -> int:
    """Returns the number of channels of ``board``: locked cells and, in `direct`, the falling piece."""
    return 2 if config.action_mode == "direct" and config.falling_channel else 1


def piece_size(config: TetrisConfig) -> int:
    """Returns the length of ``piece``: 32, and 7 for each further piece of the preview."""
    return 32 + 7 * (config.preview - 1)


def observation_space(config: TetrisConfig) -> gymnasium.spaces.Dict:
    """Returns the Gymnasium space of one observation."""
    shape = (num_channels(config), config.height, config.width)
    spaces: dict[str, Any] = {
        "board": gymnasium.spaces.Box(0, 1, shape, np.uint8),
        "piece": gymnasium.spaces.Box(0.0, 1.0, (piece_size(config),), np.float32),
    }
    if config.action_mode == "locked_position":
        spaces["action_mask"] = gymnasium.spaces.Box(0, 1, (config.height * config.width,), np.int8)
    return gymnasium.spaces.Dict(spaces)


def action_space(config: TetrisConfig) -> gymnasium.spaces.Space[Any]:
    """Returns MultiBinary(8) or Discrete(8) in `direct`, Discrete(height * width) in `locked_position`."""
    if config.action_mode == "locked_position":
        return gymnasium.spaces.Discrete(config.height * config.width)
    return gymnasium.spaces.MultiBinary(8) if config.buttons == "any" else gymnasium.spaces.Discrete(8)


def action_mask(config: TetrisConfig, state: TetrisState) -> jax.Array:
    """Returns the legal actions.

    Returns:
      In `locked_position` bool[height * width], the cells that name a placement; in `direct` bool[8],
      all True.
    """
    if config.action_mode == "direct":
        return jnp.ones((8,), bool)
    return rules.board_cells(config, state.legal_cells).reshape(-1).astype(bool)


def falling_piece(config: TetrisConfig, state: TetrisState) -> jax.Array:
    """Returns uint8[height, width], the cells of the falling piece; all 0 if it collides (a lost game)."""
    cells = jnp.asarray(rules.CELLS)[state.piece, state.rotation]
    hidden = rules.collides(config, state.board, cells, state.x, state.y)
    cells = jnp.where(hidden, jnp.uint32(0), cells)
    empty = jnp.zeros_like(state.board)
    return rules.board_cells(config, rules.write(config, empty, cells, state.x, state.y))


def piece_vector(config: TetrisConfig, state: TetrisState) -> jax.Array:
    """Returns float32[32 + 7 * (preview - 1)] in [0, 1], the part of an observation that is not a board.

    Entries: 0-6 current piece, 7-13 next piece, 14-21 held piece (14: none), 22-25 rotation, 26
    column and 27 row of the corner of the piece's matrix, 28 whether hold is available, 29 steps / max,
    30 gravity phase, 31 lines cleared by the last step / 4; then the further pieces of the preview.
    """
    held = jnp.where(state.hold == rules.NO_PIECE, 0, state.hold + 1)
    direct = config.action_mode == "direct"
    numbers = [
        (state.x + 2) / config.width,
        state.y / (config.height - 1),
        ~state.hold_used & direct,
        state.steps / config.max_episode_length,
        state.gravity_phase / config.gravity_every,
        state.last_lines / 4,
    ]
    parts = [
        jax.nn.one_hot(state.piece, 7),
        jax.nn.one_hot(rules.peek(state, 0), 7),
        jax.nn.one_hot(held, 8),
        jax.nn.one_hot(state.rotation, 4),
        jnp.stack([jnp.asarray(number, jnp.float32) for number in numbers]),
    ]
    parts += [jax.nn.one_hot(rules.peek(state, i), 7) for i in range(1, config.preview)]
    return jnp.concatenate(parts).astype(jnp.float32)


def observe(config: TetrisConfig, state: TetrisState) -> dict[str, jax.Array]:
    """Returns the observation of one game.

    Returns:
      ``board``, uint8[C, height, width] (locked cells; the falling piece); ``piece``, float32 (see
      ``piece_vector``); and in `locked_position` ``action_mask``, int8[height * width].
    """
    channels = [rules.board_cells(config, state.board)]
    if num_channels(config) == 2:
        channels.append(falling_piece(config, state))
    observed = {"board": jnp.stack(channels), "piece": piece_vector(config, state)}
    if config.action_mode == "locked_position":
        observed["action_mask"] = action_mask(config, state).astype(jnp.int8)
    return observed
