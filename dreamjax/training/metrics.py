"""Metrics of updates on their way from the device to the log."""

from __future__ import annotations

import math
from typing import Any

import jax

from dreamjax.types import Metrics


class TrainError(RuntimeError):
    """Learning failed; the message names the first bad metric and its update."""


class MetricMeans:
    """Means over updates, fetched late so that no update waits for its numbers.

    Sums grow in float64 in the order of the updates, whenever they are fetched: saving in between changes nothing.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Metrics]] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, update: int, metrics: Metrics) -> None:
        """Keeps an update's metrics, device scalars by name; does not wait for them."""
        self._waiting.append((update, metrics))

    def fetch(self) -> None:
        """Waits for the metrics kept so far and checks them.

        Raises:
            TrainError: one is not finite; losses are named before others.
        """
        waiting, self._waiting = self._waiting, []
        for update, metrics in jax.device_get(waiting):
            for name in sorted(metrics, key=lambda name: "loss" not in name):
                value = float(metrics[name])
                if not math.isfinite(value):
                    raise TrainError(f"update {int(update)}: {name} is {value}")
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Fetches, and gives the means since the last ``clear``. Raises as ``fetch``."""
        self.fetch()
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def clear(self) -> None:
        """Begins the next means."""
        self._sums, self._counts = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """Fetches, and gives the sums. Raises as ``fetch``: a state with a bad loss is not to be saved."""
        self.fetch()
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._waiting, self._sums, self._counts = [], dict(state["sums"]), dict(state["counts"])
