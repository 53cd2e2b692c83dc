"""Tetris: the game as pure functions, and the Gymnasium environments built on them."""

from dreamjax.envs.tetris.engine import (
    StepOutput,
    action_mask,
    auto_step,
    fixed_pieces,
    observe,
    reset,
    step,
    with_board,
)
from dreamjax.envs.tetris.gym import TetrisEnv, TetrisVectorEnv
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState

__all__ = [
    "StepOutput",
    "TetrisConfig",
    "TetrisEnv",
    "TetrisState",
    "TetrisVectorEnv",
    "action_mask",
    "auto_step",
    "fixed_pieces",
    "observe",
    "reset",
    "step",
    "with_board",
]
