"""Metrics of updates on their way from the device to the log."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from dreamjax.training.finite import SKIPPED
from dreamjax.types import Metrics


class TrainError(RuntimeError):
    """Learning failed; the message names the first bad metric and its update."""


def _one_by_one(fetched: list[tuple[int, Metrics]]) -> Iterator[tuple[int, dict[str, float]]]:
    for first, metrics in fetched:
        columns = {name: np.atleast_1d(values) for name, values in metrics.items()}
        for i in range(max(map(len, columns.values()), default=0)):
            yield int(first) + i, {name: float(values[i]) for name, values in columns.items()}


class MetricMeans:
    """Means over updates, fetched late so that no update waits for its numbers.

    Sums grow in float64 in the order of the updates, whenever they are fetched: saving in between changes nothing.

    Args:
        skip: updates in a row that may have been left out (``finite.skip_nonfinite``); their metrics do not count.
        say: is told of each of them.
    """

    def __init__(self, *, skip: int = 0, say: Callable[[str], None] = print) -> None:
        self._skip, self._say = skip, say
        self._in_a_row = 0
        self._waiting: list[tuple[int, Metrics]] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, update: int, metrics: Metrics) -> None:
        """Keeps an update's metrics, device scalars by name; does not wait for them.

        Those of several updates in a row (``calls.several``) come as vectors; ``update`` is then the first of them.
        """
        self._waiting.append((update, metrics))

    def fetch(self) -> None:
        """Waits for the metrics kept so far and checks them.

        Raises:
            TrainError: one is not finite, and no more may be left out; losses are named before others.
        """
        waiting, self._waiting = self._waiting, []
        for update, values in _one_by_one(jax.device_get(waiting)):
            bad = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
            left_out = values.get(SKIPPED, 0) == 1
            self._in_a_row = self._in_a_row + 1 if bad or left_out else 0
            if self._in_a_row:
                first = min(bad, key=lambda text: "loss" not in text, default="a parameter is not finite")
                if not left_out or self._in_a_row > self._skip:
                    several = f", the {self._in_a_row}. in a row" if self._in_a_row > 1 else ""
                    raise TrainError(f"update {int(update)}: {first}{several}")
                self._say(
                    f"update {int(update)} is left out: {first} ({self._in_a_row} of at most {self._skip} in a row)"
                )
                values = {SKIPPED: 1.0}
            for name, value in values.items():
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
        return {"sums": dict(self._sums), "counts": dict(self._counts), "skipped": self._in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._waiting, self._sums, self._counts = [], dict(state["sums"]), dict(state["counts"])
        self._in_a_row = int(state.get("skipped", 0))
