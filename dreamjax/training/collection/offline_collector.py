"""Learning from saved steps, without an environment."""

from __future__ import annotations

from typing import Any


class OfflineCollector:
    """Takes the collector's place where there is no environment: only counts steps, so that updates become due."""

    def __init__(self, num_envs: int) -> None:
        self._num_envs = num_envs
        self.step = 0

    def start(self) -> None:
        """Starts nothing."""

    def begin(self, params: Any) -> None:
        """Chooses nothing."""

    def finish(self) -> None:
        """Counts one step of every environment that there would be."""
        self.step += self._num_envs

    def peek_episodes(self) -> dict[str, float]:
        """No episodes."""
        return {}

    def pop_episodes(self) -> dict[str, float]:
        """No episodes."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The step count."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Continues from a saved count; True, as for environments that continue."""
        self.step = int(state["step"])
        return True
