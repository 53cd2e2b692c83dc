"""Calls that take long are logged sparsely; past the limit the run ends, from another thread than the one that hangs."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamjax.training.runtime.watchdog import Watchdog
from dreamjax.training.storage import checkpoint
from tests.helpers import ROOT


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Lines(logging.Handler):
    """The messages that the watchdog logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.WARNING
        self.lines.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[list[str]]:
    handler, logger = Lines(), logging.getLogger("dreamjax")
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def watched(clock: Clock, watchdog: Watchdog, name: str, seconds: int, logged: list[str]) -> list[tuple[int, str]]:
    """What is logged at each whole second of a call that takes ``seconds``."""
    found, began = [], clock.now
    with watchdog.over(lambda: name):
        for second in range(seconds):
            clock.now = began + second
            before = len(logged)
            watchdog.look()
            found += [(second, line) for line in logged[before:]]
    return found


def test_long_calls_are_logged_again_after_twice_as_long(logged: list[str]) -> None:
    ended: list[str] = []
    clock = Clock()
    # Its own thread checks every 100 s, which never comes.
    watchdog = Watchdog(patience=1000, limit=0, end=ended.append, clock=clock)
    watchdog._patience = watchdog._next = 3
    assert watched(clock, watchdog, "quick", 3, logged) == []
    lines = watched(clock, watchdog, "slow", 40, logged)
    assert [second for second, _ in lines] == [3, 6, 12, 24]
    assert re.fullmatch(r"slow has not answered for 24 s, at .*py:\d+ in \w+", lines[-1][1])
    clock.now += 100
    watchdog.look()  # nothing is under way
    assert [second for second, _ in watched(clock, watchdog, "again", 5, logged)] == [3]
    assert not ended
    watchdog.close()


def test_the_limit_ends_it_once(logged: list[str]) -> None:
    ended: list[str] = []
    clock = Clock()
    watchdog = Watchdog(patience=1000, limit=4000, end=ended.append, clock=clock)
    watchdog._patience, watchdog._limit = 3, 5
    watched(clock, watchdog, "short", 5, logged)
    assert len(logged) == 1 and not ended
    watched(clock, watchdog, "hung", 6, ended)
    (reason,) = ended
    assert reason.startswith("hung has not answered for 5 s, at ") and reason.endswith("env.abort_after=5 s are over")
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
    reason = where.format(r"\d+") + rf"_in_a_loop: env.abort_after=3 s are over. Last good checkpoint: {newest}$"
    assert re.search("^error: " + reason, result.stderr, re.M), result.stderr
    checkpoint.verify(newest)
    assert sorted(path.name for path in newest.parent.iterdir()) == [newest.name]
