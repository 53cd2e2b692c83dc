"""Shipped agents: what is read is what was written, by a name, whole and verified."""

from __future__ import annotations

import glob
import json
import tomllib
from pathlib import Path

import chex
import gymnasium
import jax
import numpy as np
import pytest

import dreamjax
from dreamjax import files
from dreamjax.agents.agent import make_agent
from dreamjax.commands import ship
from dreamjax.envs.make import make_env
from dreamjax.training.storage import checkpoint, load, shipped, workdir
from dreamjax.training.storage.checkpoint import CheckpointError
from dreamjax.training.storage.workdir import UsageError
from tests.helpers import ROOT
from tests.helpers.configs import make_tiny_config
from tests.helpers.parameters import noise_like

CARTPOLE = {"env": {"id": "CartPole-v1"}, "eval": {"num_envs": 2}}
PARAMS = {
    "world_model": {"w": np.array([[1.0, 1 / 3], [-2.5, 0.0]], np.float32), "n": np.arange(3, dtype=np.int32)},
    "actor": {"b": np.array([0.1], np.float32)},
    "critic": {},
    "ensemble": {"w": np.ones(5, np.float32)},
}


@pytest.fixture
def folder(tmp_path):
    return shipped.write("one", make_tiny_config(), PARAMS, {"step": 7}, "# one\n", root=tmp_path)


def test_acting_parts_come_back_bit_for_bit(folder):
    params, facts = shipped.read(folder, PARAMS)
    assert sorted(params) == ["actor", "critic", "world_model"]
    for part, leaves in params.items():
        for name, leaf in leaves.items():
            assert leaf.dtype == PARAMS[part][name].dtype
            np.testing.assert_array_equal(leaf, PARAMS[part][name])
    assert facts["step"] == 7 and facts["dtype"] == "float32"
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "agent.json", "config.json", "params.npz"]
    assert [file.name for file in folder.parent.iterdir()] == ["one"]


def test_float16_is_what_rounding_says(tmp_path):
    folder = shipped.write("half", make_tiny_config(), PARAMS, {}, "", dtype="float16", root=tmp_path)
    params, _ = shipped.read(folder, PARAMS)
    assert params["world_model"]["w"].dtype == np.float32
    assert params["world_model"]["w"][0, 1] == np.float32(np.float16(1 / 3)) != np.float32(1 / 3)
    np.testing.assert_array_equal(params["world_model"]["w"], shipped.rounded(PARAMS, "float16")["world_model"]["w"])
    np.testing.assert_array_equal(params["world_model"]["n"], [0, 1, 2])
    large = PARAMS | {"actor": {"b": np.array([1e6], np.float32)}}
    with pytest.raises(UsageError, match=r"float16 is not allowed: parameters reach 1e\+06"):
        shipped.rounded(large, "float16")


def test_a_later_agent_of_the_name_replaces_the_first(folder):
    changed = PARAMS | {"actor": {"b": np.array([9.0], np.float32)}}
    shipped.write("one", make_tiny_config(), changed, {"step": 8}, "", root=folder.parent)
    params, facts = shipped.read(folder, PARAMS)
    assert params["actor"]["b"] == 9 and facts["step"] == 8


