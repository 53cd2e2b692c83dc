"""Actions of Gymnasium spaces as action records ``[N, K]`` (see ``types``), and back.

Discrete is one categorical part and MultiDiscrete one per variable. MultiBinary is a binary part. Box is a continuous
part with numbers in [-1, 1], which are scaled to the bounds; a dimension without both bounds is not scaled, and ``low``
and ``high`` of its part are -1 and 1. The parts of Dict and Tuple follow in the order of the space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces

from dreamjax.envs.checks import EnvError, Path, get_path, leaves, path_name
from dreamjax.types import ActionPart, ActionSpec

UNBOUNDED = 1e30  # a bound of at least this magnitude counts as no bound


@dataclass(frozen=True)
class _ActionLeaf:
    """One native action space and its columns in a record."""

    space: spaces.Space
    columns: slice
    parts: tuple[ActionPart, ...]

    def decode(self, columns: np.ndarray) -> np.ndarray:
        """Converts record columns ``[N, k]`` to native actions ``[N, *shape]``."""
        space, rows = self.space, len(columns)
        if isinstance(space, spaces.Box):
            low, high, scaled = _bounds(space)
            action = columns.astype(np.float64)
            action = np.where(scaled, low + (np.clip(action, -1, 1) + 1) * 0.5 * (high - low), action)
            action = action.reshape(rows, *space.shape)
            if np.dtype(space.dtype).kind in "iub":
                action = np.rint(action)
            # The first clip applies one-sided bounds; the second undoes rounding of the cast across a bound.
            native = np.clip(action, space.low, space.high).astype(space.dtype)
            return np.clip(native, space.low, space.high)
        index = np.rint(columns).astype(np.int64)
        if isinstance(space, spaces.Discrete):
            return (index[:, 0] + space.start).astype(space.dtype)
        index = index.reshape(rows, *(space.shape or ()))
        if isinstance(space, spaces.MultiDiscrete):
            index = index + space.start
        return index.astype(space.dtype)

    def encode(self, native: np.ndarray) -> np.ndarray:
        """Converts native actions to record columns ``[N, k]``; the inverse of ``decode``."""
        space, flat = self.space, native.reshape(len(native), -1)
        if isinstance(space, spaces.Box):
            low, high, scaled = _bounds(space)
            span = np.where(scaled & (high > low), high - low, 1.0)
            return np.where(scaled, (flat.astype(np.float64) - low) / span * 2 - 1, flat)
        if isinstance(space, spaces.Discrete):
            return flat - space.start
        return flat - space.start.reshape(-1) if isinstance(space, spaces.MultiDiscrete) else flat


class ActionCodec:
    """Converts action records to native actions of one Gymnasium space, and back.

    Args:
        space: the space of a *single* environment.
        order: names of all parts in the order of the record; None for that of the space.

    Attributes:
        space: the space.
        spec: the parts of the action space, none of them masked.
        mask_size: number of classes if there is exactly one categorical part, the size of its action mask; else None.

    Raises:
        EnvError: if the space is not supported; the message names it.
    """

    def __init__(self, space: spaces.Space, *, order: Sequence[str] | None = None) -> None:
        self.space = space
        found = [(child, _action_parts(path, child)) for path, child in leaves(space)]
        recorded = list(range(len(found)))
        if order is not None:
            recorded.sort(key=lambda i: order.index(found[i][1][0].name) if found[i][1] else -1)
        columns, column = {}, 0
        for i in recorded:
            width = ActionSpec(found[i][1]).record_size
            columns[i] = slice(column, column + width)
            column += width
        # In the order of the space, in which native actions are nested.
        self._leaves = [_ActionLeaf(child, columns[i], parts) for i, (child, parts) in enumerate(found)]
        self.spec = ActionSpec(tuple(part for i in recorded for part in found[i][1]))
        if not column:
            raise EnvError(f"the action space {space} has nothing to choose")
        categoricals = [part.size for part in self.spec.parts if part.kind == "categorical"]
        self.mask_size = categoricals[0] if len(categoricals) == 1 else None
        self._largest = np.asarray([value for part in self.spec.parts for value in _largest_values(part)])

    def decode(self, record: np.ndarray) -> Any:
        """Converts action records ``[N, K]`` to native arrays ``[N, ...]`` in the dtypes and nesting of the space.

        Raises:
            ValueError: if records have a wrong shape, NaN, infinity, or an index out of range.
        """
        record = np.asarray(record)
        if record.ndim != 2 or record.shape[1] != self.spec.record_size:
            raise ValueError(f"action records have shape {record.shape}, not [N, {self.spec.record_size}]")
        if not np.isfinite(record).all():
            raise ValueError(f"action records hold NaN or infinity: {record[~np.isfinite(record).all(1)][0]}")
        wrong = ((record < 0) | (record > self._largest)) & (self._largest >= 0)
        if wrong.any():
            row, column = map(int, np.argwhere(wrong)[0])
            top = int(self._largest[column])
            raise ValueError(f"action record {row} holds {record[row, column]} in column {column}: not in 0..{top}")
        return _nest(self.space, iter([leaf.decode(record[:, leaf.columns]) for leaf in self._leaves]))

    def encode(self, native: Any, num_envs: int) -> np.ndarray:
        """Converts native batched actions to records ``[N, K]``; the inverse of ``decode`` within the bounds."""
        trees = [get_path(native, path) for path, _ in leaves(self.space)]
        columns = [
            leaf.encode(np.asarray(tree).reshape(num_envs, -1)) for leaf, tree in zip(self._leaves, trees, strict=True)
        ]
        recorded = sorted(range(len(columns)), key=lambda i: self._leaves[i].columns.start)
        return np.concatenate([columns[i] for i in recorded], axis=1).astype(self.spec.record_dtype)


def _largest_values(part: ActionPart) -> list[int]:
    """Returns the largest value of each column of a record; -1 if all numbers are allowed."""
    if part.kind == "categorical":
        return [part.size - 1]
    return [1 if part.kind == "binary" else -1] * part.size


def _bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns flat float64 bounds, -1 and 1 for dimensions without both bounds, and which dimensions have both."""
    low, high = space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
    scaled = (np.abs(low) < UNBOUNDED) & (np.abs(high) < UNBOUNDED)
    return np.where(scaled, low, -1.0), np.where(scaled, high, 1.0), scaled


