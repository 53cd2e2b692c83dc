"""The progress of a run: what it knows about itself apart from its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Progress:
    """What a run knows about itself, kept in a checkpoint's ``meta``.

    Attributes:
        score: mean return of the last evaluation. evaluated: its environment step, -1 before the first.
        evaluation_pending: the run was stopped during an evaluation that was due.
        complete: it has reached ``total_steps`` and was evaluated there.
        saved: environment step of the last checkpoint, -1 before the first.
    """

    score: float | None = None
    evaluated: int = -1
    evaluation_pending: bool = False
    complete: bool = False
    saved: int = -1

    def to_meta(self, step: int) -> dict[str, Any]:
        """The entries of ``meta`` for a checkpoint at ``step``, which has a score only if it was evaluated."""
        return {
            "score": self.score if self.evaluated == step else None,
            "evaluated": self.evaluated,
            "evaluation_pending": self.evaluation_pending,
            "complete": self.complete,
        }

    @staticmethod
    def from_meta(meta: dict[str, Any], step: int) -> Progress:
        """The progress of the checkpoint at ``step`` that has this ``meta``."""
        return Progress(meta["score"], meta["evaluated"], meta["evaluation_pending"], meta["complete"], saved=step)
