"""The probes are what they say: the best player earns the best return, and nobody who lacks the skill comes near it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.probes import environments
from tests.probes.solve import PROBES, SOLVED, random_return


def player(name: str) -> Callable[[Any, int], Any]:
    """The best action from what was seen first and what is seen now; knows each environment's tables."""
    memory: dict[str, Any] = {}

    def act(obs: Any, step: int) -> Any:
        if isinstance(obs, dict):
            return int(environments.Masked.PAYS[obs["room"].argmax()].argmax())
        seen = int(obs.argmax()) if isinstance(obs, np.ndarray) else int(obs)
        if step == 0:
            memory["first"] = seen
        return {
            "Cue": memory["first"],
            "Chain": environments.Chain.RIGHT[min(seen, 7)],
            "Fork": 2 if seen == 0 else seen,
            "Scale": environments.Scale.RIGHT[min(seen, 3)],
            "Buttons": np.array(environments.Buttons.RIGHT, np.int8),
            "Endless": seen,
        }[name]

    return act


def mean_return(name: str, act: Callable[[Any, int], Any], episodes: int) -> float:
    probe = PROBES[name]
    env = gymnasium.make(f"probes/{probe.env}-v0", disable_env_checker=True, **probe.kwargs)
    total = 0.0
    for episode in range(episodes):
        obs, _ = env.reset(seed=7 if episode == 0 else None)
        step, ended = 0, False
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(act(obs, step))
            total, step, ended = total + float(reward), step + 1, terminated or truncated
    return total / episodes


@pytest.mark.parametrize("name", PROBES)
def test_the_best_player_earns_the_best_return_and_random_play_does_not(name):
    best = PROBES[name].best
    assert mean_return(name, player(PROBES[name].env), 32) == pytest.approx(best)
    random = {"cue": 0.5, "chain": 0.02, "fork": 0.983 / 3, "buttons": 1 / 256, "masked": 0.5, "endless": 0.5}
    assert random_return(name, episodes=500) / best == pytest.approx(random.get(name, 0.25), abs=0.06)


def test_who_believes_in_luck_or_shuns_it_does_not_pass_the_fork():
    lucky, careful, blind = (mean_return("fork", lambda obs, step, a=a: a, 2_000) for a in (1, 0, 2))
    assert lucky == pytest.approx(0.25, abs=0.06) and careful == pytest.approx(0.4)
    assert blind == pytest.approx(0.5, abs=0.06) and blind < SOLVED


@pytest.mark.parametrize("name", sorted({probe.env for probe in PROBES.values()}))
def test_probes_are_gymnasium_environments(name):
    if name == "Masked":  # the checker takes illegal arms
        return
    check_env(gymnasium.make(f"probes/{name}-v0").unwrapped, skip_render_check=True)
