"""Contract 30: 2N steps equal N steps, stop, N steps, bit for bit: state, replay, environments and metrics."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import pytest

from dreamjax.agents.agent import Agent
from dreamjax.config import Config, from_dict, merge, to_dict
from dreamjax.training.trainer import Trainer
from tests.helpers import ROOT
from tests.helpers.runs import assert_same, contents, lines

CASES: dict[str, dict[str, Any]] = {
    "direct": {"env": {"action_mode": "direct"}},
    "locked, gaussian, prioritized, latents kept, 2 devices, 3 steps in a call": {
        "env": {"action_mode": "locked_position"},
        "model": {"latent": "gaussian"},
        "replay": {"sampler": "prioritized", "online": 0.25, "keep_latents": True, "capacity": 48},
        "parallel": {"num_devices": 2},
        "schedule": {"steps_per_call": 3},
    },
    "plan's schedule and ring": {
        "schedule": {
            "kind": "plan", "collect_steps": 8, "world_model_batches": 2, "actor_critic_batches": 1,
            "imagination_batch_size": 2,
        },
        "imagination": {"use_ring": True, "capacity": 128},
    },
}  # fmt: skip


def make(tiny_config: Config, case: str) -> Config:
    short = {
        "total_steps": 72,
        "train_ratio": 6.0,
        "env": {"kwargs": {"max_episode_length": 9}},
        "eval": {"episodes": 1, "num_envs": 1},
        "checkpoint": {"every": 1000},
        "log": {"metrics_every": 3},
    }
    return from_dict(merge(to_dict(tiny_config), short, CASES[case]))


def train(config: Config, path: Path, *, stop_after: int | None = None) -> Any:
    asked = iter(range(10**9))
    trainer = Trainer(config, path, stop=None if stop_after is None else lambda: next(asked) >= stop_after)
    try:
        with mock.patch("dreamjax.training.trainer.leave_report"):  # its picture takes half a second
            assert trainer.run() is (stop_after is None)
        return trainer
    finally:
        trainer.close()


class Begun(NamedTuple):
    """A run that went on to its end, and one of the same configuration that was stopped."""

    config: Config
    agent: Agent
    whole: Path
    stopped: Path

    def check(self, resumed: Path) -> None:
        """The run in ``resumed``, which went on from the stopped one, ended as the whole one did."""
        assert_same(contents(resumed, self.agent), contents(self.whole, self.agent))
        assert lines(resumed) == lines(self.whole)


@pytest.fixture(scope="module")
def begun(
    shared_programs: None, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Begun]:
    """``begun(case)``: the two runs of a case, made on its first use."""

    @functools.cache
    def make_runs(case: str) -> Begun:
        config, path = make(tiny_config, case), tmp_path_factory.mktemp("runs")
        agent = train(config, path / "whole").agent
        stopped = train(config, path / "stopped", stop_after=23 // config.schedule.steps_per_call)
        assert stopped.schedule.updates > 3  # it had learned, and a line of metrics was under way
        return Begun(config, agent, path / "whole", path / "stopped")

    return make_runs


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_equals_uninterrupted(begun: Callable[[str], Begun], tmp_path: Path, case: str) -> None:
    runs = begun(case)
    resumed = shutil.copytree(runs.stopped, tmp_path / "run")
    train(runs.config, resumed)
    runs.check(resumed)


def test_a_new_process_goes_on_exactly(begun: Callable[[str], Begun], tmp_path: Path) -> None:
    runs = begun("direct")
    resumed = shutil.copytree(runs.stopped, tmp_path / "run")
    file = tmp_path / "config.py"
    file.write_text(f"def get_config(variant=''):\n    return {to_dict(runs.config)!r}\n")
    command = [sys.executable, "-m", "experiments.train", f"--config={file}", f"--workdir={resumed}"]
    settings = os.environ | {"JAX_NUM_CPU_DEVICES": str(jax.local_device_count())}
    subprocess.run([*command, "--resume=must"], cwd=ROOT, env=settings, check=True, capture_output=True)
    runs.check(resumed)
