"""Interquartile means and their intervals, against values by hand and SciPy's trimmed mean."""

import numpy as np
import pytest

from dreamjax.reporting.interquartile import bootstrap_interval, interquartile_mean


def test_a_quarter_at_each_end_is_left_out():
    assert interquartile_mean([8.0, 1.0, 3.0, 100.0]) == 5.5  # 1 and 100 are left out
    assert interquartile_mean([4.0, -9.0, 2.0, 3.0, 50.0, 7.0, 5.0]) == 4.2  # 7 // 4 = 1 at each end: 2, 3, 4, 5, 7
    assert interquartile_mean([1.0, 2.0, 6.0]) == 3.0  # 3 // 4 = 0: all of them
    np.testing.assert_array_equal(interquartile_mean([[0.0, 1, 2, 9], [9.0, 4, 0, 6]]), [1.5, 5.0])
    stats = pytest.importorskip("scipy.stats")
    for count in range(1, 14):  # rliable's definition, on runs x tasks
        values = np.random.default_rng(count).normal(size=(count, 3))
        expected = stats.trim_mean(values, proportiontocut=0.25, axis=None)
        assert interquartile_mean(values.ravel()) == pytest.approx(expected, rel=1e-12)


def test_each_task_is_drawn_from_its_own_runs():
    """Two tasks of two equal runs have one possible resample; drawn from all four runs, most would have another mean."""
    assert bootstrap_interval([np.array([0.0, 0.0]), np.array([10.0, 10.0])]) == (5.0, 5.0)


def test_the_interval_holds_its_share_of_the_resamples():
    """Of two runs 0 and 1 a resample's mean is 0, 0.5 or 1 with probability 1/4, 1/2, 1/4."""
    runs = [np.array([0.0, 1.0])]
    assert bootstrap_interval(runs) == (0.0, 1.0)
    assert bootstrap_interval(runs, confidence=0.4) == (0.5, 0.5)  # from the quantile 0.3 to 0.7
    assert bootstrap_interval(runs, resamples=1, seed=3) in {(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)}


def test_single_runs_have_no_interval():
    assert bootstrap_interval([np.array([1.0]), np.array([2.0])]) is None
    assert bootstrap_interval([np.array([1.0]), np.array([2.0, 2.0])]) == (pytest.approx(5 / 3),) * 2


def test_resamples_are_those_of_the_seed():
    runs = [np.random.default_rng(0).normal(size=9)]
    assert bootstrap_interval(runs, resamples=50) == bootstrap_interval(runs, resamples=50)
    assert bootstrap_interval(runs, resamples=50) != bootstrap_interval(runs, resamples=50, seed=1)
