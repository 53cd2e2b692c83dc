"""Numbers that an environment tells in ``info``: summed up, or as told last, and which of the two has the plain name."""

from __future__ import annotations

from typing import Any

import chex
import numpy as np
import pytest

from dreamjax.training.collection.collector import Collector
from dreamjax.training.collection.episodes import EpisodeNumbers, with_plain_names
from dreamjax.training.evaluation.evaluator import evaluate, summarize
from dreamjax.types import Records
from tests.helpers.fakes import FakeEnv, FakeReplay, counting_policy

NAN = np.nan


class Telling(FakeEnv):
    """Tells ``script[name][count]`` of each environment, NaN where it tells nothing."""

    def __init__(self, lengths: list[int], script: dict[str, list[float]]) -> None:
        super().__init__(lengths)
        self.script = script

    def _records(self, rows: np.ndarray, first: np.ndarray, last: np.ndarray) -> Records:
        records = super()._records(rows, first, last)
        for name, values in self.script.items():
            records.info[name] = np.array(values)[self.count[rows]]
        return records


def played(env: FakeEnv, steps: int) -> tuple[EpisodeNumbers, list[tuple[int, dict[str, float]]]]:
    numbers, ended = EpisodeNumbers(env.num_envs), []
    numbers.add(env.reset())
    for _ in range(steps):
        ended += numbers.add(*env.step(np.zeros((env.num_envs, 1), np.int32)))
    return numbers, ended


def test_sums_are_over_steps_and_last_values_as_told_last() -> None:
    script = {"lines": [NAN, 1, NAN, 2, NAN], "distance": [9, 3, 2, 1, 0.5], "level": [7, NAN, NAN, NAN, NAN]}
    numbers, ended = played(Telling([4, 3], script), 4)
    own = [(1, {"return": 3.0, "length": 3.0}), (0, {"return": 4.0, "length": 4.0})]
    told = [{"lines_sum": 3, "lines_last": 2, "distance_sum": 6, "distance_last": 1, "level_last": 7}]
    told += [{"lines_sum": 3, "lines_last": 2, "distance_sum": 6.5, "distance_last": 0.5, "level_last": 7}]
    assert ended == [(env, values | more) for (env, values), more in zip(own, told, strict=True)]
    assert numbers.events == {"lines"}


def test_plain_names() -> None:
    values = {"return": [4.0], "lines_sum": [3.0], "lines_last": [2.0], "distance_sum": [6.0], "distance_last": [1.0]}
    expected = {"return": [4.0], "lines": [3.0], "distance": [1.0], "lines_last": [2.0], "distance_sum": [6.0]}
    named = with_plain_names(values, {"lines"})
    assert named == expected and list(named) == list(expected)


def test_an_episode_without_an_event_counts_0() -> None:
    env = Telling([3, 3], {"lines": [NAN] * 4})
    numbers, first = played(env, 3)
    env.script = {"lines": [NAN, NAN, 5, NAN]}
    ended = first + [row for _ in range(3) for row in numbers.add(*env.step(np.zeros((2, 1), np.int32)))]
    result = summarize([episode for _, episode in ended], numbers.events)
    assert result["lines"]["episodes"] == [0, 0, 5, 5] and result["lines"]["mean"] == 2.5
    assert result["lines_last"]["episodes"] == [5, 5]


def test_broken_episodes_are_left_out_and_make_no_event() -> None:
    env = FakeEnv([2, 2, 2])
    numbers = EpisodeNumbers(3)
    numbers.add(env.reset())
    numbers.add(*env.step(np.zeros((3, 1), np.int32)))
    final, current = env.step(np.zeros((3, 1), np.int32))
    assert final is not None
    final.info |= {"broken": np.array([NAN, 1.0, 0.0]), "x": np.array([1.0, NAN, 1.0])}
    assert [env for env, _ in numbers.add(final, current)] == [0, 2]
    assert numbers.events == {"x"}  # the other episodes did not tell it in their first step


def test_names_of_ours_are_not_taken_from_the_environment() -> None:
    _, ended = played(Telling([2], {"return": [9, 9, 9], "length": [9, 9, 9], "cut": [1, 1, 1]}), 2)
    assert ended == [(0, {"return": 2.0, "length": 2.0})]


SCRIPT = {"lines": [NAN, 1, NAN, 1, NAN], "speed": [0, 5, 6, 7, 8]}


def collector(env: FakeEnv, **kwargs: Any) -> Collector:
    return Collector(counting_policy(), env, FakeReplay(), num_envs=env.num_envs, seed=3, **kwargs)


def steps(made: Collector, count: int) -> None:
    for _ in range(count):
        made.begin({})
        made.finish()


def test_the_collector_and_the_evaluation_tell_the_same() -> None:
    made = collector(Telling([4, 2], SCRIPT))
    made.start()
    steps(made, 4)
    means = made.pop_episodes()
    # Episodes of 2, 2 and 4 steps.
    assert means["episode/lines"] == pytest.approx(4 / 3) and means["episode/speed"] == pytest.approx(20 / 3)
    assert means["episode/lines_last"] == 1 and means["episode/speed_sum"] == pytest.approx((11 + 11 + 26) / 3)
    assert made.pop_episodes() == {}
    result = evaluate(counting_policy(), {}, Telling([4, 2], SCRIPT), num_envs=2, episodes=3, greedy=True, seed=5)
    assert result is not None
    assert result["lines"]["episodes"] == [2, 2, 1] and result["speed"]["episodes"] == [8, 8, 6]


def test_numbers_of_the_episode_under_way_are_saved() -> None:
    whole = collector(Telling([4, 3], SCRIPT))
    whole.start()
    steps(whole, 2)
    state = whole.state_dict()
    resumed = collector(Telling([4, 3], SCRIPT))
    assert resumed.load_state_dict(state)
    for made in (whole, resumed):
        steps(made, 3)
    chex.assert_trees_all_equal(resumed.state_dict(), whole.state_dict())
    assert resumed.pop_episodes() == whole.pop_episodes() != {}


def test_an_older_checkpoint_is_read() -> None:
    whole = collector(Telling([4, 3], SCRIPT))
    whole.start()
    state = whole.state_dict()
    del state["numbers"]
    state["episodes"] = {"return": [1.0], "lines": [5.0]}
    resumed = collector(Telling([4, 3], SCRIPT))
    resumed.load_state_dict(state)
    assert resumed.peek_episodes() == {"episode/return": 1.0, "episode/lines": 5.0}
    steps(resumed, 3)
    assert resumed.pop_episodes()["episode/lines"] == (5 + 2) / 2


def test_processes_agree_on_the_names() -> None:
    other = [{"return": [2.0], "lines_sum": [4.0], "lines_last": [1.0]}, ["lines"]]
    made = collector(Telling([1], {"lines": [NAN, 2.0]}), gather=lambda value: [value, other])
    made.start()
    steps(made, 1)
    # Here every step told it; in the other process not.
    assert made.peek_episodes()["episode/lines"] == (2 + 4) / 2
