"""Rank correlation, the summary of disagreement, and its map."""

from __future__ import annotations

import numpy as np
import pytest

from dreamjax.reporting import uncertainty
from dreamjax.reporting import visualization as vis
from dreamjax.types import ObsSpec


def test_ranks_of_equal_values_are_their_mean():
    np.testing.assert_array_equal(uncertainty.ranks(np.array([10.0, 30.0, 20.0])), [1, 3, 2])
    np.testing.assert_array_equal(uncertainty.ranks(np.array([5.0, 1.0, 5.0, 5.0, 9.0])), [3, 1, 3, 3, 5])


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 1000], 1.0),  # any rising function
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 1 - 6 * 4 / (5 * 24)),  # 1 - 6 sum d^2 / (n (n^2 - 1))
        ([1, 1, 2], [1, 2, 3], 1.5 / np.sqrt(1.5 * 2)),  # ranks 1.5, 1.5, 3 and 1, 2, 3
        ([1, 1, 1], [1, 2, 3], None),
    ],
)
def test_rank_correlation_by_hand(left, right, expected):
    got = uncertainty.rank_correlation(np.array(left), np.array(right))
    assert got is None if expected is None else got == pytest.approx(expected)


def test_rank_correlation_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    left = rng.integers(0, 20, 200)
    right = left + rng.integers(0, 30, 200)
    assert uncertainty.rank_correlation(left, right) == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-12)


def test_summary_sorts_errors_by_disagreement():
    disagreement = np.array([0.4, 0.1, 0.3, 0.2, 0.8, 0.7, 0.6, 0.5])
    result = uncertainty.summary(disagreement, {"members": 10 * disagreement, "world_model": -disagreement})
    assert result["steps"] == 8
    assert result["members"]["rank_correlation"] == 1.0
    assert result["world_model"]["rank_correlation"] == pytest.approx(-1.0)
    np.testing.assert_allclose(result["members"]["error_by_quarter"], [1.5, 3.5, 5.5, 7.5])
    shown = uncertainty.table(result)
    assert "1.000" in shown and "1.5  3.5  5.5  7.5" in shown


def test_the_map_shows_where_disagreement_is_high():
    """Two steps of the episode; the second has the greatest disagreement: a red frame and a full bar."""
    entry = ObsSpec("grid", (1, 4, 4), "uint8", classes=2)
    result = {
        "real": {"board": np.zeros((1, 4, 1, 4, 4), np.uint8)},
        "valid": np.array([[True, True, True, False]]),
        "disagreement": np.array([[0.0, 2.0, 9.0]]),
        "error_members": np.array([[4.0, 1.0, 9.0]]),
    }
    picture = uncertainty.disagreement_map("board", entry, result, 0)
    one = vis.picture(entry, result["real"]["board"][0, 0])
    width = one.shape[1] + 8
    assert picture.shape == (one.shape[0] + 8 + 4 + uncertainty.BAR, 2 * width + 4, 3)
    assert tuple(picture[0, 0]) == uncertainty.LOW
    assert tuple(picture[0, width + 4]) == uncertainty.HIGH
    bars = picture[-uncertainty.BAR :]
    heights = [int(np.any(bars[:, x] > 0, -1).sum()) for x in (width // 4, 3 * width // 4, width + 4 + width // 4)]
    assert heights == [0, uncertainty.BAR, uncertainty.BAR]
    assert np.any(bars[:, width + 4 + 3 * width // 4] > 0, -1).sum() == uncertainty.BAR // 4
