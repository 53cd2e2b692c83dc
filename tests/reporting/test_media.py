"""Pictures are read back unchanged."""

import numpy as np
import pytest
from PIL import Image

from dreamjax.reporting.media import write_gif, write_png


def solid(*color, size=(6, 10)):
    return np.full((*size, 3), color, np.uint8)


def test_png_round_trip(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = write_png(tmp_path / "new" / "a.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(path).convert("RGB")), picture)
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_gif_keeps_frames_colors_and_time(tmp_path):
    frames = [solid(10 * i, 255 - 10 * i, 77) for i in range(8)]
    path = write_gif(tmp_path / "a.gif", frames, frames_per_second=4)
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["duration"], image.info["loop"]) == (8, (10, 6), 250, 0)
        for i, frame in enumerate(frames):
            image.seek(i)
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), frame)


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)])
def test_wrong_pictures_are_refused_and_nothing_is_written(tmp_path, picture):
    with pytest.raises(ValueError, match=r"a picture is uint8 \[H, W, 3\]"):
        write_png(tmp_path / "a.png", picture)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = write_png(tmp_path / "a.png", solid(1, 2, 3))
    old = path.read_bytes()

    def fail(self, file, **options):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_png(path, solid(9, 9, 9))
    assert path.read_bytes() == old and len(list(tmp_path.iterdir())) == 1


def test_gif_needs_frames_of_one_size(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        write_gif(tmp_path / "a.gif", [])
    with pytest.raises(ValueError, match="different shapes"):
        write_gif(tmp_path / "a.gif", [solid(0, 0, 0), solid(0, 0, 0, size=(6, 11))])
