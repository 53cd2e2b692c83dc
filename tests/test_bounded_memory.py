"""Memory: a million steps of Tetris in replay, and a long run that takes no more at its end than at its beginning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import dreamjax.envs  # noqa: F401 - registers the ids
from dreamjax.buffers.sequence_buffer import nbytes_for
from dreamjax.config import ReplayConfig
from dreamjax.envs.action_codec import ActionCodec
from dreamjax.envs.obs_codec import ObsCodec
from dreamjax.training.storage import recording
from dreamjax.types import EnvSpec
from tests.helpers import ROOT
from tests.helpers.configs import SIZES

MILLION = 1_000_000
LONG = {
    "total_steps": MILLION,
    "num_envs": 200,
    "batch_size": 4,
    "batch_length": 6,
    "horizon": 3,
    "train_ratio": 0.1,
    "env": {"action_mode": "direct", "kwargs": {"max_episode_length": 100}},
    "replay": {"capacity": 100_000, "min_size": 2_000},
    **SIZES,
    "checkpoint": {"every": 50_000},
    "eval": {"every": 50_000, "episodes": 2, "num_envs": 2},
    "log": {"metrics_every": 10, "every": 10.0},
}


@pytest.mark.parametrize("mode", ["direct", "locked_position"])
def test_a_million_steps_of_tetris_fit_into_200_mb(mode: str) -> None:
    env = gymnasium.make_vec("dreamjax/Tetris-v0", num_envs=1, action_mode=mode)
    actions = ActionCodec(env.single_action_space)
    observations = ObsCodec(env.single_observation_space, mask_size=actions.mask_size)
    spec = EnvSpec(dict(observations.spec), actions.spec)
    env.close()
    config = ReplayConfig(capacity=MILLION)
    buffer = recording.make_replay(config, spec, num_envs=8, seed=0)
    assert buffer.nbytes == pytest.approx(nbytes_for(spec, MILLION, num_envs=8), rel=0.01)
    assert buffer.nbytes < 200e6


def growth(metrics: Path) -> tuple[float, float, float]:
    """Resident memory in MB by the end of the first fifth and at the end, and the growth as a fraction.

    Medians over a tenth of the run each: compiling takes memory for a while, and a single line may meet that.
    """
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    lines = [line for line in lines if "memory/host_rss" in line]
    share = np.array([line["step"] for line in lines]) / MILLION
    resident = np.array([line["memory/host_rss"] for line in lines]) / 1e6
    first, last = np.median(resident[(share > 0.1) & (share <= 0.2)]), np.median(resident[share > 0.9])
    return float(first), float(last), float(last / first - 1)


@pytest.mark.slow
def test_resident_memory_is_flat_over_a_million_steps(tmp_path: Path) -> None:
    """Within the first fifth replay is full, checkpoints were saved, and everything is compiled."""
    config = tmp_path / "config.py"
    config.write_text(f"def get_config(variant=''):\n    return {LONG!r}\n")
    environ = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-m", "experiments.train", f"--config={config}", f"--workdir={tmp_path / 'run'}"]
    subprocess.run(command, cwd=ROOT, env=environ, check=True)
    first, greatest, more = growth(tmp_path / "run" / "metrics.jsonl")
    print(
        f"resident memory: {first:.1f} MB in the first fifth, {greatest:.1f} MB at most after it, {100 * more:+.2f} %"
    )
    assert more < 0.02
