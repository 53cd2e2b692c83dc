"""Interquartile means over runs and tasks, with intervals of a stratified bootstrap.

Source: Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (NeurIPS 2021), and its library
rliable, whose numbers ``interquartile_mean`` equals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """The mean of the middle half of ``[..., N]`` values, as float64 ``[...]``.

    The lowest and the highest ``floor(N / 4)`` values are left out, as ``scipy.stats.trim_mean`` does.
    """
    values = np.sort(np.asarray(scores, np.float64), axis=-1)
    cut = values.shape[-1] // 4
    return values[..., cut : values.shape[-1] - cut].mean(-1)


def bootstrap_interval(
    tasks: Sequence[np.ndarray], *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE, seed: int = 0
) -> tuple[float, float] | None:
    """The percentile interval of the interquartile mean of all runs of all tasks.

    Stratified: a resample draws each task's runs from that task's runs, with replacement. So the interval says how far
    other seeds could move the number, and nothing about other tasks.

    Args:
        tasks: scores of one task's runs each, ``[runs]``. A task with more runs weighs more.
        resamples: number of resamples. confidence: share of them inside the interval. seed: of the resamples.

    Returns:
        The interval, or None where no task has two runs, so that every resample is the same.
    """
    if all(len(runs) < 2 for runs in tasks):
        return None
    rng = np.random.default_rng(seed)
    drawn = [np.asarray(runs)[rng.integers(len(runs), size=(resamples, len(runs)))] for runs in tasks]
    means = interquartile_mean(np.concatenate(drawn, axis=1))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
