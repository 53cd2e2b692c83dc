"""Nested spaces, and the error that an environment causes. Nothing here imports jax: worker processes import it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gymnasium import spaces

Path = tuple[Any, ...]
ROOT = "observation"


class EnvError(ValueError):
    """Raised if an environment cannot be made, is not supported or returns invalid values."""


class EnvWarning(UserWarning):
    """What may not be meant in how an environment is read, and the field that changes it."""


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
        got = sorted(map(str, observation)) if isinstance(observation, Mapping) else type(observation).__name__
        raise EnvError(f"observation entry {path_name(path)!r} is missing: got {got}") from None
