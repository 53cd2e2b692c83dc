"""Measures a policy over whole episodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dreamjax.envs.checks import EnvError
from dreamjax.seeds import derived_seed
from dreamjax.training.collection.collector import Environments, Policy
from dreamjax.training.collection.episodes import EpisodeNumbers, with_plain_names
from dreamjax.types import Params, Records

SHOWN = 8  # numbers in a line of the log


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
    max_length: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, dict[str, Any]] | None:
    """Plays exactly ``episodes`` episodes in ``num_envs`` environments side by side.

    Environment ``i`` plays a quota fixed beforehand, ``episodes // num_envs`` and one more for the first of them, and
    all of them count: taking the first ``episodes`` to end would favor short ones. An episode that reaches ``max_length``
    counts as it is then. Its environment plays on until the episode ends or, if no other environment has anything left
    to play, until all are reset.

    Args:
        policy: compiled policy. params: its parameters. env: ``num_envs`` environments, reset here by ``seed``.
        greedy: act by the policy's mode. seed: of environments and policy; the result is a function of it.
        max_length: steps after which an episode is cut; 0: never.
        should_stop: called after each step.

    Returns:
        ``{name: {"mean", "stderr", "episodes": [...]}}`` for return, length, the numbers in the environment's ``info``
        (``with_plain_names``) and, where episodes were cut, ``cut`` (1 for these, 0 for others), episodes ordered by
        environment; None if it was stopped. ``stderr`` is the standard error of the mean (0 for one episode).
    """
    quota = episodes_per_env(episodes, num_envs)
    played: list[list[dict[str, float]]] = [[] for _ in range(num_envs)]
    act = acting(policy, params, num_envs=num_envs, greedy=greedy, seed=seed)
    numbers, cut = EpisodeNumbers(num_envs), np.zeros(num_envs, bool)
    resets = itertools.count(1)
    records = env.reset(seed)
    numbers.add(records)
    while any(missing := [len(played[i]) < quota[i] for i in range(num_envs)]):
        if cut[missing].all():
            records = env.reset(derived_seed(seed, next(resets)))
            numbers.add(records)
            cut[:] = False
        final, records = env.step(act(records))
        for i, episode in numbers.add(final, records):
            if not cut[i] and len(played[i]) < quota[i]:
                played[i].append(episode)
        cut &= ~records.is_first
        if max_length:
            for i in np.flatnonzero((numbers.steps >= max_length) & ~records.is_last & ~cut).tolist():
                cut[i] = True
                if len(played[i]) < quota[i]:
                    played[i].append(numbers.so_far(i) | {"cut": 1.0})
        if should_stop():
            return None
    return summarize([episode for each in played for episode in each], numbers.events)


def summarize(episodes: list[dict[str, float]], events: set[str]) -> dict[str, dict[str, Any]]:
    """The result of ``evaluate`` from the numbers of each episode; see ``with_plain_names``.

    What happened in no step of an episode counts 0 there; a last value that it did not tell is left out.
    """
    names = dict.fromkeys(name for episode in episodes for name in episode)
    zero = {"cut", *(f"{name}_sum" for name in events)}
    columns = {
        name: [episode.get(name, 0.0) for episode in episodes if name in episode or name in zero] for name in names
    }
    return {name: _summary(values) for name, values in with_plain_names(columns, events).items()}


def raised_by_environment(error: Exception) -> bool:
    """Whether an error comes from an environment, as ``Adapter`` marks them."""
    notes = getattr(error, "__notes__", ())
    return isinstance(error, EnvError) or any(note.startswith("raised by the environment") for note in notes)


def describe(result: dict[str, dict[str, Any]], max_length: int) -> str:
    """A result of ``evaluate`` in one line: the first numbers, and what was cut."""
    shown = [name for name in result if name != "cut" and not name.endswith(("_sum", "_last"))][:SHOWN]
    text = ", ".join(f"{name} {result[name]['mean']:.2f} ± {result[name]['stderr']:.2f}" for name in shown)
    return f"{text}; {cut_text(result, max_length)}" if "cut" in result else text


def cut_text(result: dict[str, dict[str, Any]], max_length: int) -> str:
    """What was cut, in words; for a result that has ``cut``."""
    cut = result["cut"]["episodes"]
    return f"{sum(cut):.0f} of {len(cut)} episodes were cut after {max_length:,} steps (eval.max_length)"


def _summary(values: list[float]) -> dict[str, Any]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "stderr": spread / len(values) ** 0.5, "episodes": values}
