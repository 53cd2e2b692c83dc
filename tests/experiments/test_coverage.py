"""experiments.coverage: distinct boards and their bound, random play, runs counted from their replays, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dreamjax.config import ReplayConfig
from dreamjax.envs.make import make_env
from dreamjax.training.storage import recording
from dreamjax.training.storage.workdir import UsageError, write_config
from dreamjax.types import ActionSpec, EnvSpec, ObsSpec
from experiments import coverage
from experiments.coverage import Coverage, coarse
from tests.helpers.configs import make_tiny_config

ENV = {"id": "dreamjax/Tetris-v0", "action_mode": "direct", "kwargs": {"height": 8, "width": 4}}
SPEC = EnvSpec({"board": ObsSpec("grid", (2, 8, 4), "uint8", classes=2)}, ActionSpec(()))


def observations(*boards):
    return {"board": np.stack(boards)}


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
    counted = Coverage(SPEC)
    empty, low, high = board(), board((0, 7, 0)), board((0, 0, 3))
    falling = board((1, 3, 3))  # what falls is not settled
    counted.add(observations(empty, low, falling))
    counted.add(observations(low, high, empty))
    assert counted.counts() == {"boards": 3.0, "coarse": 1.0}
    full = board()
    full[0, 4:, :2] = 1
    counted.add(observations(full))
    assert counted.counts() == {"boards": 4.0, "coarse": 2.0}


def test_random_boards_are_told_apart():
    rng = np.random.default_rng(0)
    boards = rng.integers(0, 2, (3000, 2, 8, 4)).astype(np.uint8)
    counted = Coverage(SPEC)
    for part in np.split(boards, 30):
        counted.add(observations(*part))
    assert counted.counts()["boards"] == len({grid[0].tobytes() for grid in boards})


@pytest.mark.parametrize("grids", [0, 2])
def test_there_must_be_one_grid(grids):
    spec = EnvSpec({f"g{i}": SPEC.obs["board"] for i in range(grids)}, ActionSpec(()))
    with pytest.raises(UsageError, match=f"the environment has {grids}"):
        Coverage(spec)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of two environments that played 32 steps each; its work directory, and what they saw in order."""
    config = make_tiny_config(env=ENV, ensemble={"size": 2}, explore={"steps": 38})
    path = tmp_path / "run"
    path.mkdir()
    write_config(path, config)
    env, rng, seen = make_env(config.env, 2, seed=0), np.random.default_rng(0), []
    replay = recording.make_replay(ReplayConfig(capacity=128, min_size=1), env.spec, num_envs=2, seed=0)
    records = env.reset(0)
    for _ in range(32):
        action = np.where(records.is_last[:, None], 0, rng.integers(0, 2, (2, 8))).astype(np.uint8)
        replay.add(records, action)
        seen.append(records.obs)
        final, records = env.step(action)
        assert final is None
    env.close()
    stored = replay.stored()
    found = recording.SavedReplay(env.spec, 2, 64, len(stored[0]), lambda empty: empty.fill(*stored))
    monkeypatch.setattr(recording, "open_saved_replay", lambda path, name: found)
    return path, env.spec, seen


def test_a_table_of_runs_and_random_play(run, tmp_path, capsys):
    path, spec, seen = run
    out = tmp_path / "out.json"
    assert coverage.main([f"--runs={path}", f"--json={out}"]) == 0
    players = json.loads(out.read_text())["players"]
    counted, expected = Coverage(spec), []
    for step, obs in enumerate(seen, 1):
        counted.add(obs)
        if 2 * step in (38, 64):
            expected.append({"step": 2 * step} | counted.counts())
    assert players[str(path)] == expected
    first, last = players["random"]
    assert (first["step"], last["step"]) == (38, 64)
    for point in (first, last):  # a new settled board needs a lock; the empty board needs none
        assert 1 < point["boards"] <= point["locks"] + 1 <= point["step"] + 1
        assert point["coarse"] <= point["boards"]
    assert f"{expected[-1]['boards'] / last['boards']:.2f}" in capsys.readouterr().out


def test_buttons_are_pressed_as_often_as_asked():
    """Never a hard drop, and the pieces fall by gravity alone: few locks. Always one: a lock in every step but resets."""
    config = make_tiny_config(env=ENV)
    drop = np.zeros(8)
    slow = coverage.random_play(config, [40], chance=drop, seed=0)[0]
    drop[5] = 1.0
    fast = coverage.random_play(config, [40], chance=drop, seed=0)[0]
    assert slow["locks"] < 10 < 25 < fast["locks"] <= 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps=0"], "--steps=0 is not allowed"),
        (["--steps=x"], "--steps=x is not allowed"),
        (["--seed=-1"], "--seed=-1 is not allowed"),
        (["--steps=64000"], "its replay has 64 steps, not 64,000"),
    ],
)
def test_wrong_usage_is_refused(run, capsys, arguments, message):
    assert coverage.main([f"--runs={run[0]}", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_replay_that_may_have_dropped_steps_is_refused(run, monkeypatch, capsys):
    found = recording.open_saved_replay(run[0], "")._replace(size=32)
    monkeypatch.setattr(recording, "open_saved_replay", lambda path, name: found)
    assert coverage.main([f"--runs={run[0]}"]) == 2
    assert "its replay is full" in capsys.readouterr().err


def test_runs_of_other_games_are_not_compared(run, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    write_config(other, make_tiny_config(env={**ENV, "action_mode": "locked_position"}))
    assert coverage.main([f"--runs={run[0]},{other}"]) == 2
    assert "plays another game" in capsys.readouterr().err
