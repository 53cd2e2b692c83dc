"""Measures a policy over whole episodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dreamjax.training.collection.collector import Environments, Policy, ended_episodes
from dreamjax.types import Params, Records


def episodes_per_env(episodes: int, num_envs: int) -> np.ndarray:
    """int ``[num_envs]``: how many of ``episodes`` each environment plays."""
    quota = np.full(num_envs, episodes // num_envs)
    quota[: episodes % num_envs] += 1
    return quota


def acting(
    policy: Policy, params: Params, *, num_envs: int, greedy: bool, seed: int
) -> Callable[[Records], np.ndarray]:
    """The policy from its first step on: ``records -> action record [N, K]``, zero where an episode has ended.

    To be called once for each step of ``num_envs`` environments, in order.
    """
    key, carry, steps = jax.random.key(seed), policy.initial_carry(num_envs), itertools.count()

    def act(records: Records) -> np.ndarray:
        nonlocal carry
        step = np.uint32(next(steps))
        carry, chosen, _ = policy.act(params, carry, records.obs, records.is_first, key, step, greedy=greedy)
        action = np.array(chosen)
        action[records.is_last] = 0
        return action

    return act


def evaluate(
    policy: Policy,
    params: Params,
    env: Environments,
    *,
    num_envs: int,
    episodes: int,
    greedy: bool,
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, dict[str, Any]] | None:
    """Plays exactly ``episodes`` episodes in ``num_envs`` environments side by side.

    Environment ``i`` plays a quota fixed beforehand, ``episodes // num_envs`` and one more for the first of them, and
    all of them count: taking the first ``episodes`` to end would favor short ones.

    Args:
        policy: compiled policy. params: its parameters. env: ``num_envs`` environments, reset here by ``seed``.
        greedy: act by the policy's mode. seed: of environments and policy; the result is a function of it.
        should_stop: called after each step.

    Returns:
        ``{name: {"mean", "stderr", "episodes": [...]}}`` for return, length, and lines and pieces where the environment
        tells them, episodes ordered by environment; None if it was stopped. ``stderr`` is the standard error of the
        mean (0 for one episode).
    """
    quota = episodes_per_env(episodes, num_envs)
    played: list[list[dict[str, float]]] = [[] for _ in range(num_envs)]
    act = acting(policy, params, num_envs=num_envs, greedy=greedy, seed=seed)
    records = env.reset(seed)
    while any(len(played[i]) < quota[i] for i in range(num_envs)):
        final, records = env.step(act(records))
        for episode in ended_episodes(final, records):
            i = int(episode.pop("env"))
            if len(played[i]) < quota[i]:
                played[i].append(episode)
        if should_stop():
            return None
    flat = [episode for each in played for episode in each]
    return {name: _summary([episode[name] for episode in flat]) for name in flat[0]}


def _summary(values: list[float]) -> dict[str, Any]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "stderr": spread / len(values) ** 0.5, "episodes": values}
