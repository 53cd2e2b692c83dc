"""The command that measures agents: which games it plays, what it compares, what it says."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import config as config_lib
from dreamjax.commands import cli, evaluate, robustness, stopwatch
from dreamjax.envs.tetris.rules import TetrisConfig
from dreamjax.training.evaluation import evaluator
from dreamjax.training.storage import workdir
from tests.helpers.configs import make_tiny_config
from tests.helpers.fakes import FakeEnv, counting_policy

STANDARD = {"randomizer": "bag", "garbage_rows": 0}


def settings(*arguments):
    known = evaluate._parser().parse_args(["--workdir=run", *arguments])
    evaluate._check(known)
    return robustness.games_of(known)


def test_the_games_that_are_compared():
    assert settings() == {}
    assert settings("--sequence=sz") == {"bag": STANDARD, "sz": STANDARD | {"randomizer": "sz"}}
    assert settings("--sequence=bag") == {"bag": STANDARD}
    assert settings("--garbage=3")["bag, garbage 3"] == STANDARD | {"garbage_rows": 3}
    both = settings("--sequence=uniform", "--garbage=2")
    assert list(both) == ["bag", "uniform, garbage 2"]
    assert both["uniform, garbage 2"] == {"randomizer": "uniform", "garbage_rows": 2}
    every = settings("--robustness")
    assert list(every) == ["bag", "uniform", "sz", "garbage 5"]
    assert list(settings("--robustness", "--garbage=9"))[-1] == "garbage 9"
    for fields in every.values():
        TetrisConfig(**fields)


def test_lines_lost():
    lost = robustness.loss({"mean": 8.0, "stderr": 0.3}, {"mean": 6.0, "stderr": 0.4})
    assert lost == {"mean": 2.0, "stderr": pytest.approx(0.5), "share": 0.25}
    assert robustness.loss({"mean": 0.0, "stderr": 0.0}, {"mean": 1.0, "stderr": 0.0})["share"] is None


def test_the_stopwatch_leaves_out_the_first_call_and_changes_nothing(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(clock) ** 2)
    policy = counting_policy()
    watch = stopwatch.Stopwatch(policy.act)
    carry = policy.initial_carry(2)
    for is_first in (True, False, False):
        carry, action, _ = watch({}, carry, {}, jnp.full(2, is_first), None, 0, greedy=True)
    assert action.tolist() == [[3], [3]]
    # Readings 0 | 1 4 | 9 16.
    assert (watch.calls, watch.seconds, watch.mean) == (2, 3 + 7, 5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--garbage=0"], "--garbage=0 is not allowed"),
        (["--sequence=random"], "--sequence"),
        (["--robustness", "--sequence=sz"], "--robustness plays every --sequence"),
        (["--world-model", "--garbage=2"], "--world-model is measured on the run's own games"),
        (["--world-model", "--episodes=0"], "--episodes=0 is not allowed"),
        (["--num_envs=0"], "--num_envs=0 is not allowed"),
        (["--agent=planner", "--simulations=0"], "--simulations=0 is not allowed"),
        (["--simulations=5"], "--simulations=5 is for --agent=planner"),
        (["--candidates=5"], "--candidates=5 is for --agent=planner"),
        (["--agent=planner", "--candidates=1"], "--candidates=1 is not allowed: must be 2 or more"),
        (["--bootstrap=0.5"], "--bootstrap=0.5 is for --agent=planner"),
        (["--rules=real"], "--rules=real is for --agent=planner"),
        (["--agent=planner", "--rules=real", "--garbage=2"], "--rules=real is for the run's own games"),
    ],
)
def test_wrong_usage(arguments, told, tmp_path, capsys):
    assert evaluate.main([f"--workdir={tmp_path}", *arguments]) == cli.USAGE
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_other_games_are_tetris_alone(tmp_path, capsys):
    workdir.write_config(tmp_path, make_tiny_config(env={"id": "CartPole-v1"}))
    assert evaluate.main([f"--workdir={tmp_path}", "--robustness"]) == cli.USAGE
    assert "are for dreamjax/Tetris-v0, not for CartPole-v1" in capsys.readouterr().err
    assert evaluate.main([f"--workdir={tmp_path}", "--agent=planner", "--rules=real"]) == cli.USAGE
    assert "--rules=real is for dreamjax/Tetris-v0" in capsys.readouterr().err


def test_settings_are_played_and_compared(monkeypatch, tmp_path, capsys):
    config = make_tiny_config(env={"id": "dreamjax/Tetris-v0", "kwargs": {"width": 6}}, eval={"num_envs": 3})
    workdir.write_config(tmp_path, config)
    made, asked = [], {}
    loaded = SimpleNamespace(
        config=config, env=FakeEnv([1] * 3), params={}, path=tmp_path, meta={"update": 4, "step": 9},
        agent=SimpleNamespace(policy=counting_policy().act, initial_carry=counting_policy().initial_carry),
    )  # fmt: skip

    def load(path, **kwargs):
        asked.update(kwargs)
        return loaded

    def make_env(env_config, num_envs, *, seed):
        made.append(dict(env_config.kwargs))
        return FakeEnv([5 + env_config.kwargs["garbage_rows"]] * num_envs)

    measure = evaluator.evaluate

    def lines_by_length(*args, **kwargs):
        result = measure(*args, **kwargs)
        entry = {"mean": 20.0 - result["length"]["mean"], "stderr": 0.0, "episodes": []}
        return result | {"lines": entry, "pieces": entry}

    monkeypatch.setattr("dreamjax.training.storage.load.load", load)
    monkeypatch.setattr("dreamjax.envs.make.make_env", make_env)
    monkeypatch.setattr("dreamjax.training.collection.acting.make_policy", lambda *_: counting_policy())
    monkeypatch.setattr("dreamjax.training.evaluation.evaluator.evaluate", lines_by_length)
    file = tmp_path / "result.json"
    arguments = [f"--workdir={tmp_path}", "--sequence=sz", "--garbage=4", "--episodes=7", f"--json={file}"]
    assert evaluate.main(arguments) == cli.OK
    assert asked["changes"] == {"env": {"kwargs": STANDARD}} and asked["num_envs"] == 3
    assert made == [{"width": 6} | STANDARD, {"width": 6, "randomizer": "sz", "garbage_rows": 4}]
    result = json.loads(file.read_text())
    assert (
        result["settings"]["bag"]["lines"]["mean"] == 15 and len(result["settings"]["bag"]["length"]["episodes"]) == 7
    )
    assert result["settings"]["sz, garbage 4"]["loss"] == {"mean": 4, "stderr": 0, "share": pytest.approx(4 / 15)}
    assert (result["agent"], result["step"], result["num_envs"]) == ("policy", 9, 3)
    printed = capsys.readouterr().out
    assert "time per move" in printed
    row = next(line for line in printed.splitlines() if line.startswith("sz, garbage 4"))
    assert row.split()[3:] == ["11.00", "±", "0.00", "4.00", "±", "0.00", "27", "%", "11.00", "±", "0.00"]
    assert np.isfinite(result["seconds_per_move"])


@pytest.mark.parametrize("agent", ["policy", "search", "planner"])
def test_planner_acts_where_it_is_asked_for_though_the_run_had_none(agent, monkeypatch, tmp_path, capsys):
    config = make_tiny_config(env={"id": "dreamjax/Tetris-v0"})
    workdir.write_config(tmp_path, config)
    asked, acted = {}, []
    functions = SimpleNamespace(policy="policy", planner_policy="planner", initial_carry=None)

    def load(path, **kwargs):
        asked.update(kwargs)
        meta = {"update": 4, "step": 9}
        return SimpleNamespace(
            config=config, env=FakeEnv([2] * kwargs["num_envs"]), params={}, path=tmp_path, meta=meta, agent=functions
        )

    def make_policy(function, initial_carry):
        acted.append(function)
        return counting_policy()

    monkeypatch.setattr("dreamjax.training.storage.load.load", load)
    monkeypatch.setattr("dreamjax.training.collection.acting.make_policy", make_policy)
    budget = ["--simulations=7", "--method=cem"] if agent == "planner" else []
    assert (
        evaluate.main([f"--workdir={tmp_path}", "--episodes=4", f"--agent={agent}", "--num_envs=3", *budget]) == cli.OK
    )
    assert asked["num_envs"] == 3
    assert acted == ["policy" if agent == "policy" else "planner"]
    changed = config_lib.from_dict(config_lib.merge(config_lib.to_dict(config), asked["changes"]))
    planner = {
        "policy": config.planner,
        "search": dataclasses.replace(config.planner, method="one_step", actions=64),
        "planner": dataclasses.replace(config.planner, num_simulations=7, method="cem"),
    }[agent]
    assert changed.planner == planner
    printed = capsys.readouterr()
    assert "time per move: " in printed.out
    assert ("--agent=planner --method=one_step" in printed.err) == (agent == "search")
