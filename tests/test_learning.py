"""The default agent learns: it solves each probe within minutes, and what random play earns is not enough.

A small preset (``probes.solve.SMALL``) is shared by all; rewards of 0.001 set two fields more. ``tests/README.md`` holds
the figures.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.probes.solve import PROBES, SMALL, SOLVED, row, solve, watch

pytestmark = pytest.mark.slow
SEEDS = (0, 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PROBES)
def test_probe_is_solved(name, seed, tmp_path):
    result = solve(name, seed, tmp_path)
    print("\n" + row(name, seed, result))
    assert result.random < 0.6 < SOLVED <= result.agent
    if name == "cue":
        rewards, _ = watch(tmp_path, 11)
        assert rewards[:, -1].mean() >= SOLVED  # the answer ten blank steps after the cue
    if name == "endless":
        _, values = watch(tmp_path, 10)
        analytic = 1 / (1 - SMALL["loss"]["gamma"])
        # At every step, that of the cut included: a value that took the limit for an end would fall from 6.5 to 0.
        np.testing.assert_allclose(values.mean(0), analytic, rtol=0.05)
