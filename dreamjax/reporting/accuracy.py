"""Accuracy of the predictions of a world model for boards and other grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dreamjax.types import ObsSpec

MEASURES = ("exact", "exact_unchanged", "cells", "cells_unchanged")
AccuracyTotals = dict[str, dict[str, np.ndarray]]


def count_correct(
    entry: ObsSpec,
    real: np.ndarray,
    following: np.ndarray,
    dream: np.ndarray,
    *,
    valid: np.ndarray,
    begins: np.ndarray,
    cleared: np.ndarray,
    context: int,
    horizons: Sequence[int],
) -> AccuracyTotals:
    """Counts correct predictions in each window, for one observation of kind "grid".

    Args:
        entry: specification of the observation.
        real, dream: ``[B, T, ...]``, the entries "real" and "dream" of the open loop with this ``context``.
        following: ``[B, T-1, ...]``, its entry "next": predictions one step ahead.
        valid: bool ``[B, T]``, records of the episode of the window.
        begins: bool ``[B]``, whether the window starts an episode. If not, the first ``context`` predictions are not
            counted, since the model has not seen the steps before the window.
        cleared: float ``[B, T]``, lines cleared on arriving at a record; NaN if not known.
        context: number of steps that the model observes.
        horizons: numbers of open-loop steps after the context; each below ``T - context + 1``.

    Returns:
        Totals float64 ``[B]`` by row and measure. Rows: "next" (one step ahead), "next_clearing" (only steps that clear a
        line), "open_loop_<k>". Measures: "steps"; "exact", the number of entirely correct grids; "cells", the sum of the
        fractions of correct cells; and both with "_unchanged", for the guess that the last observed grid does not change.
    """
    one_ahead = counted_steps(valid, begins, context)
    rows = {
        "next": (real[:, 1:], following, real[:, :-1], one_ahead),
        "next_clearing": (real[:, 1:], following, real[:, :-1], one_ahead & (np.nan_to_num(cleared[:, 1:]) > 0)),
    }
    for k in horizons:
        at = slice(context - 1 + k, context + k)
        rows[f"open_loop_{k}"] = (real[:, at], dream[:, at], real[:, context - 1 : context], valid[:, at])
    return {name: _totals(entry, *row) for name, row in rows.items()}


def counted_steps(valid: np.ndarray, begins: np.ndarray, context: int) -> np.ndarray:
    """Returns bool ``[B, T-1]``, which predictions one step ahead are counted; arguments as in ``count_correct``."""
    index = np.arange(1, valid.shape[1])
    return valid[:, 1:] & (begins[:, None] | (index >= context)[None])


def _totals(
    entry: ObsSpec, real: np.ndarray, guess: np.ndarray, unchanged: np.ndarray, counted: np.ndarray
) -> dict[str, np.ndarray]:
    flat = (*counted.shape, entry.size)
    totals = {"steps": counted.sum(1).astype(np.float64)}
    for suffix, prediction in (("", np.rint(guess)), ("_unchanged", unchanged)):
        correct = (real == prediction).reshape(flat)
        totals[f"exact{suffix}"] = np.where(counted, correct.all(-1), 0).sum(1).astype(np.float64)
        totals[f"cells{suffix}"] = np.where(counted, correct.mean(-1), 0.0).sum(1)
    return totals


def accuracy(totals: AccuracyTotals, episode: np.ndarray) -> dict[str, dict[str, Any]]:
    """Computes accuracies from the totals of windows.

    Args:
        totals: the totals from ``count_correct``.
        episode: int ``[B]``, the episode of each window; windows with a negative one are not counted.

    Returns:
        By row ``{"steps": count, measure: {"mean", "stderr"}}``; see ``ratio``.
    """
    count = int(episode.max(initial=-1)) + 1
    kept = episode >= 0

    def by_episode(values: np.ndarray) -> np.ndarray:
        return np.bincount(episode[kept], values[kept], minlength=count)

    result: dict[str, dict[str, Any]] = {}
    for row, measures in totals.items():
        steps = by_episode(measures["steps"])
        result[row] = {"steps": int(steps.sum())}
        result[row] |= {name: ratio(by_episode(measures[name]), steps) for name in MEASURES}
    return result


def ratio(correct: np.ndarray, steps: np.ndarray) -> dict[str, float | None]:
    """Computes ``r = sum(correct) / sum(steps)`` and its standard error; None where it is not defined.

    The steps of an episode are correlated, so the error is that of a ratio over ``E`` independent episodes with steps
    (Cochran 1977, section 6.4): ``sqrt(E / (E - 1) sum((correct - r steps)^2)) / sum(steps)``.

    Args:
        correct, steps: float ``[episodes]``.
    """
    total, episodes = steps.sum(), int((steps > 0).sum())
    if not total:
        return {"mean": None, "stderr": None}
    mean = float(correct.sum() / total)
    if episodes < 2:
        return {"mean": mean, "stderr": None}
    squares = float(np.square(correct - mean * steps).sum())
    return {"mean": mean, "stderr": (episodes / (episodes - 1) * squares) ** 0.5 / float(total)}


def table(result: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """Formats the accuracies of one observation as a table in percent."""
    lines = [
        f"{name:<26}{'steps':>9}" + "".join(f"{title:>18}" for title in ("exact", "unchanged", "cells", "unchanged"))
    ]
    for row, values in result.items():
        shown = "".join(f"{_percent(values[measure]):>18}" for measure in MEASURES)
        lines.append(f"{_title(row):<26}{values['steps']:>9,}{shown}")
    return "\n".join(lines)


def _title(row: str) -> str:
    if row.startswith("open_loop_"):
        k = row.removeprefix("open_loop_")
        return f"open loop, step {k}"
    return {"next": "next", "next_clearing": "next, a line cleared"}[row]


def _percent(value: Mapping[str, float | None]) -> str:
    if value["mean"] is None:
        return "-"
    error = "" if value["stderr"] is None else f" ± {100 * value['stderr']:.2f}"
    return f"{100 * value['mean']:.2f}{error} %"
