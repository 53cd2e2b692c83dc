"""Calls that take long are told sparsely; past the limit the run ends, from another thread than the one that hangs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dreamjax.training.runtime.watchdog import Watchdog
from dreamjax.training.storage import checkpoint
from tests.helpers import ROOT


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def watched(clock: Clock, watchdog: Watchdog, name: str, seconds: int, told: list[str]) -> list[tuple[int, str]]:
    """What is told at each whole second of a call that takes ``seconds``."""
    found, began = [], clock.now
    with watchdog.over(lambda: name):
        for second in range(seconds):
            clock.now = began + second
            before = len(told)
            watchdog.look()
            found += [(second, line) for line in told[before:]]
    return found


def test_long_calls_are_told_again_after_twice_as_long() -> None:
    told: list[str] = []
    ended: list[str] = []
    clock = Clock()
    # Its own thread looks on every 100 s, which never comes.
    watchdog = Watchdog(patience=1000, limit=0, say=told.append, end=ended.append, clock=clock)
    watchdog._patience = watchdog._next = 3
    assert watched(clock, watchdog, "quick", 3, told) == []
    lines = watched(clock, watchdog, "slow", 40, told)
    assert [second for second, _ in lines] == [3, 6, 12, 24]
    assert re.fullmatch(r"slow has not answered for 24 s, at .*py:\d+ in \w+", lines[-1][1])
    clock.now += 100
    watchdog.look()  # nothing is under way
    assert [second for second, _ in watched(clock, watchdog, "again", 5, told)] == [3]
    assert not ended
    watchdog.close()


def test_the_limit_ends_it_once() -> None:
    told: list[str] = []
    ended: list[str] = []
    clock = Clock()
    watchdog = Watchdog(patience=1000, limit=4000, say=told.append, end=ended.append, clock=clock)
    watchdog._patience, watchdog._limit = 3, 5
    watched(clock, watchdog, "short", 5, told)
    assert len(told) == 1 and not ended
    watched(clock, watchdog, "hung", 6, ended)
    (reason,) = ended
    assert reason.startswith("hung has not answered for 5 s, at ") and reason.endswith("env.hang_limit=5 s are over")
    watchdog.close()


def test_an_environment_of_this_process_that_hangs(tmp_path: Path) -> None:
    """It is told, then the run ends by exit code 1 and names it; what was saved before is whole."""
    command = [sys.executable, "-m", "tests.training.hanging", str(tmp_path / "run")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1, result.stdout + result.stderr
    where = (
        r"tests.training.faulty:Faulty-v0, step 25: "
        r"environment 0 has not answered for {} s, at .*scripted.py:\d+ in hang"
    )
    assert re.search("^warning: " + where.format(1), result.stderr, re.M), result.stderr
    newest = checkpoint.latest(tmp_path / "run")
    assert newest is not None and checkpoint.step_of(newest) == 30
    reason = where.format(r"\d+") + rf"_in_a_loop: env.hang_limit=3 s are over. Last good checkpoint: {newest}$"
    assert re.search("^error: " + reason, result.stderr, re.M), result.stderr
    checkpoint.verify(newest)
    assert sorted(path.name for path in newest.parent.iterdir()) == [newest.name]
