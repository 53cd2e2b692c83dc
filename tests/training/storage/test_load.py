"""Trained agents without their environment, and beside another one."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

import dreamjax
from dreamjax.commands import cli, dream
from dreamjax.config import Config
from dreamjax.envs.checks import EnvError
from dreamjax.training.storage import checkpoint, shipped
from dreamjax.training.storage.load import load
from dreamjax.training.trainer import Trainer
from tests.helpers.configs import make_tiny_config, vary

ID = "Buttons-v0"


def config_of(**overrides: Any) -> Config:
    base = make_tiny_config(
        total_steps=24, replay={"min_size": 24}, env={"id": f"tests.helpers.buttons:{ID}"}, eval={"episodes": 0}
    )
    return vary(base, **overrides)


def train(config: Config, path: Path) -> Trainer:
    trainer = Trainer(config, path)
    try:
        trainer.run()
    finally:
        trainer.close()
    return trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    train(config_of(), path)
    return path


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment's package is not installed."""

    def import_module(name: str, *args: Any) -> Any:
        if name == "tests.helpers.buttons":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return imported(name, *args)

    imported = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", import_module)
    spec = gymnasium.registry.pop(ID)
    yield
    gymnasium.registry[ID] = spec


OBS = {"a": {"b": np.zeros(2, np.float32)}, "a_b": np.zeros(2, np.float32)}


def act(player: Any) -> dict[str, Any]:
    action, carry = player.act(OBS, None, is_first=True, key=jax.random.key(0))
    return player.act(OBS, carry, is_first=False, key=jax.random.key(1))[0]


def test_an_agent_acts_plans_and_dreams_without_its_environment(
    run: Path, missing: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for planner in (False, True):
        action = act(dreamjax.load(run, planner=planner, changes={"planner": {"method": "cem", "horizon": 2}}))
        assert list(action) == ["up", "down", "turn"] and -2 <= action["turn"][0] <= 2
    loaded = load(run)
    loaded.close()
    with pytest.raises(EnvError, match=r"No module named 'tests\.helpers\.buttons'"):
        loaded.env  # noqa: B018
    arguments = [f"--workdir={run}", f"--folder={tmp_path}", "--windows=2", "--length=4", "--context=2"]
    assert dream.main(arguments) == cli.OK
    assert "dreams are of steps in the replay" in capsys.readouterr().out
    assert (tmp_path / "dream.gif").is_file()


def test_the_environment_is_made_when_it_is_used(run: Path) -> None:
    loaded = load(run, num_envs=3)
    assert "env" not in loaded.__dict__
    assert loaded.env.num_envs == 3 and loaded.env is loaded.env
    loaded.close()


def test_older_checkpoints_make_the_environment(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Path(shutil.copytree(run, tmp_path / "old"))
    for path in checkpoint.all_checkpoints(old):
        meta = checkpoint.read_meta(path)
        del meta["spaces"]
        for part in meta["spec"]["action"]["parts"]:
            del part["name"]
        (path / checkpoint.META).write_text(json.dumps(meta))
        checkpoint._write_manifest(path)
    expected = act(dreamjax.load(run))
    for name, value in act(dreamjax.load(old)).items():
        np.testing.assert_array_equal(value, expected[name])
    monkeypatch.delitem(gymnasium.registry, ID)
    with pytest.raises(EnvError, match="cannot be made"):
        load(old)


def test_an_agent_plays_in_another_order_as_well(run: Path) -> None:
    """The actor of a run is set to press up alone; then the order of the environment's actions is reversed."""
    loaded = load(run, num_envs=2)
    params = jax.tree.map(np.zeros_like, loaded.params["actor"])
    found = {path: leaf for path, leaf in checkpoint.named_leaves(params)}
    bias = next(leaf for path, leaf in found.items() if path.endswith("bias") and leaf.shape == (6,))
    bias[:] = [-9, 9, 9, -9, 2, 0]  # up: 1; down: 0; turn: to the right
    params = loaded.params | {"actor": params}
    policy = jax.jit(loaded.agent.policy, static_argnames="greedy")
    for changes in ({}, {"env": {"kwargs": {"flip": True}}}):
        other = load(run, num_envs=2, changes=changes)
        records, carry, total = other.env.reset(), other.agent.initial_carry(2), 0.0
        for step in range(5):
            keys = jax.random.split(jax.random.key(step), 2)
            carry, action, _ = policy(params, carry, records.obs, records.is_first, keys, greedy=True)
            _, records = other.env.step(np.asarray(action))
            total += records.reward.sum()
        other.close()
        assert total == 10
    loaded.close()
    player = dreamjax.load(run, changes={"env": {"kwargs": {"flip": True}}})
    assert player._actions.decode(np.array([[1, 0, 1.0]]))["up"].tolist() == [1]


def test_a_run_goes_on_in_the_trained_order(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version of a package writes its action space in another order."""
    path = Path(shutil.copytree(run, tmp_path / "run"))
    monkeypatch.setitem(gymnasium.registry[ID].kwargs, "flip", True)
    names = [part.name for part in train(config_of(total_steps=30), path).spec.action.parts]
    assert names == ["up", "down", "turn"]
    assert [part.name for part in load(path).agent.spec.action.parts] == names
    monkeypatch.setitem(gymnasium.registry[ID].kwargs, "without", "down")
    with pytest.raises(EnvError, match=r"\[up .*, down .*, turn .*\]; here they are \[turn .*, up .*\]"):
        train(config_of(total_steps=36), path)


def test_a_run_from_another_run_has_its_order(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gymnasium.registry[ID].kwargs, "flip", True)
    made = train(config_of(init_from={"path": str(run)}), tmp_path / "more")
    assert [part.name for part in made.spec.action.parts] == ["up", "down", "turn"]
    assert [part.name for part in train(config_of(), tmp_path / "new").spec.action.parts] == ["turn", "down", "up"]


def test_a_shipped_agent_says_what_it_was_trained_in(run: Path, tmp_path: Path, missing: None) -> None:
    loaded = load(run)
    facts = {"step": 1, "update": 1} | loaded.trained_in.to_meta()
    folder = shipped.write("mine", loaded.config, loaded.params, facts, "", root=tmp_path)
    assert act(dreamjax.load(folder)) == act(dreamjax.load(run))
