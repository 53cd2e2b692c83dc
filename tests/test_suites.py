"""Environments of other packages, each trained, evaluated, loaded and acted in as its users do; skipped where missing.

docs/environments.md has the lines that install them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.slow
CODES = '--config.env.obs={"image": {"kind": "grid", "classes": 11}}'
MINIGRID = ["--config.env.ignore=mission", CODES]
SUITES: list[tuple[str, str, list[str]]] = [
    ("minigrid:MiniGrid-Empty-5x5-v0", "minigrid", MINIGRID),
    ("minigrid:MiniGrid-DoorKey-6x6-v0", "minigrid", MINIGRID),
    *((f"dreamjax.envs.suites:MinAtar/{game}-v1", "minatar", ["--config.env.layout=channels_last"])
      for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")),
    ("ale_py:ALE/Pong-v5", "ale_py", []),
    ("shimmy:dm_control/cartpole-swingup-v0", "dm_control", []),
    ("dreamjax.envs.suites:Crafter-v0", "crafter", []),
    ("LunarLander-v3", "Box2D", []),
    ("Hopper-v5", "mujoco", []),
]  # fmt: skip
NOT_REPRODUCIBLE = ("dreamjax.envs.suites:Crafter-v0",)  # it goes through sets of objects, whose order is their address
ACT = """
import sys
import gymnasium, jax
import dreamjax as dj
from dreamjax.envs.make import find_spec
agent, name = dj.load(sys.argv[1]), sys.argv[2]
env = gymnasium.make(find_spec(name), max_episode_steps=50)
obs, info = env.reset(seed=0)
carry = None
for step in range(5):
    action, carry = agent.act(obs, carry, is_first=carry is None, key=jax.random.key(step))
    assert env.action_space.contains(action), action
    obs, *_ = env.step(action)
print("acted")
"""


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""}
    )
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
    return process


@pytest.mark.parametrize(("name", "package", "fields"), SUITES, ids=[name for name, *_ in SUITES])
def test_train_evaluate_load_act(name: str, package: str, fields: list[str], tmp_path: Path) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    check = ["-m", "dreamjax", "check-env", f"--env={name}", "--steps=100", *fields]
    if name in NOT_REPRODUCIBLE:
        process = subprocess.run([sys.executable, *check], cwd=ROOT, capture_output=True, text=True, check=False)
        assert "problem seeds" in process.stdout and "1 problems in" in process.stdout, process.stdout
    else:
        call(*check)
    fields = [*fields, "--config.env.kwargs.max_episode_steps=50"]
    workdir = tmp_path / "run"
    run = ["--config=cartpole:smoke", f"--config.env.id={name}", f"--workdir={workdir}", *fields]
    trained = call("-m", "dreamjax", "train", *run)
    # What the fields say is sure: no layout and no value is warned about.
    assert "say env." not in trained.stderr, trained.stderr
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert any("eval/return" in line or "eval/return_mean" in line for line in lines), sorted(lines[-1])
    call("-m", "dreamjax", "evaluate", f"--workdir={workdir}", "--episodes=2")
    assert "acted" in call("-c", ACT, str(workdir), name).stdout
