"""Real and dreamed observations: pictures, and metrics of the prediction error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from dreamjax.reporting import visualization as vis
from dreamjax.reporting.media import write_gif, write_png
from dreamjax.reporting.uncertainty import ERRORS, disagreement_map, rank_correlation
from dreamjax.types import Batch, EnvSpec, ObsSpec

CONTEXT_COLOR: vis.Color = (90, 90, 110)
DREAM_COLOR: vis.Color = (150, 60, 200)
SHOWN_WINDOWS = 3  # windows of the batch that the GIF shows
STRIP_STEPS = 12  # steps that the PNG shows
PARTS = ("real", "dream", "difference")
TITLE, LABEL = 16, 120  # pixels of the step numbers and of the names of rows
SHOWN_KINDS = ("grid", "image", "vector")


class Dreamer(Protocol):
    """The parts of an agent that a report uses."""

    @property
    def spec(self) -> EnvSpec:
        """Specification of the environment."""

    @property
    def open_loop(self) -> Any:
        """``(params, batch, key, *, context) -> dict``, see ``dreamjax.agents.open_loop``."""


def dream_report(
    agent: Dreamer,
    params: Any,
    batch: Batch,
    folder: str | Path,
    *,
    key: jax.Array | None = None,
    context: int = 5,
    name: str = "dream",
) -> dict[str, float]:
    """Writes ``<name>.gif`` and ``<name>.png`` and returns the metrics of ``dream_metrics``.

    The GIF shows the real observation, the dreamed one and their difference for a few windows of the batch, step by step.
    The border is gray while the model observes, and violet while it only receives actions. The PNG shows the first of
    these windows in named rows: real, dreamed, difference. With an ensemble, ``<name>_disagreement.png`` shows its
    disagreement along that window (``uncertainty.disagreement_map``), and the metrics include
    ``dream/disagreement/<error>``, the rank correlations of disagreement and errors. Without grids, images or vectors
    nothing is written and no metrics are returned.

    Args:
        agent: an agent, or another object with ``spec`` and ``open_loop``.
        params: parameters of the agent.
        batch: replayed windows ``[B, T]``.
        folder: the folder of the pictures; created if missing.
        key: typed PRNG key for the samples of the dream, consumed; None: the key of seed 0.
        context: number of steps that the model observes, at least 1; at most ``T - 1`` are used.
        name: name of the files without extension.

    Raises:
        ValueError: if ``context < 1`` or ``T < 2``.
    """
    length = batch.reward.shape[1]
    if context < 1 or length < 2:
        problem = "must be 1 or more, and windows must have 2 steps or more"
        raise ValueError(f"context={context} of windows of {length} steps is not allowed: {problem}")
    context = min(context, length - 1)
    key = jax.random.key(0) if key is None else key
    result = jax.device_get(jax.jit(agent.open_loop, static_argnames="context")(params, batch, key, context=context))
    spec = {entry_name: entry for entry_name, entry in agent.spec.obs.items() if entry.kind in SHOWN_KINDS}
    if not spec:
        return {}
    windows = np.argsort(-result["valid"].sum(1), kind="stable")[:SHOWN_WINDOWS]
    folder = Path(folder)
    write_gif(folder / f"{name}.gif", dream_frames(spec, result, windows, context=context))
    write_png(folder / f"{name}.png", dream_strip(spec, result, int(windows[0]), context=context))
    metrics = dream_metrics(spec, result, np.asarray(batch.is_first), context=context)
    if "disagreement" in result:
        shown = next(iter(spec))
        picture = disagreement_map(shown, spec[shown], result, int(windows[0]))
        write_png(folder / f"{name}_disagreement.png", picture)
        counted = result["valid"][:, 1:] & (np.arange(1, length) >= min(context, length - 1))[None]
        for kind, entry in ERRORS.items():
            rho = rank_correlation(result["disagreement"][counted], result[entry][counted])
            metrics[f"dream/disagreement/{kind}"] = float("nan") if rho is None else rho
    return metrics


def dream_metrics(
    spec: dict[str, ObsSpec], result: dict[str, Any], is_first: np.ndarray, *, context: int
) -> dict[str, float]:
    """Computes the prediction error of the model by observation entry.

    For grids, ``dream/<entry>/cells_right`` and ``dream/<entry>/boards_right`` are the fractions of correct cells and of
    entirely correct grids. For the other kinds, ``dream/<entry>/mse`` is the mean squared error per number (images in
    [0, 1]). Without a suffix they measure predictions one step ahead, over all valid steps that do not start an episode;
    with ``_unchanged`` the guess that the previous record does not change, over the same steps; and with ``_open_loop``
    the dream after the context. NaN if there are no steps.
    """
    metrics: dict[str, float] = {}
    counted = (result["valid"] & ~is_first)[:, 1:]
    dreamed = result["valid"][:, context:]
    for name, entry in spec.items():
        real = np.asarray(result["real"][name])
        for suffix, truth, guess, mask in (
            ("", real[:, 1:], result["next"][name], counted),
            ("_unchanged", real[:, 1:], real[:, :-1], counted),
            ("_open_loop", real[:, context:], result["dream"][name][:, context:], dreamed),
        ):
            for measure, value in _compare(entry, truth[mask], np.asarray(guess)[mask]).items():
                metrics[f"dream/{name}/{measure}{suffix}"] = value
    return metrics


def _compare(entry: ObsSpec, real: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """Returns the errors over records ``[N, ...]``."""
    if entry.kind == "grid":
        correct = (real == np.rint(guess)).reshape(len(real), entry.size)
        return {"cells_right": _mean(correct), "boards_right": _mean(correct.all(1))}
    unit = 255.0 if entry.kind == "image" and entry.dtype == "uint8" else 1.0
    return {"mse": _mean(((real.astype(np.float64) - guess) / unit) ** 2)}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def dream_frames(
    spec: dict[str, ObsSpec], result: dict[str, Any], windows: np.ndarray, *, context: int
) -> list[np.ndarray]:
    """Returns one frame per step: a row per window (real, dreamed, difference of each entry) and a time bar."""
    length = result["valid"].shape[1]
    frames = []
    for t in range(length):
        lines = [vis.tile(_triple(spec, result, window, t), gap=6) for window in windows]
        inside = vis.tile(lines, gap=8, axis=0)
        # The bar makes all frames distinct; Pillow would join equal frames.
        bar = np.zeros((4, inside.shape[1], 3), np.uint8)
        bar[:, : round((t + 1) / length * inside.shape[1])] = (200, 200, 200)
        inside = np.pad(np.concatenate([inside, bar]), ((6, 2), (6, 6), (0, 0)))
        frames.append(vis.add_border(inside, CONTEXT_COLOR if t < context else DREAM_COLOR))
    return frames


def dream_strip(spec: dict[str, ObsSpec], result: dict[str, Any], window: int, *, context: int) -> np.ndarray:
    """Returns steps of one window from left to right, evenly spaced from the last context step to the end.

    The number of the step is above each column, the names of the rows are on the left.
    """
    length = result["valid"].shape[1]
    steps = np.unique(np.linspace(context - 1, length - 1, min(STRIP_STEPS, length - context + 1)).round().astype(int))
    columns, heights = [], []
    for t in steps:
        pictures = _triple(spec, result, window, t)
        heights = [len(picture) for picture in pictures]
        column = vis.add_border(
            vis.tile(pictures, gap=4, axis=0), CONTEXT_COLOR if t < context else DREAM_COLOR, width=2
        )
        columns.append(np.concatenate([vis.text(str(t), TITLE, column.shape[1]), column]))
    rows = [f"{name}: {part}" for name in spec for part in PARTS]
    names = [vis.text(row, height, LABEL) for row, height in zip(rows, heights, strict=True)]
    labels = np.pad(vis.tile(names, gap=4, axis=0), ((TITLE + 2, 2), (0, 0), (0, 0)))
    return vis.tile([labels, *columns], gap=4)


def _triple(spec: dict[str, ObsSpec], result: dict[str, Any], window: int, t: int) -> list[np.ndarray]:
    """Returns real, dreamed and difference of each entry; dimmed after the end of the episode."""
    pictures = []
    for name, entry in spec.items():
        real, dream = np.asarray(result["real"][name]), np.asarray(result["dream"][name])
        scale = float(np.abs(real[window]).max()) or 1.0
        pictures += [
            vis.picture(entry, real[window, t], scale=scale),
            vis.picture(entry, dream[window, t], scale=scale),
            vis.difference(entry, real[window, t], dream[window, t], scale=scale),
        ]
    return pictures if result["valid"][window, t] else [p // 3 for p in pictures]
