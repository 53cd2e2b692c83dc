"""Gymnasium spaces as specifications: what encoders read and actor heads choose.

Observations become a flat dictionary. The keys of ``Dict`` and ``Tuple`` spaces are joined by "/" ("camera/left",
"0/1"); an observation that is neither is called ``"observation"``.

| space | entry |
|---|---|
| Box, uint8 ``(H, W)`` or ``(H, W, C)`` with values of 32 and more | "image" uint8 ``(H, W, C)`` |
| Box, float ``(H, W, C)`` within [0, 1] | "image" float32 ``(H, W, C)`` |
| Box, integers of rank 2 or 3 that take at most 32 values | "grid" uint8 ``(C, H, W)``, counted from the lowest value |
| any other Box | "vector" float32, flattened |
| Discrete, MultiDiscrete | "discrete" int32, one column a variable, counted from ``start`` |
| MultiBinary | "vector" float32 of 0 and 1, flattened |
| "action_mask" with one entry for each class of the one categorical part | "mask" bool |

Which axis of a rank-3 grid holds channels: the smaller of the first and the last; on a tie the first. Images are taken
channel-last when their last axis is at most 4 or not larger than the first; a stack of images ``(S, H, W, C)`` becomes
``(H, W, S * C)``.

Actions become records ``[N, K]`` (see ``types``): Discrete is one categorical, MultiDiscrete one for each variable,
MultiBinary bits, Box numbers in [-1, 1] that are scaled to the bounds. A dimension of a Box without both bounds is not
scaled: the record is the action itself, its ``low`` and ``high`` read -1 and 1. Parts of Dict and Tuple follow one
another in the space's own order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces

from dreamjax.envs.checks import EnvError, Path, fetch, get_path, leaves, path_name
from dreamjax.types import MASK_KEY, ActionPart, ActionSpec, ObsSpec

GRID_CLASSES = 32  # integer boxes with more values than this are measurements, not kinds of cells
UNBOUNDED = 1e30


# Observations.


@dataclass(frozen=True)
class _ObsLeaf:
    """How one native array ``[N, *shape]`` becomes a record entry: transpose, reshape, shift, cast."""

    path: Path
    spec: ObsSpec
    shape: tuple[int, ...]
    axes: tuple[int, ...] = ()
    offset: Any = 0

    @property
    def name(self) -> str:
        return path_name(self.path)


class ObsCodec:
    """Turns batched observations of one Gymnasium space into record entries.

    Args:
        space: the space of a *single* environment.
        mask_size: entries that ``action_mask`` must have to be a mask; None where the action space takes no mask.

    Attributes:
        spec: ``ObsSpec`` by name, in the space's order.

    Raises:
        EnvError: on a space that has no mapping; the message names it.
    """

    def __init__(self, space: spaces.Space, *, mask_size: int | None = None) -> None:
        self._leaves: list[_ObsLeaf] = []
        self.unused_mask = False  # an "action_mask" that fits no action part: read by no encoder, so left out
        for path, child in leaves(space):
            leaf = _obs_leaf(path, child)
            if path == (MASK_KEY,):
                if leaf.spec.size != mask_size:
                    self.unused_mask = True
                    continue
                leaf = replace(leaf, spec=ObsSpec("mask", (leaf.spec.size,), "bool"), offset=0)
            self._leaves.append(leaf)
        self.spec: dict[str, ObsSpec] = {leaf.name: leaf.spec for leaf in self._leaves}
        if len(self.spec) < len(self._leaves):
            names = sorted({leaf.name for leaf in self._leaves if self._count(leaf.name) > 1})
            raise EnvError(f'several observation entries are called {names} once their keys are joined by "/"')
        if not any(spec.kind != "mask" for spec in self.spec.values()):
            raise EnvError(f"the observation space {space} has nothing to observe")

    def _count(self, name: str) -> int:
        return sum(leaf.name == name for leaf in self._leaves)

    def encode(self, observation: Any, num_envs: int, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Record entries ``[N, ...]`` of a batched native observation (arrays ``[N, ...]`` in the space's nesting).

        Only those of ``rows`` where given. Always copies: environments may write their next observation into the same
        memory.

        Raises:
            EnvError: on a missing entry, a wrong shape, NaN or infinity, or a class out of range; the message names
                the row and the entry.
        """
        return {leaf.name: _encode(leaf, fetch(observation, leaf.path), num_envs, rows) for leaf in self._leaves}

    def encode_rows(self, observations: list[Any], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Record entries ``[n, ...]`` of ``n`` single observations of environments ``rows``; else as ``encode``."""
        entries = {}
        for leaf in self._leaves:
            arrays = [np.asarray(fetch(observation, leaf.path)) for observation in observations]
            for env, array in zip(rows, arrays, strict=True):
                if array.shape != leaf.shape:
                    what = f"observation entry {leaf.name!r} has shape {array.shape}, its space says {leaf.shape}"
                    raise EnvError(f"environment {env}: {what}")
            entries[leaf.name] = _convert(leaf, np.stack(arrays), rows)
        return entries


def _obs_leaf(path: Path, space: spaces.Space) -> _ObsLeaf:
    name = path_name(path)
    shape = tuple(space.shape or ())
    if np.prod(shape, dtype=np.int64) == 0:
        raise EnvError(f"observation entry {name!r} is empty: {space}")
    flat = (int(np.prod(shape, dtype=np.int64)),)
    if isinstance(space, spaces.Discrete):
        return _ObsLeaf(path, ObsSpec("discrete", (1,), "int32", int(space.n)), (), offset=int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        spec = ObsSpec("discrete", flat, "int32", int(space.nvec.max()))
        return _ObsLeaf(path, spec, shape, offset=np.asarray(space.start).reshape(-1))
    if isinstance(space, spaces.MultiBinary):
        return _ObsLeaf(path, ObsSpec("vector", flat, "float32"), shape)
    if isinstance(space, spaces.Box):
        return _box_leaf(path, space, shape) or _ObsLeaf(path, ObsSpec("vector", flat, "float32"), shape)
    kinds = "Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"
    raise EnvError(f"observation entry {name!r} has the space {space}, which has no mapping: use {kinds}")


def _box_leaf(path: Path, space: spaces.Box, shape: tuple[int, ...]) -> _ObsLeaf | None:
    """A grid or an image, or None for a vector."""
    low, high = float(space.low.min()), float(space.high.max())
    if space.dtype is not None and space.dtype.kind in "iub":
        if len(shape) in (2, 3) and high - low < GRID_CLASSES:
            axes = (0, 1) if len(shape) == 2 else (0, 1, 2) if shape[0] <= shape[2] else (2, 0, 1)
            grid = (1, *shape) if len(shape) == 2 else tuple(shape[axis] for axis in axes)
            return _ObsLeaf(path, ObsSpec("grid", grid, "uint8", int(high - low) + 1), shape, axes, int(low))
        ranks = (2, 3, 4) if space.dtype == np.uint8 else (3, 4)
        if len(shape) in ranks and low >= 0 and high <= 255:
            return _image_leaf(path, shape, "uint8")
    elif len(shape) == 3 and low >= 0 and high <= 1:
        return _image_leaf(path, shape, "float32")
    return None


def _image_leaf(path: Path, shape: tuple[int, ...], dtype: str) -> _ObsLeaf:
    axes = tuple(range(len(shape)))
    if len(shape) == 4:
        axes = (1, 2, 0, 3)
        image: tuple[int, ...] = (shape[1], shape[2], shape[0] * shape[3])
    elif len(shape) == 2:
        image = (*shape, 1)
    else:
        if shape[2] > 4 and shape[2] > shape[0]:
            axes = (1, 2, 0)
        image = tuple(shape[axis] for axis in axes)
    return _ObsLeaf(path, ObsSpec("image", image, dtype), shape, axes)


def _encode(leaf: _ObsLeaf, native: Any, num_envs: int, rows: np.ndarray | None = None) -> np.ndarray:
    array = np.asarray(native)
    if array.shape != (num_envs, *leaf.shape):
        wanted = (num_envs, *leaf.shape)
        raise EnvError(f"observation entry {leaf.name!r} of {num_envs} rows has shape {array.shape}, not {wanted}")
    return _convert(leaf, array if rows is None else array[rows], rows)


def _convert(leaf: _ObsLeaf, array: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    if leaf.axes:
        array = array.transpose(0, *(axis + 1 for axis in leaf.axes))
    array = array.reshape(len(array), *leaf.spec.shape)
    if leaf.spec.kind == "mask":
        return array != 0
    if leaf.spec.classes:
        if np.any(leaf.offset):
            array = array.astype(np.int64) - leaf.offset
        top = leaf.spec.classes - 1
        good = (array >= 0) & (array <= top)
        _require_rows(good, leaf.name, array, rows, f"not in 0..{top}, counted from the lowest")
    with np.errstate(over="ignore"):  # too large for float32: told below
        record = np.array(array, dtype=leaf.spec.dtype)
    if record.dtype.kind == "f":
        _require_rows(np.isfinite(record), leaf.name, record, rows, "not finite")
    return record


def _require_rows(good: np.ndarray, name: str, array: np.ndarray, rows: np.ndarray | None, problem: str) -> None:
    if not good.all():
        row, *place = map(int, np.argwhere(~good)[0])
        env = row if rows is None else int(rows[row])
        raise EnvError(f"environment {env}: observation entry {name!r} is {array[(row, *place)]} at {place}: {problem}")


# Actions.


@dataclass(frozen=True)
class _ActionLeaf:
    """One native action space and the columns it has in a record."""

    space: spaces.Space
    columns: slice
    parts: tuple[ActionPart, ...]

    def decode(self, columns: np.ndarray) -> np.ndarray:
        """Native actions ``[N, *shape]`` of record columns ``[N, k]``."""
        space, rows = self.space, len(columns)
        if isinstance(space, spaces.Box):
            low, high, scaled = _bounds(space)
            action = columns.astype(np.float64)
            action = np.where(scaled, low + (np.clip(action, -1, 1) + 1) * 0.5 * (high - low), action)
            action = action.reshape(rows, *space.shape)
            if np.dtype(space.dtype).kind in "iub":
                action = np.rint(action)
            # Clip before and after the cast: half bounds hold, and rounding to float32 cannot leave the box.
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
        """Record columns ``[N, k]`` of native actions; the inverse of ``decode``."""
        space, flat = self.space, native.reshape(len(native), -1)
        if isinstance(space, spaces.Box):
            low, high, scaled = _bounds(space)
            span = np.where(scaled & (high > low), high - low, 1.0)
            return np.where(scaled, (flat.astype(np.float64) - low) / span * 2 - 1, flat)
        if isinstance(space, spaces.Discrete):
            return flat - space.start
        return flat - space.start.reshape(-1) if isinstance(space, spaces.MultiDiscrete) else flat


class ActionCodec:
    """Turns action records into native actions of one Gymnasium space, and back.

    Args:
        space: the space of a *single* environment.

    Attributes:
        spec: the parts, none of them masked.
        mask_size: entries an action mask must have: the classes of the one categorical part; None where there are
            several such parts or none.

    Raises:
        EnvError: on a space that has no mapping; the message names it.
    """

    def __init__(self, space: spaces.Space) -> None:
        self._space = space
        self._leaves: list[_ActionLeaf] = []
        column = 0
        for path, child in leaves(space):
            parts = _action_parts(path, child)
            width = sum(part.columns for part in parts)
            self._leaves.append(_ActionLeaf(child, slice(column, column + width), parts))
            column += width
        self.spec = ActionSpec(tuple(part for leaf in self._leaves for part in leaf.parts))
        if not column:
            raise EnvError(f"the action space {space} has nothing to choose")
        categoricals = [part.size for part in self.spec.parts if part.kind == "categorical"]
        self.mask_size = categoricals[0] if len(categoricals) == 1 else None
        sizes = [top for part in self.spec.parts for top in _tops(part)]
        self._tops = np.asarray(sizes)

    def decode(self, record: np.ndarray) -> Any:
        """Native batched actions of records ``[N, K]``: arrays ``[N, ...]`` in the space's dtypes and nesting.

        Raises:
            ValueError: on a wrong shape, NaN, or an index that is no class.
        """
        record = np.asarray(record)
        if record.ndim != 2 or record.shape[1] != self.spec.record_size:
            raise ValueError(f"action records have shape {record.shape}, not [N, {self.spec.record_size}]")
        if not np.isfinite(record).all():
            raise ValueError(f"action records hold NaN or infinity: {record[~np.isfinite(record).all(1)][0]}")
        wrong = ((record < 0) | (record > self._tops)) & (self._tops >= 0)
        if wrong.any():
            row, column = map(int, np.argwhere(wrong)[0])
            top = int(self._tops[column])
            raise ValueError(f"action record {row} holds {record[row, column]} in column {column}: not in 0..{top}")
        return _nest(self._space, iter([leaf.decode(record[:, leaf.columns]) for leaf in self._leaves]))

    def encode(self, native: Any, num_envs: int) -> np.ndarray:
        """Records ``[N, K]`` of native batched actions; the inverse of ``decode`` within the bounds."""
        trees = [get_path(native, path) for path, _ in leaves(self._space)]
        columns = [
            leaf.encode(np.asarray(tree).reshape(num_envs, -1)) for leaf, tree in zip(self._leaves, trees, strict=True)
        ]
        return np.concatenate(columns, axis=1).astype(self.spec.record_dtype)


def _tops(part: ActionPart) -> list[int]:
    """The largest value of each column, -1 where any number will do."""
    if part.kind == "categorical":
        return [part.size - 1]
    return [1 if part.kind == "binary" else -1] * part.size


def _bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat float64 bounds, -1 and 1 where the dimension has not both, and whether it has."""
    low, high = space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
    scaled = (np.abs(low) < UNBOUNDED) & (np.abs(high) < UNBOUNDED)
    return np.where(scaled, low, -1.0), np.where(scaled, high, 1.0), scaled


def _action_parts(path: Path, space: spaces.Space) -> tuple[ActionPart, ...]:
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
