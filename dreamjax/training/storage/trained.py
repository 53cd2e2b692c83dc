"""The environment that an agent was trained in, as its checkpoints keep it: specification and spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from gymnasium import spaces

from dreamjax.envs import saved_spaces
from dreamjax.training.storage import checkpoint, recording
from dreamjax.types import EnvSpec


class TrainedIn(NamedTuple):
    """``spec`` of an environment, and its single observation and action ``spaces``; None in older checkpoints."""

    spec: EnvSpec
    spaces: tuple[spaces.Space, spaces.Space] | None

    def to_meta(self) -> dict[str, Any]:
        """The entries of a checkpoint's ``meta``."""
        both = None if self.spaces is None else [saved_spaces.to_json(space) for space in self.spaces]
        return {"spec": recording.spec_to_dict(self.spec), "spaces": both}


def from_meta(meta: dict[str, Any]) -> TrainedIn | None:
    """What a ``meta`` says; None where it is of a version that kept no specification, or cannot be read."""
    try:
        both = meta.get("spaces")
        found = None if both is None else (saved_spaces.from_json(both[0]), saved_spaces.from_json(both[1]))
        return TrainedIn(recording.spec_from_dict(meta["spec"]), found)
    except (KeyError, TypeError, ValueError, AssertionError):
        return None


def read(path: str | Path) -> TrainedIn | None:
    """What the checkpoint ``path``, or the newest one of a work directory, was trained in; None where nothing says it."""
    path = Path(path)
    found = [path] if (path / checkpoint.META).is_file() else reversed(checkpoint.all_checkpoints(path))
    for each in found:
        try:
            return from_meta(checkpoint.read_meta(each))
        except (OSError, ValueError):  # damaged: restoring says so
            continue
    return None
