"""How arrays are read: as an image, a grid, a vector or discrete values, and which axis holds the channels.

Of a Box, the first of these lines that holds:

- integers of rank 2 to 4 with at most 32 values: "grid" uint8 ``(C, H, W)``, minus the lowest value;
- integers in 0..255 of rank 3 or 4 with both sides at least 3, uint8 of rank 2 with both at least 5: "image" uint8
  ``(H, W, C)``;
- floats with finite bounds, of rank 3 or 4 with both sides at least 5, or of rank 2 with both at least 32: "image" float32
  ``(H, W, C)``, scaled by the bounds to [0, 1]; other integers likewise, with sides of at least 16;
- any other: "vector" float32, flattened.

Channels are the last axis or the first. Two signs tell: the smaller of the two is the channels, and an image is square.
Where they disagree the square decides; where neither tells, the last axis, as in Gymnasium. Unless there are at most 4
channels, the reading has a ``note`` wherever the signs do not agree. An array of rank 4 is a stack of images, whose
channels follow one another. ``env.layout`` and ``env.obs`` set what these rules do not find.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from dreamjax.envs.checks import EnvError
from dreamjax.types import ObsSpec

GRID_CLASSES = 32  # a Box of integers with more values than this is a vector or an image, not a grid
UNBOUNDED = 1e30  # a bound of at least this magnitude counts as no bound
COLORS = 4  # an axis of at most this length is channels
TINY = 3  # the least side of an image of bytes with a channel axis
SMALL = 5  # the least side of another image; of two axes of a vector, one is usually shorter
SURE = 8  # a uint8 array of rank 2 with a shorter side than this may be something else than an image
MATRIX = 32  # the least side of an image of floats without a channel axis
LARGE = 4096  # a vector of more numbers than this is pointed out


@dataclass(frozen=True)
class Reading:
    """How one native array ``[N, *shape]`` becomes a record entry ``[N, *spec.shape]``.

    Attributes:
        spec: the entry.
        axes: permutation of the native axes, before reshaping; () keeps them.
        low: subtracted. high: where it is not None, ``low``..``high`` are scaled to [0, 1], and what is outside is clipped.
            Numbers, or arrays of the native shape.
        note: what is not sure about the reading, and the field that changes it; "" if it is sure.
    """

    spec: ObsSpec
    axes: tuple[int, ...] = ()
    low: Any = 0
    high: Any = None
    note: str = ""


def read(name: str, space: spaces.Space, setting: Mapping[str, Any], layout: str) -> Reading:
    """Returns the reading of one space that is neither Dict nor Tuple.

    Args:
        name: of the entry. setting: of ``env.obs`` for it; empty for none. layout: ``env.layout``.

    Raises:
        EnvError: if the space has no entry, or does not go with the setting.
    """
    shape = tuple(space.shape or ())
    size = int(np.prod(shape, dtype=np.int64))
    if size == 0:
        raise EnvError(f"observation entry {name!r} is empty: {space}")
    if isinstance(space, spaces.Box) and not setting and layout == "legacy":
        return _legacy_box(space) or Reading(ObsSpec("vector", (size,), "float32"))
    if isinstance(space, spaces.Box) or setting.get("kind"):
        return _Box(name, space, setting, layout).read()
    if isinstance(space, spaces.Discrete):
        return Reading(ObsSpec("discrete", (1,), "int32", int(space.n)), low=int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        return Reading(ObsSpec("discrete", (size,), "int32", int(space.nvec.max())), low=np.asarray(space.start))
    return Reading(ObsSpec("vector", (size,), "float32"))  # MultiBinary


class _Box:
    """An array of numbers between bounds, and what is set for it."""

    def __init__(self, name: str, space: spaces.Space, setting: Mapping[str, Any], layout: str) -> None:
        self.name, self.space, self.setting = name, space, setting
        self.shape = tuple(space.shape or ())
        self.integer = np.dtype(space.dtype).kind in "iub"
        low, high = _bounds(space)
        self.low, self.high = setting.get("low", low), setting.get("high", high)
        self.channels = setting.get("channels") or layout.removeprefix("channels_")
        if self.channels not in ("first", "last"):
            self.channels = None
        self.field = f"env.obs={{{name!r}: "

    @property
    def finite(self) -> bool:
        return float(np.min(self.low)) > -UNBOUNDED and float(np.max(self.high)) < UNBOUNDED

    @property
    def values(self) -> float:
        """The number of different integers between the bounds."""
        return float(np.max(self.high)) - float(np.min(self.low)) + 1

    def read(self) -> Reading:
        readers = {"image": self.image, "grid": self.grid, "vector": self.vector, "discrete": self.discrete}
        return readers[self.setting.get("kind") or self.kind()]()

    def kind(self) -> str:
        """Returns the kind by the rules of this module."""
        rank, sides = len(self.shape), self.sides()
        if self.integer and rank in (2, 3, 4) and self.values <= GRID_CLASSES:
            return "grid"
        if self.integer and rank in (3, 4) and self._is_byte():
            return "image" if min(sides) >= TINY else "vector"
        if np.dtype(self.space.dtype) == np.uint8 and rank == 2 and min(sides) >= SMALL:
            return "image"
        least = MATRIX if rank == 2 else 2 * SURE if self.integer else SMALL
        return "image" if rank in (2, 3, 4) and self.finite and min(sides) >= least else "vector"

    def sides(self) -> tuple[int, ...]:
        """Returns height and width of an array of rank 2 to 4, the shape of another."""
        if len(self.shape) not in (2, 3, 4):
            return self.shape
        return self.arranged()[1][:2]

    def arranged(self) -> tuple[tuple[int, ...], tuple[int, int, int], str]:
        """Returns axes for ``(H, W, C)``, that shape, and a note where the axis of the channels is not sure."""
        shape = self.shape
        axes: tuple[int, ...]
        if len(shape) == 2:
            return (0, 1), (*shape, 1), ""
        if len(shape) == 3:
            last, sure = (True, True) if self.channels == "last" else (False, True)
            if self.channels is None:
                last, sure = channels_last(*shape)
            axes = (0, 1, 2) if last else (1, 2, 0)
            height, width, channels = (shape[axis] for axis in axes)
            return axes, (height, width, channels), "" if sure else self._layout_note(height, width, channels, last)
        if self.channels is None and min(shape[:2]) > COLORS and max(shape[2:]) <= COLORS:
            return (0, 1, 2, 3), (shape[0], shape[1], shape[2] * shape[3]), ""  # stacked behind the channels
        last, sure = (self.channels == "last", True) if self.channels else channels_last(*shape[1:])
        axes = (1, 2, 0, 3) if last else (2, 3, 0, 1)
        height, width, count, channels = (shape[axis] for axis in axes)
        note = "" if sure else self._layout_note(height, width, channels, last, f"{count} frames of ")
        return axes, (height, width, count * channels), note

    def image(self) -> Reading:
        if len(self.shape) not in (2, 3, 4):
            raise self._refused("image", f"must have 2 to 4 axes, not shape {self.shape}")
        axes, shape, note = self.arranged()
        sure = "kind" in self.setting or (np.dtype(self.space.dtype) == np.uint8 and min(shape[:2]) >= SURE)
        if len(self.shape) == 2 and not sure:
            note = f"{self._read_as} an image of {shape[0]} x {shape[1]}: {self._say('kind', 'vector')} if it is none"
        if self.integer and self._is_byte() and not {"low", "high"} & self.setting.keys():
            return Reading(ObsSpec("image", shape, "uint8"), axes, note=note)
        if not self.finite:
            raise self._refused("image", "must have finite bounds: set low and high, which are scaled to [0, 1]")
        scaled = np.any(np.asarray(self.low) != 0) or np.any(np.asarray(self.high) != 1)
        low, high = (self.low, self.high) if scaled else (0, None)
        return Reading(ObsSpec("image", shape, "float32"), axes, low, high, note)

    def grid(self) -> Reading:
        if len(self.shape) not in (2, 3, 4):
            raise self._refused("grid", f"must have 2 to 4 axes, not shape {self.shape}")
        axes, (height, width, channels), note = self.arranged()
        axes = axes if len(axes) == 2 else (*axes[2:], *axes[:2])  # channels first
        low, classes = self._classes("grid")
        return Reading(ObsSpec("grid", (channels, height, width), "uint8", classes), axes, low, note=note)

    def discrete(self) -> Reading:
        low, classes = self._classes("discrete")
        return Reading(ObsSpec("discrete", (max(1, int(np.prod(self.shape))),), "int32", classes), low=low)

    def vector(self) -> Reading:
        size, rank, note = int(np.prod(self.shape, dtype=np.int64)), len(self.shape), ""
        picture = rank in (3, 4) and min(self.sides()) >= SURE and not self.finite
        if rank > 1 and (size >= LARGE or picture) and "kind" not in self.setting:
            image = "{'kind': 'image', 'low': LOW, 'high': HIGH}"
            why = "" if self.finite else " (it has no finite bounds)"
            note = f"{self._read_as} a vector of {size:,} numbers{why}: if it is an image, say {self.field}{image}}}"
        return Reading(ObsSpec("vector", (size,), "float32"), note=note)

    def _classes(self, kind: str) -> tuple[Any, int]:
        """Returns the lowest integer and the number of classes."""
        low = self.low if isinstance(self.space, spaces.MultiDiscrete) else float(np.min(self.low))
        classes = self.setting.get("classes") or self.values
        if "classes" in self.setting and "low" not in self.setting and np.any(np.abs(low) > 256):
            low = 0  # such a bound is no class
        if not classes <= 256 or not np.all(np.abs(low) < UNBOUNDED):
            raise self._refused(kind, f"must have at most 256 classes: set classes ({self.space})")
        return np.asarray(low, np.int64), max(int(classes), 2)

    def _is_byte(self) -> bool:
        return float(np.min(self.low)) >= 0 and float(np.max(self.high)) <= 255

    @property
    def _read_as(self) -> str:
        return f"observation entry {self.name!r} {self.shape} is read as"

    def _say(self, key: str, value: str) -> str:
        return f"say {self.field}{{{key!r}: {value!r}}}}}"

    def _layout_note(self, height: int, width: int, channels: int, last: bool, frames: str = "") -> str:
        other = "first" if last else "last"
        say = (
            f"say env.layout=channels_{other}, or for this entry {self.field}{{'channels': {other!r}}}}}, to change it"
        )
        return f"{self._read_as} {frames}{channels} channels of {height} x {width}: {say}"

    def _refused(self, kind: str, allowed: str) -> EnvError:
        return EnvError(f"env.obs: kind={kind!r} is not allowed for observation entry {self.name!r}: {allowed}")


def channels_last(first: int, middle: int, last: int) -> tuple[bool, bool]:
    """Returns whether the last of three axes holds the channels, and whether that is sure; see the module."""
    smaller = None if first == last else last < first
    square = None if (first == middle) == (middle == last) else first == middle
    if smaller is not None and (min(first, last) <= COLORS < max(first, last) or smaller == square):
        return smaller, True
    signs = [sign for sign in (square, smaller) if sign is not None]
    return (signs[0] if signs else True), False


def _bounds(space: spaces.Space) -> tuple[Any, Any]:
    """Returns the lowest and highest values: numbers, or arrays of the space's shape where they differ in it."""
    if isinstance(space, spaces.Box):
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        same = (low == low.flat[0]).all() and (high == high.flat[0]).all()
        return (float(low.flat[0]), float(high.flat[0])) if same else (low, high)
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return np.asarray(space.start), np.asarray(space.start + space.nvec - 1)
    return 0, 1


