"""PNG and GIF files from arrays, written atomically."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dreamjax.files import atomic_file


def write_png(path: str | Path, picture: np.ndarray) -> Path:
    """Writes a picture uint8 ``[H, W, 3]`` and returns its path.

    Raises:
        ValueError: if the picture has another shape or dtype.
    """
    return _save(path, _image(picture), format="PNG")


def write_gif(path: str | Path, frames: Sequence[np.ndarray], *, frames_per_second: float = 5.0) -> Path:
    """Writes frames uint8 ``[H, W, 3]`` of equal size as a looping GIF and returns its path.

    All frames share one palette without dithering, so that up to 256 colors in total are exact. Pillow joins
    consecutive equal frames into one that is shown longer.

    Raises:
        ValueError: if there are no frames, or frames have different sizes or a wrong shape or dtype.
    """
    if not frames:
        raise ValueError("a GIF needs at least one frame")
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError(f"frames have different shapes: {sorted({frame.shape for frame in frames})}")
    images = [_image(frame) for frame in frames]
    # One palette for all frames, so that colors do not flicker.
    palette = _image(np.concatenate(frames)).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    paletted = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    return _save(
        path, paletted[0], format="GIF", save_all=True, append_images=paletted[1:], loop=0,
        duration=round(1000 / frames_per_second), disposal=1, optimize=False,
    )  # fmt: skip


def _image(picture: np.ndarray) -> Image.Image:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f"a picture is uint8 [H, W, 3], not {picture.dtype} {picture.shape}")
    return Image.fromarray(np.ascontiguousarray(picture))


def _save(path: str | Path, image: Image.Image, **options: object) -> Path:
    with atomic_file(path) as temporary:
        image.save(temporary, **options)  # type: ignore[arg-type]
    return Path(path)
