"""Exactly as many episodes as asked for, without favor."""

from __future__ import annotations

import numpy as np
import pytest

from dreamjax.training.evaluation.evaluator import evaluate
from tests.helpers.fakes import FakeEnv, counting_policy


def run(lengths: list[int], episodes: int, **kwargs):
    env = FakeEnv(lengths)
    result = evaluate(
        counting_policy(), {}, env, num_envs=len(lengths), episodes=episodes, greedy=True, seed=5, **kwargs
    )
    return result, env


def test_short_episodes_are_not_favored() -> None:
    # Taking the first four to end would give four episodes of length 1.
    result, _ = run([1, 9], 4)
    assert result["length"]["episodes"] == [1, 1, 9, 9]


def test_episodes_per_env_sum_to_the_episodes_asked_for() -> None:
    result, _ = run([1, 2, 3], 5)
    assert result["length"]["episodes"] == [1, 1, 2, 2, 3]
    result, _ = run([4], 1)
    assert result["length"]["episodes"] == [4]
    assert result["length"]["stderr"] == 0


def test_mean_and_standard_error() -> None:
    result, env = run([2, 4, 9], 3)
    values = np.array([2, 4, 9])
    assert result["return"]["mean"] == values.mean()
    assert result["return"]["stderr"] == pytest.approx(values.std(ddof=1) / 3**0.5)
    assert env.seeds == [5]


def test_it_stops_when_asked() -> None:
    result, env = run([100], 1, should_stop=lambda: True)
    assert result is None
    assert len(env.actions) == 1
