"""When updates run: by Dreamer's train ratio, or in the plan's rounds.

Both answer one question, ``due(step)``: which updates are owed once ``step`` environment steps were collected. They
are pure functions of ``step`` and of the updates taken, so a saved and reloaded schedule owes the same.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dreamjax.config import Config

# The agent's functions of these names.
Phase = Literal[
    "update", "update_world_model", "update_actor_critic", "update_exploring", "update_actor_critic_exploring"
]
EXPLORING: dict[Phase, Phase] = {
    "update": "update_exploring",
    "update_actor_critic": "update_actor_critic_exploring",
}


@dataclass(frozen=True)
class Due:
    """``count`` updates of one phase, each on a batch of ``batch_size`` windows."""

    phase: Phase
    count: int
    batch_size: int


class Schedule(Protocol):
    """What the trainer asks of a schedule."""

    @property
    def updates(self) -> int:
        """Updates taken so far, of any phase."""

    @property
    def batches(self) -> dict[Phase, int]:
        """Windows in each batch of the phases that run."""

    def due(self, step: int) -> list[Due]:
        """Updates owed at ``step`` environment steps, in order; does not take them."""

    def take(self, due: list[Due]) -> None:
        """Counts these updates as taken."""

    def ratio(self, step: int) -> float:
        """Windows replayed for each environment step since learning began; 0 before."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class RatioSchedule:
    """Keeps ``|updates - ratio * (step - start)| < 1`` once ``step >= start``, whatever the step's increments.

    Args:
        ratio: updates for each environment step (``Config.updates_per_step``).
        start: environment steps before counting begins: no update is owed for them.
        batch_size: windows in each batch.
    """

    def __init__(self, ratio: float, *, start: int, batch_size: int) -> None:
        self._ratio, self._start, self._batch_size = ratio, start, batch_size
        self.updates = self._windows = 0

    @property
    def batches(self) -> dict[Phase, int]:
        return {"update": self._batch_size}

    def due(self, step: int) -> list[Due]:
        count = int(self._ratio * max(0, step - self._start)) - self.updates
        return [Due("update", count, self._batch_size)] if count > 0 else []

    def take(self, due: list[Due]) -> None:
        self.updates += sum(item.count for item in due)
        self._windows += sum(item.count * item.batch_size for item in due)

    def ratio(self, step: int) -> float:
        return self._windows / (step - self._start) if step > self._start else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "windows": self._windows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates, self._windows = int(state["updates"]), int(state["windows"])


class PlanSchedule:
    """The plan's rounds: collect ``collect_steps``, then world-model updates, then actor-critic updates.

    Round ``n`` (from 1) is owed once ``step >= start + n * collect_steps``; several owed rounds keep their order.

    Args:
        world_model, actor_critic: the updates of one round.
        collect_steps: environment steps of one round.
        start: environment steps before the first round begins to collect.
    """

    def __init__(self, world_model: Due, actor_critic: Due, *, collect_steps: int, start: int) -> None:
        self._round = [item for item in (world_model, actor_critic) if item.count]
        self._collect_steps, self._start = collect_steps, start
        self.updates = self._windows = 0
        self._rounds = 0

    @property
    def batches(self) -> dict[Phase, int]:
        return {item.phase: item.batch_size for item in self._round}

    def due(self, step: int) -> list[Due]:
        owed = max(0, step - self._start) // self._collect_steps - self._rounds
        return self._round * max(0, owed)

    def take(self, due: list[Due]) -> None:
        self.updates += sum(item.count for item in due)
        self._windows += sum(item.count * item.batch_size for item in due)
        self._rounds += len(due) // max(1, len(self._round))

    def ratio(self, step: int) -> float:
        return self._windows / (step - self._start) if step > self._start else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "windows": self._windows, "rounds": self._rounds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates, self._windows = int(state["updates"]), int(state["windows"])
        self._rounds = int(state["rounds"])


class ExploringSchedule:
    """Another schedule in whose first ``steps`` environment steps the updates owed are those that train the explorer too.

    An update that is owed in that phase and taken after it trains the explorer no more.
    """

    def __init__(self, schedule: Schedule, steps: int) -> None:
        self._schedule, self._steps = schedule, steps

    @property
    def updates(self) -> int:
        return self._schedule.updates

    @property
    def batches(self) -> dict[Phase, int]:
        batches = self._schedule.batches
        return batches | {EXPLORING[phase]: size for phase, size in batches.items() if phase in EXPLORING}

    def due(self, step: int) -> list[Due]:
        due = self._schedule.due(step)
        if step > self._steps:
            return due
        return [dataclasses.replace(item, phase=EXPLORING.get(item.phase, item.phase)) for item in due]

    def take(self, due: list[Due]) -> None:
        self._schedule.take(due)

    def ratio(self, step: int) -> float:
        return self._schedule.ratio(step)

    def state_dict(self) -> dict[str, Any]:
        return self._schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._schedule.load_state_dict(state)


def make_schedule(config: Config) -> Schedule:
    """The schedule a configuration asks for; with ``explore.steps``, an ``ExploringSchedule`` of it.

    Learning starts at ``replay.min_size`` environment steps, or later where every environment needs more to fill
    one window: ``num_envs * batch_length``; at once where it learns from what was recorded.
    """
    schedule = _make_schedule(config)
    return ExploringSchedule(schedule, config.explore.steps) if config.explore.steps else schedule


def _make_schedule(config: Config) -> Schedule:
    start = 0 if config.offline.replay else max(config.replay.min_size, config.num_envs * config.batch_length)
    if config.schedule.kind == "ratio":
        return RatioSchedule(config.updates_per_step, start=start, batch_size=config.batch_size)
    plan = config.schedule
    return PlanSchedule(
        Due("update_world_model", plan.world_model_batches, config.batch_size),
        Due("update_actor_critic", plan.actor_critic_batches, plan.imagination_batch_size),
        collect_steps=plan.collect_steps,
        start=start,
    )


def crossed(before: int, after: int, every: int) -> bool:
    """Whether a multiple of ``every`` lies in ``(before, after]``: a period without state. ``every=0`` is never."""
    return every > 0 and after // every > before // every
