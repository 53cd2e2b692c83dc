"""DreamJAX: a functional training framework for Dreamer in JAX and Flax.

Importing it registers the environments with Gymnasium, by name, so that it stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dreamjax.agents.player import Player

gymnasium.register(
    id="dreamjax/Tetris-v0",
    entry_point="dreamjax.envs.tetris.gym:TetrisEnv",
    vector_entry_point="dreamjax.envs.tetris.gym:TetrisVectorEnv",
)


def load(workdir: str | Path, *, planner: bool = False, changes: Mapping[str, Any] | None = None) -> Player:
    """A trained agent: ``action, carry = agent.act(obs, carry, is_first=..., key=...)``.

    Args:
        workdir: directory of a run, or, where that holds none, the name of an agent that comes with the package.
        planner: plan before every move (``config.PlannerConfig``) rather than act by the policy.
        changes: fields of its configuration that are to differ: ``{"planner": {"num_simulations": 100}}``.

    Raises:
        UsageError: the directory holds no run, or a run without a checkpoint; the message lists the shipped agents.
        ConfigError: the configuration cannot be with ``changes``.
        CheckpointError: no checkpoint is intact.
    """
    from dreamjax.training.storage.load import load_player

    return load_player(workdir, planner=planner, changes=changes)
