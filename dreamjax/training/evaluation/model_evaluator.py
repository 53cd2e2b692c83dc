"""Measures a world model's predictions on episodes that the agent plays for this purpose."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import numpy as np

from dreamjax.agents.agent import Agent
from dreamjax.reporting.accuracy import AccuracyTotals, accuracy, count_correct, counted_steps
from dreamjax.reporting.uncertainty import ERRORS, summary
from dreamjax.seeds import derived_seed
from dreamjax.training.collection.collector import Environments, Policy
from dreamjax.training.evaluation.evaluator import acting, episodes_per_env
from dreamjax.types import Batch, EnvSpec, Params, Records

CONTEXT = 5
HORIZONS = (1, 5, 15)
WINDOWS = 16  # of a batch
NO_EPISODE = -1


class Episode(NamedTuple):
    """One whole episode of ``T`` records, terminal one included; ``cleared``: float ``[T]``, NaN where not reported."""

    obs: dict[str, np.ndarray]
    action: np.ndarray
    is_terminal: np.ndarray
    cleared: np.ndarray


def evaluate_model(
    agent: Agent,
    policy: Policy,
    params: Params,
    env: Environments,
    *,
    num_envs: int,
    episodes: int,
    greedy: bool,
    seed: int,
    max_length: int = 0,
) -> dict[str, Any]:
    """Plays ``episodes`` whole episodes and holds the prior's predictions against them.

    Args:
        agent: whose model. policy: compiled, what plays. params: of both. env: ``num_envs`` environments, reset here.
        greedy: act by the policy's mode. seed: of environments, policy and the model's samples.
        max_length: steps after which an episode is cut; 0: never.

    Returns:
        ``{"episodes", "steps", "context", "observations": {name: rows}}`` with the rows of
        ``reporting.accuracy.accuracy`` for each observation of kind "grid"; there may be none. With an ensemble also
        ``"disagreement"``, see ``reporting.uncertainty.summary``, of the steps one ahead.
    """
    how: dict[str, Any] = {"greedy": greedy, "seed": seed, "max_length": max_length}
    played = play(policy, params, env, num_envs=num_envs, episodes=episodes, **how)
    open_loop = jax.jit(agent.open_loop, static_argnames="context")
    grids = {name: entry for name, entry in agent.spec.obs.items() if entry.kind == "grid"}
    wanted = bool(grids) or ("ensemble" in params)
    starts = window_starts([len(episode.action) for episode in played]) if wanted else []
    uncertainty: dict[str, list[np.ndarray]] = {}
    of_windows: dict[str, list[AccuracyTotals]] = {name: [] for name in grids}
    owners = []
    key = jax.random.key(seed)
    for first in range(0, len(starts), WINDOWS):
        chosen = starts[first : first + WINDOWS]
        batch, cleared, owner = windows(agent.spec, played, chosen)
        result = jax.device_get(open_loop(params, batch, jax.random.fold_in(key, first), context=CONTEXT))
        for name, entry in grids.items():
            of_windows[name].append(
                count_correct(
                    entry,
                    np.asarray(result["real"][name]),
                    result["next"][name],
                    result["dream"][name],
                    valid=result["valid"],
                    begins=np.asarray(batch.is_first)[:, 0],
                    cleared=cleared,
                    context=CONTEXT,
                    horizons=HORIZONS,
                )
            )
        owners.append(owner)
        if "disagreement" in result:
            counted = counted_steps(result["valid"], np.asarray(batch.is_first)[:, 0], CONTEXT)
            counted &= (owner != NO_EPISODE)[:, None]
            for name in ("disagreement", *ERRORS.values()):
                uncertainty.setdefault(name, []).append(result[name][counted])
    more = {}
    if uncertainty:
        flat = {name: np.concatenate(parts) for name, parts in uncertainty.items()}
        more["disagreement"] = summary(flat["disagreement"], {name: flat[key] for name, key in ERRORS.items()})
    joined = {name: _concatenated(parts) for name, parts in of_windows.items() if parts}
    return {
        "episodes": len(played),
        "steps": sum(len(episode.action) - 1 for episode in played),
        "context": CONTEXT,
        "observations": {name: accuracy(sums, np.concatenate(owners)) for name, sums in joined.items()},
    } | more


def _concatenated(parts: list[AccuracyTotals]) -> AccuracyTotals:
    """The windows of all batches, rows and measures in their order."""
    return {
        row: {name: np.concatenate([part[row][name] for part in parts]) for name in measures}
        for row, measures in parts[0].items()
    }


def play(
    policy: Policy,
    params: Params,
    env: Environments,
    *,
    num_envs: int,
    episodes: int,
    greedy: bool,
    seed: int,
    max_length: int = 0,
) -> list[Episode]:
    """Whole episodes, as many of each environment as ``evaluator.episodes_per_env`` says; cut as in ``evaluate``."""
    quota = episodes_per_env(episodes, num_envs)
    ended: list[list[Episode]] = [[] for _ in range(num_envs)]
    under_way: list[list[tuple[Any, ...]]] = [[] for _ in range(num_envs)]
    cut, resets = np.zeros(num_envs, bool), itertools.count(1)

    def store(records: Records, action: np.ndarray) -> None:
        cleared = records.info.get("lines_cleared", np.full(len(records), np.nan))
        broken = records.info.get("broken", np.zeros(len(records))) == 1
        for row, i in enumerate(records.env):
            if records.is_first[row]:
                under_way[i].clear()
                cut[i] = False
            if cut[i]:
                continue
            obs = {name: value[row].copy() for name, value in records.obs.items()}
            under_way[i].append((obs, action[row], records.is_terminal[row], cleared[row]))
            cut[i] = len(under_way[i]) > max_length > 0 and not records.is_last[row]
            if records.is_last[row] or cut[i]:
                if not broken[row] and len(ended[i]) < quota[i]:
                    ended[i].append(_joined(under_way[i]))
                under_way[i].clear()

    act = acting(policy, params, num_envs=num_envs, greedy=greedy, seed=seed)
    records = env.reset(seed)
    while any(missing := [len(ended[i]) < quota[i] for i in range(num_envs)]):
        if cut[missing].all():
            records = env.reset(derived_seed(seed, next(resets)))
        action = act(records)
        store(records, action)
        final, records = env.step(action)
        if final is not None:
            store(final, np.zeros((len(final), action.shape[1]), action.dtype))
    return [episode for each in ended for episode in each]


def _joined(steps: list[tuple[Any, ...]]) -> Episode:
    obs, action, is_terminal, cleared = zip(*steps, strict=True)
    stacked = {name: np.stack([one[name] for one in obs]) for name in obs[0]}
    return Episode(stacked, np.stack(action), np.array(is_terminal), np.array(cleared, np.float64))


def window_starts(lengths: list[int]) -> list[tuple[int, int]]:
    """Episode and first record of windows in which each step of episodes of these lengths is predicted once."""
    return [
        (i, start)
        for i, length in enumerate(lengths)
        for start in range(0, length, max(HORIZONS))
        if (1 if start == 0 else start + CONTEXT) < length
    ]


def windows(
    spec: EnvSpec, played: list[Episode], chosen: list[tuple[int, int]]
) -> tuple[Batch, np.ndarray, np.ndarray]:
    """``WINDOWS`` windows of ``CONTEXT + max(HORIZONS)`` records, and of each record lines cleared, of each its episode.

    What lies past an episode's end begins another one (``is_first``), and windows that are too many belong to none.
    """
    shape = (WINDOWS, CONTEXT + max(HORIZONS))
    obs = {name: np.zeros((*shape, *entry.shape), entry.dtype) for name, entry in spec.obs.items()}
    action = np.zeros((*shape, spec.action.record_size), spec.action.record_dtype)
    prev_action = np.zeros_like(action[:, 0])
    is_first, is_terminal = np.ones(shape, bool), np.zeros(shape, bool)
    cleared = np.full(shape, np.nan)
    owner = np.full(WINDOWS, NO_EPISODE)
    for row, (i, start) in enumerate(chosen):
        episode = played[i]
        here = slice(start, start + shape[1])
        size = len(episode.action[here])
        for name in obs:
            obs[name][row, :size] = episode.obs[name][here]
        action[row, :size] = episode.action[here]
        is_terminal[row, :size], cleared[row, :size] = episode.is_terminal[here], episode.cleared[here]
        is_first[row, :size] = False
        is_first[row, 0] = start == 0
        prev_action[row] = episode.action[start - 1] if start else 0
        owner[row] = i
    rows = np.arange(WINDOWS, dtype=np.int32)
    zeros = np.zeros(shape, bool)
    batch = Batch(obs, action, zeros.astype(np.float32), is_first, zeros, is_terminal, rows, prev_action)
    return batch, cleared, owner
