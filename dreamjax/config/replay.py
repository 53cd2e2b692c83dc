"""Options of the replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dreamjax.config.schema import Options, option, require


@dataclass(frozen=True)
class ReplayConfig(Options):
    """Replay of real steps, in host memory."""

    capacity: int = option(100_000, "Steps kept, over all environments.", unit="environment steps", above=0)
    min_size: int = option(1_000, "Steps collected before the first update.", unit="environment steps", above=0)
    min_windows: int = option(
        0,
        "Windows that begin at different steps, counted with the step before each, that the first update waits for. It is "
        "made with the last of them (DreamerV3), not only when the train ratio owes it.",
        at_least=0,
        zero="min_size alone counts",
    )
    sampler: Literal["uniform", "prioritized"] = option(
        "uniform", "How windows are drawn: uniformly, or by priorities that updates report."
    )
    online: float = option(
        0.0,
        "Fraction of each batch taken from new windows, oldest first and each at most once (DreamerV3's online queue).",
        at_least=0,
        at_most=1,
    )
    uniform_fraction: float = option(
        0.0,
        "Fraction of each batch that a prioritized sampler draws uniformly. If above 0, the actor and the critic learn "
        "from these windows only, and priorities are the world model's loss.",
        at_least=0,
        at_most=1,
    )
    priority_exponent: float = option(0.8, "Exponent of priorities.", at_least=0, zero="uniform")
    keep_latents: bool = option(
        False, "Store latent states with the steps; windows start from them, and every update refreshes them."
    )

    def check(self) -> None:
        """Raises ConfigError if the first update needs more than is kept, or the sampler has no priorities to replace."""
        require(self.min_size <= self.capacity, "min_size", self.min_size, f"must be at most capacity={self.capacity}")
        if self.uniform_fraction:
            prioritized = self.sampler == "prioritized" and not self.online
            allowed = "must be 0 unless sampler='prioritized' and online=0"
            require(prioritized, "uniform_fraction", self.uniform_fraction, allowed)

    def uniform_rows(self, count: int) -> np.ndarray:
        """Indices of a batch's ``count`` windows that are drawn uniformly, int64.

        They are spread over the batch, so that equal parts of it hold equally many.
        """
        due = np.floor(np.arange(count + 1) * self.uniform_fraction + 1e-6)
        return np.flatnonzero(np.diff(due))


@dataclass(frozen=True)
class OfflineConfig(Options):
    """Learning from recorded steps, without an environment."""

    replay: str = option("", "Work directory or NPZ file to learn from. Empty: the run collects its own steps.")
