"""Counting predictions of boards, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dreamjax.reporting.accuracy import MEASURES, accuracy, count_correct, ratio, table
from dreamjax.types import ObsSpec

GRID = ObsSpec("grid", (1, 1, 4), "uint8", classes=2)


def boards(*steps: int) -> np.ndarray:
    """One window ``[1, T, 1, 1, 4]``; the n-th board has its first n cells set."""
    return np.array([[[[[int(i < n) for i in range(4)]]] for n in steps]], np.uint8)


def count(**changes):
    """A window of five records; the model is right at steps 1 and 3, a cell wrong at 2, three at 4."""
    given = {
        "real": boards(0, 1, 1, 2, 3),
        "following": boards(1, 2, 2, 0) + 0.2,  # predictions are rounded
        "dream": boards(0, 1, 1, 2, 4),
        "valid": np.ones((1, 5), bool),
        "begins": np.array([True]),
        "cleared": np.array([[np.nan, 0, 1, 1, 0]]),
        "context": 2,
        "horizons": (1, 3),
    } | changes
    return count_correct(GRID, **given)


def of(sums, row):
    return {name: float(values[0]) for name, values in sums[row].items()}


def test_one_step_ahead_by_hand():
    assert of(count(), "next") == {
        "steps": 4,
        "exact": 2, "cells": 1 + 3 / 4 + 1 + 1 / 4,
        # Unchanged: one cell off at steps 1, 3 and 4.
        "exact_unchanged": 1, "cells_unchanged": 3 / 4 + 1 + 3 / 4 + 3 / 4,
    }  # fmt: skip


def test_steps_that_cleared_a_line():
    assert of(count(), "next_clearing") == {
        "steps": 2, "exact": 1, "cells": 7 / 4, "exact_unchanged": 1, "cells_unchanged": 7 / 4,
    }  # fmt: skip
    nowhere = count(cleared=np.full((1, 5), np.nan))["next_clearing"]
    assert not any(values.any() for values in nowhere.values())


def test_open_loop_by_hand_is_compared_with_the_last_observed_board():
    sums = count()
    assert of(sums, "open_loop_1") == {
        "steps": 1, "exact": 1, "cells": 1, "exact_unchanged": 1, "cells_unchanged": 1,
    }  # fmt: skip
    # Step 4: real 3, dreamed 4, seen last 1.
    assert of(sums, "open_loop_3") == {
        "steps": 1, "exact": 0, "cells": 3 / 4, "exact_unchanged": 0, "cells_unchanged": 2 / 4,
    }  # fmt: skip


def test_a_window_inside_an_episode_counts_only_after_its_context():
    sums = of(count(begins=np.array([False])), "next")
    assert (sums["steps"], sums["exact"], sums["cells"]) == (3, 1, 3 / 4 + 1 + 1 / 4)


def test_steps_after_the_end_are_not_counted():
    sums = count(valid=np.array([[True, True, True, False, False]]))
    assert of(sums, "next")["steps"] == 2 and of(sums, "next_clearing")["steps"] == 1
    assert of(sums, "open_loop_1")["steps"] == 1
    assert set(of(sums, "open_loop_3").values()) == {0}


def test_ratios_are_over_all_steps_and_skip_windows_without_an_episode():
    row = {name: np.array([2.0, 1.0, 0.0, 9.0]) for name in MEASURES} | {"steps": np.array([2.0, 2.0, 4.0, 9.0])}
    result = accuracy({"next": row}, np.array([0, 0, 1, -1]))["next"]
    assert result["steps"] == 8
    # Episodes of 3 of 4 and 0 of 4.
    assert result["cells"] == {"mean": 3 / 8, "stderr": pytest.approx((2 * (1.5**2 + 1.5**2)) ** 0.5 / 8)}


def test_the_error_of_equal_episodes_is_that_of_a_mean_and_skips_episodes_without_steps():
    right, steps = np.array([1.0, 4.0, 2.0, 5.0]), np.full(4, 5.0)
    expected = {"mean": pytest.approx(0.6), "stderr": pytest.approx(np.std(right / 5, ddof=1) / 2)}
    assert ratio(right, steps) == expected
    assert ratio(np.append(right, 0), np.append(steps, 0)) == expected
    assert ratio(np.array([1.0]), np.array([2.0])) == {"mean": 0.5, "stderr": None}
    assert ratio(np.zeros(2), np.zeros(2)) == {"mean": None, "stderr": None}


def test_the_table():
    text = table(accuracy(count(), np.array([0])), "board")
    assert [line[:26].rstrip() for line in text.splitlines()] == [
        "board", "next", "next, a line cleared", "open loop, step 1", "open loop, step 3",
    ]  # fmt: skip
    assert text.splitlines()[1].split() == ["next", "4", "50.00", "%", "25.00", "%", "75.00", "%", "81.25", "%"]
    nothing = accuracy(count(valid=np.array([[True] + [False] * 4])), np.array([0]))
    assert table(nothing, "board").splitlines()[1].split() == ["next", "0", "-", "-", "-", "-"]
