"""Scores of runs in the form in which danijar/dreamerv3 publishes its own, and tables and plots of both.

A file is a JSON list, or one in gzip (``.json.gz``), of one object for each run:

    {"task": "atari_pong", "method": "dreamerv3", "seed": 0, "xs": [4112, 6692], "ys": [-21.0, -20.5]}

``xs`` are environment frames (steps times action repeat), ``ys`` returns of episodes or means of several; ``null`` in
``ys`` stands for no value. Source of the form: the folder ``scores`` of github.com/danijar/dreamerv3.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamjax.files import atomic_file
from dreamjax.reporting.curves import Curve, draw_band, mean_band

FIELDS = ("task", "method", "seed", "xs", "ys")
COLUMNS = 4  # panels side by side
PANEL = (3.4, 2.7)  # inches


class Score(NamedTuple):
    """One run: its frames and scores are float64 ``[N]`` each, frames in ascending order."""

    task: str
    method: str
    seed: int | str
    xs: np.ndarray
    ys: np.ndarray


def task_name(env_id: str) -> str:
    """The name that the published files give to an environment of Atari or of DMC; that of any other is its id.

    ``ALE/BattleZone-v5`` is ``atari_battle_zone``, ``dm_control/cartpole-swingup-v0`` is ``dmc_cartpole_swingup``.
    """
    if match := re.fullmatch(r"ALE/(\w+)-v\d+", env_id):
        return "atari_" + re.sub(r"(?<!^)(?=[A-Z])", "_", match[1]).lower()
    if match := re.fullmatch(r"dm_control/([\w-]+)-v\d+", env_id):
        return "dmc_" + match[1].replace("-", "_")
    return env_id


def read_scores(path: str | Path) -> list[Score]:
    """Reads a ``.json`` or ``.json.gz`` file; values that are ``null`` or not finite are left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has another form; the message names the file and what is wrong.
    """
    data = Path(path).read_bytes()
    try:
        rows = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is neither JSON nor JSON in gzip: {error}") from None
    if not isinstance(rows, list):
        raise ValueError(f"{path} is not a list of runs")
    return [_score(row, f"{path}, run {i}") for i, row in enumerate(rows)]


def _score(row: Any, where: str) -> Score:
    missing = [name for name in FIELDS if not isinstance(row, dict) or name not in row]
    if missing:
        raise ValueError(f"{where} has no {', '.join(missing)}")
    try:
        xs, ys = np.array(row["xs"], float), np.array(row["ys"], float)  # null becomes NaN
    except (TypeError, ValueError):
        raise ValueError(f"{where}: xs and ys must be lists of numbers") from None
    if xs.shape != ys.shape or xs.ndim != 1:
        raise ValueError(f"{where}: xs has shape {list(xs.shape)} and ys {list(ys.shape)}, must be lists of one length")
    kept = np.isfinite(xs) & np.isfinite(ys)
    order = np.argsort(xs[kept], kind="stable")
    return Score(str(row["task"]), str(row["method"]), row["seed"], xs[kept][order], ys[kept][order])


def write_scores(path: str | Path, scores: Iterable[Score]) -> None:
    """Writes a file that ``read_scores`` and the published tools read; in gzip where its name ends with ``.gz``.

    Raises:
        OSError: it cannot be written.
    """
    rows = [dict(zip(FIELDS, (*score[:3], score.xs.tolist(), score.ys.tolist()), strict=True)) for score in scores]
    data = json.dumps(rows, allow_nan=False, separators=(",", ":")).encode()
    with atomic_file(path) as temporary:
        # Without the time, so that the same scores are the same file.
        temporary.write_bytes(gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)


def grouped(scores: Iterable[Score]) -> dict[str, dict[str, list[Score]]]:
    """Runs by task and method, in the order of their first appearance; runs without values are left out."""
    found: dict[str, dict[str, list[Score]]] = {}
    for score in scores:
        if len(score.xs):
            found.setdefault(score.task, {}).setdefault(score.method, []).append(score)
    return found


def common_budget(methods: Mapping[str, Sequence[Score]]) -> float:
    """The frames that every run of a task has reached."""
    return min(float(score.xs[-1]) for runs in methods.values() for score in runs)


def score_at(score: Score, frames: float, share: float = 0.1) -> float:
    """The mean of the values in the last ``share`` of the first ``frames`` frames.

    Where there are none, the last value before; NaN where there is none before either.
    """
    before = score.ys[score.xs <= frames]
    window = score.ys[(score.xs <= frames) & (score.xs > (1 - share) * frames)]
    if len(window):
        return float(window.mean())
    return float(before[-1]) if len(before) else math.nan


def binned(score: Score, width: float) -> Curve:
    """Means of the values in ``(0, width]``, ``(width, 2 * width]``, ...; a step of the curve is the end of its interval.

    Intervals without values are left out. A value at 0 belongs to the first.
    """
    index = np.maximum(np.ceil(score.xs / width).astype(int) - 1, 0)
    counts = np.bincount(index)
    sums = np.bincount(index, score.ys)
    full = np.flatnonzero(counts)
    return Curve((full + 1) * width, sums[full] / counts[full], np.zeros(len(full)))


def plot_scores(scores: Iterable[Score], path: str | Path, *, bins: int = 30) -> Path:
    """Plots a panel for each task as PNG: of each method the mean, with a band from the least run to the greatest.

    Values are averaged in ``bins`` intervals of equal width up to the last frame of the task's runs. A curve is drawn where
    all runs of its method have values.

    Raises:
        OSError: the file cannot be written. ValueError: no run has a value.
    """
    from matplotlib.figure import Figure  # not pyplot, which has global state and may open windows

    tasks = grouped(scores)
    if not tasks:
        raise ValueError("no run has a value")
    names = list(dict.fromkeys(method for methods in tasks.values() for method in methods))
    columns = min(COLUMNS, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * lines + 0.4), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(tasks) :]:
        axes.axis("off")
    shown: dict[str, Any] = {}
    for axes, (task, methods) in zip(panels, tasks.items(), strict=False):
        axes.set_title(task, fontsize=10)
        axes.grid(alpha=0.3)
        width = max(float(score.xs[-1]) for runs in methods.values() for score in runs) / bins or 1.0
        for method, runs in methods.items():
            band = mean_band([binned(score, width) for score in runs])
            draw_band(axes, band, color=f"C{names.index(method)}", label=method)
            shown.setdefault(method, axes.lines[-1])
    figure.supxlabel("environment frames", fontsize=10)
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=min(4, len(shown)), frameon=False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return Path(path)
