"""Trainings that run through, each on an environment of another kind: nothing but the id is set.

Sizes are the smallest; what is trained is not the question, only that every phase takes the spaces as they are.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dreamjax.training.trainer import Trainer
from experiments import difftest
from tests.helpers import ROOT
from tests.helpers.configs import make_tiny_config

PACKAGE = ROOT / difftest.DIRECTORY


class Mixed(gymnasium.Env):
    """A dictionary of every kind of entry, a dictionary of every kind of action, a mask among the entries."""

    observation_space = spaces.Dict(
        {
            "place": spaces.Box(-1.0, 1.0, (3,), np.float32),
            "room": spaces.Discrete(4, start=2),
            "dials": spaces.MultiDiscrete([3, 5]),
            "flags": spaces.MultiBinary((2, 2)),
            "pair": spaces.Tuple((spaces.Box(0, 255, (8, 9), np.uint8), spaces.Discrete(2))),
            "action_mask": spaces.MultiBinary(3),
        }
    )
    action_space = spaces.Dict(
        {"go": spaces.Discrete(3), "press": spaces.MultiBinary(2), "push": spaces.Box(-2.0, 2.0, (2,), np.float32)}
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.steps = 0
        return self.seen(), {}

    def seen(self) -> dict[str, Any]:
        self.legal = int(self.np_random.integers(3))
        return self.observation_space.sample() | {"action_mask": np.eye(3, dtype=np.int8)[self.legal]}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action) and action["go"] == self.legal
        self.steps += 1
        return self.seen(), float(action["push"].sum()), self.steps == 7, False, {}


class Pictures(gymnasium.Env):
    """Pictures of odd size."""

    observation_space = spaces.Box(0, 255, (37, 53, 3), np.uint8)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def seen(self) -> np.ndarray:
        picture = np.zeros((37, 53, 3), np.uint8)
        picture[self.steps : self.steps + 9, 20:31] = 255
        return picture

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.seen(), float(action == 2), False, self.steps == 11, {}


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    gymnasium.register("Mixed-v0", Mixed)
    gymnasium.register("Pictures-v0", Pictures)


def taxi() -> str:
    """Gymnasium's newest releases make only the fourth version."""
    try:
        gymnasium.spec("Taxi-v4")
    except gymnasium.error.Error:
        return "Taxi-v3"
    return "Taxi-v4"


def train(path: Path, env_id: str, *, masked: bool = False, **kwargs: Any) -> None:
    """Trains to the end: updates, an evaluation, a checkpoint, a report. Every number logged must be finite."""
    config = make_tiny_config(
        total_steps=40,
        batch_size=2,
        batch_length=4,
        horizon=2,
        train_ratio=1.0,
        replay={"min_size": 16},
        env={"id": env_id, "kwargs": kwargs},
        eval={"episodes": 1, "num_envs": 1},
    )
    trainer = Trainer(config, path)
    try:
        assert trainer.run()
        assert trainer.schedule.updates > 0
        assert any(part.masked for part in trainer.spec.action.parts) == masked
    finally:
        trainer.close()
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert {"train/loss/actor", "train/loss/critic", "train/world_model_loss", "eval/return_mean"} <= names
    assert all(value is not None and math.isfinite(value) for line in lines for value in line.values())


def test_a_training_on_vectors_runs_through(tmp_path: Path) -> None:
    train(tmp_path, "Pendulum-v1", max_episode_steps=15)


def test_a_training_with_the_mask_in_info_runs_through(tmp_path: Path) -> None:
    train(tmp_path, taxi(), masked=True, max_episode_steps=15)


def test_a_training_on_dictionaries_runs_through(tmp_path: Path) -> None:
    train(tmp_path, "Mixed-v0", masked=True)


def test_a_training_on_pictures_of_odd_size_and_plain_choices_runs_through(tmp_path: Path) -> None:
    train(tmp_path, "Pictures-v0")


@pytest.mark.skipif(not PACKAGE.exists(), reason="`make difftest` installs tetris-gymnasium")
def test_a_training_on_tetris_gymnasium_runs_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE))
    train(tmp_path, "tetris_gymnasium.envs:tetris_gymnasium/Tetris", max_episode_steps=15)
