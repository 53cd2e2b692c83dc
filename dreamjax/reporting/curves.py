"""Learning curves of a run, from its ``metrics.jsonl``."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from dreamjax.files import atomic_file
from dreamjax.reporting.metrics import read_metrics

SMOOTH = 10  # points of the centered moving average
SIZE = (4.2, 3.0)  # of a panel, in inches
LINE, EVALUATION = "C0", "C1"
BandKind = Literal["range", "error"]


class Panel(NamedTuple):
    """A panel: its title, the metric that is a line, and the mean that is points with standard errors, or ""."""

    title: str
    metric: str
    evaluation: str = ""


PANELS = (
    Panel("Return of an episode", "episode/return", "eval/return"),
    Panel("Lines of an episode", "episode/lines", "eval/lines"),
    Panel("Imagined return", "imagination/return"),
    Panel("World-model loss", "train/world_model_loss"),
    Panel("KL, posterior to prior (nats)", "train/kl"),
    Panel("Entropy of the actor (nats)", "train/actor_entropy"),
    Panel("Critic loss", "train/loss/critic"),
)


class Curve(NamedTuple):
    """A metric over environment steps: float64 ``[N]`` each; ``error`` is the standard error, or zeros."""

    step: np.ndarray
    value: np.ndarray
    error: np.ndarray


def read_curves(metrics_path: str | Path, panels: Sequence[Panel] = PANELS) -> dict[str, Curve]:
    """The curves of the panels by metric (``eval/return`` for an evaluation), without those that were never logged."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    lines = [panel.metric for panel in panels]
    evaluations = [panel.evaluation for panel in panels if panel.evaluation]
    for record in read_metrics(metrics_path):
        values = {name: (record.get(name), 0.0) for name in lines}
        values |= {name: (record.get(f"{name}_mean"), record.get(f"{name}_stderr") or 0.0) for name in evaluations}
        for name, (value, error) in values.items():
            if value is not None:
                found.setdefault(name, []).append((record["step"], value, error))
    return {name: Curve(*np.array(points, float).T) for name, points in found.items()}


def shown_panels(curves: Iterable[str], panels: Sequence[Panel] = PANELS) -> list[Panel]:
    """The panels that have something to show."""
    known = set(curves)
    return [panel for panel in panels if known & {panel.metric, panel.evaluation}]


def draw(axes: Any, panel: Panel, curves: dict[str, Curve]) -> None:
    """Draws a panel: the metric as a line with its moving average, single points as dots, evaluations with errors."""
    axes.set(title=panel.title, xlabel="environment steps")
    axes.grid(alpha=0.3)
    if (curve := curves.get(panel.metric)) is not None:
        smoothed = len(curve.value) >= 2 * SMOOTH
        marker = "o" if len(curve.value) == 1 else None
        axes.plot(curve.step, curve.value, color=LINE, alpha=0.3 if smoothed else 1, linewidth=1, marker=marker)
        if smoothed:
            mean = np.convolve(curve.value, np.ones(SMOOTH) / SMOOTH, "valid")
            first = (SMOOTH - 1) // 2
            axes.plot(curve.step[first : first + len(mean)], mean, color=LINE)
    if (curve := curves.get(panel.evaluation)) is not None:
        axes.errorbar(
            curve.step, curve.value, curve.error, color=EVALUATION, marker="o", linewidth=1, label="evaluation"
        )
        axes.legend(loc="best", frameon=False)


def plot_curves(metrics_path: str | Path, path: str | Path, panels: Sequence[Panel] = PANELS) -> Path | None:
    """Writes the panels of a run side by side as a PNG file; returns its path, or None where nothing was logged."""
    from matplotlib.figure import Figure  # not pyplot, which has global state and may open windows

    curves = read_curves(metrics_path, panels)
    shown = shown_panels(curves, panels)
    if not shown:
        return None
    figure = Figure(figsize=(SIZE[0] * len(shown), SIZE[1]), layout="constrained")
    for axes, panel in zip(np.ravel(figure.subplots(1, len(shown))), shown, strict=True):
        draw(axes, panel, curves)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return Path(path)


class Band(NamedTuple):
    """The mean of several runs over environment steps, and what lies around it: float64 ``[N]`` each."""

    step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def at_common_steps(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Steps ``[N]`` and values ``[runs, N]`` of several runs, where all of them have values.

    Curves are interpolated linearly to the steps of all. Empty where they have no steps in common.
    """
    first, last = max(curve.step[0] for curve in curves), min(curve.step[-1] for curve in curves)
    steps = np.unique(np.concatenate([curve.step for curve in curves]))
    steps = steps[(steps >= first) & (steps <= last)]
    return steps, np.stack([np.interp(steps, curve.step, curve.value) for curve in curves])


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of several runs and its standard error (zeros for one run), where all of them have values."""
    steps, values = at_common_steps(curves)
    error = np.std(values, axis=0, ddof=1) / len(curves) ** 0.5 if len(curves) > 1 else np.zeros_like(steps)
    return Curve(steps, values.mean(0), error)


def mean_band(curves: Sequence[Curve], kind: BandKind = "range") -> Band:
    """The mean of several runs, with the least and the greatest run ("range") or a standard error ("error") around it."""
    if kind == "error":
        step, mean, error = mean_curve(curves)
        return Band(step, mean, mean - error, mean + error)
    step, values = at_common_steps(curves)
    return Band(step, values.mean(0), values.min(0), values.max(0))


def draw_band(axes: Any, band: Band, *, color: str, label: str) -> None:
    """Draws a mean as a line, or as a dot where it is a single point, and its band around it."""
    axes.plot(band.step, band.mean, color=color, marker="o" if len(band.step) == 1 else None, label=label)
    axes.fill_between(band.step, band.low, band.high, color=color, alpha=0.2, linewidth=0)


def plot_groups(groups: Mapping[str, Sequence[Curve]], title: str, path: str | Path, kind: BandKind = "range") -> Path:
    """Plots groups of runs as PNG: the mean and the band of each (``mean_band``); returns the path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="environment steps", title=title)
    axes.grid(alpha=0.3)
    for i, (name, curves) in enumerate(groups.items()):
        draw_band(axes, mean_band(curves, kind), color=f"C{i}", label=name)
    axes.legend(frameon=False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    return Path(path)


def panel_svg(panel: Panel, curves: dict[str, Curve]) -> bytes:
    """A panel as an SVG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    draw(figure.subplots(), panel, curves)
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
