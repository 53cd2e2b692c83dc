"""experiments.coverage: random play counted by hand's bound, runs read from their metrics, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dreamjax.training.storage.workdir import write_config
from experiments import coverage
from tests.conftest import make_tiny_config

ENV = {"id": "dreamjax/Tetris-v0", "action_mode": "direct", "kwargs": {"height": 8, "width": 4}}


def run_of(path, *, steps=(), total=64, **overrides):
    path.mkdir()
    config = make_tiny_config(env=ENV, total_steps=total, **overrides)
    write_config(path, config)
    lines = [{"step": s, "update": s, "coverage/boards": 2.0 * s, "coverage/coarse": 1.0 * s} for s in steps]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [{"step": 1, "update": 0}, *lines]))
    return path


def test_a_table_of_runs_and_random_play(tmp_path, capsys):
    run = run_of(tmp_path / "run", steps=(20, 32, 40, 64), ensemble={"size": 2}, explore={"steps": 38})
    out = tmp_path / "out.json"
    assert coverage.main([f"--runs={run}", f"--json={out}"]) == 0
    players = json.loads(out.read_text())["players"]
    told = players[str(run)]
    assert told == [{"step": 32, "boards": 64, "coarse": 32}, {"step": 64, "boards": 128, "coarse": 64}]
    first, last = players["random"]
    assert (first["step"], last["step"]) == (38, 64)
    for point in (first, last):  # a new settled board needs a lock; the empty board needs none
        assert 1 < point["boards"] <= point["locks"] + 1 <= point["step"] + 1
        assert point["coarse"] <= point["boards"]
    assert f"{128 / last['boards']:.2f}" in capsys.readouterr().out


def test_buttons_are_pressed_as_often_as_told():
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
        (["--steps=64000"], "has no log.coverage at 64,000 steps"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, capsys, arguments, message):
    run = run_of(tmp_path / "run", steps=(64,))
    assert coverage.main([f"--runs={run}", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_runs_of_other_games_are_not_compared(tmp_path, capsys):
    left, right = run_of(tmp_path / "a", steps=(64,)), tmp_path / "b"
    right.mkdir()
    write_config(right, make_tiny_config(env={**ENV, "action_mode": "locked_position"}))
    assert coverage.main([f"--runs={left},{right}"]) == 2
    assert "plays another game" in capsys.readouterr().err
