"""Worker processes: the same stream as in this process, and failures of environments."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from dreamjax.config import EnvConfig
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.checks import EnvError
from dreamjax.envs.make import make_env, make_env_from
from dreamjax.types import Records
from tests.helpers import scripted

ZERO = np.zeros((3, 1), np.int32)


def make_faulty(fault: str, token: Path | None, **kwargs: Any) -> Adapter:
    """Three environments in two workers: 0 and 1 share one. With a token the fault happens once."""
    if token is not None:
        token.touch()
    factory = functools.partial(scripted.FaultyEnv, fault, token=str(token) if token else "")
    return make_env_from(factory, 3, seed=0, workers=2, **kwargs)


def play(adapter: Adapter, steps: int) -> list[Records]:
    """From step 0 on; every row is checked to be one of an unbroken stream."""
    history = [adapter.reset()]
    for _ in range(steps):
        final, records = adapter.step(ZERO)
        assert final is None
        np.testing.assert_array_equal(records.is_first, history[-1].is_last)
        assert not records.reward[records.is_first].any()
        history.append(records)
    return history


def same(a: Records, b: Records) -> None:
    for name in ("reward", "is_first", "is_last", "is_terminal"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name, value in a.obs.items():
        np.testing.assert_array_equal(value, b.obs[name])


def test_workers_give_the_stream_of_this_process() -> None:
    config = EnvConfig(id="tests.helpers.scripted:Scripted-v0")
    here = make_env(config, 3, seed=7)
    there = make_env(EnvConfig(id="tests.helpers.scripted:Scripted-v0", workers=2), 3, seed=7)
    assert here.spec == there.spec
    for a, b in zip(play(here, 15), play(there, 15), strict=True):
        same(a, b)
    processes = [psutil.Process(worker.process.pid) for worker in there.env._workers]  # type: ignore[attr-defined]
    there.close()
    there.close()
    assert not any(process.is_running() for process in processes)


def test_exception_breaks_one_episode_only(tmp_path: Path) -> None:
    adapter = make_faulty("raise", tmp_path / "token", max_restarts=1)
    with pytest.warns(RuntimeWarning, match="(?s)restart 1 of at most 1: environment .*the step went wrong") as caught:
        history = play(adapter, 9)
    assert "Traceback" in str(caught[0].message) and "scripted.py" in str(caught[0].message)
    last = np.array([records.is_last for records in history])
    (broken,) = np.flatnonzero(last[3])
    assert last[6].sum() == 2 and not last[6][broken]  # the others continue to their time limit
    before, end, begin = (history[at] for at in (2, 3, 4))
    np.testing.assert_array_equal(end.obs["observation"][broken], before.obs["observation"][broken])
    assert end.reward[broken] == 0 and not end.is_terminal[broken] and end.info["broken"][broken] == 1
    assert begin.is_first[broken] and begin.obs["observation"][broken, 1] == 0
    # The rebuilt environment has another seed, so another episode.
    assert begin.obs["observation"][broken, 0] != history[0].obs["observation"][broken, 0]
    adapter.close()


def test_what_follows_a_failure_is_reproducible() -> None:
    histories = []
    for _ in range(2):
        adapter = make_faulty("raise", None, max_restarts=100)
        with pytest.warns(RuntimeWarning, match="the step went wrong"):
            histories.append(play(adapter, 9))
        adapter.close()
    for a, b in zip(*histories, strict=True):
        same(a, b)
    values = [records.obs["observation"][0, 0] for records in histories[0] if records.is_first[0]]
    assert len(set(values)) == len(values) > 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [("exit", r"its process crashed \(exit code 3\)"), ("hang", "(?s)did not answer in time.*hang_in_a_loop")],
)
def test_crash_and_hang_break_the_episodes_of_one_worker(fault: str, message: str, tmp_path: Path) -> None:
    adapter = make_faulty(fault, tmp_path / "token", timeout=3.0, max_restarts=1)
    with pytest.warns(RuntimeWarning, match=message):
        history = play(adapter, 9)
    last = np.array([records.is_last for records in history])
    assert last[3].tolist() in ([True, True, False], [False, False, True])
    end, others = history[3], ~last[3]
    np.testing.assert_array_equal(end.obs["observation"][last[3]], history[2].obs["observation"][last[3]])
    assert not end.is_terminal.any() and not end.reward[last[3]].any()
    np.testing.assert_array_equal(last[6], others)
    assert history[4].is_first.tolist() == last[3].tolist()
    adapter.close()


def test_reset_that_fails_is_tried_again(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="the reset went wrong"):
        adapter = make_faulty("reset", tmp_path / "token")
    assert adapter.reset().is_first.all()
    # Now one in the middle of the stream: a reset row must still follow the last record.
    play(adapter, 6)
    (tmp_path / "token").touch()
    with pytest.warns(RuntimeWarning, match="the reset went wrong"):
        _, records = adapter.step(ZERO)
    assert records.is_first.all() and not records.is_last.any()
    assert not records.obs["observation"][:, 1].any()
    adapter.close()


def test_more_failures_than_allowed_end_with_the_traceback() -> None:
    adapter = make_faulty("raise", None, max_restarts=0)
    adapter.reset()
    adapter.step(ZERO)
    adapter.step(ZERO)
    with pytest.raises(EnvError, match=r"(?s)step 3: more than max_restarts=0.*Traceback.*the step went wrong"):
        adapter.step(ZERO)
    adapter.close()


def test_environment_that_cannot_be_made_in_a_worker() -> None:
    with pytest.raises(EnvError, match=r"(?s)Nowhere-v0.*cannot be made.*doesn't exist"):
        make_env(EnvConfig(id="Nowhere-v0", workers=1), 2, seed=0)


def test_killed_before_the_reset_record() -> None:
    """The record after an episode's last must come from a reset, even if the process dies in between."""
    adapter = make_faulty("", None)
    history = play(adapter, 6)
    assert history[-1].is_last.all()
    process = adapter.env._workers[0].process  # type: ignore[attr-defined]
    process.kill()
    process.join()
    with pytest.warns(RuntimeWarning, match=r"crashed \(exit code -9\)"):
        _, records = adapter.step(ZERO)
    assert records.is_first.all() and not records.is_last.any() and not records.reward.any()
    assert not records.obs["observation"][:, 1].any()  # the reset's, not the last one again
    adapter.close()
