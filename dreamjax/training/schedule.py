"""When updates run: by Dreamer's train ratio, or in the plan's rounds.

Both answer one question, ``pending(step)``: which updates are due once ``step`` environment steps were collected. They
are pure functions of ``step`` and of the updates made, so a saved and reloaded schedule answers the same.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

from dreamjax.algorithms.update import TASK, Phases
from dreamjax.config import Config


@dataclass(frozen=True)
class Pending:
    """``count`` updates of the same phases, each on a batch of ``batch_size`` windows."""

    phases: Phases
    count: int
    batch_size: int


def with_explorer(phases: Phases) -> Phases:
    """These phases in an explorer's phase: the explorer is trained after the actor and critic."""
    return (*phases, "explorer") if "actor_critic" in phases else phases


class Schedule(Protocol):
    """What the trainer asks of a schedule."""

    @property
    def updates(self) -> int:
        """Updates made so far, of any phases."""

    @property
    def batches(self) -> dict[Phases, int]:
        """Windows in each batch, for each tuple of phases that updates have."""

    def pending(self, step: int) -> list[Pending]:
        """Updates due at ``step`` environment steps and not yet made, in order."""

    def mark_done(self, updates: list[Pending]) -> None:
        """Counts these updates as made."""

    def ratio(self, step: int) -> float:
        """Windows replayed for each environment step since learning began; 0 before."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class RatioSchedule:
    """Keeps ``updates = first + ratio * (step - start)``, rounded down, once ``step >= start``.

    Args:
        ratio: updates for each environment step (``Config.updates_per_step``).
        start: environment steps before counting begins: no update is due for them.
        batch_size: windows in each batch.
        first: updates due at ``start``.
    """

    def __init__(self, ratio: float, *, start: int, batch_size: int, first: int = 0) -> None:
        self._ratio, self._start, self._batch_size, self._first = ratio, start, batch_size, first
        self.updates = self._windows = 0

    @property
    def batches(self) -> dict[Phases, int]:
        return {TASK: self._batch_size}

    def pending(self, step: int) -> list[Pending]:
        due = self._first + int(self._ratio * (step - self._start)) if step >= self._start else 0
        count = due - self.updates
        return [Pending(TASK, count, self._batch_size)] if count > 0 else []

    def mark_done(self, updates: list[Pending]) -> None:
        self.updates += sum(item.count for item in updates)
        self._windows += sum(item.count * item.batch_size for item in updates)

    def ratio(self, step: int) -> float:
        return self._windows / (step - self._start) if step > self._start else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "windows": self._windows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates, self._windows = int(state["updates"]), int(state["windows"])


class PlanSchedule:
    """The plan's rounds: collect ``collect_steps``, then world-model updates, then actor-critic updates.

    Round ``n`` (from 1) is due once ``step >= start + n * collect_steps``; several rounds that are due keep their order.

    Args:
        world_model, actor_critic: the updates of one round.
        collect_steps: environment steps of one round.
        start: environment steps before the first round begins to collect.
    """

    def __init__(self, world_model: Pending, actor_critic: Pending, *, collect_steps: int, start: int) -> None:
        self._round = [item for item in (world_model, actor_critic) if item.count]
        self._collect_steps, self._start = collect_steps, start
        self.updates = self._windows = 0
        self._rounds = 0

    @property
    def batches(self) -> dict[Phases, int]:
        return {item.phases: item.batch_size for item in self._round}

    def pending(self, step: int) -> list[Pending]:
        rounds = max(0, step - self._start) // self._collect_steps - self._rounds
        return self._round * max(0, rounds)

    def mark_done(self, updates: list[Pending]) -> None:
        self.updates += sum(item.count for item in updates)
        self._windows += sum(item.count * item.batch_size for item in updates)
        self._rounds += len(updates) // max(1, len(self._round))

    def ratio(self, step: int) -> float:
        return self._windows / (step - self._start) if step > self._start else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "windows": self._windows, "rounds": self._rounds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates, self._windows = int(state["updates"]), int(state["windows"])
        self._rounds = int(state["rounds"])


class ExploringSchedule:
    """Another schedule whose updates train the explorer too in the first ``steps`` environment steps.

    An update that is due in these steps and made after them does not train the explorer.
    """

    def __init__(self, schedule: Schedule, steps: int) -> None:
        self._schedule, self._steps = schedule, steps

    @property
    def updates(self) -> int:
        return self._schedule.updates

    @property
    def batches(self) -> dict[Phases, int]:
        batches = self._schedule.batches
        return batches | {with_explorer(phases): size for phases, size in batches.items()}

    def pending(self, step: int) -> list[Pending]:
        pending = self._schedule.pending(step)
        if step > self._steps:
            return pending
        return [dataclasses.replace(item, phases=with_explorer(item.phases)) for item in pending]

    def mark_done(self, updates: list[Pending]) -> None:
        self._schedule.mark_done(updates)

    def ratio(self, step: int) -> float:
        return self._schedule.ratio(step)

    def state_dict(self) -> dict[str, Any]:
        return self._schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._schedule.load_state_dict(state)


def make_schedule(config: Config) -> Schedule:
    """The schedule a configuration asks for; with ``explore.steps``, an ``ExploringSchedule`` of it.

    Learning starts at ``Config.first_update`` environment steps; at once where it learns from recorded steps.
    """
    schedule = _make_schedule(config)
    return ExploringSchedule(schedule, config.explore.steps) if config.explore.steps else schedule


def _make_schedule(config: Config) -> Schedule:
    start = 0 if config.offline.replay else config.first_update
    if config.schedule.kind == "ratio":
        first = int(config.replay.min_windows > 0 and not config.offline.replay)
        return RatioSchedule(config.updates_per_step, start=start, batch_size=config.batch_size, first=first)
    plan = config.schedule
    return PlanSchedule(
        Pending(("world_model",), plan.world_model_batches, config.batch_size),
        Pending(("actor_critic",), plan.actor_critic_batches, plan.imagination_batch_size),
        collect_steps=plan.collect_steps,
        start=start,
    )


def crossed(before: int, after: int, every: int) -> bool:
    """Whether a multiple of ``every`` lies in ``(before, after]``: a period without state. ``every=0`` is never."""
    return every > 0 and after // every > before // every
