"""Options of the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dreamjax.config.schema import Options, option, require


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


PATTERN = ("a regular expression", _is_pattern)
KINDS, CHANNELS = ("image", "grid", "vector", "discrete"), ("first", "last")


def _check_setting(pattern: str, setting: Any) -> None:
    """Raises ConfigError unless one entry of ``EnvConfig.obs`` is allowed."""
    name = f"obs[{pattern!r}]"
    require(_is_pattern(pattern), "obs", pattern, "its names must be regular expressions")
    require(isinstance(setting, Mapping), name, setting, "must be a group such as {'kind': 'image'}")
    number = (int, float)
    rules: dict[str, tuple[str, Any]] = {
        "kind": (f"must be one of {list(KINDS)}", lambda value: value in KINDS),
        "channels": (f"must be one of {list(CHANNELS)}", lambda value: value in CHANNELS),
        "classes": ("must be a whole number in [2, 256]", lambda value: isinstance(value, int) and 2 <= value <= 256),
        "low": ("must be a number", lambda value: isinstance(value, number)),
        "high": ("must be a number", lambda value: isinstance(value, number)),
    }
    for key, value in setting.items():
        require(key in rules, f"{name}.{key}", value, f"known here: {', '.join(rules)}")
        allowed, holds = rules[key]
        require(holds(value), f"{name}.{key}", value, allowed)
    kind, classes = setting.get("kind"), setting.get("classes")
    require(classes is None or kind in ("grid", "discrete"), f"{name}.classes", classes, "needs kind grid or discrete")
    low, high = setting.get("low"), setting.get("high")
    require(low is None or high is None or low < high, f"{name}.low", low, f"must be below high={high}")


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
    keys: str = option(
        ".*",
        "Regular expression: observation entries whose whole name matches are taken; a|b takes two. Masks always are.",
        rule=PATTERN,
    )
    ignore: str = option(
        "", "Regular expression: observation entries whose whole name matches are left out. Empty: none.", rule=PATTERN
    )
    layout: Literal["auto", "channels_first", "channels_last", "legacy"] = option(
        "auto",
        "Where images and grids hold their channels. legacy: how versions without this field read every array, and which "
        "of two programs they took; runs of those versions have it.",
    )
    obs: Mapping[str, Any] = option(
        {},
        "How observation entries are read, by a regular expression of the whole name; the first that matches holds. Each "
        "is a group of kind (image, grid, vector, discrete), channels (first, last), classes, low and high.",
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
        """Raises ConfigError if a setting of ``obs`` is none, or the limit of this process is set for workers."""
        for pattern, setting in self.obs.items():
            _check_setting(pattern, setting)
        allowed = "needs workers=0: env.warn_after is the workers' limit"
        require(self.abort_after == 0 or self.workers == 0, "abort_after", self.abort_after, allowed)
