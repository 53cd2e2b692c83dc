"""Five runs under SIGKILL, as ``make chaos`` does with fifty: in CI with the tests' fake learner, slowly with Dreamer."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.helpers import ROOT


@pytest.mark.parametrize(
    "options",
    [("--kills=2", "--fast"), pytest.param(("--kills=1",), marks=pytest.mark.slow)],  # minutes where cores are shared
    ids=["fast", "dreamer"],
)
def test_killed_runs_end_as_if_nothing_had_happened(options: tuple[str, ...]) -> None:
    # Its own settings of XLA: one device, and programs that compile quickly.
    environ = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    command = [sys.executable, "-m", "tests.chaos", "--runs=5", *options]
    result = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=580)
    assert result.returncode == 0, result.stdout + result.stderr
    told = re.search(r"^5 of 5 killed runs .*: (\d+) kills, (\d+) of them inside a save", result.stdout, re.M)
    assert told is not None, result.stdout
    assert int(told[1]) >= 4 and int(told[2]) >= 1  # one at a random time may come too late
