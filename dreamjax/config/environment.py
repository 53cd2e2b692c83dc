"""Options of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dreamjax.config.schema import Options, option, require


@dataclass(frozen=True)
class EnvConfig(Options):
    """The environment and how its instances are stepped."""

    id: str = option(
        "dreamjax/Tetris-v0",
        "Gymnasium id, or module:Id-v0 to import a module that registers it.",
        rule=("the id of a Gymnasium environment", bool),
    )
    action_mode: Literal["direct", "locked_position"] | None = option(
        None, "Tetris only: eight buttons, or 200 cells of the board. None for any other environment."
    )
    kwargs: Mapping[str, Any] = option({}, "Further keyword arguments of gymnasium.make.")
    workers: int = option(
        0, "Spawned processes that step the environments and restart after a crash.", at_least=0, zero="this process"
    )
    warn_after: float = option(
        60.0,
        "Time of one step after which a worker counts as hung; without workers, after which a warning is printed.",
        unit="seconds",
        above=0,
    )
    abort_after: float = option(
        0.0,
        "Without workers: time of one step after which the run ends with exit code 1.",
        unit="seconds",
        at_least=0,
        zero="never",
    )
    max_restarts: int = option(3, "Restarts allowed to each worker.", at_least=0)

    def check(self) -> None:
        """Raises ConfigError if the limit of this process is set for workers."""
        allowed = "needs workers=0: env.warn_after is the workers' limit"
        require(self.abort_after == 0 or self.workers == 0, "abort_after", self.abort_after, allowed)
