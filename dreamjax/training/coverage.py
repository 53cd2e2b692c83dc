"""How much of what there is to see has been seen: distinct grids, and distinct grids seen coarsely."""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamjax.config import ConfigError
from dreamjax.types import EnvSpec, Records

BLOCK = (4, 2)  # rows and columns of the coarse view
_SEED = 7_919  # of the random words that hashes are made of: the same in every run


def coarse(grids: np.ndarray, block: tuple[int, int] = BLOCK) -> np.ndarray:
    """Bool ``[N, H', W']``: whether more than half of each block of cells of ``grids [N, H, W]`` is not 0.

    The downscaled view by which Go-Explore (Ecoffet et al. 2021) tells new places from known ones. Blocks at the lower and
    right border are smaller where the size is no multiple.
    """
    filled = (grids != 0).astype(np.int64)
    sizes = np.ones(grids.shape[1:], np.int64)
    for axis, size in enumerate(block):
        starts = np.arange(0, grids.shape[1 + axis], size)
        filled = np.add.reduceat(filled, starts, 1 + axis)
        sizes = np.add.reduceat(sizes, starts, axis)
    return 2 * filled > sizes[None]


class Coverage:
    """Counts the distinct grids in the first channel of the environment's "grid" observation.

    In Tetris that channel holds what has locked: its boards are the settled ones, and the empty one. Kept of each is a
    hash of 64 bits (of 1,000,000 boards, two share one with a probability of 3e-8), in sets of at most ``capacity``.

    Args:
        spec: of the environment. capacity: at which counting stops.

    Raises:
        ConfigError: there is not exactly one grid.
    """

    def __init__(self, spec: EnvSpec, capacity: int) -> None:
        names = [name for name, entry in spec.obs.items() if entry.kind == "grid"]
        if len(names) != 1:
            raise ConfigError(f"log.coverage={capacity} is not allowed: must be 0 without exactly one grid observation")
        self._name, self._capacity = names[0], capacity
        _, height, width = spec.obs[self._name].shape
        self._words = np.random.default_rng(_SEED).integers(0, 2**64, height * width, np.uint64, endpoint=False)
        self._seen: dict[str, set[int]] = {"boards": set(), "coarse": set()}

    def add(self, records: Records) -> None:
        """Counts what these records show."""
        grids = records.obs[self._name][:, 0]
        for name, values in (("boards", grids), ("coarse", coarse(grids))):
            seen = self._seen[name]
            flat = values.reshape(len(values), -1).astype(np.uint64)
            # Sums of random words by cell, modulo 2^64.
            new = [int(value) for value in np.dot(flat, self._words[: flat.shape[1]])]
            if len(seen) + len(new) <= self._capacity:
                seen.update(new)
            else:
                for value in new:
                    if len(seen) < self._capacity:
                        seen.add(value)

    def metrics(self) -> dict[str, float]:
        """``coverage/boards`` and ``coverage/coarse``: distinct grids, and coarse ones, since the run began."""
        return {f"coverage/{name}": float(len(seen)) for name, seen in self._seen.items()}

    def state_dict(self) -> dict[str, Any]:
        return {name: np.sort(np.fromiter(seen, np.uint64, len(seen))) for name, seen in self._seen.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._seen = {name: {int(value) for value in state[name]} for name in self._seen}
