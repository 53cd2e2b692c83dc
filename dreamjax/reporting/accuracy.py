"""How often a world model's predictions of boards and other grids are exactly right: the counting, and a table."""

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
    """Totals over the steps of each window, for one observation of kind "grid".

    Args:
        entry: of the observation, with ``D`` cells.
        real, dream: ``[B, T, ...]``, following: ``[B, T-1, ...]``; "real", "dream" and "next" of
            ``agents.agent.make_open_loop`` with this ``context``.
        valid: bool ``[B, T]``, records of the window's episode.
        begins: bool ``[B]``, windows that begin an episode. In the others the first ``context`` steps lack what came
            before, and are for the model to see alone.
        cleared: float ``[B, T]``, lines cleared on arriving at a record, NaN where it is not known.
        context: steps that the model saw. horizons: steps of open loop after them; each below ``T - context + 1``.

    Returns:
        By row, "next" (one step ahead), "next_clearing" (of these the steps that cleared a line) and "open_loop_<k>", and
        by measure float64 ``[B]``: "steps"; "exact", whole grids that are right; "cells", shares of cells that are right;
        and both with "_unchanged" for the guess that nothing changes since what the model saw last.
    """
    one_ahead = counted_steps(valid, begins, context)
    rows = {
        "next": (real[:, 1:], following, real[:, :-1], one_ahead),
        "next_clearing": (real[:, 1:], following, real[:, :-1], one_ahead & (np.nan_to_num(cleared[:, 1:]) > 0)),
    }
    for k in horizons:
        at = slice(context - 1 + k, context + k)
        rows[f"open_loop_{k}"] = (real[:, at], dream[:, at], real[:, context - 1 : context], valid[:, at])
    return {name: _sums(entry, *row) for name, row in rows.items()}


def counted_steps(valid: np.ndarray, begins: np.ndarray, context: int) -> np.ndarray:
    """Bool ``[B, T-1]``: the steps one ahead that count; the arguments are those of ``count_correct``."""
    index = np.arange(1, valid.shape[1])
    return valid[:, 1:] & (begins[:, None] | (index >= context)[None])


def _sums(
    entry: ObsSpec, real: np.ndarray, guess: np.ndarray, unchanged: np.ndarray, counted: np.ndarray
) -> dict[str, np.ndarray]:
    flat = (*counted.shape, entry.size)
    sums = {"steps": counted.sum(1).astype(np.float64)}
    for suffix, told in (("", np.rint(guess)), ("_unchanged", unchanged)):
        right = (real == told).reshape(flat)
        sums[f"exact{suffix}"] = np.where(counted, right.all(-1), 0).sum(1).astype(np.float64)
        sums[f"cells{suffix}"] = np.where(counted, right.mean(-1), 0.0).sum(1)
    return sums


def accuracy(sums: AccuracyTotals, episode: np.ndarray) -> dict[str, dict[str, Any]]:
    """Shares from the sums of windows.

    Args:
        sums: of ``count_correct``. episode: int ``[B]``, which episode each window is of; negative ones are left out.

    Returns:
        By row ``{"steps": count, measure: {"mean", "stderr"}}``; see ``share``.
    """
    count = int(episode.max(initial=-1)) + 1
    kept = episode >= 0

    def by_episode(values: np.ndarray) -> np.ndarray:
        return np.bincount(episode[kept], values[kept], minlength=count)

    result: dict[str, dict[str, Any]] = {}
    for row, of in sums.items():
        steps = by_episode(of["steps"])
        result[row] = {"steps": int(steps.sum())} | {name: share(by_episode(of[name]), steps) for name in MEASURES}
    return result


def share(right: np.ndarray, steps: np.ndarray) -> dict[str, float | None]:
    """``sum(right) / sum(steps)`` and its standard error, None where there is none.

    Steps of one episode are alike, so the error is that of a ratio over independent episodes (Cochran 1977, 6.4):
    ``sqrt(E / (E - 1) sum((right - share steps)^2)) / sum(steps)``, with ``E`` episodes that have steps.

    Args:
        right, steps: float ``[episodes]``.
    """
    total, episodes = steps.sum(), int((steps > 0).sum())
    if not total:
        return {"mean": None, "stderr": None}
    mean = float(right.sum() / total)
    if episodes < 2:
        return {"mean": mean, "stderr": None}
    squares = float(np.square(right - mean * steps).sum())
    return {"mean": mean, "stderr": (episodes / (episodes - 1) * squares) ** 0.5 / float(total)}


def table(result: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The shares of one observation as text, in per cent."""
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
