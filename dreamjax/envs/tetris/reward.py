"""The reward of a step, as named parts: lines, dropped cells, pieces, death, and optional shaping."""

import jax
import jax.numpy as jnp

from dreamjax.envs.tetris import rules
from dreamjax.envs.tetris.rules import TetrisConfig

PARTS = ("lines", "drop", "piece", "death", "shaping")
LINES = (0.0, 1.0, 3.0, 5.0, 8.0)
"""Reward of clearing zero to four lines with ``reward="lines"``."""
POINTS = (0.0, 100.0, 300.0, 500.0, 800.0)
"""The guideline's points for zero to four lines on its first level (``reward="score"``)."""
SOFT_POINTS, HARD_POINTS = 1, 2
"""The guideline's points for each row of a soft drop and of a hard drop."""


def features(config: TetrisConfig, board: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes three features of the shape of the stack.

    Args:
      board: uint32[width].

    Returns:
      Three int32: the sum of the column heights; the number of holes (empty cells with a locked cell
      above them in the same column); and the sum of the absolute height differences of neighboring
      columns.
    """
    heights = config.height - rules.trailing_zeros(board | rules.floor_word(config))
    cells = jnp.sum(jax.lax.population_count(board).astype(jnp.int32))
    total = jnp.sum(heights)
    return total, total - cells, jnp.sum(jnp.abs(heights[1:] - heights[:-1]))


def potential(config: TetrisConfig, board: jax.Array) -> jax.Array:
    """Returns float32, minus the weighted sum of ``features``; 0 for an empty board."""
    height, holes, bumpiness = (value.astype(jnp.float32) for value in features(config, board))
    return -(config.shaping_height * height + config.shaping_holes * holes + config.shaping_bumpiness * bumpiness)


def reward_parts(
    config: TetrisConfig,
    *,
    before: jax.Array,
    after: jax.Array,
    placed: jax.Array,
    num_lines: jax.Array,
    drop_points: jax.Array,
    terminated: jax.Array,
) -> dict[str, jax.Array]:
    """Computes the parts of the reward of one step; the reward is their sum.

    Args:
      before, after: uint32[width], the board before and after the step.
      placed: bool, whether a piece was locked.
      num_lines: int32, lines cleared.
      drop_points: int32, the guideline's points for rows that the piece was dropped.
      terminated: bool, whether the game is lost.

    Returns:
      float32 scalars by the names in ``PARTS``. A part that is not configured is 0.
    """
    if config.reward == "gymnasium":
        lines = jnp.where(placed, 10.0 * num_lines**2 + 1.0, 0.0)
    else:
        lines = jnp.asarray(POINTS if config.reward == "score" else LINES, jnp.float32)[num_lines]
    parts = {
        "lines": lines,
        "drop": jnp.where(config.reward == "score", drop_points, 0),
        "piece": jnp.where(placed, config.piece_reward, 0.0),
        "death": jnp.where(terminated, -config.death_penalty, 0.0),
        "shaping": jnp.float32(0.0),
    }
    if config.shaping != "none":
        reached = potential(config, after)
        if config.shaping == "potential":
            reached = jnp.where(terminated, 0.0, reached)
        parts["shaping"] = config.shaping_discount * reached - potential(config, before)
    return {name: value.astype(jnp.float32) for name, value in parts.items()}
