"""Finds images whose values do not look like pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dreamjax.envs.layout import GRID_CLASSES
from dreamjax.types import ObsSpec

STEPS = 50  # vector steps that are looked at
ROWS = 4  # environments that are looked at
NARROW = 0.1  # of an image in [0, 1]: a smaller range teaches a reconstruction nearly nothing


class ValueRanges:
    """The lowest and highest value of each image entry in the first ``STEPS`` observations.

    Args:
        spec: of the observations.
    """

    def __init__(self, spec: Mapping[str, ObsSpec]) -> None:
        self._spec = {name: entry for name, entry in spec.items() if entry.kind == "image"}
        self._ranges: dict[str, tuple[float, float]] = {}
        self._left = STEPS if self._spec else 0

    def add(self, obs: Mapping[str, np.ndarray]) -> list[str]:
        """Looks at record entries ``[N, ...]``; returns what to warn about, at most once."""
        if not self._left:
            return []
        self._left -= 1
        for name in self._spec:
            values = obs[name][:ROWS]
            low, high = self._ranges.get(name, (np.inf, -np.inf))
            self._ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
        return [] if self._left else self.notes()

    def notes(self) -> list[str]:
        """Returns what to warn about, and the field that changes it."""
        found = []
        for name, (low, high) in self._ranges.items():
            entry = f"observation entry {name!r} is read as an image with nearly no variance:"
            if self._spec[name].dtype == "uint8" and high - low < GRID_CLASSES:
                grid = f"env.obs={{{name!r}: {{'kind': 'grid', 'classes': N}}}}"
                says = f"if they are codes, say {grid} with N above every code"
                found.append(f"{entry} its values were in {low:g}..{high:g} of 0..255; {says}")
            elif self._spec[name].dtype != "uint8" and high - low < NARROW:
                says = f"say env.obs={{{name!r}: {{'kind': 'image', 'low': LOW, 'high': HIGH}}}} if it should be more"
                found.append(f"{entry} scaled to [0, 1], its values were in [{low:.3g}, {high:.3g}]; {says}")
        return found