# Runs of versions before ``env.layout``: by size alone, the smaller axis of a grid, and of an image nearly always the last.


def _legacy_box(space: spaces.Box) -> Reading | None:
    """Returns the reading of a grid or an image in those versions, or None for a vector."""
    shape = tuple(space.shape or ())
    low, high = float(space.low.min()), float(space.high.max())
    if np.dtype(space.dtype).kind in "iub":
        if len(shape) in (2, 3) and high - low < GRID_CLASSES:
            axes = (0, 1) if len(shape) == 2 else (0, 1, 2) if shape[0] <= shape[2] else (2, 0, 1)
            grid = (1, *shape) if len(shape) == 2 else tuple(shape[axis] for axis in axes)
            return Reading(ObsSpec("grid", grid, "uint8", int(high - low) + 1), axes, int(low))
        ranks = (2, 3, 4) if space.dtype == np.uint8 else (3, 4)
        return _legacy_image(shape, "uint8") if len(shape) in ranks and low >= 0 and high <= 255 else None
    return _legacy_image(shape, "float32") if len(shape) == 3 and low >= 0 and high <= 1 else None


def _legacy_image(shape: tuple[int, ...], dtype: str) -> Reading:
    if len(shape) == 2:
        return Reading(ObsSpec("image", (*shape, 1), dtype), (0, 1))
    if len(shape) == 4:
        return Reading(ObsSpec("image", (shape[1], shape[2], shape[0] * shape[3]), dtype), (1, 2, 0, 3))
    axes = (1, 2, 0) if shape[2] > 4 and shape[2] > shape[0] else (0, 1, 2)
    return Reading(ObsSpec("image", tuple(shape[axis] for axis in axes), dtype), axes)
