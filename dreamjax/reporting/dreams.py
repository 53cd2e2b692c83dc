"""Real observations beside what the world model dreams: pictures for people, figures for the log."""

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
SHOWN_KINDS = ("grid", "image", "vector")


class Dreamer(Protocol):
    """What a report needs of an agent."""

    @property
    def spec(self) -> EnvSpec:
        """The environment."""

    @property
    def open_loop(self) -> Any:
        """``(params, batch, key, *, context) -> dict``, see ``dreamjax.agents.agent.make_open_loop``."""


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
    """Writes ``<name>.gif`` and ``<name>.png`` and returns the figures of ``dream_figures``.

    The GIF shows, for a few windows of the batch, real, dreamed and their difference side by side, step by step; the
    border is gray while the model sees the real observations and violet from then on, where only actions reach it. The
    PNG shows the first of these windows as rows real, dreamed, difference. An agent without grids, images or vectors
    gets no files and no figures. With an ensemble ``<name>_disagreement.png`` shows where along that window it disagrees
    (``uncertainty.disagreement_map``), and the figures hold ``dream/disagreement/<error>``, rank correlations.

    Args:
        agent: anything with ``spec`` and ``open_loop``.
        params: its parameters.
        batch: replayed windows ``[B, T]``.
        folder: where the pictures go; made if it is not there.
        key: typed PRNG key, consumed; the dream's samples.
        context: steps that the model sees, at least 1; all but the last step in windows that are not longer.
        name: of the files.

    Raises:
        ValueError: on a context or a window with no step to see or none to dream.
    """
    length = batch.reward.shape[1]
    if context < 1 or length < 2:
        raise ValueError(f"context={context} of windows of {length} steps is not allowed: 1 step to see, 1 to dream")
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
    figures = dream_figures(spec, result, np.asarray(batch.is_first), context=context)
    if "disagreement" in result:
        shown = next(iter(spec))
        picture = disagreement_map(shown, spec[shown], result, int(windows[0]))
        write_png(folder / f"{name}_disagreement.png", picture)
        counted = result["valid"][:, 1:] & (np.arange(1, length) >= min(context, length - 1))[None]
        for kind, entry in ERRORS.items():
            rho = rank_correlation(result["disagreement"][counted], result[entry][counted])
            figures[f"dream/disagreement/{kind}"] = float("nan") if rho is None else rho
    return figures


def dream_figures(
    spec: dict[str, ObsSpec], result: dict[str, Any], is_first: np.ndarray, *, context: int
) -> dict[str, float]:
    """How well the model predicts, by observation entry.

    One step ahead, over steps ``t >= 1`` that are valid and do not begin an episode, the prior's prediction of record
    ``t`` against the guess that nothing changes (record ``t - 1``). Grids get the share of cells and of whole boards
    that are right, the other kinds the mean squared error per number (images in [0, 1]):

    ``dream/<entry>/cells_right``, ``.../boards_right``, ``.../mse``, and each with ``_unchanged`` for the guess. The
    same with ``_open_loop`` is measured on the dream, after the context. NaN where no step counts.
    """
    figures: dict[str, float] = {}
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
                figures[f"dream/{name}/{measure}{suffix}"] = value
    return figures


def _compare(entry: ObsSpec, real: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """Figures over records ``[N, ...]``."""
    if entry.kind == "grid":
        right = (real == np.rint(guess)).reshape(len(real), entry.size)
        return {"cells_right": _mean(right), "boards_right": _mean(right.all(1))}
    unit = 255.0 if entry.kind == "image" and entry.dtype == "uint8" else 1.0
    return {"mse": _mean(((real.astype(np.float64) - guess) / unit) ** 2)}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def dream_frames(
    spec: dict[str, ObsSpec], result: dict[str, Any], windows: np.ndarray, *, context: int
) -> list[np.ndarray]:
    """One frame for each step: a line for each window (real, dreamed, difference of each entry) and a time bar."""
    length = result["valid"].shape[1]
    frames = []
    for t in range(length):
        lines = [vis.beside(_triple(spec, result, window, t), gap=6) for window in windows]
        inside = vis.beside(lines, gap=8, axis=0)
        # The bar also makes every frame a new one: equal frames would be joined.
        bar = np.zeros((4, inside.shape[1], 3), np.uint8)
        bar[:, : round((t + 1) / length * inside.shape[1])] = (200, 200, 200)
        inside = np.pad(np.concatenate([inside, bar]), ((6, 2), (6, 6), (0, 0)))
        frames.append(vis.framed(inside, CONTEXT_COLOR if t < context else DREAM_COLOR))
    return frames


def dream_strip(spec: dict[str, ObsSpec], result: dict[str, Any], window: int, *, context: int) -> np.ndarray:
    """Steps of one window from left to right, spread evenly from the last of the context to the end."""
    length = result["valid"].shape[1]
    steps = np.unique(np.linspace(context - 1, length - 1, min(STRIP_STEPS, length - context + 1)).round().astype(int))
    columns = []
    for t in steps:
        column = vis.beside(_triple(spec, result, window, t), gap=4, axis=0)
        columns.append(vis.framed(column, CONTEXT_COLOR if t < context else DREAM_COLOR, width=2))
    return vis.beside(columns, gap=4)


def _triple(spec: dict[str, ObsSpec], result: dict[str, Any], window: int, t: int) -> list[np.ndarray]:
    """Real, dreamed, difference of each entry; dimmed where the window has passed into another episode."""
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
