"""Small stand-ins for environments and replay, whose every number can be predicted."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms.update import TASK
from dreamjax.training.collection.collector import Policy
from dreamjax.types import (
    ActionPart,
    ActionSpec,
    Batch,
    EnvSpec,
    NormalizerState,
    ObsSpec,
    Records,
    ReplayOuts,
    RSSMState,
    TrainState,
)

SPEC = EnvSpec({"count": ObsSpec("vector", (1,), "float32")}, ActionSpec((ActionPart("categorical", 5),)))


class FakeEnv:
    """Environment ``i`` plays episodes of ``lengths[i]`` steps; ``count`` is the step within the episode.

    Ends come as ``final`` with the reset's record current (SAME_STEP); the return of an episode is its length.
    """

    env, name = None, "the fake"

    def __init__(self, lengths: list[int], *, can_save: bool = True) -> None:
        self.spec, self.lengths, self.can_save = SPEC, np.array(lengths), can_save
        self.num_envs = len(lengths)
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

    def close(self) -> None:
        self.closed = True

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


class FakeAgent(NamedTuple):
    """An agent whose update is a few sums, sensitive to everything a real one reads: batch, step, key, context."""

    init: Any
    update: Any
    initial_carry: Any
    policy: Any
    world_model: Any
    spec: EnvSpec = SPEC


@functools.cache
def fake_agent(*, bad_update: int | tuple[int, ...] = -1) -> FakeAgent:
    """``bad_update`` gives a loss and priorities that are no numbers in that update, or in those (from 1).

    Equal arguments give the same agent, so that its programs are traced once.
    """

    def init(key: Any) -> TrainState:
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params={"world_model": {"w": jnp.ones(3)}, "actor": {"b": jnp.zeros(())}, "critic": {}},
            slow_critic={},
            opt_state={},
            retnorm=NormalizerState(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32)),
        )

    def update(state: TrainState, batch: Batch, *, phases: Sequence[str] = TASK, axis_name: str | None = None) -> Any:
        name = phases[0] if len(phases) == 1 else "update"
        noise = jax.random.normal(jax.random.fold_in(state.key, state.step), (3,))
        signal = jnp.mean(batch.obs["count"]) + 0.1 * jnp.mean(batch.action.astype(jnp.float32))
        if batch.context is not None:
            signal += jnp.mean(batch.context.deter)
        w = 0.9 * state.params["world_model"]["w"] + 0.1 * signal + 0.01 * noise
        params = state.params | {"world_model": {"w": w}}
        step = state.step + 1
        bad = jnp.any(step == jnp.atleast_1d(jnp.asarray(bad_update)))
        loss = jnp.where(bad, jnp.nan, jnp.sum(w))
        latents = RSSMState(deter=batch.obs["count"], stoch=batch.obs["count"][..., None])
        priority = jnp.where(bad, jnp.nan, batch.obs["count"][..., 0])
        return state.replace(step=step, params=params), {f"train/loss/{name}": loss}, ReplayOuts(latents, priority)

    def policy(params: Any, carry: Any, obs: Any, is_first: Any, keys: Any, *, greedy: bool) -> Any:
        carry = jnp.where(is_first, 0, carry + 1)
        drawn = jax.vmap(lambda key: jax.random.randint(key, (), 0, 5))(keys)
        chosen = (drawn + carry + jnp.sum(params["world_model"]["w"]).astype(jnp.int32)) % 5
        latents = RSSMState(deter=obs["count"] * 0.5, stoch=obs["count"][..., None])
        return carry, jnp.where(greedy, 0, chosen)[:, None].astype(jnp.int32), latents

    def initial(num: int) -> RSSMState:
        return RSSMState(deter=jnp.zeros((num, 1)), stoch=jnp.zeros((num, 1, 1)))

    return FakeAgent(
        init,
        update,
        lambda num: jnp.zeros(num, jnp.int32),
        policy,
        SimpleNamespace(initial=initial),
    )
