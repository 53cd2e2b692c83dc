"""Episodes in a stream of records: return, length, and the numbers that the environment tells in ``info``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dreamjax.types import Records

OWN = {"return": "episode_return", "length": "episode_length"}
UNUSED = {*OWN, *OWN.values(), "broken", "cut"}  # names in ``info`` that are not the environment's own numbers


class EpisodeNumbers:
    """Numbers of the episodes that ``num_envs`` environments play.

    A number ``x`` in ``info`` gives ``x_sum``, over the steps of the episode (0 where a step does not tell it), and
    ``x_last``, as it was told last. ``with_plain_names`` says which of the two is called ``x``.

    Attributes:
        events: names that some step of an episode did not tell.
        steps: int64 ``[N]``, steps so far of the episodes under way.
    """

    def __init__(self, num_envs: int) -> None:
        self.steps = np.zeros(num_envs, np.int64)
        self.events: set[str] = set()
        self._in_steps: set[str] = set()  # names told in a step, not in resets alone
        self._names: list[str] = []
        self._values = np.zeros((0, 3, num_envs))  # of each name: steps that told it, their sum, the last value
        self._own = {name: np.zeros(num_envs) for name in OWN}

    def add(self, *streams: Records | None) -> list[tuple[int, dict[str, float]]]:
        """Takes the next records, in order; returns the environment and the numbers of each episode that ends in them.

        Episodes whose environment broke (``info["broken"]``, see ``dreamjax.envs.workers``) are left out: where they were
        cut says nothing about the policy.
        """
        ended = []
        for records in streams:
            if records is not None:
                self._take(records)
                broken = records.info.get("broken", np.zeros(len(records))) == 1
                for row in np.flatnonzero(records.is_last & ~broken):
                    env = int(records.env[row])
                    ended.append((env, self._ended(env)))
        return ended

    def so_far(self, env: int) -> dict[str, float]:
        """Numbers of the episode under way."""
        numbers = {name: float(values[env]) for name, values in self._own.items()}
        for i, name in enumerate(self._names):
            _, total, last = self._values[i, :, env].tolist()
            if name in self._in_steps:
                numbers[f"{name}_sum"] = total
            if np.isfinite(last):
                numbers[f"{name}_last"] = last
        return numbers

    def _ended(self, env: int) -> dict[str, float]:
        for i, name in enumerate(self._names):
            if name in self._in_steps and self._values[i, 0, env] < self.steps[env]:
                self.events.add(name)
        return self.so_far(env)

    def _take(self, records: Records) -> None:
        envs, first = records.env, records.is_first
        self.steps[envs] = np.where(first, 0, self.steps[envs] + 1)
        self._values[:, :2, envs[first]], self._values[:, 2, envs[first]] = 0, np.nan
        for name, entry in OWN.items():
            self._own[name][envs] = records.info[entry]
        for name, value in records.info.items():
            told = np.isfinite(value)
            if name in UNUSED or not told.any():
                continue
            i = self._index(name)
            self._values[i, 2, envs[told]] = value[told]
            told &= ~first
            if told.any():
                self._in_steps.add(name)
                self._values[i, 0, envs[told]] += 1
                self._values[i, 1, envs[told]] += value[told]

    def _index(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
            new = np.zeros((1, 3, len(self.steps)))
            new[:, 2] = np.nan
            self._values = np.concatenate([self._values, new])
        return self._names.index(name)

    def state_dict(self) -> dict[str, Any]:
        """Everything that ``add`` changes."""
        return {
            "steps": self.steps.copy(),
            "names": list(self._names),
            "values": self._values.copy(),
            "events": sorted(self.events),
            "in_steps": sorted(self._in_steps),
            "own": {name: values.copy() for name, values in self._own.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps, self._values = np.array(state["steps"]), np.array(state["values"])
        self._names, self.events, self._in_steps = list(state["names"]), set(state["events"]), set(state["in_steps"])
        self._own = {name: np.array(values) for name, values in state["own"].items()}


def with_plain_names(episodes: Mapping[str, list[float]], events: Iterable[str]) -> dict[str, list[float]]:
    """Values by name, with one of ``x_sum`` and ``x_last`` called ``x``.

    An event, which only some steps tell, is summed up: ``x`` is ``x_sum``. Of a number that every step tells, ``x`` is
    ``x_last``: a state, or a count that the environment keeps itself.
    """
    events, result = set(events), dict[str, list[float]]()
    for name, values in episodes.items():
        plain, _, kind = name.rpartition("_")
        chosen = kind in ("sum", "last") and kind == ("sum" if plain in events else "last")
        result.setdefault(plain if chosen else name, []).extend(values)
    return dict(sorted(result.items(), key=lambda item: (item[0] not in OWN, item[0].endswith(("_sum", "_last")))))
