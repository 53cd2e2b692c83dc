"""Does the ensemble know what it does not know: its disagreement beside real prediction errors, as a figure and a map."""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamjax.reporting import visualization as vis
from dreamjax.types import ObsSpec

ERRORS = {"members": "error_members", "world_model": "error_world_model"}
SURE: vis.Color = (40, 60, 160)
UNSURE: vis.Color = (255, 80, 40)
BAR = 48  # pixels of the highest bar
MAP_STEPS = 16


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 of ``values [N]``; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Spearman's rank correlation of ``[N]`` pairs: Pearson's of the ranks; None where either is constant."""
    a, b = (ranks(np.asarray(x, np.float64)) - (len(x) + 1) / 2 for x in (left, right))
    spread = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / spread if spread > 0 else None


def summary(disagreement: np.ndarray, errors: dict[str, np.ndarray]) -> dict[str, Any]:
    """What disagreement ``[N]`` says of errors ``[N]`` of the same steps, by name of ``ERRORS``.

    Returns:
        ``{"steps", name: {"rank_correlation", "error_by_quarter"}}``: the mean error in each quarter of the steps, from
        those that are agreed on most to those that are disagreed on most.
    """
    quarters = np.array_split(np.argsort(disagreement, kind="stable"), 4)
    result: dict[str, Any] = {"steps": len(disagreement)}
    for name, error in errors.items():
        means = [float(error[part].mean()) if len(part) else None for part in quarters]
        result[name] = {"rank_correlation": rank_correlation(disagreement, error), "error_by_quarter": means}
    return result


def table(result: dict[str, Any]) -> str:
    """A summary as text."""
    titles = {"members": "error of the members' mean", "world_model": "error of the world model (nats)"}
    lines = [f"{'disagreement and':<34}{'rank correlation':>18}   mean error by quarter, most agreed first"]
    for name, title in titles.items():
        rho, means = result[name]["rank_correlation"], result[name]["error_by_quarter"]
        shown = "  ".join("-" if mean is None else f"{mean:.3g}" for mean in means)
        lines.append(f"{title:<34}{'-' if rho is None else f'{rho:.3f}':>18}   {shown}")
    return "\n".join(lines)


def disagreement_map(name: str, entry: ObsSpec, result: dict[str, Any], window: int) -> np.ndarray:
    """Where along a window the ensemble disagrees: a picture ``[H, W, 3]``.

    From left to right what was seen before each of the first ``MAP_STEPS`` predictions, framed from blue (agreed on most
    in this window) to red; below it a bar as high as the disagreement, and a gray one as high as the members' error, each
    in shares of its greatest. Steps of another episode are left out.

    Args:
        name, entry: of the observation shown. result: of ``agents.agent.make_open_loop`` with an ensemble.
    """
    steps = np.flatnonzero(result["valid"][window, 1:])[:MAP_STEPS]
    height = {}
    for key in ("disagreement", ERRORS["members"]):
        values = np.asarray(result[key][window], np.float64)[steps]
        height[key] = values / max(float(values.max(initial=0.0)), 1e-12)
    columns = []
    for i, t in enumerate(steps):
        share = height["disagreement"][i]
        color = tuple(round(low + share * (high - low)) for low, high in zip(SURE, UNSURE, strict=True))
        seen = vis.framed(vis.picture(entry, np.asarray(result["real"][name])[window, t]), color, width=4)
        bars = np.zeros((BAR, seen.shape[1], 3), np.uint8)
        half = seen.shape[1] // 2
        for left, key, paint in ((0, "disagreement", color), (half, ERRORS["members"], (130, 130, 130))):
            bars[BAR - round(BAR * float(height[key][i])) :, left + 2 : left + half - 2] = paint
        columns.append(vis.beside([seen, bars], gap=4, axis=0))
    return vis.beside(columns, gap=4)