@pytest.mark.parametrize("name", ["", "../one", "One", "a/b", ".one", "1a", "a b"])
def test_names_that_are_none(name, tmp_path):
    with pytest.raises(UsageError, match="is not allowed: must be small letters"):
        shipped.write(name, make_tiny_config(), PARAMS, {}, "", root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_too_large_is_not_shipped(tmp_path):
    noise = {"w": np.random.default_rng(0).random(1_400_000).astype(np.float32)}
    with pytest.raises(UsageError, match="at most 5,000,000 are shipped"):
        shipped.write("large", make_tiny_config(), PARAMS | {"critic": noise}, {}, "", root=tmp_path)


def test_damage_is_found(folder):
    data = bytearray((folder / "params.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "params.npz").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"params\.npz has changed"):
        shipped.read(folder, PARAMS)
    (folder / "agent.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        shipped.read(folder, PARAMS)


def test_an_agent_of_another_model_is_refused(folder):
    with pytest.raises(CheckpointError, match=r"actor.b is \(1,\), not \(2,\)"):
        shipped.read(folder, PARAMS | {"actor": {"b": np.zeros(2, np.float32)}})
    with pytest.raises(CheckpointError, match=r"actor.c is nothing, not \(1,\)"):
        shipped.read(folder, PARAMS | {"actor": PARAMS["actor"] | {"c": np.zeros(1, np.float32)}})


def test_pickled_arrays_are_not_read(folder):
    np.savez(folder / "params.npz", **{"actor.b": np.array([{}], object)}, allow_pickle=True)
    facts = json.loads((folder / "agent.json").read_text())
    digest = files.sha256(folder / "params.npz")
    (folder / "agent.json").write_text(json.dumps(facts | {"sha256": digest}))
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        shipped.read(folder, PARAMS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with checkpoints at steps 10 and 20, of which the first was the better."""
    path = tmp_path_factory.mktemp("run")
    config = make_tiny_config(**CARTPOLE)
    env = make_env(config.env, 1, seed=0)
    env.close()
    shapes = jax.eval_shape(make_agent(config, env.spec).init, jax.random.key(0))
    workdir.write_config(path, config)
    for step, score in ((10, 5.0), (20, 3.0)):
        key = jax.random.key(step)
        state = noise_like(shapes.replace(key=jax.random.key_data(key)), seed=step).replace(key=key)
        checkpoint.save(path, step, state, {}, {"score": score, "update": step // 2}, keep=5)
    return path


def played(name, **how) -> list[np.ndarray]:
    """Everything that an agent chooses and remembers over a few sampled and greedy steps."""
    player, env, carry, found = dreamjax.load(name, **how), gymnasium.make("CartPole-v1"), None, []
    obs, _ = env.reset(seed=3)
    for step in range(6):
        key = jax.random.key(step)
        action, carry = player.act(obs, carry, is_first=step == 0, key=key, greedy=step % 2 == 0)
        found += [np.asarray(action), *map(np.asarray, jax.tree.leaves(carry))]
        obs, *_ = env.step(action)
    return found


def test_a_shipped_agent_acts_as_its_run_does_bit_for_bit(run, tmp_path, monkeypatch, capsys):
    root = tmp_path / "agents"
    monkeypatch.setattr(workdir, "SHIPPED", root)
    arguments = [f"--workdir={run}", "--episodes=2", f"--folder={root}", "--command=train it"]
    assert ship.main([*arguments, "--name=pole", "--checkpoint=latest"]) == 0
    assert ship.main([*arguments, "--name=best_pole"]) == 0
    assert workdir.shipped_names() == ["best_pole", "pole"]
    monkeypatch.chdir(tmp_path)
    for ours, theirs in zip(played("pole"), played(run), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    first, second = load.load("best_pole"), load.load(run, which="best")
    assert (first.meta["step"], second.path.name) == (10, "000000000010")
    chex.assert_trees_all_equal(first.params, {part: second.params[part] for part in shipped.PARTS})
    for loaded in (first, second):
        loaded.env.close()

    text = (root / "pole" / "README.md").read_text()
    assert "`train it` with seed 0: 20 environment steps, 10 updates. Over 2 greedy games:" in text
    assert "--workdir=pole --episodes=2 --seed=10000020" in text
    measured = json.loads((root / "pole" / "agent.json").read_text())["measured"]
    assert f"{measured['return']['mean']:.2f} ± {measured['return']['stderr']:.2f} return" in text
    facts = {"command": "", "seed": 0, "step": 20, "update": 10, "measured": {**measured, "agent": "planner"}}
    assert "--seed=10000020`" in text and "--seed=10000020 --agent=planner`" in ship.readme_of("pole", "it", facts)

    # A directory that holds a run comes before a shipped agent of its name.
    (tmp_path / "pole").symlink_to(run)
    assert workdir.resolve("pole") == Path("pole") and workdir.resolve("best_pole") == root / "best_pole"
    capsys.readouterr()
    with pytest.raises(UsageError, match=r"nothing holds no run: .*Shipped agents: best_pole, pole"):
        dreamjax.load("nothing")
    assert ship.main([*arguments, "--name=No"]) == 2
    assert capsys.readouterr().err.startswith("error: --name=No is not allowed")


def test_there_is_no_best_where_nothing_was_evaluated(run, tmp_path):
    target = tmp_path / "run"
    for name in ("config.json", "checkpoints/000000000010/meta.json"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text((run / name).read_text().replace('"score": 5.0', '"score": null'))
    with pytest.raises(UsageError, match="no checkpoint that was evaluated"):
        load.load(target, which="best")


def test_the_package_holds_every_file_of_its_agents(tmp_path):
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    folder = shipped.write("one", make_tiny_config(), PARAMS, {}, "", root=tmp_path / "shipped")
    held = {name for pattern in patterns for name in glob.glob(pattern, root_dir=tmp_path, recursive=True)}
    assert {f"shipped/one/{file.name}" for file in folder.iterdir()} <= held
    assert workdir.SHIPPED == ROOT / "dreamjax" / "shipped"


def test_the_agents_of_this_package_can_be_read():
    for name in workdir.shipped_names():
        loaded = load.load(name, num_envs=1)
        loaded.env.close()
        folder = workdir.SHIPPED / name
        assert (folder / shipped.PARAMS).stat().st_size <= shipped.MAX_BYTES
        assert (folder / shipped.README).read_text().startswith(f"# {name}\n")