def _action_parts(path: Path, space: spaces.Space) -> tuple[ActionPart, ...]:
    """Returns the parts of one space, with its name; those of MultiDiscrete are numbered."""
    name = path_name(path, "action")
    parts = _unnamed_parts(path, space)
    return tuple(replace(part, name=f"{name}[{i}]" if len(parts) > 1 else name) for i, part in enumerate(parts))


def _unnamed_parts(path: Path, space: spaces.Space) -> tuple[ActionPart, ...]:
    if isinstance(space, spaces.Discrete):
        return (ActionPart("categorical", int(space.n)),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(ActionPart("categorical", int(size)) for size in space.nvec.reshape(-1))
    if isinstance(space, spaces.MultiBinary):
        return (ActionPart("binary", int(np.prod(space.shape))),)
    if isinstance(space, spaces.Box):
        low, high, _ = _bounds(space)
        part = ActionPart("continuous", low.size, low=tuple(low.tolist()), high=tuple(high.tolist()))
        return (part,) if part.size else ()
    kinds = "Discrete, MultiDiscrete, MultiBinary, Box, Dict or Tuple"
    raise EnvError(f"{path_name(path, 'action')!r} has the action space {space}, which has no mapping: use {kinds}")


def _nest(space: spaces.Space, arrays: Iterator[np.ndarray]) -> Any:
    if isinstance(space, spaces.Dict):
        return {name: _nest(child, arrays) for name, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_nest(child, arrays) for child in space.spaces)
    return next(arrays)
