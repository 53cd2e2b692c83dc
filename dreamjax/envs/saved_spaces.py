"""Spaces as JSON, so that an agent acts where its environment is not installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces


def to_json(space: spaces.Space) -> dict[str, Any]:
    """A space as dictionaries, lists and numbers; ``from_json`` is its inverse for all spaces that have a mapping.

    Any other space, which a run can only leave out (``env.ignore``), keeps its kind alone.
    """
    if isinstance(space, spaces.Dict):
        return {"kind": "Dict", "spaces": [[name, to_json(child)] for name, child in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {"kind": "Tuple", "spaces": [to_json(child) for child in space.spaces]}
    if isinstance(space, spaces.Box):
        shape, dtype = list(space.shape), np.dtype(space.dtype).name
        return {"kind": "Box", "shape": shape, "dtype": dtype, "low": _packed(space.low), "high": _packed(space.high)}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": np.dtype(space.dtype).name}
    if isinstance(space, spaces.MultiDiscrete):
        nvec, start = np.asarray(space.nvec).tolist(), np.asarray(space.start).tolist()
        return {"kind": "MultiDiscrete", "nvec": nvec, "start": start, "dtype": np.dtype(space.dtype).name}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.shape)}
    return {"kind": type(space).__name__}


def from_json(values: dict[str, Any]) -> spaces.Space:
    """Inverse of ``to_json``. Raises KeyError, TypeError or ValueError on anything else."""
    kind = values["kind"]
    if kind == "Dict":
        result = spaces.Dict()
        result.spaces = {name: from_json(child) for name, child in values["spaces"]}  # its own order, not an alphabet's
        return result
    if kind == "Tuple":
        return spaces.Tuple([from_json(child) for child in values["spaces"]])
    if kind == "Box":
        shape, dtype = tuple(values["shape"]), np.dtype(values["dtype"])
        low, high = (np.broadcast_to(np.asarray(values[name], dtype), shape) for name in ("low", "high"))
        return spaces.Box(low, high, shape, dtype=dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(values["n"], start=values["start"], dtype=np.dtype(values["dtype"]).type)
    if kind == "MultiDiscrete":
        dtype = np.dtype(values["dtype"])
        return spaces.MultiDiscrete(
            np.asarray(values["nvec"], dtype), dtype.type, start=np.asarray(values["start"], dtype)
        )
    if kind == "MultiBinary":
        return spaces.MultiBinary(values["n"])
    return spaces.Space()


def _packed(bounds: np.ndarray) -> Any:
    """Bounds as nested lists, or as one number where all are the same."""
    return bounds.flat[0].item() if bounds.size and (bounds == bounds.flat[0]).all() else bounds.tolist()
