"""Metrics of updates on their way from the device to the log, and the rates at which a run proceeds."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from dreamjax.training.updates import SKIPPED
from dreamjax.types import Metrics

LOG = logging.getLogger(__name__)


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
        skip: successive updates that may be skipped (``updates.skip_nonfinite``); a line of the log names each, and their
            metrics do not count.
    """

    def __init__(self, *, skip: int = 0) -> None:
        self._skip = skip
        self._in_a_row = 0
        self._waiting: list[tuple[int, Metrics]] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, update: int, metrics: Metrics) -> None:
        """Keeps an update's metrics, device scalars by name; does not wait for them.

        Those of several updates (``updates.scan_updates``) come as vectors; ``update`` is then the first of them.
        """
        self._waiting.append((update, metrics))

    def fetch(self) -> None:
        """Waits for the metrics kept so far and checks them.

        Raises:
            TrainError: one is not finite, and no more updates may be skipped; losses are named before others.
        """
        waiting, self._waiting = self._waiting, []
        for update, values in _one_by_one(jax.device_get(waiting)):
            bad = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
            skipped = values.get(SKIPPED, 0) == 1
            self._in_a_row = self._in_a_row + 1 if bad or skipped else 0
            if self._in_a_row:
                first = min(bad, key=lambda text: "loss" not in text, default="a parameter is not finite")
                if not skipped or self._in_a_row > self._skip:
                    several = f" ({self._in_a_row} in a row)" if self._in_a_row > 1 else ""
                    raise TrainError(f"update {int(update)}: {first}{several}")
                count = f"{self._in_a_row} of at most {self._skip} in a row"
                LOG.info("update %d is skipped: %s (%s)", update, first, count)
                values = {SKIPPED: 1.0}
            for name, value in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Fetches, and returns the means since the last ``clear``. Raises as ``fetch``."""
        self.fetch()
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def clear(self) -> None:
        """Begins the next means."""
        self._sums, self._counts = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """Fetches, and returns the sums. Raises as ``fetch``: a state with a bad loss must not be saved."""
        self.fetch()
        return {"sums": dict(self._sums), "counts": dict(self._counts), "skipped": self._in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._waiting, self._sums, self._counts = [], dict(state["sums"]), dict(state["counts"])
        self._in_a_row = int(state.get("skipped", 0))


class RunClock:
    """Rates of this session of a run, by a monotonic clock: a change of the machine's clock does not disturb them."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._saving = 0.0
        self._mark = (self._start, 0, 0)

    def restart(self, step: int, updates: int) -> None:
        """Counts rates from here: after a checkpoint was restored."""
        self._mark = (time.monotonic(), step, updates)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Around the writing of a checkpoint."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._saving += time.monotonic() - start

    @property
    def save_share(self) -> float:
        """Share of this session's time that went into saving."""
        return self._saving / max(time.monotonic() - self._start, 1e-9)

    def rates(self, step: int, updates: int) -> dict[str, float]:
        """Environment steps and updates a second since the last call, and ``save_share``, as metrics."""
        now, (then, last_step, last_updates) = time.monotonic(), self._mark
        self._mark = (now, step, updates)
        seconds = max(now - then, 1e-9)
        return {
            "time/env_steps_per_s": (step - last_step) / seconds,
            "time/updates_per_s": (updates - last_updates) / seconds,
            "time/save_share": self.save_share,
        }
