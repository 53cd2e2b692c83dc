"""Observations of Gymnasium spaces as record entries.

Observations become a flat dictionary. The keys of nested ``Dict`` and ``Tuple`` spaces are joined by "/" ("camera/left",
"0/1"); an observation that is not nested is called "observation".

| space | entry |
|---|---|
| Box, uint8 ``(H, W)`` or ``(H, W, C)`` with more than 32 values | "image" uint8 ``(H, W, C)`` |
| Box, float ``(H, W, C)`` in [0, 1] | "image" float32 ``(H, W, C)`` |
| Box, integers of rank 2 or 3 with at most 32 values | "grid" uint8 ``(C, H, W)``, minus the lowest value |
| any other Box | "vector" float32, flattened |
| Discrete, MultiDiscrete | "discrete" int32, one column per variable, minus ``start`` |
| MultiBinary | "vector" float32 of 0 and 1, flattened |
| "action_mask" with one entry per class of the only categorical action part | "mask" bool |

The channels of a rank-3 grid are the smaller of the first and the last axis; on a tie the first. Images are channel-last
if their last axis is at most 4 or not larger than the first; a stack of images ``(S, H, W, C)`` becomes
``(H, W, S * C)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces

from dreamjax.envs.checks import EnvError, Path, fetch, leaves, path_name
from dreamjax.types import MASK_KEY, ObsSpec

GRID_CLASSES = 32  # a Box of integers with more values than this is a vector or an image, not a grid


@dataclass(frozen=True)
class _ObsLeaf:
    """Conversion of one native array ``[N, *shape]`` to a record entry: transpose, reshape, subtract, cast."""

    path: Path
    spec: ObsSpec
    shape: tuple[int, ...]
    axes: tuple[int, ...] = ()
    offset: Any = 0

    @property
    def name(self) -> str:
        return path_name(self.path)


class ObsCodec:
    """Converts batched observations of one Gymnasium space to record entries.

    Args:
        space: the space of a *single* environment.
        mask_size: number of entries of the action mask; None if the action space has no mask.

    Attributes:
        spec: ``ObsSpec`` by name, in the order of the space.
        unused_mask: whether an entry "action_mask" is left out because its size is not ``mask_size``.

    Raises:
        EnvError: if the space is not supported; the message names it.
    """

    def __init__(self, space: spaces.Space, *, mask_size: int | None = None) -> None:
        self._leaves: list[_ObsLeaf] = []
        self.unused_mask = False
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
            raise EnvError(f'several observation entries are called {names} when their keys are joined by "/"')
        if not any(spec.kind != "mask" for spec in self.spec.values()):
            raise EnvError(f"the observation space {space} has nothing to observe")

    def _count(self, name: str) -> int:
        return sum(leaf.name == name for leaf in self._leaves)

    def encode(self, observation: Any, num_envs: int, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Converts a batched native observation; always copies, since environments may reuse their memory.

        Args:
            observation: arrays ``[N, ...]`` in the nesting of the space.
            num_envs: N.
            rows: int ``[n]``, the environments to convert; None converts all.

        Returns:
            Record entries ``[n, ...]`` by name.

        Raises:
            EnvError: if an entry is missing or has a wrong shape, NaN, infinity or a class out of range; the message
                names the environment and the entry.
        """
        return {leaf.name: _encode(leaf, fetch(observation, leaf.path), num_envs, rows) for leaf in self._leaves}

    def encode_rows(self, observations: list[Any], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Like ``encode``, from a list of ``n`` single observations of the environments ``rows``."""
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
    """Returns the conversion to a grid or an image, or None if the box is a vector."""
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
        _require_rows(good, leaf.name, array, rows, f"not in 0..{top} after subtracting the lowest value")
    with np.errstate(over="ignore"):  # values too large for float32 are reported below
        record = np.array(array, dtype=leaf.spec.dtype)
    if record.dtype.kind == "f":
        _require_rows(np.isfinite(record), leaf.name, record, rows, "not finite")
    return record


def _require_rows(good: np.ndarray, name: str, array: np.ndarray, rows: np.ndarray | None, problem: str) -> None:
    if not good.all():
        row, *place = map(int, np.argwhere(~good)[0])
        env = row if rows is None else int(rows[row])
        raise EnvError(f"environment {env}: observation entry {name!r} is {array[(row, *place)]} at {place}: {problem}")
