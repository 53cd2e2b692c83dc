"""Observations of Gymnasium spaces as record entries.

Observations become a flat dictionary. The keys of nested ``Dict`` and ``Tuple`` spaces are joined by "/" ("camera/left",
"0/1"); an observation that is not nested is called "observation". ``dreamjax.envs.layout`` says how arrays are read.

| space | entry |
|---|---|
| Box | "grid", "image" or "vector" |
| Discrete, MultiDiscrete | "discrete" int32, one column per variable, minus ``start`` |
| MultiBinary | "vector" float32 of 0 and 1, flattened |
| "action_mask" with one entry per class of the only categorical action part | "mask" bool |
| entries under "log/" | none: their numbers are logged |

``env.keys`` and ``env.ignore`` choose entries by name, ``env.obs`` and ``env.layout`` say how they are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from dreamjax.config import EnvConfig
from dreamjax.envs.checks import EnvError, Path, fetch, leaves, path_name
from dreamjax.envs.layout import Reading, read
from dreamjax.envs.single import LOG, NUMERIC, Selection, native_array
from dreamjax.types import MASK_KEY, ObsSpec


@dataclass(frozen=True)
class _ObsLeaf:
    """Conversion of one native array ``[N, *shape]`` to a record entry."""

    path: Path
    space: spaces.Space
    reading: Reading

    @property
    def spec(self) -> ObsSpec:
        return self.reading.spec

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.space.shape or ())

    @property
    def name(self) -> str:
        return path_name(self.path)


class ObsCodec:
    """Converts batched observations of one Gymnasium space to record entries.

    Args:
        space: the space of a *single* environment.
        mask_size: number of entries of the action mask; None if the action space has no mask.
        config: ``keys``, ``ignore``, ``layout`` and ``obs`` are read; None for the defaults.

    Attributes:
        spec: ``ObsSpec`` by name, in the order of the space.
        notes: what is not sure about how entries are read, and the fields that change it.
        unused_mask: whether an entry "action_mask" is left out because its size is not ``mask_size``.

    Raises:
        EnvError: if the space is not supported; the message names it.
    """

    def __init__(self, space: spaces.Space, *, mask_size: int | None = None, config: EnvConfig | None = None) -> None:
        config = config or EnvConfig()
        self._leaves: list[_ObsLeaf] = []
        self._logged: list[tuple[Path, spaces.Space]] = []
        self.unused_mask = False
        names = [path_name(path) for path, _ in leaves(space)]
        kept = Selection.of(config).kept(names)
        for pattern in config.obs:
            if not any(re.fullmatch(pattern, name) for name in kept):
                raise EnvError(f"env.obs: {pattern!r} matches no observation entry: there are {', '.join(kept)}")
        for path, child in leaves(space):
            name = path_name(path)
            if name.startswith(LOG) and name in kept:
                if isinstance(child, NUMERIC) and _size(child) == 1:
                    self._logged.append((path, child))
            elif path == (MASK_KEY,) and isinstance(child, NUMERIC) and name in kept:
                size = _size(child)
                self.unused_mask = size != mask_size
                if not self.unused_mask:
                    self._leaves.append(_ObsLeaf(path, child, Reading(ObsSpec("mask", (size,), "bool"))))
            elif name in kept:
                self._leaves.append(_ObsLeaf(path, child, _reading(name, child, config)))
        self.spec: dict[str, ObsSpec] = {leaf.name: leaf.spec for leaf in self._leaves}
        self.notes = [leaf.reading.note for leaf in self._leaves if leaf.reading.note]
        if len(self.spec) < len(self._leaves):
            twice = sorted({leaf.name for leaf in self._leaves if self._count(leaf.name) > 1})
            raise EnvError(f'several observation entries are called {twice} when their keys are joined by "/"')
        if not any(spec.kind != "mask" for spec in self.spec.values()):
            raise EnvError(f"the observation space {space} has nothing to observe{_left(names, config)}")

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
            arrays = []
            for env, observation in zip(rows, observations, strict=True):
                try:
                    arrays.append(native_array(leaf.space, fetch(observation, leaf.path), leaf.name))
                except EnvError as error:
                    raise EnvError(f"environment {env}: {error}") from None
            entries[leaf.name] = _convert(leaf, np.stack(arrays), rows)
        return entries

    def logged(self, observation: Any, num_envs: int) -> dict[str, np.ndarray]:
        """Returns the numbers under "log/" of a batched native observation, float64 ``[N]`` by name."""
        return {
            path_name(path): np.array(fetch(observation, path), np.float64).reshape(num_envs)
            for path, _ in self._logged
        }


def _size(space: spaces.Space) -> int:
    return int(np.prod(space.shape or (), dtype=np.int64))


def _left(names: list[str], config: EnvConfig) -> str:
    chosen = config.keys != EnvConfig().keys or config.ignore
    return (
        f": env.keys={config.keys!r}, env.ignore={config.ignore!r} leave none of {', '.join(names)}" if chosen else ""
    )


def _reading(name: str, space: spaces.Space, config: EnvConfig) -> Reading:
    """Returns how an entry is read. Raises EnvError if it is not supported."""
    if not isinstance(space, NUMERIC):
        kinds = "Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"
        out = f"use {kinds}, or leave it out by env.ignore={re.escape(name)}"
        shown = str(space) if len(str(space)) <= 60 else f"{type(space).__name__}(...)"
        raise EnvError(f"observation entry {name!r} has the space {shown}, which has no mapping: {out}")
    setting: Mapping[str, Any] = next((s for pattern, s in config.obs.items() if re.fullmatch(pattern, name)), {})
    return read(name, space, setting, config.layout)


def _encode(leaf: _ObsLeaf, native: Any, num_envs: int, rows: np.ndarray | None = None) -> np.ndarray:
    array = np.asarray(native)
    if array.shape != (num_envs, *leaf.shape):
        wanted = (num_envs, *leaf.shape)
        raise EnvError(f"observation entry {leaf.name!r} of {num_envs} rows has shape {array.shape}, not {wanted}")
    if array.dtype.kind not in "biuf":
        raise EnvError(f"observation entry {leaf.name!r} holds {array.dtype}, not numbers")
    return _convert(leaf, array if rows is None else array[rows], rows)


def _convert(leaf: _ObsLeaf, array: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    reading, spec = leaf.reading, leaf.spec
    if spec.kind == "mask":
        return array.reshape(len(array), *spec.shape) != 0
    if spec.classes:
        if np.any(reading.low):
            array = array.astype(np.result_type(array, np.int64)) - reading.low
        top = spec.classes - 1
        good = (array >= 0) & (array <= top)
        if array.dtype.kind == "f":
            good &= array == np.floor(array)
        problem = f"not in 0..{top} after subtracting the lowest value; widen its space, or set classes by env.obs"
        _require_rows(good, leaf.name, array, rows, problem)
    elif reading.high is not None:
        low, span = np.asarray(reading.low), np.asarray(reading.high) - np.asarray(reading.low)
        array = np.clip((array - low) / np.where(span > 0, span, 1), 0, 1)  # NaN stays
    elif spec.dtype == "uint8" and array.dtype != np.uint8:
        good = (array >= 0) & (array <= 255) & (array == np.floor(array))
        _require_rows(good, leaf.name, array, rows, "not a whole number in 0..255")
    if reading.axes:
        array = array.transpose(0, *(axis + 1 for axis in reading.axes))
    array = array.reshape(len(array), *spec.shape)
    with np.errstate(over="ignore"):  # values too large for float32 are reported below
        record = np.array(array, dtype=spec.dtype)
    if record.dtype.kind == "f":
        problem = f"not finite; return finite numbers, or leave it out by env.ignore={re.escape(leaf.name)}"
        _require_rows(np.isfinite(record), leaf.name, record, rows, problem)
    return record


def _require_rows(good: np.ndarray, name: str, array: np.ndarray, rows: np.ndarray | None, problem: str) -> None:
    if not good.all():
        row, *place = map(int, np.argwhere(~good)[0])
        env = row if rows is None else int(rows[row])
        raise EnvError(f"environment {env}: observation entry {name!r} is {array[(row, *place)]} at {place}: {problem}")
