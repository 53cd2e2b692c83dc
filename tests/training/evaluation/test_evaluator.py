"""Exactly as many episodes as asked for, without favor."""

from __future__ import annotations

import numpy as np
import pytest

from dreamjax.envs.checks import EnvError
from dreamjax.seeds import EVALUATION
from dreamjax.training.evaluation.evaluator import cut_text, describe, evaluate, raised_by_environment
from tests.helpers.fakes import FakeEnv, counting_policy


def run(lengths: list[int], episodes: int, **kwargs):
    env = FakeEnv(lengths)
    result = evaluate(
        counting_policy(), {}, env, num_envs=len(lengths), episodes=episodes, greedy=True, seed=EVALUATION, **kwargs
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
    assert env.seeds == [EVALUATION]


def test_it_stops_when_asked() -> None:
    result, env = run([100], 1, should_stop=lambda: True)
    assert result is None
    assert len(env.actions) == 1


def test_an_episode_without_end_is_cut_and_told() -> None:
    result, env = run([10**9, 3], 4, max_length=5)
    assert result["length"]["episodes"] == [5, 5, 3, 3]
    assert result["return"]["mean"] == 4
    assert result["cut"]["episodes"] == [1, 1, 0, 0]
    assert cut_text(result, 5) == "2 of 4 episodes were cut after 5 steps (eval.max_length)"
    assert describe(result, 5).startswith("return 4.00 ± 0.58, length 4.00 ± 0.58; 2 of 4")
    assert len(env.seeds) == 2 and env.seeds[1] >= EVALUATION  # the cut one is reset when the other has played
    assert len(env.actions) == 6 + 5


def test_what_ends_at_the_limit_is_not_cut() -> None:
    result, env = run([5, 9], 4, max_length=5)
    assert result["length"]["episodes"] == [5, 5, 5, 5]
    assert result["cut"]["episodes"] == [0, 0, 1, 1]
    # After its cut the second environment plays on to its end, which does not count, and then its other episode.
    assert env.seeds == [EVALUATION] and len(env.actions) == 9 + 5
    assert "cut" not in run([5, 9], 4, max_length=9)[0]


@pytest.mark.parametrize("by_adapter", [True, False])
def test_who_raised_an_error(by_adapter: bool) -> None:
    error = RuntimeError("broken")
    if by_adapter:
        error.add_note("raised by the environment: x, step 3")
    assert raised_by_environment(error) is by_adapter
    assert raised_by_environment(EnvError("x"))
