"""Nested spaces, and the checks in the process that runs an environment.

This module does not import jax, since worker processes import it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

Path = tuple[Any, ...]
ROOT = "observation"


class EnvError(ValueError):
    """Raised if an environment cannot be made, is not supported or returns invalid values."""


def leaves(space: spaces.Space, path: Path = ()) -> Iterator[tuple[Path, spaces.Space]]:
    """Yields the spaces inside nested Dict and Tuple spaces, in order, each with its path of keys."""
    if isinstance(space, spaces.Dict):
        for name, child in space.spaces.items():
            yield from leaves(child, (*path, name))
    elif isinstance(space, spaces.Tuple):
        for index, child in enumerate(space.spaces):
            yield from leaves(child, (*path, index))
    else:
        yield path, space


def path_name(path: Path, root: str = ROOT) -> str:
    """Returns the name of an entry: its keys joined by "/", or ``root`` if there are none."""
    return "/".join(map(str, path)) or root


def get_path(tree: Any, path: Path) -> Any:
    """Returns the entry of a nested observation or action at a path."""
    for key in path:
        tree = tree[key]
    return tree


def fetch(observation: Any, path: Path) -> Any:
    """Like ``get_path``; raises an ``EnvError`` that names the entry if it is missing."""
    try:
        return get_path(observation, path)
    except (KeyError, IndexError, TypeError):
        got = sorted(observation) if isinstance(observation, dict) else type(observation).__name__
        raise EnvError(f"observation entry {path_name(path)!r} is missing: got {got}") from None


class CheckedEnv(gymnasium.Wrapper):
    """Raises ``EnvError`` if an observation has another shape than its space, before observations are stacked.

    Attributes:
        index: index of the environment.
        busy: whether the environment is being stepped or reset.
    """

    def __init__(self, env: gymnasium.Env, index: int) -> None:
        super().__init__(env)
        self.index, self.busy = index, False
        self._shapes = [(path, tuple(space.shape or ())) for path, space in leaves(env.observation_space)]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.busy = True
        observation, info = self.env.reset(seed=seed, options=options)
        self.busy = False
        self._check(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.busy = True
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.busy = False
        self._check(observation)
        return observation, reward, terminated, truncated, info

    def _check(self, observation: Any) -> None:
        for path, shape in self._shapes:
            got = np.shape(fetch(observation, path))
            if got != shape:
                what = f"observation entry {path_name(path)!r} has shape {got}, its space says {shape}"
                raise EnvError(f"environment {self.index}: {what}")
