"""The compiled updates of a run: each phase alone, and several in one call where the configuration asks for that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dreamjax.agents.agent import Agent
from dreamjax.algorithms.update import TASK, Phases
from dreamjax.config import Config
from dreamjax.training.announce import announced_update
from dreamjax.training.calls import stacked
from dreamjax.training.finite import skip_nonfinite
from dreamjax.training.runtime import devices, memory
from dreamjax.training.runtime.background_compiler import Ahead
from dreamjax.training.schedule import Due, Phase
from dreamjax.types import Batch, Metrics, ReplayOuts, TrainState

PHASES: dict[Phase, Phases] = {
    "update": TASK,
    "update_world_model": ("world_model",),
    "update_actor_critic": ("actor_critic",),
    "update_exploring": (*TASK, "explorer"),
    "update_actor_critic_exploring": ("actor_critic", "explorer"),
}


class Updates:
    """Updates by phase and by how many one call makes: 1, or ``schedule.updates_per_call``.

    Args:
        agent, config: of the run. phases: that it makes. num_devices: local devices that share each batch.
    """

    def __init__(self, agent: Agent, config: Config, phases: Iterable[Phase], num_devices: int) -> None:
        guard = skip_nonfinite if config.optimiser.skip_nonfinite else lambda update: update
        self._num_devices = num_devices
        self._functions = {phase: guard(functools.partial(agent.update, phases=PHASES[phase])) for phase in phases}
        self._compiled = {
            (phase, count): devices.make_update(fn, num_devices, count=count)
            for phase, fn in self._functions.items()
            for count in {1, config.schedule.updates_per_call}
        }

    def activation_bytes(self, phase: Phase, state: Any, batch: Any) -> int:
        """An estimate, from shapes (``memory.activation_bytes``); on one device the trace is kept for the first call."""
        traced = self._compiled[phase, 1], self._functions[phase]
        return memory.activation_bytes(devices.jaxpr_of(*traced, state, batch, self._num_devices))

    def announce(
        self, state: Any, batches: Mapping[Phase, Any], ahead: Ahead, devices: int, say: Callable[[str], None]
    ) -> None:
        """Tells from now on what is compiled, and begins with what ``batches`` (shapes, by phase) will need.

        Args:
            state: shapes of it. devices: of all processes.
        """
        for (phase, count), update in self._compiled.items():
            ready = ahead.begin(update, state, memory.several(batches[phase], count))
            name = phase if count == 1 else f"{count} x {phase}"
            self._compiled[phase, count] = announced_update(name, update, devices, say, ready)

    def __call__(
        self, call: Due, state: TrainState, batches: Sequence[Batch]
    ) -> tuple[TrainState, Metrics, ReplayOuts]:
        """Makes the updates of one call (``calls.in_calls``), one for each batch. ``state`` is donated."""
        batch = devices.place(stacked(batches), self._num_devices)
        return self._compiled[call.phase, call.count](state, batch)
