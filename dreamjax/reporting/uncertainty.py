"""Disagreement of the ensemble compared with real prediction errors, as numbers and as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamjax.reporting import visualization as vis
from dreamjax.types import ObsSpec

ERRORS = {"members": "error_members", "world_model": "error_world_model"}
LOW: vis.Color = (40, 60, 160)  # color of the lowest disagreement
HIGH: vis.Color = (255, 80, 40)  # color of the highest disagreement
BAR = 48  # height of the highest bar, in pixels
MAP_STEPS = 16  # predictions in a map


def ranks(values: np.ndarray) -> np.ndarray:
    """Returns the ranks (from 1) of ``values [N]``; equal values get the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Computes Spearman's rank correlation of ``[N]`` pairs; None if one of the two is constant."""
    a, b = (ranks(np.asarray(x, np.float64)) - (len(x) + 1) / 2 for x in (left, right))
    spread = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / spread if spread > 0 else None


def summary(disagreement: np.ndarray, errors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Compares disagreement ``[N]`` with errors ``[N]`` of the same steps, by name of ``ERRORS``.

    Returns:
        ``{"steps", name: {"rank_correlation", "error_by_quarter"}}``. ``error_by_quarter`` is the mean error in each
        quarter of the steps, from lowest to highest disagreement.
    """
    quarters = np.array_split(np.argsort(disagreement, kind="stable"), 4)
    result: dict[str, Any] = {"steps": len(disagreement)}
    for name, error in errors.items():
        means = [float(error[part].mean()) if len(part) else None for part in quarters]
        result[name] = {"rank_correlation": rank_correlation(disagreement, error), "error_by_quarter": means}
    return result


def table(result: dict[str, Any]) -> str:
    """Formats a summary as a table."""
    titles = {"members": "error of the members' mean", "world_model": "error of the world model (nats)"}
    lines = [f"{'disagreement and':<34}{'rank correlation':>18}   mean error by quarter, lowest disagreement first"]
    for name, title in titles.items():
        rho, means = result[name]["rank_correlation"], result[name]["error_by_quarter"]
        shown = "  ".join("-" if mean is None else f"{mean:.3g}" for mean in means)
        lines.append(f"{title:<34}{'-' if rho is None else f'{rho:.3f}':>18}   {shown}")
    return "\n".join(lines)


def disagreement_map(name: str, entry: ObsSpec, result: dict[str, Any], window: int) -> np.ndarray:
    """Draws the disagreement of the ensemble along a window, as a picture ``[H, W, 3]``.

    From left to right the picture shows the observation before each of the first ``MAP_STEPS`` predictions, with a border
    from blue (lowest disagreement of the window) to red. Below are two bars, relative to their maxima: the disagreement,
    and in gray the error of the members. Steps of other episodes are omitted.

    Args:
        name, entry: name and specification of the observation to show.
        result: the result of the open loop of an agent with an ensemble.
        window: index of the window.
    """
    steps = np.flatnonzero(result["valid"][window, 1:])[:MAP_STEPS]
    height = {}
    for key in ("disagreement", ERRORS["members"]):
        values = np.asarray(result[key][window], np.float64)[steps]
        height[key] = values / max(float(values.max(initial=0.0)), 1e-12)
    columns = []
    for i, t in enumerate(steps):
        level = height["disagreement"][i]
        color = tuple(round(low + level * (high - low)) for low, high in zip(LOW, HIGH, strict=True))
        seen = vis.add_border(vis.picture(entry, np.asarray(result["real"][name])[window, t]), color, width=4)
        bars = np.zeros((BAR, seen.shape[1], 3), np.uint8)
        half = seen.shape[1] // 2
        for left, key, paint in ((0, "disagreement", color), (half, ERRORS["members"], (130, 130, 130))):
            bars[BAR - round(BAR * float(height[key][i])) :, left + 2 : left + half - 2] = paint
        columns.append(vis.tile([seen, bars], gap=4, axis=0))
    return vis.tile(columns, gap=4)
