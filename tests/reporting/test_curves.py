"""Curves have a panel for each metric that was logged, and show a single point."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dreamjax.reporting import curves
from dreamjax.reporting.curves import Curve, Panel, mean_band, mean_curve, read_curves, shown_panels

PANELS = (Panel("A", "a", "eval/a"), Panel("B", "b"), Panel("C", "c"))


def write(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_nulls_are_left_out_and_evaluations_have_errors(tmp_path):
    path = write(
        tmp_path / "m.jsonl",
        {"step": 1, "a": 0.5, "c": None},
        {"step": 2, "a": None},
        {"step": 3, "eval/a_mean": 2.0, "eval/a_stderr": 0.25},
        {"step": 4, "a": 1.5},
    )
    found = read_curves(path, PANELS)
    assert set(found) == {"a", "eval/a"}
    np.testing.assert_array_equal(found["a"], [[1, 4], [0.5, 1.5], [0, 0]])
    np.testing.assert_array_equal(found["eval/a"], [[3], [2.0], [0.25]])
    assert shown_panels(found, PANELS) == [PANELS[0]]


@pytest.mark.parametrize("count", [1, 2, curves.SMOOTH * 2])
def test_points_are_visible(count):
    """A single point is a dot; many points have a moving average of the right values at the right steps."""
    steps = np.arange(count, dtype=float)
    curve = Curve(steps, 2 * steps, np.zeros(count))
    axes = Figure().subplots()
    curves.draw(axes, PANELS[1], {"b": curve})
    first, *smooth = axes.lines
    assert (first.get_marker() == "o") == (count == 1)
    assert len(smooth) == (count >= 2 * curves.SMOOTH)
    for line in smooth:  # of a straight line the centered mean is the line, half a step off for an even window
        np.testing.assert_allclose(line.get_ydata(), 2 * (line.get_xdata() + 0.5))


def test_the_file_has_only_panels_with_something_to_show(tmp_path):
    path = write(tmp_path / "m.jsonl", {"step": 1, "a": 1.0}, {"step": 2, "c": 3.0})
    drawn = curves.plot_curves(path, tmp_path / "media" / "c.png", PANELS)
    with Image.open(drawn) as image:
        assert image.size == (round(2 * 4.2 * 110), round(3.0 * 110))
    assert curves.plot_curves(write(path, {"step": 1}), tmp_path / "none.png", PANELS) is None
    assert not (tmp_path / "none.png").exists()


def test_means_are_of_values_at_the_same_step():
    one = Curve(np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0]), np.zeros(3))
    other = Curve(np.array([5.0, 15.0, 30.0]), np.array([9.0, 9.0, 9.0]), np.zeros(3))
    mean = mean_curve([one, other])
    np.testing.assert_allclose(mean.step, [5, 10, 15, 20])
    np.testing.assert_allclose(mean.value, [7, 9.5, 12, 14.5])
    np.testing.assert_allclose(mean.error, np.abs(np.array([5, 10, 15, 20]) - 9) / 2)  # of two: half their difference
    np.testing.assert_array_equal(mean_curve([one]).error, [0, 0, 0])
    band = mean_band([one, other])
    np.testing.assert_allclose(band.step, [5, 10, 15, 20])
    np.testing.assert_allclose([band.mean, band.low, band.high], [[7, 9.5, 12, 14.5], [5, 9, 9, 9], [9, 10, 15, 20]])
    band = mean_band([one, other], "error")
    np.testing.assert_allclose([band.low, band.high], [[5, 9, 9, 9], [9, 10, 15, 20]])  # of two: the same
    third = Curve(np.array([0.0, 30.0]), np.array([9.0, 9.0]), np.zeros(2))
    band = mean_band([one, other, third], "error")  # 5, 9 and 9 at step 5: deviation of the sample 4 / sqrt(3)
    np.testing.assert_allclose([band.low[0], band.high[0]], [23 / 3 - 4 / 3, 23 / 3 + 4 / 3])
    assert mean_curve([one, Curve(np.array([30.0]), np.array([1.0]), np.zeros(1))]).step.size == 0
