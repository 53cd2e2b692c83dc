"""Counts of distinct grids, whole and coarse, their bound, and that a collector counts every record."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dreamjax.config import ConfigError
from dreamjax.training.collection.collector import Collector
from dreamjax.training.coverage import Coverage, coarse
from dreamjax.types import ActionSpec, EnvSpec, ObsSpec
from training.fakes import FakeEnv, FakeReplay, counting_policy

SPEC = EnvSpec({"board": ObsSpec("grid", (2, 8, 4), "uint8", classes=2)}, ActionSpec(()))


def records(*boards):
    return SimpleNamespace(obs={"board": np.stack(boards)})


def board(*cells):
    result = np.zeros((2, 8, 4), np.uint8)
    for cell in cells:
        result[cell] = 1
    return result


def test_coarse_cells_are_blocks_that_are_more_than_half_full():
    grid = np.zeros((1, 8, 4), np.uint8)
    grid[0, :2, :2] = 1  # 4 of 8: not more than half
    grid[0, 4:8, 2:] = 1
    grid[0, 4, 2] = 0  # 7 of 8
    np.testing.assert_array_equal(coarse(grid)[0], [[False, False], [False, True]])
    odd = np.zeros((1, 5, 3), np.uint8)
    odd[0, 4, 2] = 1  # a block of one cell, in the corner
    np.testing.assert_array_equal(coarse(odd)[0], [[False, False], [False, True]])


def test_each_board_counts_once_by_its_first_channel():
    coverage = Coverage(SPEC, 100)
    empty, low, high = board(), board((0, 7, 0)), board((0, 0, 3))
    falling = board((1, 3, 3))  # what falls is not settled
    coverage.add(records(empty, low, falling))
    coverage.add(records(low, high, empty))
    assert coverage.metrics() == {"coverage/boards": 3.0, "coverage/coarse": 1.0}
    full = board()
    full[0, 4:, :2] = 1
    coverage.add(records(full))
    assert coverage.metrics() == {"coverage/boards": 4.0, "coverage/coarse": 2.0}


def test_random_boards_are_told_apart_and_come_back():
    rng = np.random.default_rng(0)
    boards = rng.integers(0, 2, (3000, 2, 8, 4)).astype(np.uint8)
    coverage = Coverage(SPEC, 10_000)
    for part in np.split(boards, 30):
        coverage.add(records(*part))
    distinct = len({grid[0].tobytes() for grid in boards})
    assert coverage.metrics()["coverage/boards"] == distinct
    again = Coverage(SPEC, 10_000)
    again.load_state_dict(coverage.state_dict())
    again.add(records(*boards[:500]))
    assert again.metrics() == coverage.metrics()


def test_counting_stops_at_its_bound():
    coverage = Coverage(SPEC, 3)
    coverage.add(records(*(board((0, row, 0)) for row in range(8))))
    assert coverage.metrics()["coverage/boards"] == 3.0


@pytest.mark.parametrize("grids", [0, 2])
def test_there_must_be_one_grid(grids):
    spec = EnvSpec({f"g{i}": SPEC.obs["board"] for i in range(grids)}, ActionSpec(()))
    with pytest.raises(ConfigError, match="coverage=5 is not allowed"):
        Coverage(spec, 5)


class Listed:
    """Remembers the counts it was shown."""

    def __init__(self):
        self.seen = []

    def add(self, records):
        self.seen += records.obs["count"][:, 0].tolist()

    def metrics(self):
        return {"coverage/boards": float(len(self.seen))}

    def state_dict(self):
        return {"seen": list(self.seen)}

    def load_state_dict(self, state):
        self.seen = list(state["seen"])


def test_a_collector_counts_what_its_environments_show_and_goes_on_counting():
    build = lambda: Collector(counting_policy(), FakeEnv([3, 5]), FakeReplay(), num_envs=2, seed=0, coverage=Listed())
    collector = build()
    collector.start()
    for _ in range(5):
        collector.begin({})
        collector.finish()
    seen = collector.coverage()["coverage/boards"]
    assert seen >= 10
    again = build()
    again.load_state_dict(collector.state_dict())
    assert again.coverage()["coverage/boards"] == seen
