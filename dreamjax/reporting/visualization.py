"""Pictures of observations. A picture is uint8 ``[H, W, 3]``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from dreamjax.types import ObsSpec

Color = tuple[int, int, int]

EMPTY: Color = (24, 24, 32)
PALETTE: tuple[Color, ...] = (
    (86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (204, 121, 167), (213, 94, 0), (0, 114, 178),
    (220, 220, 220),
)  # fmt: skip
MISSING: Color = (60, 120, 255)  # real, not dreamed
EXTRA: Color = (255, 120, 40)  # dreamed, not real
BACKGROUND: Color = (0, 0, 0)
STRIP_COLUMNS = 8  # entries of a vector per row of its picture


def enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """Repeats each pixel ``factor`` x ``factor`` times."""
    return picture.repeat(factor, 0).repeat(factor, 1)


def grid_picture(grid: np.ndarray, *, classes: int = 2, cell: int = 8) -> np.ndarray:
    """Draws a grid ``[C, H, W]`` as a picture ``[H * cell, W * cell, 3]``.

    With two classes each channel has a color, which is blended over the earlier channels by its value in [0, 1]. With
    more classes each class has a color (0 is empty), and the channels are drawn side by side.

    Raises:
        ValueError: if the grid has another rank.
    """
    grid = np.asarray(grid)
    if grid.ndim != 3:
        raise ValueError(f"grid has shape {grid.shape}, must be [C, H, W]")
    if classes > 2:
        colors = np.array([EMPTY, *(PALETTE[i % len(PALETTE)] for i in range(classes - 1))], np.uint8)
        values = np.clip(np.rint(grid), 0, classes - 1).astype(int)
        return tile([enlarge(colors[channel], cell) for channel in values], gap=cell // 2)
    picture = np.broadcast_to(np.array(EMPTY, np.float32), (*grid.shape[1:], 3))
    for i, channel in enumerate(np.clip(grid.astype(np.float32), 0, 1)[..., None]):
        picture = (1 - channel) * picture + channel * np.array(PALETTE[i % len(PALETTE)], np.float32)
    return enlarge(np.rint(picture).astype(np.uint8), cell)


def image_picture(image: np.ndarray, *, cell: int = 1) -> np.ndarray:
    """Draws an image ``[H, W, C]``, uint8 or float in [0, 1]; unless C is 3, its first channel in gray."""
    image = np.asarray(image)
    if image.dtype != np.uint8:
        image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return enlarge(image if image.shape[-1] == 3 else image[..., :1].repeat(3, -1), cell)


def vector_picture(vector: np.ndarray, *, scale: float = 1.0, cell: int = 8) -> np.ndarray:
    """Draws a vector ``[D]``, ``STRIP_COLUMNS`` entries per row: ``-scale`` is blue, 0 dark, ``scale`` orange."""
    flat = np.asarray(vector, np.float32).reshape(-1)
    columns = min(STRIP_COLUMNS, len(flat))
    lines = -(-len(flat) // columns)
    padded = np.pad(np.clip(flat / max(scale, 1e-12), -1, 1), (0, lines * columns - len(flat)))
    level = padded.reshape(lines, columns, 1)
    base = np.array(EMPTY, np.float32)
    up, down = np.array(EXTRA, np.float32), np.array(MISSING, np.float32)
    picture = base + np.maximum(level, 0) * (up - base) + np.maximum(-level, 0) * (down - base)
    return enlarge(np.rint(picture).astype(np.uint8), cell)


def picture(entry: ObsSpec, value: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
    """Draws one record of an observation entry; ``scale`` is the largest magnitude in a vector."""
    if entry.kind == "grid":
        return grid_picture(value, classes=entry.classes, cell=_cell(entry.shape[1:]))
    if entry.kind == "image":
        return image_picture(value, cell=_cell(entry.shape[:2]))
    return vector_picture(np.asarray(value).reshape(-1), scale=scale)


def difference(entry: ObsSpec, real: np.ndarray, dream: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
    """Draws the difference of two records, in the size of ``picture``.

    A cell of a grid is blue if it is set only in the real record and orange if it is set only in the dreamed one; with
    more than two classes, orange if the classes differ. Vectors: dream minus real. Images: absolute difference.
    """
    real, dream = np.asarray(real, np.float32), np.asarray(dream, np.float32)
    if entry.kind == "grid" and entry.classes > 2:
        wrong = (np.rint(real) != np.rint(dream)).astype(np.uint8)
        colors = np.array([EMPTY, EXTRA], np.uint8)
        cell = _cell(entry.shape[1:])
        return tile([enlarge(colors[channel], cell) for channel in wrong], gap=cell // 2)
    if entry.kind == "grid":
        delta = dream - real
        strongest = np.take_along_axis(delta, np.abs(delta).argmax(0)[None], 0)[0][..., None]
        base = np.array(EMPTY, np.float32)
        color = np.where(strongest > 0, np.array(EXTRA, np.float32), np.array(MISSING, np.float32))
        mixed = base + np.clip(np.abs(strongest), 0, 1) * (color - base)
        return enlarge(np.rint(mixed).astype(np.uint8), _cell(entry.shape[1:]))
    if entry.kind == "image":
        unit = 255.0 if entry.dtype == "uint8" else 1.0
        return image_picture(np.abs(dream - real) / unit, cell=_cell(entry.shape[:2]))
    return vector_picture((dream - real).reshape(-1), scale=scale)


def tile(pictures: Sequence[np.ndarray], *, gap: int = 4, axis: int = 1) -> np.ndarray:
    """Joins pictures from left to right (``axis`` 1) or top to bottom (0), ``gap`` pixels apart, padded to one size."""
    across = max(p.shape[1 - axis] for p in pictures)
    padded: list[np.ndarray] = []
    for i, p in enumerate(pictures):
        pad = [(0, 0), (0, 0), (0, 0)]
        pad[1 - axis] = (0, across - p.shape[1 - axis])
        pad[axis] = (gap if i else 0, 0)
        padded.append(np.pad(p, pad))  # zeros: BACKGROUND
    return np.concatenate(padded, axis)


def text(words: str, height: int, width: int) -> np.ndarray:
    """Writes words at the top left of a picture ``[height, width, 3]`` of the background's color."""
    image = Image.new("RGB", (width, height), BACKGROUND)
    ImageDraw.Draw(image).text((2, 0), words, fill=(200, 200, 200))
    return np.asarray(image)


def add_border(inside: np.ndarray, color: Color, *, width: int = 3) -> np.ndarray:
    """Adds a border of ``width`` pixels to a picture."""
    height, length, _ = inside.shape
    result = np.empty((height + 2 * width, length + 2 * width, 3), np.uint8)
    result[:] = color
    result[width:-width, width:-width] = inside
    return result


def _cell(sides: Sequence[int]) -> int:
    """Returns the pixels per cell for which the longer side has about 160 pixels."""
    return max(1, 160 // max(sides))
