"""Small stand-ins for environments and replay, whose every number can be predicted."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from dreamjax.training.collector import Policy
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec, Records, RSSMState

SPEC = EnvSpec({"count": ObsSpec("vector", (1,), "float32")}, ActionSpec((ActionPart("categorical", 5),)))


class FakeEnv:
    """Environment ``i`` plays episodes of ``lengths[i]`` steps; ``count`` is the step within the episode.

    Ends come as ``final`` with the reset's record current (SAME_STEP); the return of an episode is its length.
    """

    def __init__(self, lengths: list[int], *, can_save: bool = True) -> None:
        self.spec, self.lengths, self.can_save = SPEC, np.array(lengths), can_save
        self.count = np.zeros(len(lengths), np.int64)
        self.actions: list[np.ndarray] = []
        self.seeds: list[int | None] = []

    def reset(self, seed: int | None = None) -> Records:
        self.seeds.append(seed)
        self.count[:] = 0
        return self._records(np.arange(len(self.count)), self.count == 0, np.zeros(len(self.count), bool))

    def step(self, action: np.ndarray) -> tuple[Records | None, Records]:
        self.actions.append(action.copy())
        self.count += 1
        ended = self.count >= self.lengths
        final = None
        if ended.any():
            rows = np.flatnonzero(ended)
            final = self._records(rows, np.zeros(len(rows), bool), np.ones(len(rows), bool))
            self.count[ended] = 0
        return final, self._records(np.arange(len(self.count)), ended, np.zeros(len(self.count), bool))

    def get_state(self) -> dict[str, np.ndarray] | None:
        return {"count": self.count.copy()} if self.can_save else None

    def set_state(self, state: dict[str, np.ndarray]) -> Records:
        self.count = np.array(state["count"])
        return self._records(np.arange(len(self.count)), self.count == 0, np.zeros(len(self.count), bool))

    def _records(self, rows: np.ndarray, first: np.ndarray, last: np.ndarray) -> Records:
        count = self.count[rows].astype(np.float32)
        return Records(
            env=rows.astype(np.int32),
            obs={"count": count[:, None]},
            reward=np.where(first, 0, 1).astype(np.float32),
            is_first=first.copy(),
            is_last=last.copy(),
            is_terminal=last.copy(),
            info={"episode_return": count.astype(np.float64), "episode_length": count.astype(np.float64)},
        )


class FakeReplay:
    """Remembers what was added."""

    def __init__(self) -> None:
        self.added: list[tuple[Records, np.ndarray, Any]] = []

    def add(self, records: Records, action: np.ndarray, latents: Any = None) -> None:
        self.added.append((records, action, latents))

    def stream(self, env: int) -> list[tuple[float, bool, bool, int]]:
        """``(count, is_first, is_last, action)`` of one environment, in order."""
        return [
            (float(r.obs["count"][i, 0]), bool(r.is_first[i]), bool(r.is_last[i]), int(action[i, 0]))
            for r, action, _ in self.added
            for i in np.flatnonzero(r.env == env)
        ]


def counting_policy() -> Policy:
    """Acts by 1 + (steps since the reset, as its carry knows them) mod 4; its latents are that number."""

    def act(params: Any, carry: Any, obs: Any, is_first: Any, key: Any, step: Any, *, greedy: bool) -> Any:
        carry = jnp.where(is_first, 0, carry + 1)
        latents = RSSMState(deter=carry[:, None].astype(jnp.float32), stoch=carry[:, None, None].astype(jnp.float32))
        return carry, (1 + carry % 4)[:, None].astype(jnp.int32), latents

    return Policy(lambda num_envs: jnp.zeros(num_envs, jnp.int32), act)
